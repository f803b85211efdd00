// Vision transformers such as CLIP's: pixelValues [N, C, S, S] → hiddenStates [P', Dv], one picture (or tile) at a time, where P'
// counts the patches and the class token. The config says whether a tower has a class token and a first norm.
// Source: https://arxiv.org/abs/2103.00020; modeling_clip.py CLIPVisionTransformer.forward
import { type BufferMaker, GPU_STORAGE, GPU_UNIFORM, type Gpu } from "../../gpu/device.ts";
import { attentionPrefill } from "../../gpu/ops/attention.ts";
import { linear } from "../../gpu/ops/linear.ts";
import { layerNorm } from "../../gpu/ops/norm.ts";
import type { HeadLayout } from "../../gpu/ops/rope.ts";
import { unfoldPatches, visionEmbed } from "../../gpu/ops/vision.ts";
import type { Program } from "../../gpu/program.ts";
import { type Linear, type Matrix, padTo4 } from "../../gpu/tensor.ts";
import type { VisionConfig } from "../config.ts";
import type { WeightDeclarer } from "../weight-table.ts";
import type { PlaceVisitor } from "./places.ts";
import { STEP_BYTES } from "./step.ts";

/** A layer norm's scale and shift, [D] f32 each. */
export interface NormWeights {
  readonly weight: GPUBuffer;
  readonly bias: GPUBuffer;
}

/** One encoder layer. */
export interface VisionLayerWeights {
  readonly layerNorm1: NormWeights;
  readonly selfAttn: {
    /** q_proj, k_proj and v_proj stacked by rows: [3·H·headDim, Dv] */
    readonly qkvProj: Linear;
    readonly outProj: Linear;
  };
  readonly layerNorm2: NormWeights;
  readonly mlp: { readonly fc1: Linear; readonly fc2: Linear };
}

/** A vision tower, only the layers that run. */
export interface VisionWeights {
  /** [Dv]; undefined for a tower without class token */
  readonly classEmbedding: GPUBuffer | undefined;
  /** [Dv, C·p²] */
  readonly patchEmbedding: Linear;
  /** [P', Dv] */
  readonly positionEmbedding: Matrix;
  /** Undefined for a tower without a norm before its layers. */
  readonly preLayrnorm: NormWeights | undefined;
  readonly layers: readonly VisionLayerWeights[];
  /** Undefined where the family takes hidden states from before it. */
  readonly postLayernorm: NormWeights | undefined;
}

const PREFIX = "vision_tower.vision_model";

/** Declares a vision tower that runs its first `numLayers` layers; the others and a norm that is not applied are unused. */
export function visionWeights(
  w: WeightDeclarer,
  vision: VisionConfig,
  use: { readonly numLayers: number; readonly usesPostLayernorm: boolean },
): VisionWeights {
  const tower = w.part("vision tower");
  const { hiddenSize, numChannels, patchSize } = vision;
  const embeddings = `${PREFIX}.embeddings`;
  const weights = {
    classEmbedding: vision.hasClassToken
      ? tower.vector(`${embeddings}.class_embedding`, hiddenSize, "position")
      : undefined,
    patchEmbedding: tower.linear({
      stack: [{ name: `${embeddings}.patch_embedding`, rows: hiddenSize }],
      columns: numChannels * patchSize ** 2,
      columnShape: [numChannels, patchSize, patchSize],
      bias: vision.patchBias,
      isQuantizable: false,
    }),
    positionEmbedding: tower.table(`${embeddings}.position_embedding.weight`, {
      rows: vision.numPositions,
      columns: hiddenSize,
      role: "position",
      isQuantizable: false,
      isSplittable: false,
    }),
    preLayrnorm: vision.hasPreLayernorm ? normWeights(tower, `${PREFIX}.pre_layrnorm`, hiddenSize) : undefined,
    layers: Array.from({ length: use.numLayers }, (_, layer) => layerWeights(tower, layer, vision)),
  };
  for (let layer = use.numLayers; layer < vision.numHiddenLayers; layer++) layerWeights(tower.unused(), layer, vision);
  const post = (owner: WeightDeclarer) => normWeights(owner, `${PREFIX}.post_layernorm`, hiddenSize);
  if (vision.hasPostLayernorm && !use.usesPostLayernorm) post(tower.unused());
  return { ...weights, postLayernorm: use.usesPostLayernorm ? post(tower) : undefined };
}

