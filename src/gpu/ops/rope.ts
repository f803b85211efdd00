// The ops of rotary embedding: q and k of a call's rows are rotated by position, and k and v put into the cache. Letters: R
// rows, H query heads, Hkv key/value heads, K columns in.
import qkvRopeWgsl from "../../../shaders/qkv-rope.wgsl";
import qkvRopeReduceWgsl from "../../../shaders/qkv-rope-reduce.wgsl";
import qkvRopeSubgroupWgsl from "../../../shaders/qkv-rope-subgroup.wgsl";
import ropeAppendWgsl from "../../../shaders/rope-append.wgsl";
import ropeAppendPackedWgsl from "../../../shaders/rope-append-packed.wgsl";
import sharedQkvRopeWgsl from "../../../shaders/shared/qkv-rope.wgsl";
import stepWgsl from "../../../shaders/shared/step.wgsl";
import { GpuError } from "../../errors.ts";
import type { CacheDtype } from "../cache-format.ts";
import type { KernelContext } from "../device.ts";
import { defineKernel } from "../kernel.ts";
import type { Program } from "../program.ts";
import { type Linear, type Matrix, weightStride4 } from "../tensor.ts";
import { type CacheShape, perPackedCache } from "./cache-kernels.ts";
import { descriptions } from "./descriptions-loader.ts";
import { fusedEntries } from "./fused-kernels.ts";
import { chooseEntry } from "./kernel-list.ts";
import { isWhole, wholePiece } from "./linear.ts";
import { weightBindings } from "./weight-kernels.ts";

/** Head counts and sizes that attention and rotation kernels are compiled for. */
export interface HeadLayout {
  readonly numHeads: number;
  readonly numKeyValueHeads: number;
  readonly headDim: number;
  /** headDim rounded up to a multiple of 4, as rows store it. */
  readonly paddedHeadDim: number;
}

/** The buffers of a rotation: what is rotated, by what, and the cache that keys and values are put into. */
export interface RotationCall extends CacheShape {
  readonly heads: HeadLayout;
  /** [R, H + 2·Hkv, paddedHeadDim] f32 */
  readonly qkv: GPUBuffer;
  /** [R, headDim] f32: per row headDim/2 cosines, then as many sines */
  readonly rotary: GPUBuffer;
  /** In `cacheDtype`. */
  readonly keys: GPUBuffer;
  readonly values: GPUBuffer;
  /** `struct Step` of shaders/shared/step.wgsl */
  readonly step: GPUBuffer;
  readonly numRows: number;
  /** Cache slots of a key/value head. */
  readonly capacity: number;
}

/** The kernel of {@link ropeAppend} for a cache in f32. */
export const ROPE_APPEND = defineKernel("rope-append", ropeAppendWgsl, [stepWgsl]);

/** Those for packed caches. */
export const ROPE_APPEND_PACKED = perPackedCache("rope-append-packed", ropeAppendPackedWgsl, [stepWgsl]);

/** Rotates queries and keys of qkv in place and appends keys and values to the cache. */
export function ropeAppend(program: Program, call: RotationCall): void {
  const { qkv, rotary, keys, values, step, numRows, capacity, cacheDtype = "f32" } = call;
  const { numHeads, numKeyValueHeads, headDim, paddedHeadDim } = call.heads;
  const isPacked = cacheDtype !== "f32";
  program.dispatch(isPacked ? ROPE_APPEND_PACKED[cacheDtype] : ROPE_APPEND, {
    constants: {
      NUM_HEADS: numHeads,
      NUM_KEY_VALUE_HEADS: numKeyValueHeads,
      HEAD_DIM: headDim,
      PADDED_HEAD_DIM: paddedHeadDim,
    },
    bindings: { qkv, rotary, keys, values, step },
    params: { capacity, ...(isPacked && { headDim4: paddedHeadDim / 4 }) },
    grid: [Math.ceil((isPacked ? paddedHeadDim : headDim) / 2 / 32), numHeads + 2 * numKeyValueHeads, numRows],
    describe: async (read) => (await descriptions()).ropeAppend(call, read),
  });
}

