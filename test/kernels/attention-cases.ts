// What the tests of the attention kernels share: head layouts, operands, the twin for a decoder step, comparisons.
import { type AttentionKernel, attentionDecode, type HeadLayout, NUM_DECODE_SPLITS } from "../../src/gpu/ops/ops.ts";
import { padTo4 } from "../../src/gpu/tensor.ts";
import { type AttentionRow, attentionPrefill } from "../reference/attention-prefill.ts";
import type { Random } from "../reference/random.ts";
import { padRows, unpadRows } from "../reference/rows.ts";
import { cacheSlot, makeStep, packStep, rowPosition, type Step, scoreFactor } from "../reference/step.ts";
import { BOUNDS, type Bound } from "../setup/bounds.ts";
import { expectClose } from "../setup/expect-close.ts";
import { runKernel } from "../setup/run-kernel.ts";

/** The layout of H query heads and Hkv key/value heads of `headDim` values. */
export function headLayout(numHeads: number, numKeyValueHeads: number, headDim: number): HeadLayout {
  return { numHeads, numKeyValueHeads, headDim, paddedHeadDim: padTo4(headDim) };
}

/** Operands without padding: queries [rows, H, headDim], keys and values [Hkv, slots, headDim]. */
export interface Operands {
  readonly heads: HeadLayout;
  readonly numRows: number;
  readonly numSlots: number;
  readonly queries: Float32Array<ArrayBuffer>;
  readonly keys: Float32Array<ArrayBuffer>;
  readonly values: Float32Array<ArrayBuffer>;
}

/** Random operands whose scores are of about `scoreScale`. */
export function makeOperands(
  random: Random,
  heads: HeadLayout,
  { numRows, numSlots, scoreScale = 1.5 }: { numRows: number; numSlots: number; scoreScale?: number },
): Operands {
  const cacheLength = heads.numKeyValueHeads * numSlots * heads.headDim;
  return {
    heads,
    numRows,
    numSlots,
    queries: random.normals(numRows * heads.numHeads * heads.headDim, scoreScale),
    keys: random.normals(cacheLength),
    values: random.normals(cacheLength),
  };
}

/**
 * Operands with scores of up to ±1e4 that f32 holds exactly (integers below 2^24 over 4), so that the softmax alone is
 * tested: rows see keys of either sign, far apart and equal.
 */
export function makeLargeOperands(random: Random, size: { numRows: number; numSlots: number }): Operands {
  const operands = makeOperands(random, headLayout(2, 1, 16), size);
  const integers = (values: Float32Array) => values.map(() => random.integer(101) - 50);
  return { ...operands, queries: integers(operands.queries), keys: integers(operands.keys) };
}

/** The twin for a causal step: what each row sees, and where, comes from `step`. */
export function attendStep(operands: Operands, step: Step): readonly (readonly AttentionRow[])[] {
  return attentionPrefill({
    ...operands,
    numKeys: (row) => rowPosition(step, row) + 1,
    slotOf: (row, key) => cacheSlot(step, row, key),
    factorOf: (row, head, key) => scoreFactor(step, row, head, key),
  });
}

/** What a decode step leaves in its buffers. */
export interface DecodeResult {
  readonly output: Float32Array;
  /** [rows, H, splits, paddedHeadDim] */
  readonly partials: Float32Array;
  /** [rows, H, splits, 2] */
  readonly stats: Float32Array;
  readonly scores: Float32Array;
  readonly probs: Float32Array;
  readonly numSplits: number;
}

/** Runs a decode step whose queries lie in rows of q, k and v together; `captureStride` switches the capture on. */
export async function runDecode(
  operands: Operands,
  step: Step,
  { captureStride, kernel = "auto" }: { readonly captureStride?: number; readonly kernel?: AttentionKernel } = {},
): Promise<DecodeResult> {
  const { heads, numRows, numSlots } = operands;
  const { numHeads, numKeyValueHeads, headDim, paddedHeadDim } = heads;
  const queryRowStride = (numHeads + 2 * numKeyValueHeads) * paddedHeadDim;
  const pad = (values: Float32Array) => padRows(values, headDim, paddedHeadDim);
  let numSplits = 0;
  const results = await runKernel(({ gpu, program, upload, uniform, output }) => {
    numSplits = NUM_DECODE_SPLITS;
    const buffers = {
      partials: output(numRows * numHeads * numSplits * paddedHeadDim),
      stats: output(numRows * numHeads * numSplits * 2),
      output: output(numRows * numHeads * paddedHeadDim),
    };
    const captured = {
      scores: output(numHeads * (captureStride ?? 1)),
      probs: output(numHeads * (captureStride ?? 1)),
    };
    attentionDecode(program, gpu, {
      heads,
      // Keys and values of qkv must not be read: 1e30 would show.
      queries: upload(padRows(pad(operands.queries), numHeads * paddedHeadDim, queryRowStride, 1e30)),
      keys: upload(pad(operands.keys)),
      values: upload(pad(operands.values)),
      ...buffers,
      step: uniform(packStep(step)),
      numRows,
      capacity: numSlots,
      queryRowStride,
      kernel,
      capture: captureStride === undefined ? undefined : { ...captured, row: 0, stride: captureStride },
    });
    return { ...buffers, ...captured };
  });
  return { ...results, numSplits };
}

/**
 * A decode step's cases, shared by the tests of its two kernels: keys below, at and above the 32 splits, batches. Each number of
 * heads and of queries a key is a variant of the kernels, which lavapipe compiles for half a second, so there are few.
 */