function normWeights(w: WeightDeclarer, name: string, size: number): NormWeights {
  return { weight: w.vector(`${name}.weight`, size, "norm"), bias: w.vector(`${name}.bias`, size, "bias") };
}

function layerWeights(w: WeightDeclarer, layer: number, vision: VisionConfig): VisionLayerWeights {
  const { hiddenSize, intermediateSize } = vision;
  const prefix = `${PREFIX}.encoder.layers.${layer}`;
  const heads = { count: vision.numAttentionHeads, size: vision.headDim };
  const projection = (name: string) => ({ name: `${prefix}.self_attn.${name}`, rows: heads });
  return {
    layerNorm1: normWeights(w, `${prefix}.layer_norm1`, hiddenSize),
    selfAttn: {
      qkvProj: w.linear({
        stack: ["q_proj", "k_proj", "v_proj"].map(projection),
        columns: hiddenSize,
        bias: true,
      }),
      outProj: w.linear({
        stack: [{ name: `${prefix}.self_attn.out_proj`, rows: hiddenSize }],
        columns: heads,
        bias: true,
      }),
    },
    layerNorm2: normWeights(w, `${prefix}.layer_norm2`, hiddenSize),
    mlp: {
      fc1: w.linear({
        stack: [{ name: `${prefix}.mlp.fc1`, rows: intermediateSize }],
        columns: hiddenSize,
        bias: true,
      }),
      fc2: w.linear({
        stack: [{ name: `${prefix}.mlp.fc2`, rows: hiddenSize }],
        columns: intermediateSize,
        bias: true,
      }),
    },
  };
}

/** Scratch buffers of the vision tower, f32; reused for every picture. */
export interface VisionState {
  /** [P, padTo4(C·p²)] */
  readonly patches: GPUBuffer;
  /** [P, Dv] */
  readonly patchEmbeds: GPUBuffer;
  /** [P', Dv]: the hidden state of the layer just run */
  readonly hiddenStates: GPUBuffer;
  /** [P', Dv] */
  readonly normed: GPUBuffer;
  /** [P', 3·H·headDim] */
  readonly qkv: GPUBuffer;
  /** [P', H·headDim] */
  readonly attention: GPUBuffer;
  /** [P', I] */
  readonly inner: GPUBuffer;
  /** `struct Step` of the attention kernels, all zero: the rows have no cache slots. */
  readonly step: GPUBuffer;
}

