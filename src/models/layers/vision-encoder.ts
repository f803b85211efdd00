// The CLIP vision tower: pixelValues [N, C, S, S] → hiddenStates [P + 1, Dv], one picture (or tile) at a time.
// Source: https://arxiv.org/abs/2103.00020; modeling_clip.py CLIPVisionTransformer.forward
import { type BufferMaker, GPU_STORAGE, GPU_UNIFORM, type Gpu } from "../../gpu/device.ts";
import * as ops from "../../gpu/ops/ops.ts";
import type { Program } from "../../gpu/program.ts";
import { padTo4 } from "../../gpu/tensor.ts";
import type { MultimodalConfig, VisionConfig } from "../config.ts";
import type { VisionLayerWeights, VisionWeights } from "../weights.ts";
import { STEP_BYTES } from "./step.ts";

/** Scratch buffers of the vision tower, f32; reused for every picture. */
export interface VisionState {
  /** [P, padTo4(C·p²)] */
  readonly patches: GPUBuffer;
  /** [P, Dv] */
  readonly patchEmbeds: GPUBuffer;
  /** [P + 1, Dv]: the hidden state of the layer just run */
  readonly hiddenStates: GPUBuffer;
  /** [P + 1, Dv] */
  readonly normed: GPUBuffer;
  /** [P + 1, 3·H·headDim] */
  readonly qkv: GPUBuffer;
  /** [P + 1, H·headDim] */
  readonly attention: GPUBuffer;
  /** [P + 1, I] */
  readonly inner: GPUBuffer;
  /** Attention's uniforms, all zero: no positions, no image span. */
  readonly step: GPUBuffer;
}

/** Allocates the scratch buffers. @throws GpuError `limit`. */
export function createVisionState(gpu: BufferMaker, vision: VisionConfig): VisionState {
  const rows = vision.numPatches + 1;
  const f32 = (label: string, count: number) => gpu.createBuffer(`vision ${label}`, count * 4, GPU_STORAGE);
  const d = padTo4(vision.hiddenSize);
  const heads = headLayout(vision);
  return {
    patches: f32("patches", vision.numPatches * padTo4(vision.numChannels * vision.patchSize ** 2)),
    patchEmbeds: f32("patchEmbeds", vision.numPatches * d),
    hiddenStates: f32("hiddenStates", rows * d),
    normed: f32("normed", rows * d),
    qkv: f32("qkv", rows * 3 * heads.numHeads * heads.paddedHeadDim),
    attention: f32("attention", rows * heads.numHeads * heads.paddedHeadDim),
    inner: f32("inner", rows * padTo4(vision.intermediateSize)),
    step: gpu.createBuffer("vision step", STEP_BYTES, GPU_UNIFORM),
  };
}

/** Records the encoding of picture `imageIndex`; afterwards `state.hiddenStates` holds the feature layer's output. */
export function encodeImage(
  program: Program,
  gpu: Gpu,
  run: {
    readonly config: MultimodalConfig;
    readonly weights: VisionWeights;
    readonly state: VisionState;
    /** [N, C, S, S] f32 */
    readonly pixels: GPUBuffer;
    readonly imageIndex: number;
    /** Called when hidden state i (0 = after the pre-layernorm) stands in `state.hiddenStates`. */
    readonly onHiddenState?: (index: number) => void;
  },
): void {
  const { weights, state } = run;
  const { vision } = run.config;
  const numRows = vision.numPatches + 1;

  // Patch embedding: a convolution whose stride is its kernel is a matrix product over unfolded patches.
  ops.unfoldPatches(program.at("vision.patch_embedding"), {
    pixels: run.pixels,
    output: state.patches,
    imageIndex: run.imageIndex,
    imageSize: vision.imageSize,
    patchSize: vision.patchSize,
    numChannels: vision.numChannels,
  });
  ops.linear(program, gpu, {
    layer: weights.patchEmbedding,
    input: state.patches,
    output: state.patchEmbeds,
    numRows: vision.numPatches,
  });
  ops.visionEmbed(program.at("vision.position_embedding"), {
    position: weights.positionEmbedding,
    patches: state.patchEmbeds,
    classEmbedding: weights.classEmbedding,
    output: state.normed,
    numPatches: vision.numPatches,
  });
  ops.layerNorm(program.at("vision.pre_layrnorm"), {
    input: state.normed,
    ...weights.preLayrnorm,
    output: state.hiddenStates,
    numRows,
    columns: vision.hiddenSize,
    eps: vision.layerNormEps,
  });
  run.onHiddenState?.(0);
  weights.layers.forEach((layer, index) => {
    encoderLayer(program, gpu, { vision, layer, index, state });
    run.onHiddenState?.(index + 1);
  });
}

function encoderLayer(
  program: Program,
  gpu: Gpu,
  run: {
    readonly vision: VisionConfig;
    readonly layer: VisionLayerWeights;
    readonly index: number;
    readonly state: VisionState;
  },
): void {
  const { vision, layer, state } = run;
  const { hiddenStates, normed, qkv, attention, inner } = state;
  const numRows = vision.numPatches + 1;
  const heads = headLayout(vision);
  const width = heads.numHeads * heads.paddedHeadDim;
  const norm = { numRows, columns: vision.hiddenSize, eps: vision.layerNormEps };

  const at = (name: string) => program.at(`vision.layers.${run.index}.${name}`);

  // x + attention(layerNorm1(x))
  ops.layerNorm(at("layer_norm1"), { input: hiddenStates, ...layer.layerNorm1, output: normed, ...norm });
  ops.linear(at("self_attn.qkv_proj"), gpu, { layer: layer.selfAttn.qkvProj, input: normed, output: qkv, numRows });
  ops.attentionPrefill(at("self_attn"), gpu, {
    heads,
    queries: qkv,
    keys: qkv,
    values: qkv,
    output: attention,
    step: state.step,
    numRows,
    causal: false,
    numKeys: numRows,
    queryRowStride: 3 * width,
    keyOffset: width,
    valueOffset: 2 * width,
    positionStride: 3 * width,
    headStride: heads.paddedHeadDim,
  });
  ops.linear(at("self_attn.out_proj"), gpu, {
    layer: layer.selfAttn.outProj,
    input: attention,
    output: hiddenStates,
    numRows,
    addToOutput: true,
  });

  // x + fc2(activation(fc1(layerNorm2(x))))
  ops.layerNorm(at("layer_norm2"), { input: hiddenStates, ...layer.layerNorm2, output: normed, ...norm });
  ops.linear(at("mlp.fc1"), gpu, {
    layer: layer.mlp.fc1,
    input: normed,
    output: inner,
    numRows,
    activation: vision.hiddenAct,
  });
  ops.linear(at("mlp.fc2"), gpu, {
    layer: layer.mlp.fc2,
    input: inner,
    output: hiddenStates,
    numRows,
    addToOutput: true,
  });
}

function headLayout(vision: VisionConfig): ops.HeadLayout {
  return {
    numHeads: vision.numAttentionHeads,
    numKeyValueHeads: vision.numAttentionHeads,
    headDim: vision.headDim,
    paddedHeadDim: padTo4(vision.headDim),
  };
}
