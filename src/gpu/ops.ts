// One typed function per kernel: each records its dispatches into a Program. Buffers hold f32 rows padded to a multiple
// of 4; shapes are in each kernel's header. Letter legend: R rows, D hidden size, N and K columns out and in, H query
// heads, Hkv key/value heads, S keys, V vocabulary.
import chooseTokenWgsl from "../../shaders/choose-token.wgsl";
import embedTokensWgsl from "../../shaders/embed-tokens.wgsl";
import gatedActivationWgsl from "../../shaders/gated-activation.wgsl";
import gatedMatvecWgsl from "../../shaders/gated-matvec.wgsl";
import gatedMatvecReduceWgsl from "../../shaders/gated-matvec-reduce.wgsl";
import gatherRowsWgsl from "../../shaders/gather-rows.wgsl";
import layerNormWgsl from "../../shaders/layer-norm.wgsl";
import matmulWgsl from "../../shaders/matmul.wgsl";
import matmulQuadWgsl from "../../shaders/matmul-quad.wgsl";
import matvecWgsl from "../../shaders/matvec.wgsl";
import qkvRopeWgsl from "../../shaders/qkv-rope.wgsl";
import qkvRopeReduceWgsl from "../../shaders/qkv-rope-reduce.wgsl";
import quantizeWgsl from "../../shaders/quantize.wgsl";
import repetitionPenaltyWgsl from "../../shaders/repetition-penalty.wgsl";
import rmsNormWgsl from "../../shaders/rms-norm.wgsl";
import ropeAppendWgsl from "../../shaders/rope-append.wgsl";
import activationWgsl from "../../shaders/shared/activation.wgsl";
import columnsWgsl from "../../shaders/shared/columns.wgsl";
import columnsQuadWgsl from "../../shaders/shared/columns-quad.wgsl";
import columnsReduceWgsl from "../../shaders/shared/columns-reduce.wgsl";
import groupQ4Wgsl from "../../shaders/shared/group-q4.wgsl";
import groupQ8Wgsl from "../../shaders/shared/group-q8.wgsl";
import linearWgsl from "../../shaders/shared/linear.wgsl";
import sharedQkvRopeWgsl from "../../shaders/shared/qkv-rope.wgsl";
import stepWgsl from "../../shaders/shared/step.wgsl";
import topKWgsl from "../../shaders/top-k.wgsl";
import unfoldPatchesWgsl from "../../shaders/unfold-patches.wgsl";
import visionEmbedWgsl from "../../shaders/vision-embed.wgsl";
import { GpuError } from "../errors.ts";
import type { Gpu } from "./device.ts";
import { defineKernel, type Kernel } from "./kernel.ts";
import { GPU_LINEAR_KERNELS, type LinearKernel, type LinearKernelName, planLinear } from "./linear-kernels.ts";
import { ATTENTION_KERNELS, type HeadLayout } from "./ops-attention.ts";
import type { Program } from "./program.ts";
import { hasQuads } from "./quads.ts";
import {
  type FloatDtype,
  groupsPerRow,
  isQuantized,
  type Linear,
  type Matrix,
  type MatrixPiece,
  type QuantizedDtype,
  type WeightDtype,
  weightStride4,
} from "./tensor.ts";
import type { Choice } from "./tunables.ts";
import { perDtype, perFloat } from "./weight-kernels.ts";

export {
  type AttentionCapture,
  type AttentionKernel,
  attentionDecode,
  attentionPrefill,
  type HeadLayout,
  NUM_DECODE_SPLITS,
} from "./ops-attention.ts";

/** Activations by their name in config.json, with the number the kernels know them by. */
export const ACTIVATIONS = { none: 0, quick_gelu: 1, gelu: 2, silu: 3, gelu_pytorch_tanh: 4, relu: 5 } as const;

/** The name of an activation that the kernels compute. */
export type Activation = keyof typeof ACTIVATIONS;

/** A kernel of one thread a sum: quantised weights are read a group at a time where quads of threads can share the input. */
const perQuantized = (name: string, source: string, helpers: readonly string[]): Record<QuantizedDtype, Kernel> => ({
  q8: defineKernel(name, source, [groupQ8Wgsl, columnsQuadWgsl, ...helpers]),
  q4: defineKernel(name, source, [groupQ4Wgsl, columnsQuadWgsl, ...helpers]),
});

