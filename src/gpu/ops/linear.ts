// The ops of linear layers: plain ones, and those that a decode step fuses with what follows them. linear-kernels.ts chooses
// among the kernels of a plain one. Letters as in ops.ts: R rows, N and K columns out and in, I the MLP's inner size.
import gatedMatvecWgsl from "../../../shaders/gated-matvec.wgsl";
import gatedMatvecReduceWgsl from "../../../shaders/gated-matvec-reduce.wgsl";
import matmulWgsl from "../../../shaders/matmul.wgsl";
import matmulQuadWgsl from "../../../shaders/matmul-quad.wgsl";
import matvecWgsl from "../../../shaders/matvec.wgsl";
import qkvRopeWgsl from "../../../shaders/qkv-rope.wgsl";
import qkvRopeReduceWgsl from "../../../shaders/qkv-rope-reduce.wgsl";
import activationWgsl from "../../../shaders/shared/activation.wgsl";
import columnsWgsl from "../../../shaders/shared/columns.wgsl";
import columnsQuadWgsl from "../../../shaders/shared/columns-quad.wgsl";
import columnsReduceWgsl from "../../../shaders/shared/columns-reduce.wgsl";
import groupQ4Wgsl from "../../../shaders/shared/group-q4.wgsl";
import groupQ8Wgsl from "../../../shaders/shared/group-q8.wgsl";
import linearWgsl from "../../../shaders/shared/linear.wgsl";
import sharedQkvRopeWgsl from "../../../shaders/shared/qkv-rope.wgsl";
import stepWgsl from "../../../shaders/shared/step.wgsl";
import { GpuError } from "../../errors.ts";
import type { Gpu } from "../device.ts";
import { defineKernel, type Kernel } from "../kernel.ts";
import type { Program } from "../program.ts";
import {
  isQuantized,
  type Linear,
  type Matrix,
  type MatrixPiece,
  type QuantizedDtype,
  type WeightDtype,
  weightStride4,
} from "../tensor.ts";
import { ACTIVATIONS, type Activation } from "./activations.ts";
import type { HeadLayout } from "./attention.ts";
import { GPU_LINEAR_KERNELS, type LinearKernel, type LinearKernelName, planLinear } from "./linear-kernels.ts";
import { hasQuads } from "./quads.ts";
import type { Choice } from "./tunables.ts";
import { perDtype, weightBindings } from "./weight-kernels.ts";

/** A kernel of one thread a sum: quantised weights are read a group at a time where quads of threads can share the input. */
const perQuantized = (name: string, source: string, helpers: readonly string[]): Record<QuantizedDtype, Kernel> => ({
  q8: defineKernel(name, source, [groupQ8Wgsl, columnsQuadWgsl, ...helpers]),
  q4: defineKernel(name, source, [groupQ4Wgsl, columnsQuadWgsl, ...helpers]),
});

/** The kernels of linear layers by file name, one variant a dtype. */
export const LINEAR_KERNELS = {
  ...GPU_LINEAR_KERNELS,
  matmul: perDtype("matmul", matmulWgsl, [linearWgsl, activationWgsl]),
  matmulQuad: perDtype("matmul-quad", matmulQuadWgsl, [linearWgsl, activationWgsl]),
  matvec: perDtype("matvec", matvecWgsl, [columnsWgsl, linearWgsl, activationWgsl]),
  matvecQuad: perQuantized("matvec", matvecWgsl, [linearWgsl, activationWgsl]),
  qkvRope: perDtype("qkv-rope", qkvRopeWgsl, [columnsWgsl, sharedQkvRopeWgsl, stepWgsl]),
  qkvRopeQuad: perQuantized("qkv-rope", qkvRopeWgsl, [sharedQkvRopeWgsl, stepWgsl]),
  qkvRopeReduce: perDtype("qkv-rope-reduce", qkvRopeReduceWgsl, [columnsReduceWgsl, sharedQkvRopeWgsl, stepWgsl]),
  gatedMatvec: perDtype("gated-matvec", gatedMatvecWgsl, [columnsWgsl, linearWgsl, activationWgsl]),
  gatedMatvecQuad: perQuantized("gated-matvec", gatedMatvecWgsl, [linearWgsl, activationWgsl]),
  gatedMatvecReduce: perDtype("gated-matvec-reduce", gatedMatvecReduceWgsl, [
    columnsReduceWgsl,
    linearWgsl,
    activationWgsl,
  ]),
} as const;

