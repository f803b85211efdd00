// `adaptvis ask` on the embedded checkpoint, from the command line to the answer.

import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { checkHeatMapFlags, type HeatMapFlags } from "../../src/cli/heat-map-flags.ts";
import { UsageError } from "../../src/cli/session.ts";
import { adapterOfEnvironment } from "../setup/device.ts";
import { goldenCheckpoint } from "../setup/golden-checkpoint.ts";
import {
  adaptvis,
  interrupted,
  jsonOf,
  type KnownPicture,
  knownPictures,
  modelCopy,
  newFolder,
  ownLines,
  removeFolders,
  root,
} from "./command.ts";

let picture: KnownPicture;

beforeAll(async () => {
  const [first] = await knownPictures();
  if (first === undefined) throw new Error("the benchmark of weights/tiny-spatial has no pictures");
  picture = first;
});

afterAll(removeFolders);

test("prints the answer alone on stdout, and the facts on stderr", async () => {
  const { stdout, stderr, ending } = await adaptvis("ask", "--image", picture.path, picture.question);
  expect({ stdout, ending }).toEqual({ stdout: `${picture.answer}\n`, ending: 0 });
  expect(stderr).toMatch(/^adaptvis: running on /m);
  expect(stderr).toMatch(/^Greedy: confidence [\d.]+$/m);
  expect(stderr).toMatch(/^Scores on the image, layer 2, mean of heads: [\d.]+ % negative$/m);
  expect(stderr).toMatch(
    /^Attention of the last prompt token, layer 2, mean of heads: on the image [\d.]+ %, entropy there [\d.]+ bits$/m,
  );
});

test("--json tells how the answer came about, and --heatmap draws it", async () => {
  const heatmap = join(await newFolder(), "looked.png");
  const settings = ["--alpha1", "0.5", "--alpha2", "1.25", "--beta", "0.3"];
  const extras = ["--log-probs", "2", "--layer", "1", "--head", "3", "--heatmap", heatmap, "--json"];
  const result = await adaptvis("ask", "--image", picture.path, ...settings, ...extras, picture.question);
  expect(result.ending).toBe(0);
  const report = jsonOf(result);
  expect(report).toMatchObject({
    question: picture.question,
    answer: picture.answer,
    method: "adaptvis",
    factor: 1.25,
    settings: { alpha1: 0.5, alpha2: 1.25, beta: 0.3, gate: "probability", rows: "last" },
    finishReason: "eos",
    attention: { layer: 1, head: 3, share: expect.any(Number), unmodified: { share: expect.any(Number) } },
    heatmap,
    adapter: { isSoftware: expect.any(Boolean), description: expect.any(String) },
    timings: {
      loadMs: expect.any(Number),
      answerMs: expect.any(Number),
      start: expect.objectContaining({
        imported: expect.any(Number),
        device: expect.any(Number),
        loaded: expect.any(Number),
        firstToken: expect.any(Number),
      }),
    },
  });
  expect(report.tokens).toContainEqual({
    id: expect.any(Number),
    text: expect.stringContaining(picture.answer),
    logProb: expect.any(Number),
    top: [expect.anything(), expect.anything()],
  });
  // Three panels of 336, two gaps of 16 and two margins of 24.
  expect(await sharp(heatmap).metadata()).toMatchObject({ format: "png", width: 3 * 336 + 2 * 16 + 2 * 24 });
});

test("LLaVA-NeXT about two pictures: a row of the heat map and a line for each, newlines stated", async () => {
  const folder = await newFolder();
  const model = await goldenCheckpoint("llava-next", join(folder, "llava-next"));
  const [wide, tall] = [join(folder, "wide.png"), join(folder, "tall.png")];
  await sharp(picture.path).resize(60, 40, { fit: "fill" }).png().toFile(wide);
  await sharp(picture.path).resize(30, 90, { fit: "fill" }).png().toFile(tall);
  const heatmap = join(folder, "looked.png");
  const of = ["--model", model, "--image", wide, "--image", tall, "--factor", "0.5", "--max-new-tokens", "1"];
  const result = await adaptvis("ask", ...of, "--heatmap", heatmap, "--json", "where is the mug ?");
  expect(result.ending).toBe(0);
  const report = jsonOf(result);
  const numbers = {
    share: expect.any(Number),
    unplacedShare: expect.any(Number),
    paddingShare: 0,
    entropy: expect.any(Number),
    negativeScores: expect.any(Number),
  };
  const pictures = [1, 2].map(() => ({ ...numbers, unmodified: null, negativeScoresByHead: expect.any(Array) }));
  expect(report.attention).toEqual({
    layer: 1,
    head: null,
    ...numbers,
    unmodified: null,
    negativeScoresByHead: expect.any(Array),
    pictures,
  });
  const { share, unplacedShare } = report.attention as Record<string, number>;
  expect(unplacedShare).toBeGreaterThan(0);
  expect(unplacedShare).toBeLessThan(share ?? 0);
  // The originals, 60 × 40 and 30 × 90, each at least 336 on both sides, with one panel beside it.
  const { width = 0, height = 0 } = await sharp(heatmap).metadata();
  expect(width).toBe(2 * ((336 * 60) / 40) + 16 + 2 * 24);
  expect(height).toBeGreaterThan(336 + 336 * (90 / 30));
});

