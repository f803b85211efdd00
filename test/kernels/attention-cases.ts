// What the tests of the attention kernels share: head layouts, operands, the twin for a decoder step, comparisons.
import { expect } from "vitest";
import type { CacheDtype } from "../../src/gpu/cache-format.ts";
import {
  type AttentionEdits,
  attentionDecode,
  type DecodeKernelName,
  NUM_DECODE_SPLITS,
} from "../../src/gpu/ops/attention.ts";
import type { HeadLayout } from "../../src/gpu/ops/rope.ts";
import { padTo4 } from "../../src/gpu/tensor.ts";
import { packScoreEdits } from "../../src/models/layers/score-edits.ts";
import { type AttentionRow, attentionPrefill } from "../reference/attention-prefill.ts";
import { storeSlots } from "../reference/cache-formats.ts";
import type { Random } from "../reference/random.ts";
import { padRows, unpadRows } from "../reference/rows.ts";
import { type Edits, editScore, makeEdit, makeEdits } from "../reference/score-edit.ts";
import { cacheSlot, makeRows, makeStep, packStep, rowSlot, type Step } from "../reference/step.ts";
import { BOUNDS, type Bound } from "../setup/bounds.ts";
import { isBrief } from "../setup/device.ts";
import { expectClose } from "../setup/expect-close.ts";
import { type Recording, runKernel } from "../setup/run-kernel.ts";

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
  /** Numbers that `cacheDtype` holds exactly. */
  readonly keys: Float32Array<ArrayBuffer>;
  readonly values: Float32Array<ArrayBuffer>;
  /** How the cache stores them; f32 unless given. */
  readonly cacheDtype?: CacheDtype;
  /** Keys that a row of a causal step sees at most; all up to its own unless given. */
  readonly window?: number;
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

/** The operands with keys and values rounded to what a cache in `cacheDtype` holds. */
export function inCache(operands: Operands, cacheDtype: CacheDtype): Operands {
  const { headDim } = operands.heads;
  const stored = (values: Float32Array<ArrayBuffer>) => storeSlots(values, headDim, cacheDtype).values;
  return { ...operands, keys: stored(operands.keys), values: stored(operands.values), cacheDtype };
}

/** Keys or values as the cache stores them. */
export function packed(values: Float32Array<ArrayBuffer>, { heads, cacheDtype = "f32" }: Operands) {
  return storeSlots(values, heads.headDim, cacheDtype).stored;
}

/**
 * Forms of packed caches: in f16 a padded head and the common one, which any other is packed as; in q8 heads that its groups are
 * about, whole and incomplete ones of 32 values with one and two words of scales.
 */
export const PACKED_CASES = (["f16", "q8"] as const).flatMap((cacheDtype) =>
  [
    { title: "two queries a key, headDim 10 in 12", heads: headLayout(4, 2, 10) },
    { title: "LLaMA-7B's head size", heads: headLayout(2, 2, 128) },
    { title: "tiny-spatial's heads", heads: headLayout(4, 4, 32) },
    { title: "one key head for both, headDim 72", heads: headLayout(2, 1, 72) },
  ]
    .slice(0, isBrief ? 1 : cacheDtype === "f16" ? 2 : undefined)
    .map((each) => ({ ...each, cacheDtype })),
);

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
export function attendStep(operands: Operands, step: Step, edits?: Edits): readonly (readonly AttentionRow[])[] {
  return attentionPrefill({
    ...operands,
    numKeys: (row) => rowSlot(step, row) + 1,
    slotOf: (row, key) => cacheSlot(step, row, key),
    edit: (score, place) => editScore(score, edits, { step, ...place }),
  });
}

/** Edits as the ops take them. */
export function uploadEdits(
  upload: Recording["upload"],
  heads: HeadLayout,
  edits: Edits | undefined,
): AttentionEdits | undefined {
  if (edits === undefined) return undefined;
  const { rows, numLayers, layer } = edits;
  return { words: upload(packScoreEdits(rows, { numLayers, numHeads: heads.numHeads })), layer };
}

/** Rows [start, end) of a call that are captured, and the row of the buffers that they go to. */
export interface CapturedRows {
  readonly rows: readonly [start: number, end: number];
  readonly targetRow?: number;
  readonly stride: number;
}

