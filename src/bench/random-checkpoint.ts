// Checkpoints of random weights in Hugging Face's layout: real sizes without a download. Weights are scaled so that hidden
// states keep their size through the layers and the greedy token differs between positions.
import { encodeSafetensors, type TensorToWrite } from "../checkpoint/safetensors-writer.ts";
import { readArchitecture } from "../models/registry.ts";
import { listWeights, type WeightRole, type WeightSpec } from "../models/weight-table.ts";
import type { DecoderShape, VisionShape } from "./shapes.ts";

/** A checkpoint to make; equal specs give equal bytes. */
export interface CheckpointSpec {
  readonly name: string;
  readonly seed: number;
  readonly dtype: "F32" | "F16";
  readonly decoder: DecoderShape;
  readonly vision: VisionShape;
  /** Patches along a side of each block that becomes one position, of SmolVLM's family; undefined for LLaVA's. */
  readonly scaleFactor?: number;
  readonly tieWordEmbeddings: boolean;
  readonly maxPositions: number;
}

/** Changes when the same spec gives other bytes. */
export const GENERATOR_VERSION = 2;

/** Ids of `<image>`, BOS and EOS in the embedded checkpoint's tokenizer, which all of these checkpoints use. */
export const IMAGE_TOKEN_ID = 3;
const BOS_TOKEN_ID = 0;
const EOS_TOKEN_ID = 1;

/** One file of a checkpoint. */
export interface CheckpointFile {
  readonly name: string;
  readonly content: Uint8Array<ArrayBuffer> | string;
}

/** Number of positions of a picture, or of a tile. */
export function numImageTokens({ vision, scaleFactor = 1 }: Pick<CheckpointSpec, "vision" | "scaleFactor">): number {
  return (vision.imageSize / vision.patchSize / scaleFactor) ** 2;
}

/** Parameters of a spec's checkpoint, all tensors. */
export function numParameters(spec: CheckpointSpec): number {
  return shardsOf(spec)
    .flat()
    .reduce((sum, { shape }) => sum + numElements(shape), 0);
}

/** The small files of a spec's checkpoint: all but the weights, their index and the tokenizer's. */
export function configFiles(spec: CheckpointSpec): readonly CheckpointFile[] {
  return [
    json("generation_config.json", { bos_token_id: BOS_TOKEN_ID, eos_token_id: EOS_TOKEN_ID, do_sample: false }),
    json("preprocessor_config.json", preprocessorConfig(spec)),
    json("config.json", modelConfig(spec)), // last: a folder that contains it is complete
  ];
}

/** All files but the tokenizer's, one shard at a time: never more than one in memory. */
export function* checkpointFiles(spec: CheckpointSpec): Generator<CheckpointFile> {
  const shards = shardsOf(spec);
  const weightMap: Record<string, string> = {};
  let totalBytes = 0;
  let seed = spec.seed;
  for (const [index, tensors] of shards.entries()) {
    const name = `model-${pad(index + 1)}-of-${pad(shards.length)}.safetensors`;
    const written = tensors.map((tensor) => randomTensor(tensor, spec.dtype, seed++));
    for (const tensor of written) {
      weightMap[tensor.name] = name;
      totalBytes += tensor.data.byteLength;
    }
    yield { name, content: encodeSafetensors(written, { format: "pt" }) };
  }
  yield json("model.safetensors.index.json", { metadata: { total_size: totalBytes }, weight_map: weightMap });
  yield* configFiles(spec);
}

/** The config.json of a spec. */
export function modelConfig(spec: CheckpointSpec): object {
  const { decoder, vision, dtype, scaleFactor, tieWordEmbeddings, maxPositions } = spec;
  const isLlava = scaleFactor === undefined;
  return {
    ...(isLlava
      ? {
          architectures: ["LlavaForConditionalGeneration"],
          model_type: "llava",
          image_token_index: IMAGE_TOKEN_ID,
          image_seq_length: numImageTokens(spec),
          projector_hidden_act: "gelu",
          multimodal_projector_bias: true,
          vision_feature_layer: -2,
          vision_feature_select_strategy: "default",
        }
      : {
          architectures: ["SmolVLMForConditionalGeneration"],
          model_type: "smolvlm",
          image_token_id: IMAGE_TOKEN_ID,
          scale_factor: scaleFactor,
        }),
    dtype: dtype === "F32" ? "float32" : "float16",
    tie_word_embeddings: tieWordEmbeddings,
    text_config: {
      model_type: "llama",
      vocab_size: decoder.vocabSize,
      hidden_size: decoder.hiddenSize,
      intermediate_size: decoder.intermediateSize,
      num_hidden_layers: decoder.numHiddenLayers,
      num_attention_heads: decoder.numAttentionHeads,
      num_key_value_heads: decoder.numKeyValueHeads,
      head_dim: decoder.headDim,
      hidden_act: "silu",
      rms_norm_eps: 1e-5,
      rope_theta: 10_000,
      max_position_embeddings: maxPositions,
      attention_bias: false,
      mlp_bias: false,
      tie_word_embeddings: tieWordEmbeddings,
      bos_token_id: BOS_TOKEN_ID,
      eos_token_id: EOS_TOKEN_ID,
    },
    vision_config: {
      model_type: isLlava ? "clip_vision_model" : "smolvlm_vision",
      hidden_size: vision.hiddenSize,
      intermediate_size: vision.intermediateSize,
      num_hidden_layers: vision.numHiddenLayers,
      num_attention_heads: vision.numAttentionHeads,
      num_channels: 3,
      image_size: vision.imageSize,
      patch_size: vision.patchSize,
      projection_dim: vision.hiddenSize,
      hidden_act: isLlava ? "quick_gelu" : "gelu_pytorch_tanh",
      layer_norm_eps: isLlava ? 1e-5 : 1e-6,
    },
  };
}