test("--video: the pictures are the frames of one video, each with a line and a map of its own", async () => {
  const folder = await newFolder();
  const model = await goldenCheckpoint("llava-onevision", join(folder, "llava-onevision"));
  const heatmap = join(folder, "looked.png");
  const frames = ["--image", picture.path, "--image", picture.path, "--video"];
  const of = ["--model", model, "--max-new-tokens", "1", "--heatmap", heatmap, "--json"];
  const result = await adaptvis("ask", ...frames, ...of, "where is the mug ?");
  expect(result.ending).toBe(0);
  const { attention, promptTokens, imageSpan } = jsonOf(result) as Record<string, unknown>;
  expect(attention).toMatchObject({ pictures: [{ share: expect.any(Number) }, { share: expect.any(Number) }] });
  // Two frames of 2 × 2 positions and a newline, before the seven words of the template.
  expect({ promptTokens, imageSpan }).toEqual({ promptTokens: 18, imageSpan: [0, 9] });
  const none = await adaptvis("ask", "--video", "--text-only", "--model", model, "--json", "where is the mug ?");
  expect(none.ending).toBe(2);
  expect(jsonOf(none)).toMatchObject({
    error: { message: "--video has no frames: give each as --image FILE, in order." },
  });
});

test("maps of words and of every layer and head; a word that the answer does not have", async () => {
  const folder = await newFolder();
  const [heatmap, sheet] = [join(folder, "words.png"), join(folder, "heads.png")];
  const of = ["--image", picture.path, "--factor", "0.5", "--json"];
  const drawn = ["--heatmap", heatmap, "--heatmap-words", "--heatmap-sheet", sheet];
  const report = jsonOf(await adaptvis("ask", ...of, ...drawn, picture.question));
  const { answer, attention } = report as { answer: string; attention: Record<string, unknown> };
  const { share, entropy, negativeScores } = attention;
  // The first word is chosen from the last prompt row.
  expect(report.heatmapMaps).toEqual([
    {
      picture: 0,
      word: answer,
      tokens: [0],
      layer: 2,
      head: null,
      share,
      unplacedShare: 0,
      paddingShare: 0,
      entropy,
      negativeScores,
    },
  ]);
  const [sheets] = report.heatmapSheets as Record<"share" | "negativeScores", number[][]>[];
  const mean = (row: readonly number[] = []) => row.reduce((sum, value) => sum + value, 0) / row.length;
  expect(sheets?.share.map((row) => row.length)).toEqual([4, 4, 4, 4]);
  expect(mean(sheets?.share[2])).toBeCloseTo(Number(share), 6);
  expect(sheets?.negativeScores).toEqual(attention.negativeScoresByHead);
  expect(await sharp(sheet).metadata()).toMatchObject({ format: "png", width: 20 + 58 + 4 * 106 - 10 + 20 + 8 });
  const wrong = await adaptvis("ask", ...of, "--heatmap", heatmap, "--heatmap-word", "purple", picture.question);
  const message = `The answer "${answer}" does not have the word "purple": give one that it has.`;
  expect({ ending: wrong.ending, report: jsonOf(wrong) }).toEqual({
    ending: 2,
    report: { error: { name: "UsageError", message } },
  });
});

test.each<[string, HeatMapFlags, string]>([
  [
    "a word and a token",
    { heatmap: "a.png", heatmapWord: "left", heatmapToken: 0 },
    "--heatmap-token and --heatmap-word exclude each other: omit one.",
  ],
  ["a word without a file", { heatmapWord: "left" }, "--heatmap-word needs a file to draw to: add --heatmap FILE.png."],
  [
    "words with a sheet alone",
    { heatmapSheet: "a.png", heatmapWords: true },
    "--heatmap-words needs a file to draw to: add --heatmap FILE.png.",
  ],
  [
    "a rollout of a layer",
    { heatmap: "a.png", heatmapRollout: true, layer: 1 },
    "--heatmap-rollout and --layer exclude each other: omit one.",
  ],
  [
    "words relative to a prompt",
    { heatmap: "a.png", heatmapWords: true, heatmapNeutral: true },
    "--heatmap-words and --heatmap-neutral exclude each other: omit one.",
  ],
  [
    "a comparison with nothing",
    { heatmap: "a.png", heatmapRelative: "ratio" },
    "--heatmap-relative has no effect without --heatmap-neutral: add it.",
  ],
  [
    "a threshold of nothing",
    { heatmap: "a.png", sinkThreshold: 0.1 },
    "--sink-threshold has no effect without --heatmap-sinks: add it.",
  ],
])("refuses %s", (_, flags, message) => {
  expect(() => checkHeatMapFlags({ image: ["a.png"], ...flags })).toThrow(new UsageError(message));
  expect(() => checkHeatMapFlags({ heatmapSheet: "a.png" })).toThrow(
    "--heatmap-sheet needs a picture: add --image FILE.",
  );
});