export const DECODE_CASES: readonly {
  readonly title: string;
  readonly heads: HeadLayout;
  readonly numRows: number;
  readonly step: Step;
}[] = [
  ...[1, 2, 31, 32, 33, 70].map((numKeys) => ({
    title: `tiny-spatial's heads, ${numKeys} keys`,
    heads: headLayout(4, 4, 32),
    numRows: 1,
    step: makeStep({ positionStart: numKeys - 1 }),
  })),
  {
    title: "LLaMA-7B's head size, 300 keys, ten a split: two blocks of 4 and a rest",
    heads: headLayout(4, 4, 128),
    numRows: 1,
    step: makeStep({ positionStart: 299 }),
  },
  {
    title: "two queries a key, headDim 10 in 12",
    heads: headLayout(4, 2, 10),
    numRows: 1,
    step: makeStep({ positionStart: 40 }),
  },
  {
    title: "one key head for both, headDim 4",
    heads: headLayout(2, 1, 4),
    numRows: 1,
    step: makeStep({ positionStart: 9 }),
  },
  { title: "headDim 256", heads: headLayout(2, 1, 256), numRows: 1, step: makeStep({ positionStart: 50 }) },
  {
    title: "three batch rows share a prefix, each with its own tail and factor",
    heads: headLayout(4, 2, 32),
    numRows: 3,
    step: makeStep({
      positionStart: 74,
      positionStep: 0,
      prefixLength: 68,
      tailStride: 9,
      span: [4, 60],
      scaled: [0, 1000],
      factors: [1, 0.5, 2],
    }),
  },
  {
    title: "32 batch rows, the first key of their tails",
    heads: headLayout(2, 1, 8),
    numRows: 32,
    step: makeStep({
      positionStart: 20,
      positionStep: 0,
      prefixLength: 20,
      tailStride: 2,
      span: [3, 18],
      scaled: [20, 21],
      factors: Array.from({ length: 32 }, (_, row) => 0.25 + row / 8),
    }),
  },
  {
    title: "one batch row within the prefix",
    heads: headLayout(4, 2, 32),
    numRows: 1,
    step: makeStep({ positionStart: 30, positionStep: 0, prefixLength: 68, tailStride: 9 }),
  },
  {
    title: "half of the heads scaled",
    heads: headLayout(4, 4, 32),
    numRows: 1,
    step: makeStep({ positionStart: 69, span: [4, 68], scaled: [69, 70], scaledHeads: [1, 2], factors: [1.8] }),
  },
];

/** Operands for a decode case: a cache with room for the tails of all its rows. */
export function makeDecodeOperands(
  random: Random,
  { heads, numRows, step }: { readonly heads: HeadLayout; readonly numRows: number; readonly step: Step },
): Operands {
  const numSlots = step.positionStart + (numRows - 1) * step.tailStride + 2;
  return makeOperands(random, heads, { numRows, numSlots });
}

/** Compares an output [rows, H, paddedHeadDim] with the twin's. */
export function expectAttention(
  output: Float32Array,
  expected: readonly (readonly AttentionRow[])[],
  operands: Operands,
  { scoresAreExact = false }: { readonly scoresAreExact?: boolean } = {},
): void {
  const { heads, numRows, values } = operands;
  const largestValue = values.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
  const rows = expected.flat();
  expectClose(
    unpadRows(output, heads.paddedHeadDim, heads.headDim),
    rows.flatMap((row) => row.output),
    BOUNDS.attention,
    {
      shape: [numRows, heads.numHeads, heads.headDim],
      magnitudes: rows.flatMap((row) =>
        row.output.map(() => largestValue * (1 + (scoresAreExact ? 0 : row.largestScore))),
      ),
    },
  );
}

/** Compares one row's captured scores and probabilities, each [H, stride], with the twin's; the rest must be `filler`. */
export function expectCapture(
  captured: { readonly scores: Float32Array; readonly probs: Float32Array },
  expected: readonly AttentionRow[],
  { stride, filler }: { readonly stride: number; readonly filler: number },
): void {
  const shape = [expected.length, stride];
  const rest = (row: AttentionRow, value: number) => new Array<number>(stride - row.scores.length).fill(value);
  const check = (
    actual: Float32Array,
    bound: Bound,
    valuesOf: (row: AttentionRow) => readonly number[],
    magnitudesOf: (row: AttentionRow) => readonly number[],
  ) => {
    const real = (row: number, column: number) => column < Number(expected[row]?.scores.length);
    expectClose(
      actual.filter((_, index) => real(Math.floor(index / stride), index % stride)),
      expected.flatMap(valuesOf),
      bound,
      { shape: [expected.flatMap(valuesOf).length], magnitudes: expected.flatMap(magnitudesOf) },
    );
    expectClose(
      actual.map((value, index) => (real(Math.floor(index / stride), index % stride) ? 0 : value)),
      expected.flatMap((row) => [...row.scores.map(() => 0), ...rest(row, filler)]),
      BOUNDS.exact,
      { shape },
    );
  };
  check(
    captured.scores,
    BOUNDS.attentionScores,
    (row) => row.scores,
    (row) => row.scoreMagnitudes,
  );
  check(
    captured.probs,
    BOUNDS.attention,
    (row) => row.probs,
    (row) => row.probs.map(() => 1 + row.largestScore),
  );
}