function preprocessorConfig({ vision: { imageSize }, scaleFactor }: CheckpointSpec): object {
  if (scaleFactor !== undefined) {
    const side = { longest_edge: imageSize };
    return {
      image_processor_type: "SmolVLMImageProcessor",
      max_image_size: side,
      size: side,
      do_image_splitting: false,
    };
  }
  return {
    image_processor_type: "CLIPImageProcessor",
    do_convert_rgb: true,
    do_resize: true,
    size: { shortest_edge: imageSize },
    resample: 3,
    do_center_crop: true,
    crop_size: { height: imageSize, width: imageSize },
    do_rescale: true,
    rescale_factor: 1 / 255,
    do_normalize: true,
    image_mean: [0.48145466, 0.4578275, 0.40821073],
    image_std: [0.26862954, 0.26130258, 0.27577711],
  };
}

/** A tensor to make. */
export interface RandomTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: Distribution;
}

/** Uniform values with this mean and standard deviation. */
export interface Distribution {
  readonly mean: number;
  readonly deviation: number;
}

/** How values are drawn, by what a weight is for. */
function distributionOf(role: WeightRole, shape: readonly number[]): Distribution {
  switch (role) {
    case "matrix": // a normed row comes out with unit size
      return { mean: 0, deviation: 1 / Math.sqrt(numElements(shape.slice(1))) };
    case "bias":
      return { mean: 0, deviation: 0.02 };
    case "norm":
      return { mean: 1, deviation: 0.05 };
    case "final-norm": // widens the logits: their largest of 32,000 comes out some units above the rest
      return { mean: 8, deviation: 0.05 };
    case "token-embedding": // small beside what the layers add, so that a tied head does not just repeat the last token
      return { mean: 0, deviation: 0.02 };
    case "position":
      return { mean: 0, deviation: 0.5 };
  }
}

/**
 * The tensors of a spec's model, those that no pass reads included: the decoder's first, every layer and what is between layers in
 * a separate shard.
 */
export function shardsOf(spec: CheckpointSpec): readonly (readonly RandomTensor[])[] {
  const architecture = readArchitecture(modelConfig(spec));
  const weights = listWeights((w) => architecture.weights(w));
  const isText = ({ part }: WeightSpec) => part === "decoder" || part === "lm_head";
  const shards: RandomTensor[][] = [];
  let shardOf = "";
  for (const weight of [...weights.filter(isText), ...weights.filter((each) => !isText(each))]) {
    for (const { name, shape } of weight.tensors) {
      const place = `${isText(weight) ? "decoder" : weight.part} ${/\.layers\.\d+\./.exec(name)?.[0] ?? ""}`;
      if (place !== shardOf) shards.push([]);
      shardOf = place;
      shards.at(-1)?.push({ name, shape, values: distributionOf(weight.role, shape) });
    }
  }
  return shards;
}

function numElements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

function randomTensor(tensor: RandomTensor, dtype: "F32" | "F16", seed: number): TensorToWrite {
  const { name, shape } = tensor;
  const { mean, deviation } = tensor.values;
  const length = numElements(shape);
  const values = new Float32Array(length);
  const width = deviation * Math.sqrt(12); // of a uniform distribution
  // xorshift32: loops by index, these are hundreds of millions of numbers.
  let state = (Math.imul(seed + 1, 0x9e3779b9) ^ 0x5bd1e995) >>> 0 || 1;
  for (let i = 0; i < length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    values[i] = mean + ((state >>> 0) / 2 ** 32 - 0.5) * width;
  }
  return { name, dtype, shape, data: dtype === "F32" ? values : toHalves(values) };
}

/** F16 bits of values that are zero or normal in f16: smaller ones become zero. The fraction is truncated, which does not matter for random weights. */
export function toHalves(values: Float32Array<ArrayBuffer>): Uint16Array<ArrayBuffer> {
  const halves = new Uint16Array(values.length);
  new Uint32Array(values.buffer).forEach((word, index) => {
    const exponent = ((word >>> 23) & 0xff) - 112;
    const sign = (word >>> 16) & 0x8000;
    halves[index] = exponent <= 0 ? sign : sign | (exponent << 10) | ((word >>> 13) & 0x3ff);
  });
  return halves;
}

function json(name: string, value: object): CheckpointFile {
  return { name, content: `${JSON.stringify(value, undefined, 2)}\n` };
}

function pad(index: number): string {
  return String(index).padStart(5, "0");
}
