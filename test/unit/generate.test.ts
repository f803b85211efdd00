import { expect, test } from "vitest";
import { checkSampling, GREEDY, Sampler, type SamplingOptions } from "../../src/generate/sampler.ts";
import { StopMatcher } from "../../src/generate/stop.ts";
import { readModelConfig } from "../../src/models/config.ts";
import { settingsOf } from "../../src/settings.ts";

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

test("the same seed draws the same tokens, another seed others", () => {
  const draws = (seed: number) => {
    const sampler = new Sampler({ ...GREEDY, temperature: 1, seed });
    return Array.from({ length: 40 }, () => sampler.draw(LOGITS));
  };
  expect(draws(1)).toEqual(draws(1));
  expect(draws(1)).not.toEqual(draws(2));
});

test.each([
  ["temperature", -1],
  ["temperature", Number.NaN],
  ["topK", 1.5],
  ["topP", 0],
  ["topP", 1.01],
  ["repetitionPenalty", 0],
  ["seed", 0.5],
] as const)("%s = %f is refused by name", (name, value) => {
  expect(() => checkSampling({ ...GREEDY, [name]: value })).toThrow(`${name} must be`);
});

test("stop strings end the text, also across pieces, and nothing of them is shown", () => {
  const stops = new StopMatcher(["</s>", "END"]);
  expect(stops.push("a <")).toEqual({ text: "a ", isStopped: false });
  expect(stops.push("b")).toEqual({ text: "<b", isStopped: false });
  expect(stops.push(" E")).toEqual({ text: " ", isStopped: false });
  expect(stops.push("N")).toEqual({ text: "", isStopped: false });
  expect(stops.push("D of it")).toEqual({ text: "", isStopped: true });
});

test("held text is given out when generation ends otherwise", () => {
  const stops = new StopMatcher(["STOP"]);
  expect(stops.push("x ST")).toEqual({ text: "x ", isStopped: false });
  expect(stops.flush()).toBe("ST");
  expect(stops.flush()).toBe("");
  expect(new StopMatcher([""]).push("abc")).toEqual({ text: "abc", isStopped: false });
});

test("settings: defaults, the context's end, and what is refused", () => {
  const { text } = readModelConfig({ model_type: "llama", max_position_embeddings: 100, num_hidden_layers: 2 });
  expect(settingsOf({}, text, 40)).toMatchObject({
    method: "greedy",
    maxNewTokens: 61,
    sampling: GREEDY,
    topLogProbs: 0,
  });
  expect(settingsOf({ maxNewTokens: 5 }, text, 100).maxNewTokens).toBe(1);
  expect(() => settingsOf({ maxNewTokens: 0 }, text, 4)).toThrow("maxNewTokens must be");
  expect(() => settingsOf({ layers: [2] }, text, 4)).toThrow("layers must be whole numbers from 0 to 1, got 2");
  expect(() => settingsOf({ heads: [-1] }, text, 4)).toThrow("heads must be");
  expect(() => settingsOf({ heads: [3] }, { ...text, numAttentionHeads: 129 }, 4)).toThrow(
    "heads can be chosen among 128",
  );
  expect(() => settingsOf({ topLogProbs: 101 }, text, 4)).toThrow("topLogProbs must be");
  expect(() => settingsOf({ factor: -2 }, text, 4)).toThrow("factor must be");
});
