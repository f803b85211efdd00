// Twin of shaders/attention-decode-split.wgsl: the softmax of one contiguous part of the keys, not yet normalised.
import { at } from "./rows.ts";

/** One split: the largest score m, Σ exp(s − m) and Σ exp(s − m) · value; of no keys, the latter two are 0. */
export interface SplitResult {
  readonly largest: number;
  readonly total: number;
  readonly partial: readonly number[];
}

/** The splits of one row and head, ceil(keys / numSplits) keys each, rounded up to `multiple`, from its scaled scores and the keys' values. */
export function attentionDecodeSplit(
  scaledScores: readonly number[],
  values: readonly (readonly number[])[],
  { numSplits, multiple = 1 }: { readonly numSplits: number; readonly multiple?: number },
): readonly SplitResult[] {
  const length = Math.ceil(Math.ceil(scaledScores.length / numSplits) / multiple) * multiple;
  const headDim = at(
    values.map((value) => value.length),
    0,
  );
  return Array.from({ length: numSplits }, (_, split) => {
    const scores = scaledScores.slice(split * length, (split + 1) * length);
    const largest = Math.max(...scores);
    const weights = scores.map((score) => Math.exp(score - largest));
    const partial = Array.from({ length: headDim }, (_, d) =>
      weights.reduce((sum, weight, index) => sum + weight * Number(values[split * length + index]?.[d]), 0),
    );
    return { largest, total: weights.reduce((sum, weight) => sum + weight, 0), partial };
  });
}
