// One typed function per kernel: each records its dispatches into a Program. Buffers hold f32 rows padded to a multiple
// of 4; shapes are in each kernel's header. Letter legend: R rows, D hidden size, N and K columns out and in, H query
// heads, Hkv key/value heads, S keys, V vocabulary.
import chooseTokenWgsl from "../../../shaders/choose-token.wgsl";
import embedTokensWgsl from "../../../shaders/embed-tokens.wgsl";
import gatedActivationWgsl from "../../../shaders/gated-activation.wgsl";
import gatherRowsWgsl from "../../../shaders/gather-rows.wgsl";
import layerNormWgsl from "../../../shaders/layer-norm.wgsl";
import quantizeWgsl from "../../../shaders/quantize.wgsl";
import repetitionPenaltyWgsl from "../../../shaders/repetition-penalty.wgsl";
import rmsNormWgsl from "../../../shaders/rms-norm.wgsl";
import ropeAppendWgsl from "../../../shaders/rope-append.wgsl";
import activationWgsl from "../../../shaders/shared/activation.wgsl";
import stepWgsl from "../../../shaders/shared/step.wgsl";
import topKWgsl from "../../../shaders/top-k.wgsl";
import unfoldPatchesWgsl from "../../../shaders/unfold-patches.wgsl";
import visionEmbedWgsl from "../../../shaders/vision-embed.wgsl";
import { GpuError } from "../../errors.ts";
import { defineKernel } from "../kernel.ts";
import type { Program } from "../program.ts";
import {
  type FloatDtype,
  groupsPerRow,
  isQuantized,
  type Matrix,
  type QuantizedDtype,
  weightStride4,
} from "../tensor.ts";
import { ACTIVATIONS, type Activation } from "./activations.ts";
import { ATTENTION_KERNELS, type HeadLayout } from "./attention.ts";
import { LINEAR_KERNELS } from "./linear.ts";
import { perDtype, perFloat, weightBindings } from "./weight-kernels.ts";

export { ACTIVATIONS, type Activation } from "./activations.ts";
export {
  type AttentionCapture,
  type AttentionKernel,
  attentionDecode,
  attentionPrefill,
  type HeadLayout,
  NUM_DECODE_SPLITS,
} from "./attention.ts";
export { canFuseRope, type DecodeKernelForm, gatedMatvec, isWhole, linear, qkvRope } from "./linear.ts";

/** Every kernel by file name; those that read checkpoint weights have one variant a dtype. */
export const KERNELS = {
  ...LINEAR_KERNELS,
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
