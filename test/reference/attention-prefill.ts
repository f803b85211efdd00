// Twin of shaders/attention-prefill.wgsl: softmax attention row by row, with the whole row of scores at hand.
import type { HeadLayout } from "../../src/gpu/ops/ops.ts";
import { at } from "./rows.ts";

/** Operands as plain arrays, without any padding. */
export interface AttentionCall {
  readonly heads: HeadLayout;
  /** [rows, H, headDim] */
  readonly queries: ArrayLike<number>;
  /** [Hkv, slots, headDim] */
  readonly keys: ArrayLike<number>;
  readonly values: ArrayLike<number>;
  readonly numRows: number;
  readonly numSlots: number;
  /** How many keys a row sees. */
  readonly numKeys: (row: number) => number;
  /** In which slot the key of this index lies for this row. */
  readonly slotOf: (row: number, key: number) => number;
  /** What a score is multiplied by before the softmax. */
  readonly factorOf: (row: number, head: number, key: number) => number;
}

/** One row and head: scores before the factor, the magnitudes of their sums, probabilities after it, output. */
export interface AttentionRow {
  readonly scores: readonly number[];
  readonly scoreMagnitudes: readonly number[];
  readonly probs: readonly number[];
  readonly output: readonly number[];
  /** The largest |factor · score|. */
  readonly largestScore: number;
}

/** output[r, h] = Σ_j softmax_j(factor · q·k / √headDim) · values[h / group, j], as [rows][H]. */
export function attentionPrefill(call: AttentionCall): readonly (readonly AttentionRow[])[] {
  return Array.from({ length: call.numRows }, (_, row) =>
    Array.from({ length: call.heads.numHeads }, (_, head) => attend(call, row, head)),
  );
}

function attend(call: AttentionCall, row: number, head: number): AttentionRow {
  const { numHeads, numKeyValueHeads, headDim } = call.heads;
  const keyHead = Math.floor(head / (numHeads / numKeyValueHeads));
  const starts = Array.from(
    { length: call.numKeys(row) },
    (_, key) => (keyHead * call.numSlots + call.slotOf(row, key)) * headDim,
  );
  const dimensions = Array.from({ length: headDim }, (_, d) => d);
  const query = (row * numHeads + head) * headDim;
  const products = starts.map((start) => dimensions.map((d) => at(call.queries, query + d) * at(call.keys, start + d)));
  const scores = products.map((terms) => sum(terms) / Math.sqrt(headDim));
  const scoreMagnitudes = products.map((terms) => sum(terms.map(Math.abs)) / Math.sqrt(headDim));
  const scaled = scores.map((score, key) => score * call.factorOf(row, head, key));
  const largest = Math.max(...scaled);
  const weights = scaled.map((score) => Math.exp(score - largest));
  const total = sum(weights);
  const probs = weights.map((weight) => weight / total);
  const output = dimensions.map((d) => sum(probs.map((prob, key) => prob * at(call.values, at(starts, key) + d))));
  return { scores, scoreMagnitudes, probs, output, largestScore: Math.max(...scaled.map(Math.abs)) };
}

function sum(terms: readonly number[]): number {
  return terms.reduce((total, term) => total + term, 0);
}