/** Rows of `scores` and `probs` in front of the captured ones, those, and one behind. */
export function captureLength(numHeads: number, capture: CapturedRows | undefined): number {
  const { rows = [0, 0], targetRow = 0, stride = 1 } = capture ?? {};
  return (targetRow + rows[1] - rows[0] + 1) * numHeads * stride;
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

/** How a decode step is run. */
export interface DecodeOptions {
  readonly edits?: Edits | undefined;
  readonly capture?: CapturedRows;
  readonly kernel?: DecodeKernelName;
}

/** Runs a decode step whose queries lie in rows of q, k and v together. */
export async function runDecode(
  operands: Operands,
  step: Step,
  { edits, capture, kernel }: DecodeOptions = {},
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
      scores: output(captureLength(numHeads, capture)),
      probs: output(captureLength(numHeads, capture)),
    };
    attentionDecode(program, gpu, {
      heads,
      // Keys and values of qkv must not be read: 1e30 would show.
      queries: upload(padRows(pad(operands.queries), numHeads * paddedHeadDim, queryRowStride, 1e30)),
      keys: upload(packed(operands.keys, operands)),
      values: upload(packed(operands.values, operands)),
      cacheDtype: operands.cacheDtype,
      window: operands.window,
      ...buffers,
      step: uniform(packStep(step)),
      numRows,
      capacity: numSlots,
      raggedKeys: step.rows && step.slotStart + 1,
      queryRowStride,
      kernel,
      capture: capture && { ...captured, ...capture },
      edits: uploadEdits(upload, heads, edits),
    });
    return { ...buffers, ...captured };
  });
  return { ...results, numSplits };
}

/** What an edit can do. */
export const OPERATIONS = ["multiply", "add", "add-magnitude", "knock-out"] as const;

/** Strengths of three layers of four heads, of which those of the second are meant; some are neutral. */
const OTHER_LAYERS = [9, 9, 9, 9, 0.5, 1, 0, -1.5, 9, 9, 9, 9];

/**
 * A decode step's cases, shared by the tests of its two kernels: keys below, at and above the 32 splits, batches. Each number of
 * heads and of queries a key is a variant of the kernels, which lavapipe compiles for half a second, so there are few.
 */