/** Every kernel by file name; those that read checkpoint weights have one variant a dtype. */
export const KERNELS = {
  matmul: perDtype("matmul", matmulWgsl, [linearWgsl, activationWgsl]),
  matmulQuad: perDtype("matmul-quad", matmulQuadWgsl, [linearWgsl, activationWgsl]),
  matvec: perDtype("matvec", matvecWgsl, [columnsWgsl, linearWgsl, activationWgsl]),
  matvecQuad: perQuantized("matvec", matvecWgsl, [linearWgsl, activationWgsl]),
  ...GPU_LINEAR_KERNELS,
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
  embedTokens: perDtype("embed-tokens", embedTokensWgsl),
  visionEmbed: perFloat("vision-embed", visionEmbedWgsl),
  quantize: perFloat("quantize", quantizeWgsl),
  gatedActivation: defineKernel("gated-activation", gatedActivationWgsl, [activationWgsl]),
  rmsNorm: defineKernel("rms-norm", rmsNormWgsl),
  layerNorm: defineKernel("layer-norm", layerNormWgsl),
  gatherRows: defineKernel("gather-rows", gatherRowsWgsl),
  unfoldPatches: defineKernel("unfold-patches", unfoldPatchesWgsl),
  ropeAppend: defineKernel("rope-append", ropeAppendWgsl, [stepWgsl]),
  ...ATTENTION_KERNELS,
  repetitionPenalty: defineKernel("repetition-penalty", repetitionPenaltyWgsl),
  chooseToken: defineKernel("choose-token", chooseTokenWgsl),
  topK: defineKernel("top-k", topKWgsl),
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

/** The bindings of shared/weight-*: quantised weights have their scales beside them. */
function weightBindings(piece: MatrixPiece): { readonly weight: GPUBuffer; readonly scales?: GPUBuffer } {
  return { weight: piece.buffer, ...(piece.scales !== undefined && { scales: piece.scales }) };
}

/** Only quantised weights are read by quads; others are loaded thread by thread. */
function linearKernel(kind: LinearKernelName, dtype: WeightDtype): Kernel {
  if (kind !== "matvecQuad") return KERNELS[kind][dtype];
  return isQuantized(dtype) ? KERNELS.matvecQuad[dtype] : KERNELS.matvec[dtype];
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
  if (usesReduce(form, gpu)) return KERNELS[`${name}Reduce`][dtype];
  const isQuad = form === "quad" || (form !== "thread" && hasQuads(gpu));
  return isQuad && isQuantized(dtype) ? KERNELS[`${name}Quad`][dtype] : KERNELS[name][dtype];
}

/** output [R, I] = activation(gate) · up of gateUp [R, 2·I], the gate's columns first. */
export function gatedActivation(
  program: Program,
  call: {
    readonly gateUp: GPUBuffer;
    readonly output: GPUBuffer;
    readonly numRows: number;
    /** I */
    readonly columns: number;
    readonly activation: Activation;
  },
): void {
  const columns4 = call.columns / 4;
  program.dispatch(KERNELS.gatedActivation, {
    constants: { ACTIVATION: ACTIVATIONS[call.activation] },
    bindings: { gateUp: call.gateUp, output: call.output },
    params: { columns4 },
    grid: [Math.ceil(columns4 / 64), call.numRows],
  });
}

/** RMSNorm of R rows of `columns` real values, each row padded to a multiple of 4. */
export function rmsNorm(
  program: Program,
  call: {
    readonly input: GPUBuffer;
    readonly weight: GPUBuffer;
    readonly output: GPUBuffer;
    readonly numRows: number;
    readonly columns: number;
    readonly eps: number;
  },
): void {
  program.dispatch(KERNELS.rmsNorm, {
    bindings: { input: call.input, weight: call.weight, output: call.output },
    params: { columns4: Math.ceil(call.columns / 4), columns: call.columns, eps: call.eps },
    grid: [call.numRows],
  });
}

/** LayerNorm of R rows of `columns` real values, each row padded to a multiple of 4. */
export function layerNorm(
  program: Program,
  call: {
    readonly input: GPUBuffer;
    readonly weight: GPUBuffer;
    readonly bias: GPUBuffer;
    readonly output: GPUBuffer;
    readonly numRows: number;
    readonly columns: number;
    readonly eps: number;
  },
): void {
  program.dispatch(KERNELS.layerNorm, {
    bindings: { input: call.input, weight: call.weight, bias: call.bias, output: call.output },
    params: { columns4: Math.ceil(call.columns / 4), columns: call.columns, eps: call.eps },
    grid: [call.numRows],
  });
}

/** Rows of the embedding table [V, D] for R token ids (u32). */
export function embedTokens(
  program: Program,
  call: { readonly table: Matrix; readonly ids: GPUBuffer; readonly output: GPUBuffer; readonly numRows: number },
): void {
  const columns4 = call.table.columns / 4;
  for (const piece of call.table.pieces) {
    program.dispatch(KERNELS.embedTokens[call.table.dtype], {
      bindings: { ...weightBindings(piece), ids: call.ids, output: call.output },
      params: {
        columns4,
        weightStride4: weightStride4(call.table),
        firstToken: piece.rowStart,
        numTokens: piece.numRows,
      },
      grid: [Math.ceil(columns4 / 64), call.numRows],
    });
  }
}

/**
 * Packs R rows of `source` [R, columns], columns a multiple of 4, into a quantised piece from `rowStart` of it on, a
 * multiple of 4. `problem` (u32) becomes 1 where a weight is not finite or needs a scale beyond f16.
 */
export function quantize(
  program: Program,
  call: {
    readonly source: GPUBuffer;
    readonly sourceDtype: FloatDtype;
    readonly numRows: number;
    readonly columns: number;
    readonly dtype: QuantizedDtype;
    readonly target: { readonly steps: GPUBuffer; readonly scales: GPUBuffer };
    readonly rowStart: number;
    readonly problem: GPUBuffer;
  },
): void {
  const groups = groupsPerRow(call.columns);
  const numGroups = call.numRows * groups;
  program.dispatch(KERNELS.quantize[call.sourceDtype], {
    constants: { BITS: call.dtype === "q8" ? 8 : 4 },
    bindings: { weight: call.source, ...call.target, problem: call.problem },
    params: {
      numGroups,
      groupsPerRow: groups,
      inner4: call.columns / 4,
      groupStart: call.rowStart * groups,
    },
    grid: [Math.ceil(numGroups / 128)],
  });
}

/** output rows [outputRowStart, +R) = source rows by index (i32), or `filler` where the index is negative. */
export function gatherRows(
  program: Program,
  call: {
    readonly index: GPUBuffer;
    readonly source: GPUBuffer;
    readonly filler: GPUBuffer;
    readonly output: GPUBuffer;
    readonly numRows: number;
    readonly outputRowStart: number;
    readonly columns: number;
  },
): void {
  const columns4 = call.columns / 4;
  program.dispatch(KERNELS.gatherRows, {
    bindings: { index: call.index, source: call.source, filler: call.filler, output: call.output },
    params: { columns4, outputRowStart: call.outputRowStart },
    grid: [Math.ceil(columns4 / 64), call.numRows],
  });
}

/** Picture `imageIndex` of pixels [N, C, S, S] as rows of patches [G², padTo4(C·p²)]. */
export function unfoldPatches(
  program: Program,
  call: {
    readonly pixels: GPUBuffer;
    readonly output: GPUBuffer;
    readonly imageIndex: number;
    readonly imageSize: number;
    readonly patchSize: number;
    readonly numChannels: number;
  },
): void {
  const { imageSize, patchSize, numChannels } = call;
  const gridSize = Math.floor(imageSize / patchSize);
  const columns = numChannels * patchSize * patchSize;
  const columns4 = Math.ceil(columns / 4);
  program.dispatch(KERNELS.unfoldPatches, {
    bindings: { pixels: call.pixels, output: call.output },
    params: {
      imageSize,
      patchSize,
      gridSize,
      columns,
      columns4,
      imageOffset: call.imageIndex * numChannels * imageSize * imageSize,
    },
    grid: [Math.ceil(columns4 / 64), gridSize * gridSize],
  });
}

/**
 * output [P + 1, D] = [classEmbedding | patches [P, D]] + position [P + 1, D].
 * @throws GpuError `limit` when the position table is split, `shader` when it is quantised.
 */
export function visionEmbed(
  program: Program,
  call: {
    readonly position: Matrix;
    readonly patches: GPUBuffer;
    readonly classEmbedding: GPUBuffer;
    readonly output: GPUBuffer;
    readonly numPatches: number;
  },
): void {
  const columns4 = call.position.columns / 4;
  const { name, pieces } = call.position;
  const piece = pieces[0];
  if (piece === undefined || pieces.length > 1) {
    throw new GpuError("limit", `vision-embed: position table ${name} must be one piece, got ${pieces.length}.`);
  }
  if (isQuantized(call.position.dtype)) {
    throw new GpuError("shader", `vision-embed: position table ${name} must not be quantised.`);
  }
  program.dispatch(KERNELS.visionEmbed[call.position.dtype], {
    bindings: {
      weight: piece.buffer,
      patches: call.patches,
      classEmbedding: call.classEmbedding,
      output: call.output,
    },
    params: { columns4 },
    grid: [Math.ceil(columns4 / 64), call.numPatches + 1],
  });
}

/** Rotates queries and keys of qkv [R, (H + 2·Hkv)·paddedHeadDim] and appends keys and values to the cache. */
export function ropeAppend(
  program: Program,
  call: {
    readonly heads: HeadLayout;
    readonly qkv: GPUBuffer;
    readonly table: GPUBuffer;
    readonly keys: GPUBuffer;
    readonly values: GPUBuffer;
    readonly step: GPUBuffer;
    readonly numRows: number;
    readonly capacity: number;
  },
): void {
  const { numHeads, numKeyValueHeads, headDim, paddedHeadDim } = call.heads;
  program.dispatch(KERNELS.ropeAppend, {
    constants: {
      NUM_HEADS: numHeads,
      NUM_KEY_VALUE_HEADS: numKeyValueHeads,
      HEAD_DIM: headDim,
      PADDED_HEAD_DIM: paddedHeadDim,
    },
    bindings: { qkv: call.qkv, table: call.table, keys: call.keys, values: call.values, step: call.step },
    params: { capacity: call.capacity },
    grid: [Math.ceil(headDim / 2 / 32), numHeads + 2 * numKeyValueHeads, call.numRows],
  });
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

/** Logits that several kernels work on: [R, stride] f32 of which the first vocabSize are real. */
export interface LogitsView {
  readonly logits: GPUBuffer;
  readonly numRows: number;
  readonly vocabSize: number;
  readonly stride: number;
}

/** Applies the repetition penalty to the tokens whose bit is set in seen [R, ceil(V / 32)] u32. */
export function repetitionPenalty(
  program: Program,
  view: LogitsView,
  options: { readonly seen: GPUBuffer; readonly penalty: number },
): void {
  program.dispatch(KERNELS.repetitionPenalty, {
    bindings: { seen: options.seen, logits: view.logits },
    params: { vocabSize: view.vocabSize, stride: view.stride, penalty: options.penalty },
    grid: [Math.ceil(view.vocabSize / 64), view.numRows],
  });
}

/** Argmax and log-sum-exp of each row: choice [R, 4] u32 of (token, logit bits, logSumExp bits, bad logits). */
export function chooseToken(program: Program, view: LogitsView, options: { readonly choice: GPUBuffer }): void {
  program.dispatch(KERNELS.chooseToken, {
    bindings: { logits: view.logits, choice: options.choice },
    params: { vocabSize: view.vocabSize, stride: view.stride },
    grid: [view.numRows],
  });
}

/** The k largest logits of each row in order: entries [R, k, 2] u32 of (token, logit bits); k <= V. */
export function topK(
  program: Program,
  view: LogitsView,
  options: { readonly entries: GPUBuffer; readonly k: number },
): void {
  program.dispatch(KERNELS.topK, {
    bindings: { logits: view.logits, entries: options.entries },
    params: { vocabSize: view.vocabSize, stride: view.stride, k: options.k },
    grid: [view.numRows],
  });
}
