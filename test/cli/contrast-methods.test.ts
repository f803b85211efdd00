// VCD and DoLa from the command line: their flags come from the registry.
import { beforeAll, describe, expect, test } from "vitest";
import { adaptvis, jsonOf, type KnownPicture, knownPictures, ownLines } from "./command.ts";

let picture: KnownPicture;

beforeAll(async () => {
  const [first] = await knownPictures();
  if (first === undefined) throw new Error("the benchmark of weights/tiny-spatial has no pictures");
  picture = first;
});

async function ask(...flags: readonly string[]) {
  const result = await adaptvis(
    "ask",
    "--image",
    picture.path,
    "--json",
    "--log-probs",
    "3",
    ...flags,
    picture.question,
  );
  expect(result.ending).toBe(0);
  return jsonOf(result);
}

test("--method vcd, and the flags that imply it", async () => {
  const settings = { amplification: 1, plausibility: 0.1, noiseStep: 500, noiseSeed: 0 };
  const named = await ask("--method", "vcd");
  expect(named).toMatchObject({ method: "vcd", settings, factor: 1 });
  const implied = await ask("--noise-step", "500");
  expect(implied).toMatchObject({ method: "vcd", settings, tokens: named.tokens });
  const far = await ask("--noise-step", "999", "--noise-seed", "3", "--amplification", "2", "--plausibility", "0");
  expect(far).toMatchObject({ settings: { amplification: 2, plausibility: 0, noiseStep: 999, noiseSeed: 3 } });
  expect(far.tokens).not.toEqual(named.tokens);
});

test("--method dola, and the flags that imply it", async () => {
  const named = await ask("--method", "dola");
  expect(named).toMatchObject({
    method: "dola",
    settings: { candidates: "high", plausibility: 0.1, variant: "paper" },
  });
  const chosen = await ask("--early-layers", "2"); // the upper half's only one of 4 layers
  expect(chosen).toMatchObject({ method: "dola", settings: { earlyLayers: [2] }, tokens: named.tokens });
  // Without tokens that are ruled out: of those that stay, this answer has one only.
  const code = await ask("--early-layers", "0-3", "--variant", "code", "--plausibility", "0");
  expect(code).toMatchObject({ settings: { earlyLayers: [0, 1, 2, 3], plausibility: 0, variant: "code" } });
  expect(code.tokens).not.toEqual(named.tokens);
});

describe("refuses with exit code 2", () => {
  test.each([
    [
      "a step that is no whole number",
      ["--noise-step", "1.5"],
      /'1.5' is invalid. Expected a whole number from 0 to 999/,
    ],
    ["a step that the process does not have", ["--noise-step", "1000"], /Expected a whole number from 0 to 999/],
    ["a share above 1", ["--method", "vcd", "--plausibility", "2"], /'2' is invalid.*at most 1/],
    ["an unknown half", ["--candidates", "middle"], /'middle' is invalid.*high, low/],
    [
      "early layers that the model lacks",
      ["--early-layers", "4"],
      /earlyLayers must be whole numbers from 0 to 3, got 4/,
    ],
    [
      "settings of two methods",
      ["--variant", "code", "--noise-seed", "1"],
      /--variant is a setting of --method dola; it cannot be combined with vcd, which --noise-seed implies/,
    ],
    [
      "a setting of several methods without one of them",
      ["--plausibility", "0.2"],
      /--plausibility is a setting of --method pai, vcd, dola; it cannot be combined with greedy/,
    ],
    ["layers that scores are edited in", ["--method", "vcd", "--layers", "1"], /cannot be combined with vcd/],
  ])("%s", async (_, flags, message) => {
    const { stdout, stderr, ending } = await adaptvis("ask", "--image", picture.path, ...flags, picture.question);
    expect({ stdout, ending }).toEqual({ stdout: "", ending: 2 });
    expect(ownLines(stderr)).toEqual([expect.stringMatching(message)]);
  });
});

test("--help names the methods and their settings", async () => {
  const { stdout } = await adaptvis("ask", "--help");
  const text = stdout.replaceAll(/\s+/g, " ");
  expect(text).toContain("vcd: contrasts the answer with one about the picture under noise;");
  expect(text).toContain("dola: contrasts the last layer's distribution with an earlier layer's");
  for (const flag of [
    "amplification",
    "plausibility",
    "noise-step",
    "noise-seed",
    "candidates",
    "early-layers",
    "variant",
  ]) {
    expect(text).toMatch(new RegExp(`--${flag} <(number|name|list)> \\w`));
  }
});
