import { describe, expect, test } from "vitest";
import { InputError } from "../../src/errors.ts";
import { checkSampling, GREEDY, Sampler, type SamplingOptions } from "../../src/generate/sampler.ts";
import { StopMatcher } from "../../src/generate/stop.ts";
import { defineIntervention } from "../../src/interventions/intervention.ts";
import { number } from "../../src/interventions/parameters.ts";
import { readModelConfig } from "../../src/models/registry.ts";
import { checkFactors, settingsOf } from "../../src/settings.ts";

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

test("the same seed draws the same tokens, another seed others", () => {
  const draws = (seed: number) => {
    const sampler = new Sampler({ ...GREEDY, temperature: 1, seed });
    return Array.from({ length: 40 }, () => sampler.draw(LOGITS));
  };
  expect(draws(1)).toEqual(draws(1));
  expect(draws(1)).not.toEqual(draws(2));
});

test("the limits of each sampling option are taken", () => {
  checkSampling({ temperature: 0, topK: 0, topP: Number.MIN_VALUE, repetitionPenalty: Number.MIN_VALUE, seed: -3 });
  checkSampling({ ...GREEDY, topP: 1 });
});

test.each([
  ["temperature", -1],
  ["temperature", Number.NaN],
  ["temperature", Number.POSITIVE_INFINITY],
  ["topK", 1.5],
  ["topK", -1],
  ["topP", 0],
  ["topP", 1.01],
  ["topP", Number.NaN],
  ["repetitionPenalty", 0],
  ["repetitionPenalty", Number.POSITIVE_INFINITY],
  ["seed", 0.5],
  ["seed", 2 ** 53],
] as const)("%s = %f is refused by name", (name, value) => {
  expect(() => checkSampling({ ...GREEDY, [name]: value })).toThrow(`${name} must be`);
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
    ["the first of two in the text, whatever their order", ["later", "now"], ["a now later"], ["a "]],
    ["the first of two in the text, whatever their order", ["now", "later"], ["a now later"], ["a "]],
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

describe("settings", () => {
  const json = { model_type: "llama", max_position_embeddings: 100, num_hidden_layers: 2, num_attention_heads: 4 };
  const { text } = readModelConfig(json);
  const of = (options: object, promptLength = 40) => settingsOf(options, { text, defaults: {} }, promptLength);

  test("defaults", () => {
    expect({ ...of({}), method: of({}).method.name }).toEqual({
      method: "greedy",
      values: {},
      maxNewTokens: 61,
      stop: [],
      sampling: { temperature: 0, topK: 0, topP: 1, repetitionPenalty: 1, seed: 0 },
      topLogProbs: 0,
    });
    expect(of({}, 4).maxNewTokens).toBe(64);
  });

  test("what is given is taken", () => {
    const options = { maxNewTokens: 3, stop: ["a"], topLogProbs: 100 };
    expect(of({ ...options, method: "scaling", factor: 0, sampling: { seed: 3 } })).toMatchObject({
      ...options,
      values: { factor: 0 },
      sampling: { ...GREEDY, seed: 3 },
    });
    for (const method of ["greedy", "scaling", "adaptvis"]) expect(of({ method }).method.name).toBe(method);
    of({ method: "scaling", layers: [0, 1], heads: [0, 3], confidence: ["Left"] });
    of({ method: "scaling", layers: [], heads: [], confidence: "vocabulary" });
  });

  test.each([
    [100, 5, 1],
    [99, 5, 2],
    [96, 5, 5],
    [95, 5, 5],
  ])("after a prompt of %i of 100 positions, %i tokens become %i", (promptLength, maxNewTokens, expected) => {
    expect(of({ maxNewTokens }, promptLength).maxNewTokens).toBe(expected);
  });

  test.each([
    [{ method: "beam" }, "method must be one of greedy, scaling, adaptvis, constant-add"],
    [{ method: "scaling", factor: -2 }, "factor must be"],
    [{ method: "scaling", factor: "2" }, 'factor must be a number from 0 to 10000, got "2".'],
    [{ method: "adaptvis", alpha1: -1 }, "alpha1 must be"],
    [{ maxNewTokens: 0 }, "maxNewTokens must be"],
    [{ maxNewTokens: 1.5 }, "maxNewTokens must be"],
    [{ method: "scaling", layers: [0, 2] }, "layers must be whole numbers from 0 to 1, got 2"],
    [{ method: "scaling", layers: [0.5] }, "layers must be"],
    [{ method: "scaling", layers: 1 }, "layers must be a list of whole numbers, got a number."],
    [{ method: "scaling", heads: new Set([1]) }, "heads must be a list of whole numbers, got Set."],
    [{ method: "scaling", heads: [-1] }, "heads must be"],
    [{ method: "scaling", heads: [4] }, "heads must be whole numbers from 0 to 3, got 4"],
    [{ topLogProbs: 101 }, "topLogProbs must be a whole number from 0 to 100"],
    [{ topLogProbs: -1 }, "topLogProbs must be"],
    [{ topLogProbs: 0.5 }, "topLogProbs must be"],
    [{ sampling: { topP: 2 } }, "topP must be"],
    [{ confidence: [] }, "confidence: expected at least one option, got none."],
    [{ confidence: "left" }, "confidence must be a list of texts, got a string."],
    [{ confidence: [1] }, "confidence must be a list of texts, got other things."],
    [{ stop: "a" }, "stop must be a list of texts, got a string."],
    [{ stop: [1] }, "stop must be a list of texts, got other things."],
  ])("%j is refused by name", (options, message) => {
    expect(() => of(options)).toThrow(InputError);
    expect(() => of(options)).toThrow(message);
  });

  test("no more alternatives than the vocabulary has", () => {
    const small = { text: { ...text, vocabSize: 7 }, defaults: {} };
    expect(settingsOf({ topLogProbs: 7 }, small, 4).topLogProbs).toBe(7);
    expect(() => settingsOf({ topLogProbs: 8 }, small, 4)).toThrow("topLogProbs must be a whole number from 0 to 7");
  });

  test("a checkpoint's defaults replace a method's own, and the caller's settings replace both", () => {
    const own = { text, defaults: { adaptvis: { alpha1: 0.7, beta: 0.6 }, scaling: { factor: 0.9 } } };
    const values = (options: object) => settingsOf(options, own, 40).values;
    expect(values({ method: "adaptvis" })).toMatchObject({ alpha1: 0.7, alpha2: 1.5, beta: 0.6 });
    expect(values({ method: "adaptvis", beta: 0 })).toMatchObject({ alpha1: 0.7, beta: 0 });
    expect(values({ method: "scaling" })).toMatchObject({ factor: 0.9 });
    expect(values({})).toEqual({});
  });

  test("an intervention of the caller's brings its own settings", () => {
    const mine = defineIntervention({
      name: "mine",
      title: "Mine",
      summary: "test",
      source: "",
      parameters: { strength: number({ default: 2, minimum: 0, maximum: 4, meaning: "test" }) },
      edits: () => ({ scores: [], factor: 1 }),
    });
    expect(of({ method: mine, settings: { strength: 3 } })).toMatchObject({ values: { strength: 3 }, method: mine });
    expect(of({ method: mine }).values).toEqual({ strength: 2 });
    expect(() => of({ method: mine, settings: { strength: 5 } })).toThrow(
      "strength must be a number from 0 to 4, got 5",
    );
    expect(() => of({ method: mine, factor: 1 })).toThrow("factor is not a setting of method mine: it has strength");
  });

  test("a sweep takes 1 to 32 factors", () => {
    checkFactors([1]);
    checkFactors(Array.from({ length: 32 }, () => 1));
    expect(() => checkFactors([])).toThrow("factors must be 1 to 32 numbers, got 0");
    expect(() => checkFactors(Array.from({ length: 33 }, () => 1))).toThrow("got 33");
    expect(() => checkFactors([1, -1])).toThrow("factors must be numbers from 0 to 10000, got -1");
  });
});