/** A linear layer over R rows: output [R, outputStride] at `outputColumn` = activation(input [R, K] · weightᵀ + bias). */
export function linear(
  program: Program,
  gpu: Gpu,
  call: {
    readonly layer: Linear;
    readonly input: GPUBuffer;
    readonly output: GPUBuffer;
    readonly numRows: number;
    readonly inputRowStart?: number;
    readonly outputColumn?: number;
    readonly outputStride?: number;
    readonly activation?: Activation;
    /** Adds to what output holds: the residual connection. */
    readonly addToOutput?: boolean;
    readonly kernel?: LinearKernel;
    /** Values of the kernel's tunable constants instead of the tuning table's. */
    readonly choice?: Choice | undefined;
  },
): void {
  const { weight, bias } = call.layer;
  const { kernel = "auto", numRows, choice } = call;
  for (const piece of weight.pieces) {
    const columns4 = piece.numRows / 4;
    const plan = planLinear(gpu, { kernel, weight, numRows, columns4, choice });
    program.dispatch(linearKernel(plan.kernel, weight.dtype), {
      constants: {
        HAS_BIAS: bias !== undefined,
        ADD_TO_OUTPUT: call.addToOutput ?? false,
        ACTIVATION: ACTIVATIONS[call.activation ?? "none"],
        ...plan.constants,
      },
      bindings: { ...weightBindings(piece), input: call.input, bias: bias ?? gpu.unused, output: call.output },
      params: {
        numRows,
        inputRowStart: call.inputRowStart ?? 0,
        inner4: weight.columns / 4,
        weightStride4: weightStride4(weight),
        columns4,
        outputColumn4: ((call.outputColumn ?? 0) + piece.rowStart) / 4,
        outputStride4: (call.outputStride ?? weight.rows) / 4,
        biasColumn4: piece.rowStart / 4,
      },
      grid: plan.grid,
    });
  }
}

/** Only quantised weights are read by quads; others are loaded thread by thread. */
function linearKernel(kind: LinearKernelName, dtype: WeightDtype): Kernel {
  if (kind !== "matvecQuad") return LINEAR_KERNELS[kind][dtype];
  return isQuantized(dtype) ? LINEAR_KERNELS.matvecQuad[dtype] : LINEAR_KERNELS.matvec[dtype];
}

/** Which form of a fused decode kernel runs; `auto` chooses by the class of adapter. */
export type DecodeKernelForm = "auto" | "thread" | "quad" | "reduce";

/**
 * The gated half of an MLP for the few rows of a decode step: output [R, I] = activation(gate) · up, where gate_proj and
 * up_proj [2·I, K] are one matrix in one piece.
 * @throws GpuError `limit` when the matrix is split; {@link isWhole} tells before.
 */
export function gatedMatvec(
  program: Program,
  gpu: Gpu,
  call: {
    readonly layer: Linear;
    readonly input: GPUBuffer;
    readonly output: GPUBuffer;
    readonly numRows: number;
    readonly activation: Activation;
    readonly form?: DecodeKernelForm;
  },
): void {
  const { weight, bias } = call.layer;
  const piece = wholePiece(weight);
  const columns4 = weight.rows / 8;
  const isReduce = usesReduce(call.form, gpu);
  const width = Math.min(columns4, 65_535);
  program.dispatch(decodeKernel("gatedMatvec", call.form, weight.dtype, gpu), {
    constants: { HAS_BIAS: bias !== undefined, ADD_TO_OUTPUT: false, ACTIVATION: ACTIVATIONS[call.activation] },
    bindings: { ...weightBindings(piece), input: call.input, bias: bias ?? gpu.unused, output: call.output },
    params: {
      numRows: call.numRows,
      inputRowStart: 0,
      inner4: weight.columns / 4,
      weightStride4: weightStride4(weight),
      columns4,
      outputColumn4: 0,
      outputStride4: columns4,
      biasColumn4: 0,
    },
    grid: isReduce ? [width, Math.ceil(columns4 / width), call.numRows] : [Math.ceil(columns4 / 8), call.numRows],
  });
}