/** Allocates the scratch buffers. @throws GpuError `limit`. */
export function createVisionState(gpu: BufferMaker, vision: VisionConfig): VisionState {
  const rows = vision.numPositions;
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
    readonly vision: VisionConfig;
    readonly weights: VisionWeights;
    readonly state: VisionState;
    /** [N, C, S, S] f32 */
    readonly pixels: GPUBuffer;
    readonly imageIndex: number;
    /** Visits every hidden state, "vision.hidden_states.{i}" (0: before the layers), while `state.hiddenStates` holds it. */
    readonly places?: PlaceVisitor | undefined;
  },
): void {
  const { vision, weights, state } = run;
  const numRows = vision.numPositions;
  const visit = (index: number) =>
    run.places?.visit(program, {
      place: `vision.hidden_states.${index}`,
      buffer: state.hiddenStates,
      groups: 1,
      groupSize: vision.hiddenSize,
      numRows,
    });

  // Patch embedding: a convolution whose stride is its kernel is a matrix product over unfolded patches.
  const at = (name: string, what: string) => program.at(`vision.${name}`, what);
  unfoldPatches(at("patch_embedding", "the picture cut into patches"), {
    pixels: run.pixels,
    output: state.patches,
    imageIndex: run.imageIndex,
    imageSize: vision.imageSize,
    patchSize: vision.patchSize,
    numChannels: vision.numChannels,
  });
  linear(at("patch_embedding", "every patch's pixels as a hidden state"), gpu, {
    layer: weights.patchEmbedding,
    input: state.patches,
    output: state.patchEmbeds,
    numRows: vision.numPatches,
  });
  const { preLayrnorm, postLayernorm } = weights;
  visionEmbed(at("position_embedding", "class token and patches, each plus its position's embedding"), {
    position: weights.positionEmbedding,
    patches: state.patchEmbeds,
    classEmbedding: weights.classEmbedding,
    output: preLayrnorm === undefined ? state.hiddenStates : state.normed,
    numPatches: vision.numPatches,
  });
  const norm = { numRows, columns: vision.hiddenSize, eps: vision.layerNormEps };
  if (preLayrnorm !== undefined) {
    layerNorm(at("pre_layrnorm", "hidden states before the first layer"), {
      input: state.normed,
      ...preLayrnorm,
      output: state.hiddenStates,
      ...norm,
    });
  }
  visit(0);
  weights.layers.forEach((layer, index) => {
    encoderLayer(program, gpu, { vision, layer, index, state });
    visit(index + 1);
  });
  if (postLayernorm !== undefined) {
    const { hiddenStates, normed } = state;
    layerNorm(at("post_layernorm", "hidden states after the last layer, normalised"), {
      input: hiddenStates,
      ...postLayernorm,
      output: normed,
      ...norm,
    });
    program.copy(normed, hiddenStates, { size: hiddenStates.size });
  }
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
  const numRows = vision.numPositions;
  const heads = headLayout(vision);
  const width = heads.numHeads * heads.paddedHeadDim;
  const norm = { numRows, columns: vision.hiddenSize, eps: vision.layerNormEps };

  const at = (name: string, what: string) => program.at(`vision.layers.${run.index}.${name}`, what);

  // x + attention(layerNorm1(x))
  const forAttention = "hidden states, normalised for the attention";
  layerNorm(at("layer_norm1", forAttention), { input: hiddenStates, ...layer.layerNorm1, output: normed, ...norm });
  const qkvProj = { layer: layer.selfAttn.qkvProj, input: normed, output: qkv, numRows };
  linear(at("self_attn.qkv_proj", "q, k and v of all heads"), gpu, qkvProj);
  attentionPrefill(at("self_attn", "the values that every patch attends to, in all patches"), gpu, {
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
  linear(at("self_attn.out_proj", "the attention's result, added to the hidden states"), gpu, {
    layer: layer.selfAttn.outProj,
    input: attention,
    output: hiddenStates,
    numRows,
    addToOutput: true,
  });

  // x + fc2(activation(fc1(layerNorm2(x))))
  const forMlp = "hidden states, normalised for the MLP";
  layerNorm(at("layer_norm2", forMlp), { input: hiddenStates, ...layer.layerNorm2, output: normed, ...norm });
  linear(at("mlp.fc1", `the MLP's inner values, through ${vision.hiddenAct}`), gpu, {
    layer: layer.mlp.fc1,
    input: normed,
    output: inner,
    numRows,
    activation: vision.hiddenAct,
  });
  linear(at("mlp.fc2", "the MLP's result, added to the hidden states"), gpu, {
    layer: layer.mlp.fc2,
    input: inner,
    output: hiddenStates,
    numRows,
    addToOutput: true,
  });
}

function headLayout(vision: VisionConfig): HeadLayout {
  return {
    numHeads: vision.numAttentionHeads,
    numKeyValueHeads: vision.numAttentionHeads,
    headDim: vision.headDim,
    paddedHeadDim: padTo4(vision.headDim),
  };
}
