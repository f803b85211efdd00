// `adaptvis sweep` on the embedded checkpoint: one row a factor, and the row of factor 1 is the greedy answer.

import { beforeAll, describe, expect, test } from "vitest";
import { adaptvis, jsonOf, type KnownPicture, knownPictures, ownLines, tinyLlava } from "./command.ts";

let picture: KnownPicture;

beforeAll(async () => {
  const [first] = await knownPictures();
  if (first === undefined) throw new Error("the benchmark of weights/tiny-spatial has no pictures");
  picture = first;
});

test("prints a table of the six default factors on stdout, and the times on stderr", async () => {
  const { stdout, stderr, ending } = await adaptvis("sweep", "--image", picture.path, picture.question);
  expect(ending).toBe(0);
  const [head, ...rows] = stdout.trimEnd().split("\n");
  expect(head).toMatch(/^factor {10}confidence {2}on image {2}entropy {2}answer$/);
  const cells = rows.map((row) =>
    /^(.{14}) {2}([\d.]+) +[\d.]+ % +[\d.]+ b +(\S.*)$/
      .exec(row)
      ?.slice(1)
      .map((cell) => cell.trim()),
  );
  expect(cells.map((row) => row?.[0])).toEqual(["0.5", "0.8", "1 (unmodified)", "1.2", "1.5", "2"]);
  expect(cells[2]?.[2]).toBe(picture.answer);
  expect(stderr).toMatch(/^adaptvis: running on /m);
  expect(stderr).toMatch(/^Loaded in [\d.]+ s, answered under 6 factors in [\d.]+ s$/m);
});

test("--json is one object, whose row of factor 1 is what `ask` answers", async () => {
  const common = ["--image", picture.path, "--json", picture.question];
  const result = await adaptvis("sweep", ...common, "--factors", "0, 1,2.5");
  expect(result.ending).toBe(0);
  const asked = jsonOf(await adaptvis("ask", ...common));
  const report = jsonOf(result);
  const numbers = Object.fromEntries(
    ["share", "unplacedShare", "paddingShare", "entropy", "negativeScores"].map((name) => [name, expect.any(Number)]),
  );
  const row = (factor: number) => ({
    factor,
    confidence: expect.any(Number),
    answer: expect.any(String),
    finishReason: expect.any(String),
    tokenIds: expect.any(Array),
    attention: { layer: 2, head: null, ...numbers, unmodified: null },
  });
  const { confidence, answer, finishReason, attention: whole } = asked;
  const unmodified = { factor: 1, confidence, answer, finishReason, tokenIds: idsOf(asked), attention: near(whole) };
  expect(report).toEqual({
    question: picture.question,
    prompt: null,
    promptTokens: asked.promptTokens,
    imageSpan: asked.imageSpan,
    rows: [row(0), unmodified, row(2.5)],
    adapter: asked.adapter,
    model: asked.model,
    dtype: asked.dtype,
    kvDtype: "f32",
    activationDtype: "f32",
    timings: { loadMs: expect.any(Number), answerMs: expect.any(Number) },
  });
});

test("--layers, --heads, --prompt and --max-new-tokens say the same as in `ask`", async () => {
  const prompt = "USER: <image> What is in the picture? ASSISTANT:";
  const where = ["--layers", "0,2-3", "--heads", "1", "--max-new-tokens", "6", "--ignore-eos"];
  const common = ["--image", picture.path, "--prompt", prompt, ...where, "--json"];
  const report = jsonOf(await adaptvis("sweep", "--factors", "0.25", ...common));
  const { confidence, answer, tokens, ...asked } = jsonOf(await adaptvis("ask", "--factor", "0.25", ...common));
  expect(report).toMatchObject({ question: null, prompt, imageSpan: asked.imageSpan });
  expect(idsOf({ tokens })).toHaveLength(6);
  const attention = near(asked.attention);
  const row = { factor: 0.25, confidence, answer, finishReason: "length", tokenIds: idsOf({ tokens }), attention };
  expect(report.rows).toEqual([row]);
});

/** The attention of `ask` as a sweep has it: the rows of a batch are summed in another order. */
function near(attention: unknown): object {
  const { negativeScoresByHead, ...numbers } = attention as Record<string, unknown>; // of the report
  expect(negativeScoresByHead).toHaveLength(4);
  return Object.fromEntries(
    Object.entries(numbers).map(([name, value]) => [
      name,
      typeof value === "number" ? expect.closeTo(value, 4) : value,
    ]),
  );
}