/** Whether a matrix is in one piece, as the fused decode kernels need it. */
export function isWhole(matrix: Matrix): boolean {
  return matrix.pieces.length === 1;
}

function wholePiece(matrix: Matrix): MatrixPiece {
  const [piece] = matrix.pieces;
  if (piece !== undefined && isWhole(matrix)) return piece;
  throw new GpuError("limit", `Matrix ${matrix.name} must be one piece, got ${matrix.pieces.length}.`);
}

function usesReduce(form: DecodeKernelForm | undefined, gpu: Gpu): boolean {
  return form === undefined || form === "auto" ? !gpu.isSoftware : form === "reduce";
}

function decodeKernel(
  name: "gatedMatvec" | "qkvRope",
  form: DecodeKernelForm | undefined,
  dtype: WeightDtype,
  gpu: Gpu,
): Kernel {
  if (usesReduce(form, gpu)) return LINEAR_KERNELS[`${name}Reduce`][dtype];
  const isQuad = form === "quad" || (form !== "thread" && hasQuads(gpu));
  return isQuad && isQuantized(dtype) ? LINEAR_KERNELS[`${name}Quad`][dtype] : LINEAR_KERNELS[name][dtype];
}

/** Whether {@link qkvRope} can compute these heads from this matrix; else a linear layer and {@link ropeAppend} do. */
export function canFuseRope(heads: HeadLayout, weight: Matrix): boolean {
  return heads.headDim % 8 === 0 && isWhole(weight);
}

/**
 * Queries, keys and values of the few rows of a decode step, rotated and appended: {@link linear} over the stacked
 * projections and {@link ropeAppend} in one dispatch.
 * @throws GpuError `limit` or `shader` where {@link canFuseRope} is false.
 */
export function qkvRope(
  program: Program,
  gpu: Gpu,
  call: {
    readonly heads: HeadLayout;
    readonly layer: Linear;
    /** [R, K] */
    readonly input: GPUBuffer;
    /** [R, (H + 2·Hkv)·headDim]; the columns of keys and values are left alone */
    readonly qkv: GPUBuffer;
    readonly table: GPUBuffer;
    readonly keys: GPUBuffer;
    readonly values: GPUBuffer;
    readonly step: GPUBuffer;
    readonly numRows: number;
    readonly capacity: number;
    readonly form?: DecodeKernelForm;
  },
): void {
  const { numHeads, numKeyValueHeads, headDim } = call.heads;
  const { weight, bias } = call.layer;
  const piece = wholePiece(weight);
  if (headDim % 8 !== 0) throw new GpuError("shader", `qkv-rope: headDim must be a multiple of 8, got ${headDim}.`);
  const isReduce = usesReduce(call.form, gpu);
  const allHeads = numHeads + 2 * numKeyValueHeads;
  program.dispatch(decodeKernel("qkvRope", call.form, weight.dtype, gpu), {
    constants: {
      HAS_BIAS: bias !== undefined,
      NUM_HEADS: numHeads,
      NUM_KEY_VALUE_HEADS: numKeyValueHeads,
      HEAD_DIM: headDim,
    },
    bindings: {
      ...weightBindings(piece),
      input: call.input,
      bias: bias ?? gpu.unused,
      queries: call.qkv,
      table: call.table,
      keys: call.keys,
      values: call.values,
      step: call.step,
    },
    params: { inner4: weight.columns / 4, weightStride4: weightStride4(weight), capacity: call.capacity },
    grid: isReduce ? [headDim / 8, allHeads, call.numRows] : [Math.ceil((allHeads * headDim) / 8 / 8), call.numRows],
  });
}
