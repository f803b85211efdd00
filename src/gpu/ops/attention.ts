// The attention ops, each of which chooses among kernels by the adapter: `quad` for CPU adapters with subgroups, where
// loads are dear and barriers dearer; `tiled` for GPUs, in workgroup memory; `plain` where there is neither. Letters as in
// ops.ts: R rows, H query heads, Hkv key/value heads, S keys.
import attentionDecodeQuadWgsl from "../../../shaders/attention-decode-quad.wgsl";
import attentionDecodeReduceWgsl from "../../../shaders/attention-decode-reduce.wgsl";
import attentionDecodeSplitWgsl from "../../../shaders/attention-decode-split.wgsl";
import attentionDecodeSplitTiledWgsl from "../../../shaders/attention-decode-split-tiled.wgsl";
import attentionPrefillWgsl from "../../../shaders/attention-prefill.wgsl";
import attentionPrefillQuadWgsl from "../../../shaders/attention-prefill-quad.wgsl";
import attentionPrefillTiledWgsl from "../../../shaders/attention-prefill-tiled.wgsl";
import prefillWgsl from "../../../shaders/shared/prefill.wgsl";
import stepWgsl from "../../../shaders/shared/step.wgsl";
import type { Gpu } from "../device.ts";
import { defineKernel } from "../kernel.ts";
import type { Program } from "../program.ts";
import { hasQuads, quadRows } from "./quads.ts";

/** The attention kernels by file name. */
export const ATTENTION_KERNELS = {
  attentionPrefill: defineKernel("attention-prefill", attentionPrefillWgsl, [prefillWgsl, stepWgsl]),
  attentionPrefillQuad: defineKernel("attention-prefill-quad", attentionPrefillQuadWgsl, [prefillWgsl, stepWgsl]),
  attentionPrefillTiled: defineKernel("attention-prefill-tiled", attentionPrefillTiledWgsl, [prefillWgsl, stepWgsl]),
  attentionDecodeQuad: defineKernel("attention-decode-quad", attentionDecodeQuadWgsl, [stepWgsl]),
  attentionDecodeSplit: defineKernel("attention-decode-split", attentionDecodeSplitWgsl, [stepWgsl]),
  attentionDecodeSplitTiled: defineKernel("attention-decode-split-tiled", attentionDecodeSplitTiledWgsl, [stepWgsl]),
  attentionDecodeReduce: defineKernel("attention-decode-reduce", attentionDecodeReduceWgsl, [stepWgsl]),
} as const;

/** Which of the attention kernels runs; `auto` chooses by the class of adapter and its features. */
export type AttentionKernel = "auto" | "plain" | "quad" | "tiled";

/** Head counts and sizes that attention kernels are compiled for. */
export interface HeadLayout {
  readonly numHeads: number;
  readonly numKeyValueHeads: number;
  readonly headDim: number;
  /** headDim rounded up to a multiple of 4, as rows store it. */
  readonly paddedHeadDim: number;
}

/** Buffers that receive one row's attention scores (before the factor) and probabilities (after it), [H, stride] f32. */
export interface AttentionCapture {
  readonly scores: GPUBuffer;
  readonly probs: GPUBuffer;
  readonly row: number;
  readonly stride: number;
}

/** What both attention ops take; strides and offsets are in f32 values. */
interface AttentionCall {
  readonly heads: HeadLayout;
  readonly queries: GPUBuffer;
  readonly queryRowStride: number;
  readonly keys: GPUBuffer;
  readonly values: GPUBuffer;
  /** [R, H, paddedHeadDim] f32 */
  readonly output: GPUBuffer;
  /** `struct Step` of shaders/shared/step.wgsl */
  readonly step: GPUBuffer;
  readonly numRows: number;
  readonly capture?: AttentionCapture | undefined;
  readonly kernel?: AttentionKernel;
}

/** Query rows of a prefill workgroup; `quad` has fewer where there are no more. */
const PREFILL_ROWS = 32;

/** Values of headDim that a workgroup of the tiled prefill takes. */
const TILE_WIDTH = 128;

const PREFILL_KERNELS = {
  plain: ATTENTION_KERNELS.attentionPrefill,
  quad: ATTENTION_KERNELS.attentionPrefillQuad,
  tiled: ATTENTION_KERNELS.attentionPrefillTiled,
} as const;

/** Flash attention of R query rows; see attention-prefill.wgsl for the strides. */
export function attentionPrefill(
  program: Program,
  gpu: Gpu,
  call: AttentionCall & {
    readonly causal: boolean;
    /** Keys of every row when not causal. */
    readonly numKeys: number;
    readonly keyOffset: number;
    readonly valueOffset: number;
    readonly positionStride: number;
    readonly headStride: number;
  },
): void {
  const { numHeads, numKeyValueHeads, headDim, paddedHeadDim } = call.heads;
  const kind = chooseKernel(gpu, call.kernel);
  const rows = quadRows(call.numRows);
  program.dispatch(PREFILL_KERNELS[kind], {
    constants: {
      CAUSAL: call.causal,
      CAPTURE: call.capture !== undefined,
      ...(kind === "plain" && { ROWS: PREFILL_ROWS }),
      ...(kind === "quad" && { ROWS: rows }),
    },
    bindings: {
      queries: call.queries,
      keys: call.keys,
      values: call.values,
      output: call.output,
      scores: call.capture?.scores ?? gpu.unusedOutputs[0],
      probs: call.capture?.probs ?? gpu.unusedOutputs[1],
      step: call.step,
    },
    params: {
      headDim4: paddedHeadDim / 4,
      numRows: call.numRows,
      numKeys: call.numKeys,
      queryRowStride4: call.queryRowStride / 4,
      keyOffset4: call.keyOffset / 4,
      valueOffset4: call.valueOffset / 4,
      positionStride4: call.positionStride / 4,
      headStride4: call.headStride / 4,
      outputRowStride4: (numHeads * paddedHeadDim) / 4,
      group: numHeads / numKeyValueHeads,
      captureRow: call.capture?.row ?? 0,
      captureStride: call.capture?.stride ?? 0,
      scale: 1 / Math.sqrt(headDim),
    },
    grid: [
      Math.ceil(call.numRows / (kind === "quad" ? 8 * rows : PREFILL_ROWS)),
      numHeads,
      kind === "tiled" ? Math.ceil(paddedHeadDim / TILE_WIDTH) : 1,
    ],
  });
}