test("a model's adaptvis.json gives its defaults, and the command line goes before it", async () => {
  const model = await modelCopy({
    "adaptvis.json": '{"alpha1": 0.75, "alpha2": 1.5, "beta": 1, "scalingFactor": 0.9}',
  });
  const ask = async (...args: readonly string[]) =>
    jsonOf(await adaptvis("ask", "--model", model, "--image", picture.path, "--json", ...args, picture.question));
  // A confidence of 1 after rounding is not below a beta of 1.
  const adapted = await ask("--method", "adaptvis", "--alpha2", "1.125");
  expect(adapted).toMatchObject({ settings: { alpha1: 0.75, alpha2: 1.125, beta: 1 } });
  expect(adapted.factor).toBe(adapted.confidence === 1 ? 1.125 : 0.75);
  expect(await ask("--method", "scaling")).toMatchObject({ method: "scaling", factor: 0.9, settings: { factor: 0.9 } });
});

test("the same question gives the same bytes", async () => {
  const folder = await newFolder();
  const files = [join(folder, "1.png"), join(folder, "2.png")];
  for (const file of files)
    await adaptvis("ask", "--image", picture.path, "--factor", "0.5", "--heatmap", file, picture.question);
  const [first, second] = await Promise.all(files.map((file) => readFile(file)));
  expect(first?.equals(second ?? new Uint8Array())).toBe(true);
});

test.each([
  ["stops it with exit code 130", []],
  [
    "says so once where the process lives on, as a kernel's compilation makes it",
    ["--import", "data:text/javascript,setInterval(() => 0, 1000)"],
  ],
])("Ctrl-C %s, and leaves nothing behind", async (_, nodeOptions) => {
  const folder = await newFolder();
  const command = [
    ...nodeOptions,
    join(root, "dist", "cli.js"),
    "--adapter",
    adapterOfEnvironment(),
    "ask",
    "--image",
    picture.path,
  ];
  const long = ["--ignore-eos", "--max-new-tokens", "900", "--heatmap", join(folder, "looked.png"), picture.question];
  expect(await interrupted(process.execPath, [...command, ...long])).toEqual({
    lines: ["adaptvis: stopped."],
    code: 130,
  });
  expect(await readdir(folder)).toEqual([]);
});

describe("refuses with exit code 2 what the model cannot be asked", () => {
  test.each([
    ["a question that holds <image>", ["what <image> is"], /<image>/],
    ["a prompt without <image>", ["--prompt", "where?"], /no image token/],
    ["a prompt with two <image>", ["--prompt", "<image> and <image>"], /2 image tokens/],
    ["a prompt longer than the context", ["--prompt", `<image>${" mug".repeat(1200)}`], /context has 1024/],
    ["a layer that the model lacks", ["--layers", "4", "--factor", "0.5", "where?"], /layers .* 0 to 3, got 4/],
    ["a head that the model lacks", ["--heads", "7", "--factor", "0.5", "where?"], /heads .* 0 to 3, got 7/],
    ["more rows than the prompt has", ["--rows", "999", "--factor", "0.5", "where?"], /rows: last/],
    ["a map of a layer that the model lacks", ["--layer", "9", "where?"], /--layer .* 0 to 3 .*got 9/],
  ])("%s", async (_, args, message) => {
    const { stdout, stderr, ending } = await adaptvis("ask", "--image", picture.path, ...args);
    expect({ stdout, ending }).toEqual({ stdout: "", ending: 2 });
    expect(ownLines(stderr)).toEqual([expect.stringMatching(message)]);
  });
});

test("a heat map that cannot be written in the end leaves nothing behind", async () => {
  const folder = await newFolder();
  const heatmap = join(folder, "no-such-folder", "looked.png");
  const { stdout, stderr, ending } = await adaptvis(
    "ask",
    "--image",
    picture.path,
    "--heatmap",
    heatmap,
    picture.question,
  );
  expect({ stdout, ending }).toEqual({ stdout: "", ending: 1 });
  expect(ownLines(stderr)).toEqual([
    `adaptvis: ${heatmap} cannot be written: its folder does not exist; choose another place.`,
  ]);
  expect(existsSync(join(folder, "no-such-folder"))).toBe(false);
});
