// The attention ops. Letters: R rows, H query heads, Hkv key/value heads, S keys.
import attentionDecodeQuadWgsl from "../../../shaders/attention-decode-quad.wgsl";
import attentionDecodeReduceWgsl from "../../../shaders/attention-decode-reduce.wgsl";
import attentionDecodeSplitWgsl from "../../../shaders/attention-decode-split.wgsl";
import attentionDecodeSplitTiledWgsl from "../../../shaders/attention-decode-split-tiled.wgsl";
import attentionPrefillWgsl from "../../../shaders/attention-prefill.wgsl";
import attentionPrefillQuadWgsl from "../../../shaders/attention-prefill-quad.wgsl";
import attentionPrefillTiledWgsl from "../../../shaders/attention-prefill-tiled.wgsl";
import captureWgsl from "../../../shaders/shared/capture.wgsl";
import editsWgsl from "../../../shaders/shared/edits.wgsl";
import prefillWgsl from "../../../shaders/shared/prefill.wgsl";
import scoreEditWgsl from "../../../shaders/shared/score-edit.wgsl";
import stepWgsl from "../../../shaders/shared/step.wgsl";
import windowWgsl from "../../../shaders/shared/window.wgsl";
import { cacheSlotLength } from "../cache-format.ts";
import type { Description } from "../describe.ts";
import type { KernelContext } from "../device.ts";
import { defineKernel } from "../kernel.ts";
import type { Program } from "../program.ts";
import { type CacheShape, perCacheDtype } from "./cache-kernels.ts";
import { descriptions } from "./descriptions-loader.ts";
import { chooseEntry, type KernelEntry } from "./kernel-list.ts";
import { hasQuads, quadRows } from "./quads.ts";
import type { HeadLayout } from "./rope.ts";

const HELPERS = [stepWgsl, windowWgsl, captureWgsl, scoreEditWgsl, editsWgsl] as const;

const prefillKernel = (name: string, source: string) => perCacheDtype(name, source, [prefillWgsl, ...HELPERS]);
const decodeKernel = (name: string, source: string) => perCacheDtype(name, source, HELPERS);

/** Query rows per prefill workgroup; attention-prefill-quad uses fewer for short calls. */
const PREFILL_ROWS = 32;

/** Query rows of a workgroup of attention-prefill-tiled. */
const TILED_PREFILL_ROWS = 64;

/** Values of headDim that a workgroup of attention-prefill-tiled takes. */
const TILE_WIDTH = 128;

type PrefillShape = Pick<PrefillCall, "numRows" | "heads" | "cacheDtype">;

/** The kernels of {@link attentionPrefill}: in workgroup memory on GPUs, by quads of threads on CPU adapters that have them. */
export const ATTENTION_PREFILL_KERNELS = [
  {
    name: "attention-prefill-tiled",
    ...prefillKernel("attention-prefill-tiled", attentionPrefillTiledWgsl),
    supports: (gpu) => !gpu.isSoftware,
    plan: ({ numRows, heads: { numHeads, paddedHeadDim } }) => ({
      constants: { SLICES: Math.ceil(Math.min(TILE_WIDTH, paddedHeadDim) / 16) },
      grid: [Math.ceil(numRows / TILED_PREFILL_ROWS), numHeads, Math.ceil(paddedHeadDim / TILE_WIDTH)],
    }),
  },
  {
    name: "attention-prefill-quad",
    ...prefillKernel("attention-prefill-quad", attentionPrefillQuadWgsl),
    supports: hasQuads,
    plan: ({ numRows, heads }) => {
      const rows = quadRows(numRows);
      return { constants: { ROWS: rows }, grid: [Math.ceil(numRows / (8 * rows)), heads.numHeads] };
    },
  },
  {
    name: "attention-prefill",
    ...prefillKernel("attention-prefill", attentionPrefillWgsl),
    supports: () => true,
    plan: ({ numRows, heads }) => ({
      constants: { ROWS: PREFILL_ROWS },
      grid: [Math.ceil(numRows / PREFILL_ROWS), heads.numHeads],
    }),
  },
] as const satisfies readonly KernelEntry<PrefillShape>[];

/** Most splits of the keys in a decode step, and those that `partials` and `stats` have room for. */
export const NUM_DECODE_SPLITS = 32;

/** Most keys of a split of attention-decode-split-tiled. */
const MOST_TILED_SPLIT_KEYS = 1024;

type DecodeShape = Pick<DecodeCall, "numRows" | "heads" | "capacity" | "raggedKeys" | "cacheDtype">;

/** A kernel of a decode step: of all keys at once, or of one split of them each, to be merged. */
interface DecodeEntry extends KernelEntry<DecodeShape> {
  readonly isSplit: boolean;
}

const groupOf = ({ numHeads, numKeyValueHeads }: HeadLayout) => numHeads / numKeyValueHeads;