function chooseKernel(gpu: Gpu, kernel: AttentionKernel = "auto"): Exclude<AttentionKernel, "auto"> {
  if (kernel !== "auto") return kernel;
  if (!gpu.isSoftware) return "tiled";
  return hasQuads(gpu) ? "quad" : "plain";
}

/** Most splits of the keys in a decode step, and those that `partials` and `stats` have room for. */
export const NUM_DECODE_SPLITS = 32;

/** Most keys of a split of attention-decode-split-tiled. */
const MOST_TILED_SPLIT_KEYS = 1024;

type DecodeCall = AttentionCall & {
  /** [R, H, splits, paddedHeadDim] f32 */
  readonly partials: GPUBuffer;
  /** [R, H, splits, 2] f32 */
  readonly stats: GPUBuffer;
  /** Cache slots a key/value head */
  readonly capacity: number;
};

/** Attention of R batch rows at one position over the cache: at once, or split over the keys and then merged. */
export function attentionDecode(program: Program, gpu: Gpu, call: DecodeCall): void {
  const kind = chooseKernel(gpu, call.kernel);
  if (kind === "quad") decodeAtOnce(program, gpu, call);
  else decodeInSplits(program, gpu, call, kind);
}

function decodeAtOnce(program: Program, gpu: Gpu, call: DecodeCall): void {
  const { numHeads, numKeyValueHeads, headDim, paddedHeadDim } = call.heads;
  program.dispatch(ATTENTION_KERNELS.attentionDecodeQuad, {
    constants: { CAPTURE: call.capture !== undefined },
    bindings: {
      queries: call.queries,
      keys: call.keys,
      values: call.values,
      output: call.output,
      scores: call.capture?.scores ?? gpu.unusedOutputs[0],
      probs: call.capture?.probs ?? gpu.unusedOutputs[1],
      step: call.step,
    },
    params: {
      headDim4: paddedHeadDim / 4,
      queryRowStride4: call.queryRowStride / 4,
      headStride4: (call.capacity * paddedHeadDim) / 4,
      numHeads,
      group: numHeads / numKeyValueHeads,
      captureStride: call.capture?.stride ?? 0,
      scale: 1 / Math.sqrt(headDim),
    },
    grid: [Math.ceil(numHeads / 2), call.numRows],
  });
}

function decodeInSplits(program: Program, gpu: Gpu, call: DecodeCall, kind: "plain" | "tiled"): void {
  const { numHeads, numKeyValueHeads, headDim, paddedHeadDim } = call.heads;
  const numSplits = NUM_DECODE_SPLITS;
  const captureStride = call.capture?.stride ?? 0;
  const headDim4 = paddedHeadDim / 4;
  const common = { NUM_HEADS: numHeads, CAPTURE: call.capture !== undefined };
  const group = numHeads / numKeyValueHeads;
  const bindings = {
    queries: call.queries,
    keys: call.keys,
    values: call.values,
    partials: call.partials,
    stats: call.stats,
    scores: call.capture?.scores ?? gpu.unusedOutputs[0],
    step: call.step,
  };
  const params = {
    headDim4,
    queryRowStride4: call.queryRowStride / 4,
    headStride4: (call.capacity * paddedHeadDim) / 4,
    numSplits,
    captureStride,
    scale: 1 / Math.sqrt(headDim),
  };
  if (kind === "tiled" && call.capacity <= numSplits * MOST_TILED_SPLIT_KEYS) {
    program.dispatch(ATTENTION_KERNELS.attentionDecodeSplitTiled, {
      constants: { CAPTURE: common.CAPTURE },
      bindings,
      params: { ...params, numHeads, group, valueThreads: Math.min(128, 2 ** Math.ceil(Math.log2(headDim4))) },
      grid: [numSplits, numHeads, call.numRows],
    });
  } else {
    program.dispatch(ATTENTION_KERNELS.attentionDecodeSplit, {
      constants: { ...common, GROUP: group, THREADS: numSplits },
      bindings,
      params,
      grid: [1, numHeads, call.numRows],
    });
  }
  program.dispatch(ATTENTION_KERNELS.attentionDecodeReduce, {
    constants: common,
    bindings: {
      partials: call.partials,
      stats: call.stats,
      output: call.output,
      scores: call.capture?.scores ?? gpu.unused,
      probs: call.capture?.probs ?? gpu.unusedOutputs[1],
      step: call.step,
    },
    params: { headDim4, numSplits, captureStride },
    grid: [numHeads, call.numRows],
  });
}
