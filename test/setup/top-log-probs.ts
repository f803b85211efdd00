// Reported log probabilities against the logits of another implementation.
import type { GeneratedToken } from "../../src/generate/generate.ts";
import { PARITY } from "./parity-bounds.ts";
import { type ParityCheck, within } from "./parity-check.ts";

/** Each token's most probable alternatives. @param logits [steps, V]; tokens behind the last step are not compared */
export function topLogProbChecks(
  tokens: readonly GeneratedToken[],
  logits: Float32Array,
  vocabSize = 160,
): ParityCheck[] {
  return Array.from({ length: logits.length / vocabSize }, (_, step) => {
    const expected = logProbs(logits.subarray(step * vocabSize, (step + 1) * vocabSize));
    const top = tokens[step]?.top ?? [];
    if (top.length === 0) throw new Error(`Token ${step} has no alternatives: ask for topLogProbs.`);
    const [actual, reference] = [
      top.map(({ logProb }) => logProb),
      top.map(({ tokenId }) => expected[tokenId] ?? Number.NaN),
    ];
    return within(`log probabilities of token ${step}`, PARITY.logits, [actual, reference]);
  });
}

function logProbs(logits: Float32Array): number[] {
  const largest = logits.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
  const sum = logits.reduce((total, value) => total + Math.exp(value - largest), 0);
  return Array.from(logits, (value) => value - largest - Math.log(sum));
}
