// adaptvis plan, and the same plan before a model is loaded, as a user of the command sees them.
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { newFolder, removeFolders, TINY_SPATIAL_COMMIT, tinySpatialRepo } from "../checkpoint/hub/fixtures.ts";
import { adapterOfEnvironment } from "../setup/device.ts";
import { type LocalHub, startLocalHub } from "../setup/local-hub.ts";
import { runProgram } from "../setup/run-program.ts";
import { adaptvis, jsonOf, knownPictures, ownLines, root } from "./command.ts";

const ID = "org/tiny-spatial";

let hub: LocalHub;
let cache: string;

beforeAll(async () => {
  hub = await startLocalHub();
  hub.repos.set(ID, await tinySpatialRepo());
  cache = await newFolder();
});

afterAll(async () => {
  await hub.close();
  await removeFolders();
});

function onHub(...args: readonly string[]) {
  const command = [join(root, "tools", "adaptvis.mjs"), "--adapter", adapterOfEnvironment(), ...args];
  const env = { HF_ENDPOINT: hub.url, HF_HUB_CACHE: cache, HF_HUB_OFFLINE: undefined, HF_TOKEN: undefined };
  return runProgram(process.execPath, command, { env: { ...env, NO_COLOR: "1" } });
}

test("plan of a model on the hub reads headers, and finds the form that fits a memory", async () => {
  const all = jsonOf(await onHub("plan", ID, "--json", "--measure"));
  expect(all).toMatchObject({
    model: ID,
    commit: TINY_SPATIAL_COMMIT,
    fits: true,
    nearest: null,
    memory: { from: "free" },
    plan: { dtype: "file", contextLength: 192, numImages: 1, problem: null, isSoftware: true },
    forms: [{ dtype: "file" }, { dtype: "q8" }, { dtype: "q4_1" }, { dtype: "q4" }],
    download: { rate: 20e6 },
    speed: { from: "layers", isRead: false, decoderLayers: { measured: 4, all: 4 } },
  });
  expect(Reflect.get(Object(all.speed), "tokenMs")).toBeGreaterThan(0);
  expect(hub.calls.filter(({ kind }) => kind === "cdn").map(({ range }) => range)).toEqual([
    "bytes=0-7",
    expect.stringMatching(/^bytes=8-\d{4,5}$/),
  ]);
  const needed = Reflect.get(Object(all.plan), "neededBytes");
  const short = await onHub("plan", ID, "--memory", `${Number(needed) - 1}B`, "--rate", "1MB");
  expect(short.ending, short.stderr).toBe(0);
  expect(short.stdout).toMatch(
    /\nIt does not fit: it needs .* MiB as in the file, and --memory is .* MiB\.\nIt fits with --dtype q8, in /,
  );
  expect(short.stdout).toMatch(/\nThe download is 3\.\d MiB: 4 s at 1 MB\/s \(--rate\)\.\n/);
  expect(short.stdout).toMatch(/\nas in the file +.* does not fit\nq8 .* fits\nq4_1 .* fits\nq4 .* fits\n/);
});

test("--model takes the names of the checkpoints that come with the package", async () => {
  const folder = join(root, "weights", "tiny-habit");
  expect(jsonOf(await onHub("plan", "tiny-habit", "--json"))).toMatchObject({ model: folder });
  const picture = join(folder, "demo", "guitar_under_drum.jpeg");
  const question = "Where is the guitar in relation to the drum? Answer with left, right, on or under.";
  const asked = await onHub("ask", "--model", "tiny-habit", "--image", picture, question);
  expect(asked).toMatchObject({ stdout: "Under\n", ending: 0 });
  const other = await onHub("plan", "tiny-hobbit", "--json");
  expect(other.ending).toBe(1);
});

test("ask of a model on the hub chooses its form before the download", async () => {
  const [picture] = await knownPictures();
  if (picture === undefined) throw new Error("no picture");
  const { neededBytes } = Object(jsonOf(await onHub("plan", ID, "--json")).plan);
  const memory = ["--memory", `${neededBytes - 1}B`];
  const asked = await onHub("ask", "--model", ID, "--image", picture.path, "--json", ...memory, picture.question);
  expect(jsonOf(asked)).toMatchObject({ dtype: "q8", answer: picture.answer });
  expect(ownLines(asked.stderr)).toEqual([
    expect.stringMatching(/^adaptvis: the model needs .*: it is loaded in q8, with .* MiB$/),
    `adaptvis: downloading ${ID}`,
    expect.stringMatching(/^adaptvis: downloaded /),
  ]);
});

test("ask with --memory loads the form that fits, and says so in one line", async () => {
  const [picture] = await knownPictures();
  if (picture === undefined) throw new Error("no picture");
  const { neededBytes } = Object(jsonOf(await adaptvis("plan", "--json")).plan);
  const ask = ["ask", "--image", picture.path, "--json", "--memory", `${neededBytes - 1}B`, picture.question];
  const chosen = await adaptvis(...ask);
  expect(jsonOf(chosen)).toMatchObject({ dtype: "q8", answer: picture.answer });
  expect(ownLines(chosen.stderr)).toEqual([
    expect.stringMatching(
      /^adaptvis: the model needs .* MiB as in its file, and --memory is .* MiB: it is loaded in q8, with .* MiB$/,
    ),
  ]);
  const explicit = await adaptvis(...ask, "--dtype", "f32");
  expect(jsonOf(explicit)).toMatchObject({ dtype: "f32", answer: picture.answer });
  expect(ownLines(explicit.stderr)).toEqual([
    expect.stringMatching(
      /^adaptvis: the model needs .* MiB in f32, and --memory is .* MiB; it is loaded all the same$/,
    ),
  ]);
});

test("plan of a model whose pictures have any size is for those of --max-picture-pixels", async () => {
  const folder = join(root, "test", "golden", "qwen2-vl");
  const { plan } = jsonOf(await adaptvis("plan", folder, "--max-picture-pixels", "1024", "--json"));
  expect(plan).toMatchObject({ promptLength: 64 + 1024 / 8 ** 2, problem: null });
});

describe("wrong usage", () => {
  test.each([
    [["--memory", "8 XB"], /'8 XB' is invalid\. Expected a size above 0 with its unit, such as "8GB" or "512 MiB"\.$/],
    [["--dtype", "none"], /'none' is invalid\. Allowed choices are auto, f32, f16, bf16, q8, q4_1, q4\.$/],
    [
      ["--context", "1025"],
      /The context must have from 66 to 1024 positions, of which 64 are those of the picture, got 1025\.$/,
    ],
    [["--images", "20"], /The context must have from 1282 to 1024 positions/],
    [["--max-picture-pixels", "5e5"], /'5e5' is invalid\. Expected a whole number from 1 to 100000000\.$/],
    [
      ["--max-picture-pixels", "500000"],
      /maxPicturePixels \(--max-picture-pixels\) is a setting of Qwen2-VL, .*, which this checkpoint does not have: omit it\.$/,
    ],
    [["--revision", "main"], /--revision belongs to a model on the hub: give its id\.$/],
  ])("plan %j", async (args, sentence) => {
    const { ending, stderr, stdout } = await adaptvis("plan", ...args);
    expect([ending, stdout]).toEqual([2, ""]);
    expect(ownLines(stderr)).toEqual([expect.stringMatching(sentence)]);
  });
});
