// A method of the user's own from a module, and the settings of where a method acts, from the command line.
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { transform } from "esbuild";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  adaptvis,
  jsonOf,
  type KnownPicture,
  knownPictures,
  newFolder,
  ownLines,
  removeFolders,
  root,
} from "./command.ts";

const example = join(root, "tools", "examples", "intervention", "ramp.ts");

let picture: KnownPicture;
let folder: string;
/** The example, as JavaScript where this Node does not load TypeScript. */
let ramp: string;

beforeAll(async () => {
  const [first] = await knownPictures();
  if (first === undefined) throw new Error("the benchmark of weights/tiny-spatial has no pictures");
  picture = first;
  folder = await newFolder();
  const features: { readonly typescript?: unknown } = process.features;
  ramp = features.typescript ? example : await written("ramp.mjs", await plain(await readFile(example, "utf8")));
});

afterAll(removeFolders);

async function plain(typescript: string): Promise<string> {
  return (await transform(typescript, { loader: "ts", format: "esm" })).code;
}

/** A file in the test's folder, which has no packages. */
async function written(name: string, text: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
}

async function run(command: string, ...flags: readonly string[]) {
  const result = await adaptvis(command, "--image", picture.path, "--json", ...flags, picture.question);
  expect({ ending: result.ending, stderr: result.ending === 0 ? "" : result.stderr }).toEqual({
    ending: 0,
    stderr: "",
  });
  return jsonOf(result);
}

test("the example answers as ScalingVis with the same strengths does, and a sweep as the example", async () => {
  // 1 + s · (factor − 1), s rising from 1/4 in the first of 4 layers to 1 in the last.
  const strengths = await written(
    "shares.json",
    JSON.stringify([0.25, 0.5, 0.75, 1].map((share) => Array(4).fill(share))),
  );
  const box = "0,0,100,100";
  const scaled = await run("ask", "--factor", "0.2", "--strengths", strengths, "--box", box, "--log-probs", "3");
  const flags = ["--intervention", ramp, "--set", `box=${box}`];
  const own = await run("ask", ...flags, "--set", "factor=0.2", "--log-probs", "3");
  expect(own).toMatchObject({ method: "ramp", factor: 0.2, answer: scaled.answer, tokens: scaled.tokens });
  expect(own.settings).toEqual({ factor: 0.2, rows: "last", box: [0, 0, 100, 100] });
  const swept = await run("sweep", ...flags, "--factors", "1,0.2");
  expect(swept.rows).toMatchObject([{ factor: 1 }, { factor: 0.2, answer: own.answer, confidence: own.confidence }]);
});

test("a continuous gate over the confidence among words", async () => {
  const gate = ["--alpha1", "0.5", "--beta", "0.5", "--gate-width", "1", "--confidence", "Left,Right"];
  const { confidence, factor } = await run("ask", "--alpha2", "1.5", ...gate);
  // From 0.5 in proportion to 1.5; among two words at least one has half of the probability.
  expect(confidence).toBeGreaterThanOrEqual(0.5);
  expect(factor).toBeCloseTo(0.5 + Number(confidence), 12);
});

describe("exit code 2 and one sentence", () => {
  const own = (body: string) => `export const own = { name: "own", parameters: {}, ${body} };`;
  test.each([
    ["a module that throws", 'throw new Error("no luck");', [], /bad\.mjs cannot be loaded \(no luck\)/],
    ["a module without an intervention", "export const answer = 42;", [], /bad\.mjs exports no intervention/],
    ["no parameters", 'export const own = { name: "own", edits() {} };', [], /bad\.mjs: method\.parameters must be/],
    [
      "a name that is taken",
      own("edits() {}").replace('"own"', '"pai"'),
      [],
      /pai is the name of a method of adaptvis/,
    ],
    ["edits that throw", own('edits() { throw new TypeError("oh no"); }'), [], /bad\.mjs: its edits failed \(oh no\)/],
    ["edits that return nonsense", own("edits: () => 7"), [], /method\.edits\(…\) must be \{ scores, factor \}, got 7/],
    [
      "a flag of another method",
      own("edits() {}"),
      ["--factor", "2"],
      /--factor cannot be combined with --intervention/,
    ],
  ])("%s", async (_, text, flags, message) => {
    const path = await written("bad.mjs", text);
    const result = await adaptvis("ask", "--image", picture.path, "--intervention", path, ...flags, picture.question);
    const [line, ...more] = ownLines(result.stderr).filter((each) => !each.includes("running on"));
    expect({ stdout: result.stdout, ending: result.ending, more }).toEqual({ stdout: "", ending: 2, more: [] });
    expect(line).toMatch(message);
  });
});