/** What the kernel of {@link qkvRope} is chosen by. */
interface QkvShape {
  readonly weight: Matrix;
  readonly headDim: number;
  readonly numRows: number;
  readonly hasQuantizedInput: boolean;
}

/** The kernels of {@link qkvRope}. */
export const QKV_ROPE_KERNELS = fusedEntries<QkvShape, "qkv-rope">(
  "qkv-rope",
  {
    threads: qkvRopeWgsl,
    subgroup: qkvRopeSubgroupWgsl,
    reduce: qkvRopeReduceWgsl,
    helpers: [sharedQkvRopeWgsl, stepWgsl],
  },
  {
    threads: ({ weight, numRows }) => ({ constants: {}, grid: [Math.ceil(weight.rows / 64), numRows] }),
    wide: ({ weight, headDim }, batches) => [headDim / 8, weight.rows / headDim, batches],
  },
);

/** The kernels of {@link qkvRope} by name. */
export type QkvRopeKernelName = (typeof QKV_ROPE_KERNELS)[number]["name"];

/** The call of {@link qkvRope}. */
export interface QkvRopeCall extends Omit<RotationCall, "cacheDtype"> {
  readonly layer: Linear;
  /** [R, K] */
  readonly input: GPUBuffer;
  /** As quantizeActivations wrote it, which is read instead of `input`. */
  readonly quantizedInput?: GPUBuffer | undefined;
  /** This kernel instead of the one that suits the adapter. */
  readonly kernel?: QkvRopeKernelName | undefined;
}

/**
 * Whether {@link qkvRope} can compute these heads from this matrix; else a linear layer and {@link ropeAppend} do, always for a
 * packed cache: a thread of qkvRope holds four values of each half of a head, fewer than the 32 that share a scale in q8.
 */
export function canFuseRope(heads: HeadLayout, weight: Matrix, cacheDtype: CacheDtype): boolean {
  return cacheDtype === "f32" && heads.headDim % 8 === 0 && isWhole(weight);
}

/**
 * Queries, keys and values of the few rows of a decode step, rotated and appended: a linear layer over the stacked
 * projections and {@link ropeAppend} in one dispatch. The columns of keys and values of qkv are left alone.
 * @throws GpuError `limit` or `shader` where {@link canFuseRope} is false.
 */
export function qkvRope(program: Program, gpu: KernelContext, call: QkvRopeCall): void {
  const { numRows, capacity, quantizedInput, rotary, keys, values, step } = call;
  const { numHeads, numKeyValueHeads, headDim } = call.heads;
  const { weight, bias } = call.layer;
  const piece = wholePiece(weight);
  if (headDim % 8 !== 0) throw new GpuError("shader", `qkv-rope: headDim must be a multiple of 8, got ${headDim}.`);
  const shape = { weight, headDim, numRows, hasQuantizedInput: quantizedInput !== undefined };
  const entry = chooseEntry<QkvShape>(QKV_ROPE_KERNELS, gpu, { shape, name: call.kernel });
  const { constants, grid } = entry.plan(shape, gpu);
  program.dispatch(entry.kernel(shape), {
    constants: {
      HAS_BIAS: bias !== undefined,
      NUM_HEADS: numHeads,
      NUM_KEY_VALUE_HEADS: numKeyValueHeads,
      HEAD_DIM: headDim,
      ...constants,
    },
    bindings: {
      ...weightBindings(piece),
      input: quantizedInput ?? call.input,
      bias: bias ?? gpu.unused,
      queries: call.qkv,
      rotary,
      keys,
      values,
      step,
    },
    params: { numRows, inner4: weight.columns / 4, weightStride4: weightStride4(weight), capacity },
    grid,
    describe: async (read) => (await descriptions()).qkvRope(call, read),
  });
}