/** The kernels of {@link attentionDecode}; the parts of those that split the keys are merged by {@link DECODE_REDUCE}. */
export const ATTENTION_DECODE_KERNELS = [
  {
    name: "attention-decode-split-tiled",
    isSplit: true,
    ...decodeKernel("attention-decode-split-tiled", attentionDecodeSplitTiledWgsl),
    supports: (gpu, { capacity, raggedKeys = capacity }) =>
      !gpu.isSoftware && raggedKeys <= NUM_DECODE_SPLITS * MOST_TILED_SPLIT_KEYS,
    plan: ({ numRows, heads }) => ({
      constants: {},
      params: {
        numSplits: NUM_DECODE_SPLITS,
        group: groupOf(heads),
        valueThreads: Math.min(128, 2 ** Math.ceil(Math.log2(heads.paddedHeadDim / 4))),
      },
      grid: [NUM_DECODE_SPLITS, heads.numHeads, numRows],
    }),
  },
  {
    name: "attention-decode-quad",
    isSplit: false,
    ...decodeKernel("attention-decode-quad", attentionDecodeQuadWgsl),
    supports: hasQuads,
    plan: ({ numRows, heads, raggedKeys }) => {
      const rows = numRows > 1 && raggedKeys === undefined ? 2 : 1;
      return {
        constants: { ROWS: rows },
        params: { numRows, group: groupOf(heads) },
        grid: [Math.ceil(heads.numHeads / 2), Math.ceil(numRows / rows)],
      };
    },
  },
  {
    name: "attention-decode-split",
    isSplit: true,
    ...decodeKernel("attention-decode-split", attentionDecodeSplitWgsl),
    supports: () => true,
    plan: ({ numRows, heads }) => ({
      constants: { GROUP: groupOf(heads), THREADS: NUM_DECODE_SPLITS },
      params: { numSplits: NUM_DECODE_SPLITS },
      grid: [1, heads.numHeads, numRows],
    }),
  },
] as const satisfies readonly DecodeEntry[];

/** Merges the parts of a decode step whose keys are split. */
export const DECODE_REDUCE = defineKernel("attention-decode-reduce", attentionDecodeReduceWgsl, HELPERS);

/** The kernels of {@link attentionPrefill} by name. */
export type PrefillKernelName = (typeof ATTENTION_PREFILL_KERNELS)[number]["name"];
/** The kernels of {@link attentionDecode} by name. */
export type DecodeKernelName = (typeof ATTENTION_DECODE_KERNELS)[number]["name"];

/**
 * Where a call leaves the attention of some of its rows: scores before the edits and probabilities after them, each
 * [rows, H, stride] f32.
 */
export interface AttentionCapture {
  readonly scores: GPUBuffer;
  readonly probs: GPUBuffer;
  /** Rows [start, end) of the call. */
  readonly rows: readonly [start: number, end: number];
  /** Row of the buffers that the first of them goes to; 0 unless given. */
  readonly targetRow?: number;
  readonly stride: number;
}

/** Which rows a description of score edits is about. */
export interface EditedRows {
  readonly layer: number;
  readonly numHeads: number;
  readonly slotStart: number;
  readonly numRows: number;
}

/** The score edits of a call; see shaders/shared/score-edit.wgsl. Row strengths have to be written before, by the op of that name. */
export interface AttentionEdits {
  /** Packed edits, u32 */
  readonly words: GPUBuffer;
  /** Row of the edits' strengths. */
  readonly layer: number;
  /** What the words say of some rows, for explanations. */
  readonly describe?: (
    words: Uint32Array<ArrayBuffer>,
    rows: EditedRows,
  ) => Promise<Pick<Description, "detail" | "params"> | undefined>;
}

/** What both attention ops take; strides and offsets are in values, of keys and values in those of `cacheDtype`. */
export interface AttentionCall extends CacheShape {
  readonly heads: HeadLayout;
  readonly queries: GPUBuffer;
  readonly queryRowStride: number;
  /** In `cacheDtype`. */
  readonly keys: GPUBuffer;
  readonly values: GPUBuffer;
  /** [R, H, paddedHeadDim] f32 */
  readonly output: GPUBuffer;
  /** `struct Step` of shaders/shared/step.wgsl */
  readonly step: GPUBuffer;
  readonly numRows: number;
  readonly capture?: AttentionCapture | undefined;
  /** Without edits the kernel variant does not read any. */
  readonly edits?: AttentionEdits | undefined;
  /** Keys that a row sees at most, its own included; all up to its own unless given. Causal attention only. */
  readonly window?: number | undefined;
}

/** The call of {@link attentionPrefill}. */
export interface PrefillCall extends AttentionCall {
  readonly causal: boolean;
  /** Keys of every row when not causal. */
  readonly numKeys: number;
  readonly keyOffset: number;
  readonly valueOffset: number;
  readonly positionStride: number;
  readonly headStride: number;
  /** [R, 2] u32: of each row the keys [start, end) that it sees, neither less than the row's before it; not when causal. */
  readonly blocks?: GPUBuffer | undefined;
  /** This kernel instead of the one that suits the adapter. */
  readonly kernel?: PrefillKernelName | undefined;
}

