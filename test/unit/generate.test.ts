// Sampling and stop strings, without a model.
import type { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { afterAll, afterEach, describe, expect, test, vi } from "vitest";
import { InputError } from "../../src/errors.ts";
import { GREEDY, SAMPLING, Sampler, type SamplingOptions } from "../../src/generate/sampler.ts";
import { StopMatcher } from "../../src/generate/stop.ts";
import { readOptions } from "../../src/options.ts";

/** Takes the place of the generator's numbers where a test sets it. */
const fixed = vi.hoisted((): { random?: number | undefined } => ({}));

// Other files of this process have the sampler as it is, before and after.
vi.hoisted(() => vi.resetModules());
vi.mock("pure-rand/distribution/uniformFloat64", async (importOriginal) => {
  const original = await importOriginal<{ uniformFloat64: typeof uniformFloat64 }>();
  const replaced: typeof uniformFloat64 = (generator) => fixed.random ?? original.uniformFloat64(generator);
  return { uniformFloat64: replaced };
});

afterEach(() => {
  fixed.random = undefined;
});

afterAll(() => {
  vi.doUnmock("pure-rand/distribution/uniformFloat64");
  vi.resetModules();
});

const NUM_DRAWS = 20_000;
const LOGITS = [2, 1, 0, -1, 1];

/** Shares of each token in many draws with one seed. */
function shares(options: Partial<SamplingOptions>, logits = LOGITS): number[] {
  const sampler = new Sampler({ ...GREEDY, temperature: 1, seed: 7, ...options });
  const counts = logits.map(() => 0);
  for (let i = 0; i < NUM_DRAWS; i++) {
    const tokenId = sampler.draw(logits);
    counts[tokenId] = (counts[tokenId] ?? 0) + 1;
  }
  return counts.map((count) => count / NUM_DRAWS);
}

function softmax(logits: readonly number[], temperature = 1): number[] {
  const weights = logits.map((logit) => Math.exp(logit / temperature));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

// Five standard deviations of a share of 0.5 in 20,000 draws.
const SHARE_BOUND = 5 * Math.sqrt(0.25 / NUM_DRAWS);

function expectShares(actual: readonly number[], expected: readonly number[]): void {
  for (const [i, share] of actual.entries()) expect(Math.abs(share - (expected[i] ?? 0))).toBeLessThan(SHARE_BOUND);
}

test("sampling follows softmax(logits / temperature)", () => {
  expectShares(shares({}), softmax(LOGITS));
  expectShares(shares({ temperature: 0.5 }), softmax(LOGITS, 0.5));
  expectShares(shares({ temperature: 3 }), softmax(LOGITS, 3));
});

test("top-k keeps the k most probable, ties by the smaller id", () => {
  const [a = 0, b = 0] = softmax([2, 1]);
  expectShares(shares({ topK: 2 }), [a, b, 0, 0, 0]);
  expect(shares({ topK: 1 })).toEqual([1, 0, 0, 0, 0]);
  expect(shares({ topK: 1 }, [-2, 0, 3, 1])).toEqual([0, 0, 1, 0]);
});

test("top-p keeps the fewest tokens that reach p", () => {
  const [first = 0, second = 0] = softmax(LOGITS);
  expect(shares({ topP: first * 0.99 })).toEqual([1, 0, 0, 0, 0]);
  const total = first + second;
  expectShares(shares({ topP: first + second * 0.5 }), [first / total, second / total, 0, 0, 0]);
});

test("top-p stops at the token that reaches p exactly", () => {
  expect(shares({ topP: 0.5 }, [0, 0])).toEqual([1, 0]);
});

test("top-p counts the probabilities that top-k left", () => {
  // Of the two kept, the first has 0.73: more than 0.7, though of all five it has less.
  expect(shares({ topK: 2, topP: 0.7 })).toEqual([1, 0, 0, 0, 0]);
  expect(softmax(LOGITS)[0]).toBeLessThan(0.7);
});

test("top-p 1 keeps every token, top-k 0 too, and a tiny top-p the first", () => {
  expectShares(shares({ topP: 1, topK: 0 }), softmax(LOGITS));
  expect(shares({ topP: 1e-300 })).toEqual([1, 0, 0, 0, 0]);
  expectShares(shares({ topK: 9 }), softmax(LOGITS));
});

test("logits of any size are drawn from", () => {
  expectShares(shares({}, [1000, 1000, -1000]), [0.5, 0.5, 0]);
  expectShares(shares({}, [-1000, -1001]), softmax([1, 0]));
});

test("each token has a half-open range of the random number", () => {
  const drawAt = (random: number, logits: readonly number[]) => {
    fixed.random = random;
    return new Sampler({ ...GREEDY, temperature: 1 }).draw(logits);
  };
  const below = (limit: number) => limit - Number.EPSILON / 2;
  const equal = [0, 0, 0, 0];
  expect([0, 0.25, 0.5, 0.75].map((random) => drawAt(random, equal))).toEqual([0, 1, 2, 3]);
  expect([0.25, 0.5, 0.75, 1].map((random) => drawAt(below(random), equal))).toEqual([0, 1, 2, 3]);
  // Each of the ten small weights is 0.75 of the sum's last bit and rounds up to all of it, so the ranges end before the sum.
  const small = Math.log(0.75 * Number.EPSILON);
  expect(drawAt(below(1), [0, ...Array.from({ length: 10 }, () => small)])).toBe(10);
});

test("the same seed draws the same tokens, another seed others", () => {
  const draws = (seed: number) => {
    const sampler = new Sampler({ ...GREEDY, temperature: 1, seed });
    return Array.from({ length: 40 }, () => sampler.draw(LOGITS));
  };
  expect(draws(1)).toEqual(draws(1));
  expect(draws(1)).not.toEqual(draws(2));
});

test("the limits of each sampling option are taken", () => {
  const least = { temperature: 0, topK: 0, topP: Number.MIN_VALUE, repetitionPenalty: Number.MIN_VALUE, seed: -3 };
  for (const options of [least, { ...GREEDY, topP: 1 }]) {
    expect(readOptions("sampling", options, SAMPLING)).toEqual(options);
  }
});

test.each([
  ["temperature", -1, "a number of at least 0"],
  ["temperature", Number.NaN, "a number of at least 0"],
  ["temperature", Number.POSITIVE_INFINITY, "a number of at least 0"],
  ["topK", 1.5, "a whole number of at least 0"],
  ["topK", -1, "a whole number of at least 0"],
  ["topP", 0, "a number above 0 and at most 1"],
  ["topP", 1.01, "a number above 0 and at most 1"],
  ["topP", Number.NaN, "a number above 0 and at most 1"],
  ["repetitionPenalty", 0, "a number above 0"],
  ["repetitionPenalty", Number.POSITIVE_INFINITY, "a number above 0"],
  ["seed", 0.5, "a whole number"],
  ["seed", 2 ** 53, "a whole number"],
] as const)("%s = %f is refused by name", (name, value, expected) => {
  const check = () => readOptions("sampling", { ...GREEDY, [name]: value }, SAMPLING);
  expect(check).toThrow(InputError);
  expect(check).toThrow(`${name} must be ${expected}, got ${value}.`);
});

/** What a matcher shows of pieces, one by one, and whether a stop string ended them; `held` is what it flushes. */
function pushAll(stops: readonly string[], pieces: readonly string[]) {
  const matcher = new StopMatcher(stops);
  const results = pieces.map((piece) => matcher.push(piece));
  return {
    shown: results.map(({ text }) => text),
    isStopped: results.some(({ isStopped }) => isStopped),
    held: matcher.flush(),
  };
}

describe("stop strings", () => {
  test.each([
    ["within a piece", ["END"], ["a END b"], ["a "]],
    ["as a whole piece", ["END"], ["END"], [""]],
    ["after false starts", ["</s>", "END"], ["a <", "b", " E", "N", "D of it"], ["a ", "<b", " ", "", ""]],
    ["in two pieces, cut anywhere", ["STOP"], ["xS", "TOP"], ["x", ""]],
    ["in two pieces, cut anywhere", ["STOP"], ["xST", "OP"], ["x", ""]],
    ["in two pieces, cut before the last character", ["STOP"], ["xSTO", "Py"], ["x", ""]],
    ["character by character", ["STOP"], ["x", "S", "T", "O", "P"], ["x", "", "", "", ""]],
    ["that begins again within itself", ["aab"], ["aa", "ab"], ["", "a"]],
    ["longer than the text so far, which is held whole", ["abaxyz"], ["aba", "xyz"], ["", ""]],
    ["the first of two in the text, in either order", ["later", "now"], ["a now later"], ["a "]],
    ["the first of two in the text, in either order", ["now", "later"], ["a now later"], ["a "]],
    ["the shorter of two that begin alike", ["STOP", "ST"], ["xS", "T"], ["x", ""]],
    ["with an empty one, which is ignored", ["", "END"], ["a", "END"], ["a", ""]],
  ] as const)("%s: %j in %j", (_, stops, pieces, shown) => {
    expect(pushAll(stops, pieces)).toEqual({ shown, isStopped: true, held: "" });
  });

  test.each([
    ["the longest suffix that may become one is held", ["STOP", "OUT"], ["x STO"], ["x "], "STO"],
    ["the same with the longer one last", ["OUT", "STOP"], ["x STO"], ["x "], "STO"],
    ["a suffix as short as one character", ["STOP", "OUT"], ["x O"], ["x "], "O"],
    ["what turns out not to be one is shown", ["STOP"], ["x ST", "y"], ["x ", "STy"], ""],
    ["a suffix that begins anew", ["STOP"], ["ST", "ST"], ["", "ST"], "ST"],
    ["one of a single character is never open", ["!"], ["a", "b"], ["a", "b"], ""],
    ["an empty one is none", [""], ["abc"], ["abc"], ""],
    ["without any", [], ["abc", "d"], ["abc", "d"], ""],
  ] as const)("held text: %s", (_, stops, pieces, shown, held) => {
    expect(pushAll(stops, pieces)).toEqual({ shown, isStopped: false, held });
  });

  test("held text is given out once", () => {
    const matcher = new StopMatcher(["STOP"]);
    matcher.push("ST");
    expect([matcher.flush(), matcher.flush()]).toEqual(["ST", ""]);
    expect(matcher.push("OP")).toEqual({ text: "OP", isStopped: false });
  });
});