export const DECODE_CASES: readonly {
  readonly title: string;
  readonly heads: HeadLayout;
  readonly numRows: number;
  readonly step: Step;
  readonly edits?: Edits;
}[] = [
  ...[1, 2, 31, 32, 33, 70].map((numKeys) => ({
    title: `tiny-spatial's heads, ${numKeys} keys`,
    heads: headLayout(4, 4, 32),
    numRows: 1,
    step: makeStep({ slotStart: numKeys - 1 }),
  })),
  {
    title: "LLaMA-7B's head size, 300 keys, ten a split: two blocks of 4 and a rest",
    heads: headLayout(4, 4, 128),
    numRows: 1,
    step: makeStep({ slotStart: 299 }),
  },
  {
    title: "two queries a key, headDim 10 in 12",
    heads: headLayout(4, 2, 10),
    numRows: 1,
    step: makeStep({ slotStart: 40 }),
  },
  {
    title: "one key head for both, headDim 4",
    heads: headLayout(2, 1, 4),
    numRows: 1,
    step: makeStep({ slotStart: 9 }),
  },
  { title: "headDim 256", heads: headLayout(2, 1, 256), numRows: 1, step: makeStep({ slotStart: 50 }) },
  {
    title: "three batch rows share a prefix, each with its own tail and edits",
    heads: headLayout(4, 2, 32),
    numRows: 3,
    step: makeStep({ slotStart: 74, slotStep: 0, prefixLength: 68, tailStride: 9 }),
    edits: {
      rows: [
        [],
        [makeEdit(4, 0.5, { rows: [0, 1000], columns: [[4, 60]] })],
        [
          makeEdit(4, 2, { columns: [[4, 60]] }),
          makeEdit(4, [1, 0, -0.5, 2], {
            operation: "add",
            columns: [
              [66, 71],
              [73, 75],
            ],
          }), // of its tail, too
          makeEdit(4, [0, 0, 1, 1], { operation: "knock-out", columns: [[0, 8]] }),
          makeEdit(4, 0.5, { columns: [[0, 16]] }),
        ],
      ],
      numLayers: 1,
      layer: 0,
    },
  },
  {
    title: "32 batch rows, the first key of their tails",
    heads: headLayout(2, 1, 8),
    numRows: 32,
    step: makeStep({ slotStart: 20, slotStep: 0, prefixLength: 20, tailStride: 2 }),
    edits: {
      rows: Array.from({ length: 32 }, (_, row) => [
        makeEdit(2, 0.25 + row / 8, { rows: [20, 21], columns: [[3, 18]] }),
      ]),
      numLayers: 1,
      layer: 0,
    },
  },
  {
    title: "four batch rows of different lengths, in any order of the cache, each with its own edits",
    heads: headLayout(4, 2, 32),
    numRows: 4,
    step: makeRows([
      [40, 75],
      [0, 200],
      [74, 0],
      [33, 120],
    ]),
    edits: {
      rows: [
        [makeEdit(4, [1, 1.8, 0.5, 0], { rows: [40, 41], columns: [[4, 30]] })],
        [],
        [makeEdit(4, 0.5, { rows: [74, 75], columns: [[0, 70]] })],
        [makeEdit(4, 3, { rows: [34, 99], columns: [[0, 20]] })], // rows that are not run
      ],
      numLayers: 1,
      layer: 0,
    },
  },
  {
    title: "one batch row within the prefix",
    heads: headLayout(4, 2, 32),
    numRows: 1,
    step: makeStep({ slotStart: 30, slotStep: 0, prefixLength: 68, tailStride: 9 }),
  },
  {
    title: "half of the heads scaled",
    heads: headLayout(4, 4, 32),
    numRows: 1,
    step: makeStep({ slotStart: 69 }),
    edits: makeEdits(makeEdit(4, [1, 1.8, 1.8, 1], { rows: [69, 70], columns: [[4, 68]] })),
  },
  ...OPERATIONS.map((operation) => ({
    title: `${operation}, columns with a hole, the second of three layers`,
    heads: headLayout(4, 4, 32),
    numRows: 1,
    step: makeStep({ slotStart: 69 }),
    edits: {
      rows: [
        [
          makeEdit(12, OTHER_LAYERS, {
            operation,
            rows: [69, 70],
            columns: [
              [4, 20],
              [31, 33],
              [50, 70],
            ],
          }),
        ],
      ],
      numLayers: 3,
      layer: 1,
    },
  })),
  {
    title: "all keys knocked out: the mean of the values",
    heads: headLayout(4, 4, 32),
    numRows: 1,
    step: makeStep({ slotStart: 69 }),
    edits: makeEdits(makeEdit(4, 1, { operation: "knock-out", columns: [[0, 70]] })),
  },
];

/** Operands for a decode case: a cache with room for the tails of all its rows. */
export function makeDecodeOperands(
  random: Random,
  { heads, numRows, step }: { readonly heads: HeadLayout; readonly numRows: number; readonly step: Step },
): Operands {
  const ends = (step.rows ?? []).map(([slot, offset]) => slot + offset);
  const numSlots = Math.max(step.slotStart + (numRows - 1) * step.tailStride, ...ends) + 2;
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

/**
 * Compares captured scores and probabilities, each [rows, H, stride], with the twin's; all other values must be `filler`.
 * @param expected of all rows of the call
 */
export function expectCapture(
  captured: { readonly scores: Float32Array; readonly probs: Float32Array },
  expected: readonly (readonly AttentionRow[])[],
  { capture, filler }: { readonly capture: CapturedRows; readonly filler: number },
): void {
  const { rows, targetRow = 0, stride } = capture;
  const numHeads = expected[0]?.length ?? 0;
  const captures = expected.slice(...rows).flat();
  const indices = captures.flatMap(({ firstKey, scores }, index) =>
    scores.map((_, key) => (targetRow * numHeads + index) * stride + firstKey + key),
  );
  const check = (
    actual: Float32Array,
    bound: Bound,
    valuesOf: (row: AttentionRow) => readonly number[],
    magnitudesOf: (row: AttentionRow) => readonly number[],
  ) => {
    const values = Float32Array.from(indices, (index) => actual[index] ?? Number.NaN);
    const magnitudes = captures.flatMap(magnitudesOf);
    expectClose(values, captures.flatMap(valuesOf), bound, { shape: [values.length], magnitudes });
    const rest = actual.slice();
    for (const index of indices) rest[index] = filler;
    expect(new Set(rest)).toEqual(new Set([filler]));
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