/** Flash attention of R query rows; see attention-prefill.wgsl for the strides. */
export function attentionPrefill(program: Program, gpu: KernelContext, call: PrefillCall): void {
  const { heads, numRows, numKeys, causal, blocks } = call;
  const { numHeads, headDim, paddedHeadDim } = heads;
  const isBlocked = blocks !== undefined;
  const entry = chooseEntry<PrefillShape>(ATTENTION_PREFILL_KERNELS, gpu, {
    shape: call,
    name: call.kernel,
  });
  const { constants, grid } = entry.plan(call, gpu);
  program.dispatch(entry.kernel(call), {
    constants: {
      CAUSAL: causal,
      ...variant(call),
      BLOCKED: isBlocked,
      ...(isBlocked && { WINDOWED: true }),
      ...constants,
    },
    bindings: {
      ...inputs(call, gpu),
      output: call.output,
      probs: call.capture?.probs ?? gpu.unusedOutputs[1],
      blocks: blocks ?? gpu.unused,
    },
    params: {
      headDim4: paddedHeadDim / 4,
      numRows,
      numKeys,
      queryRowStride4: call.queryRowStride / 4,
      keyOffset4: call.keyOffset / 4,
      valueOffset4: call.valueOffset / 4,
      positionStride4: call.positionStride / 4,
      headStride4: call.headStride / 4,
      outputRowStride4: (numHeads * paddedHeadDim) / 4,
      group: groupOf(heads),
      ...rowParams(call),
      scale: 1 / Math.sqrt(headDim),
    },
    grid,
    describe: async (read) => (await descriptions()).attentionPrefill(call, read),
  });
}

/** The call of {@link attentionDecode}. */
export interface DecodeCall extends AttentionCall {
  /** [R, H, splits, paddedHeadDim] f32 */
  readonly partials: GPUBuffer;
  /** [R, H, splits, 2] f32 */
  readonly stats: GPUBuffer;
  /** Cache slots per key/value head. */
  readonly capacity: number;
  /** Of rows at different slots: most keys that one sees. All rows are at one slot unless given. */
  readonly raggedKeys?: number | undefined;
  /** This kernel instead of the one that suits the adapter. */
  readonly kernel?: DecodeKernelName | undefined;
}

/** Attention of R batch rows over the cache: at once, or split over the keys and then merged. */
export function attentionDecode(program: Program, gpu: KernelContext, call: DecodeCall): void {
  const { heads, numRows, partials, stats, output, capture, cacheDtype = "f32" } = call;
  const { numHeads, headDim, paddedHeadDim } = heads;
  const entry = chooseEntry<DecodeShape, DecodeEntry>(ATTENTION_DECODE_KERNELS, gpu, {
    shape: call,
    name: call.kernel,
  });
  const { constants, params, grid } = entry.plan(call, gpu);
  const headDim4 = paddedHeadDim / 4;
  const probs = capture?.probs ?? gpu.unusedOutputs[1];
  program.dispatch(entry.kernel(call), {
    constants: { ...variant(call), ...constants },
    bindings: { ...inputs(call, gpu), ...(entry.isSplit ? { partials, stats } : { output, probs }) },
    params: {
      headDim4,
      queryRowStride4: call.queryRowStride / 4,
      headStride4: (call.capacity * cacheSlotLength(paddedHeadDim, cacheDtype)) / 4,
      ...rowParams(call),
      scale: 1 / Math.sqrt(headDim),
      ...params,
    },
    grid,
    describe: async (read) => (await descriptions()).attentionDecode(call, read, entry.isSplit ? NUM_DECODE_SPLITS : 1),
  });
  if (!entry.isSplit) return;
  program.dispatch(DECODE_REDUCE, {
    constants: variant(call),
    bindings: {
      partials,
      stats,
      output,
      scores: capture?.scores ?? gpu.unused,
      probs,
      step: call.step,
      edits: call.edits?.words ?? gpu.unused,
    },
    params: { headDim4, numSplits: NUM_DECODE_SPLITS, ...rowParams(call) },
    grid: [numHeads, numRows],
    describe: async (read) => (await descriptions()).attentionReduce(call, read, NUM_DECODE_SPLITS),
  });
}

/** Bindings that all attention kernels of queries have. */
function inputs({ queries, keys, values, step, capture, edits }: AttentionCall, gpu: KernelContext) {
  const scores = capture?.scores ?? gpu.unusedOutputs[0];
  return { queries, keys, values, scores, step, edits: edits?.words ?? gpu.unused };
}

/** Which parts the variant of an attention kernel has. */
function variant({ capture, edits, window }: AttentionCall) {
  return { CAPTURE: capture !== undefined, EDIT: edits !== undefined, WINDOWED: window !== undefined };
}

/** The parameters of shared/window.wgsl, shared/capture.wgsl and shared/score-edit.wgsl. */
function rowParams({ heads, capture, edits, window }: AttentionCall) {
  const [captureStart, captureEnd] = capture?.rows ?? [0, 0];
  return {
    numHeads: heads.numHeads,
    layer: edits?.layer ?? 0,
    captureStart,
    captureEnd,
    captureTarget: capture?.targetRow ?? 0,
    captureStride: capture?.stride ?? 0,
    window: window ?? 0,
  };
}
