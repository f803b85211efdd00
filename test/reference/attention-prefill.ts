// Twin of shaders/attention-prefill.wgsl: softmax attention row by row, with the whole row of scores at hand.
import type { HeadLayout } from "../../src/gpu/ops/rope.ts";
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
  /** Where the keys end that a row sees. */
  readonly numKeys: (row: number) => number;
  /** How many keys before that end it sees at most; all unless given. */
  readonly window?: number | undefined;
  /** The first key that a row sees; that of the window unless given. */
  readonly firstKey?: ((row: number) => number) | undefined;
  /** In which slot the key of this index lies for this row. */
  readonly slotOf: (row: number, key: number) => number;
  /** What a score becomes before the softmax; itself unless given. */
  readonly edit?: (score: number, place: ScorePlace) => number;
}

/** Position of a score. */
export interface ScorePlace {
  readonly row: number;
  readonly head: number;
  readonly key: number;
}

/** One row and head, of the keys from firstKey on: scores before the edits, the magnitudes of their sums, probabilities after them, output. */
export interface AttentionRow {
  readonly firstKey: number;
  readonly scores: readonly number[];
  readonly editedScores: readonly number[];
  readonly scoreMagnitudes: readonly number[];
  readonly probs: readonly number[];
  readonly output: readonly number[];
  /** The largest |edited score| that counts: knocked-out scores do not, unless all are. */
  readonly largestScore: number;
}

/** output[r, h] = Σ_j softmax_j(edit(q·k / √headDim)) · values[h / group, j], as [rows][H]. */
export function attentionPrefill(call: AttentionCall): readonly (readonly AttentionRow[])[] {
  return Array.from({ length: call.numRows }, (_, row) =>
    Array.from({ length: call.heads.numHeads }, (_, head) => attend(call, row, head)),
  );
}

function attend(call: AttentionCall, row: number, head: number): AttentionRow {
  const { numHeads, numKeyValueHeads, headDim } = call.heads;
  const keyHead = Math.floor(head / (numHeads / numKeyValueHeads));
  const end = call.numKeys(row);
  const firstKey = call.firstKey?.(row) ?? Math.max(0, end - (call.window ?? end));
  const starts = Array.from(
    { length: end - firstKey },
    (_, index) => (keyHead * call.numSlots + call.slotOf(row, firstKey + index)) * headDim,
  );
  const dimensions = Array.from({ length: headDim }, (_, d) => d);
  const query = (row * numHeads + head) * headDim;
  const products = starts.map((start) => dimensions.map((d) => at(call.queries, query + d) * at(call.keys, start + d)));
  const scores = products.map((terms) => sum(terms) / Math.sqrt(headDim));
  const scoreMagnitudes = products.map((terms) => sum(terms.map(Math.abs)) / Math.sqrt(headDim));
  const editedScores = scores.map((score, index) => call.edit?.(score, { row, head, key: firstKey + index }) ?? score);
  const largest = Math.max(...editedScores);
  const weights = editedScores.map((score) => Math.exp(score - largest));
  const total = sum(weights);
  const probs = weights.map((weight) => weight / total);
  const output = dimensions.map((d) => sum(probs.map((prob, key) => prob * at(call.values, at(starts, key) + d))));
  const counted = editedScores.filter((score) => score > -1e38).map(Math.abs);
  return { firstKey, scores, editedScores, scoreMagnitudes, probs, output, largestScore: Math.max(0, ...counted) };
}

function sum(terms: readonly number[]): number {
  return terms.reduce((total, term) => total + term, 0);
}