describe("refuses with exit code 2, before a model is loaded", () => {
  const asked = ["--image", "none.png", "where?"];
  test.each<[string, readonly string[], RegExp]>([
    [
      "factors that are no numbers",
      ["--factors", "a,b", ...asked],
      /'a,b' is invalid.*1 to 32 numbers from 0 to 10000/,
    ],
    ["a factor that is not finite", ["--factors", "1,Infinity", ...asked], /'1,Infinity' is invalid/],
    ["a negative factor", ["--factors", "-1,2", ...asked], /'-1,2' is invalid.*from 0 to/],
    ["no factor", ["--factors", "", ...asked], /'' is invalid.*1 to 32 numbers/],
    ["a factor left out", ["--factors", "1,,2", ...asked], /'1,,2' is invalid/],
    ["33 factors", ["--factors", new Array(33).fill("1").join(), ...asked], /is invalid.*1 to 32 numbers/],
    ["no question", ["--image", "none.png"], /The question is missing.* sweep --image/],
    ["an empty question", ["--image", "none.png", " "], /question is empty/],
    ["a question and a prompt", ["--prompt", "<image>", ...asked], /Both a question and a --prompt/],
    ["no picture", ["where?"], /The picture is missing: give --image FILE\.$/],
    ["no new tokens", ["--max-new-tokens", "0", ...asked], /at least 1/],
    ["a method", ["--method", "adaptvis", ...asked], /unknown option '--method'/],
  ])("%s", async (_, args, message) => {
    const { stdout, stderr, ending } = await adaptvis("sweep", ...args);
    expect({ stdout, ending }).toEqual({ stdout: "", ending: 2 });
    expect(ownLines(stderr)).toEqual([expect.stringMatching(message)]);
  });
});

describe("refuses with exit code 2 what the model cannot be asked", () => {
  test.each<[string, readonly string[], RegExp]>([
    ["a prompt without <image>", ["--prompt", "where?"], /no image token/],
    ["a prompt longer than the context", ["--prompt", `<image>${" mug".repeat(1200)}`], /context has 1024/],
    ["a layer that the model lacks", ["--layers", "4", "where?"], /layers .* 0 to 3, got 4/],
    ["a head that the model lacks", ["--heads", "7", "where?"], /heads .* 0 to 3, got 7/],
  ])("%s", async (_, args, message) => {
    const { stdout, stderr, ending } = await adaptvis("sweep", "--image", picture.path, ...args);
    expect({ stdout, ending }).toEqual({ stdout: "", ending: 2 });
    expect(ownLines(stderr)).toEqual([expect.stringMatching(message)]);
  });
});

test("takes 32 factors, and one", async () => {
  const factors = Array.from({ length: 32 }, (_, index) => index / 16);
  const run = ["--image", picture.path, "--max-new-tokens", "1", picture.question];
  const { stdout, ending } = await adaptvis("sweep", "--factors", factors.join(), ...run);
  expect({ numLines: stdout.split("\n").length, ending }).toEqual({ numLines: 34, ending: 0 });
  const single = await adaptvis("sweep", "--factors", "1", ...run);
  expect(single.stderr).toMatch(/answered under 1 factor in /);
});

test("an error with --json is one object on stdout", async () => {
  const refused = await adaptvis("sweep", "--json", "--factors", "x", "--image", picture.path, "where?");
  expect(refused.ending).toBe(2);
  expect(jsonOf(refused)).toEqual({
    error: { name: "UsageError", message: expect.stringContaining("'x' is invalid") },
  });
  const missing = await adaptvis("sweep", "--json", "--image", "none.png", "where?");
  expect(missing.ending).toBe(1);
  expect(jsonOf(missing)).toMatchObject({ error: { name: "InputError" } });
  const wordless = await adaptvis("sweep", "--json", "--model", tinyLlava, "--image", picture.path, "where?");
  expect(wordless.ending).toBe(1);
  expect(jsonOf(wordless)).toMatchObject({
    error: { name: "CheckpointError", message: expect.stringMatching(/no chat_template/) },
  });
});

/** The ids in `ask`'s report. */
function idsOf(report: Record<string, unknown>): readonly unknown[] {
  if (!Array.isArray(report.tokens)) throw new Error("no tokens in the report");
  return report.tokens.map((token: { readonly id: unknown }) => token.id);
}
