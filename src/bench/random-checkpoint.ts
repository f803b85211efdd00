// Checkpoints of random weights at a wanted shape, in Hugging Face's layout: real sizes without a download. Weights are
// scaled so that hidden states keep their size through the layers and the greedy token differs from place to place.
import { encodeSafetensors, type TensorToWrite } from "../checkpoint/safetensors-writer.ts";
import type { DecoderShape, VisionShape } from "./shapes.ts";

/** A checkpoint to make; equal specs give equal bytes. */
export interface CheckpointSpec {
  readonly name: string;
  readonly seed: number;
  readonly dtype: "F32" | "F16";
  readonly decoder: DecoderShape;
  readonly vision: VisionShape;
  readonly tieWordEmbeddings: boolean;
  readonly maxPositions: number;
}

/** Changes when the same spec gives other bytes. */
export const GENERATOR_VERSION = 1;

/** Id of `<image>`, of the beginning and of the end, in the embedded checkpoint's tokenizer, which goes with all of these. */
export const IMAGE_TOKEN_ID = 3;
const BOS_TOKEN_ID = 0;
const EOS_TOKEN_ID = 1;

/** One file of a checkpoint. */
export interface CheckpointFile {
  readonly name: string;
  readonly content: Uint8Array<ArrayBuffer> | string;
}

/** Positions that a picture takes. */
export function numImageTokens(vision: VisionShape): number {
  return (vision.imageSize / vision.patchSize) ** 2;
}

/** Parameters of a spec's checkpoint, all tensors. */
export function numParameters(spec: CheckpointSpec): number {
  return shardsOf(spec)
    .flat()
    .reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0);
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
  yield json("generation_config.json", { bos_token_id: BOS_TOKEN_ID, eos_token_id: EOS_TOKEN_ID, do_sample: false });
  yield json("preprocessor_config.json", preprocessorConfig(spec.vision));
  yield json("config.json", modelConfig(spec)); // last: a folder with it is whole
}

function modelConfig({ decoder, vision, dtype, tieWordEmbeddings, maxPositions }: CheckpointSpec): object {
  return {
    architectures: ["LlavaForConditionalGeneration"],
    model_type: "llava",
    dtype: dtype === "F32" ? "float32" : "float16",
    image_token_index: IMAGE_TOKEN_ID,
    image_seq_length: numImageTokens(vision),
    projector_hidden_act: "gelu",
    multimodal_projector_bias: true,
    vision_feature_layer: -2,
    vision_feature_select_strategy: "default",
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
      model_type: "clip_vision_model",
      hidden_size: vision.hiddenSize,
      intermediate_size: vision.intermediateSize,
      num_hidden_layers: vision.numHiddenLayers,
      num_attention_heads: vision.numAttentionHeads,
      num_channels: 3,
      image_size: vision.imageSize,
      patch_size: vision.patchSize,
      projection_dim: vision.hiddenSize,
      hidden_act: "quick_gelu",
      layer_norm_eps: 1e-5,
    },
  };
}

function preprocessorConfig({ imageSize }: VisionShape): object {
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

/** A tensor to make: uniform values with this mean and standard deviation. */
interface TensorSpec {
  readonly name: string;
  readonly shape: readonly number[];
  readonly mean: number;
  readonly deviation: number;
}

/** Small beside what the layers add, so that a tied head does not just repeat the last token. */
const EMBEDDING_DEVIATION = 0.02;
/** Widens the logits: their largest of 32,000 comes out some units above the rest. */
const FINAL_NORM = 8;

function shardsOf({ decoder, vision, tieWordEmbeddings }: CheckpointSpec): readonly (readonly TensorSpec[])[] {
  const d = decoder.hiddenSize;
  const dv = vision.hiddenSize;
  const matrix = (name: string, rows: number, columns: number): TensorSpec => ({
    name: `${name}.weight`,
    shape: [rows, columns],
    mean: 0,
    deviation: 1 / Math.sqrt(columns), // a normed row comes out with unit size
  });
  const vector = (name: string, length: number, mean: number, deviation: number): TensorSpec => ({
    name,
    shape: [length],
    mean,
    deviation,
  });
  const linear = (name: string, rows: number, columns: number) => [
    matrix(name, rows, columns),
    vector(`${name}.bias`, rows, 0, 0.02),
  ];
  const norm = (name: string) => [vector(`${name}.weight`, dv, 1, 0.05), vector(`${name}.bias`, dv, 0, 0.02)];
  const table = (name: string): TensorSpec => ({
    name,
    shape: [decoder.vocabSize, d],
    mean: 0,
    deviation: EMBEDDING_DEVIATION,
  });
  const text = "language_model.model";
  const tower = "vision_tower.vision_model";
  const queryWidth = decoder.numAttentionHeads * decoder.headDim;
  const keyWidth = decoder.numKeyValueHeads * decoder.headDim;
  const llamaLayers = Array.from({ length: decoder.numHiddenLayers }, (_, index) => {
    const layer = `${text}.layers.${index}`;
    return [
      vector(`${layer}.input_layernorm.weight`, d, 1, 0.05),
      matrix(`${layer}.self_attn.q_proj`, queryWidth, d),
      matrix(`${layer}.self_attn.k_proj`, keyWidth, d),
      matrix(`${layer}.self_attn.v_proj`, keyWidth, d),
      matrix(`${layer}.self_attn.o_proj`, d, queryWidth),
      vector(`${layer}.post_attention_layernorm.weight`, d, 1, 0.05),
      matrix(`${layer}.mlp.gate_proj`, decoder.intermediateSize, d),
      matrix(`${layer}.mlp.up_proj`, decoder.intermediateSize, d),
      matrix(`${layer}.mlp.down_proj`, d, decoder.intermediateSize),
    ];
  });
  const visionLayers = Array.from({ length: vision.numHiddenLayers }, (_, index) => {
    const layer = `${tower}.encoder.layers.${index}`;
    return [
      ...norm(`${layer}.layer_norm1`),
      ...["q_proj", "k_proj", "v_proj", "out_proj"].flatMap((name) => linear(`${layer}.self_attn.${name}`, dv, dv)),
      ...norm(`${layer}.layer_norm2`),
      ...linear(`${layer}.mlp.fc1`, vision.intermediateSize, dv),
      ...linear(`${layer}.mlp.fc2`, dv, vision.intermediateSize),
    ];
  });
  const numPatches = numImageTokens(vision);
  const patch = vision.patchSize;
  return [
    [table(`${text}.embed_tokens.weight`)],
    ...llamaLayers,
    [
      vector(`${text}.norm.weight`, d, FINAL_NORM, 0.05),
      ...(tieWordEmbeddings ? [] : [table("language_model.lm_head.weight")]),
    ],
    [
      vector(`${tower}.embeddings.class_embedding`, dv, 0, 0.5),
      {
        name: `${tower}.embeddings.patch_embedding.weight`,
        shape: [dv, 3, patch, patch],
        mean: 0,
        deviation: 1 / Math.sqrt(3 * patch * patch),
      },
      { name: `${tower}.embeddings.position_embedding.weight`, shape: [numPatches + 1, dv], mean: 0, deviation: 0.5 },
      ...norm(`${tower}.pre_layrnorm`),
      ...norm(`${tower}.post_layernorm`),
    ],
    ...visionLayers,
    [...linear("multi_modal_projector.linear_1", d, dv), ...linear("multi_modal_projector.linear_2", d, d)],
  ];
}

function randomTensor({ name, shape, mean, deviation }: TensorSpec, dtype: "F32" | "F16", seed: number): TensorToWrite {
  const length = shape.reduce((product, size) => product * size, 1);
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

/** F16 bits of values that are zero or of normal size in it; the fraction is cut, which random weights do not mind. */
function toHalves(values: Float32Array<ArrayBuffer>): Uint16Array<ArrayBuffer> {
  const words = new Uint32Array(values.buffer);
  const halves = new Uint16Array(values.length);
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? 0;
    const exponent = ((word >>> 23) & 0xff) - 112;
    const sign = (word >>> 16) & 0x8000;
    halves[i] = exponent <= 0 ? sign : sign | (exponent << 10) | ((word >>> 13) & 0x3ff);
  }
  return halves;
}

function json(name: string, value: object): CheckpointFile {
  return { name, content: `${JSON.stringify(value, undefined, 2)}\n` };
}

function pad(index: number): string {
  return String(index).padStart(5, "0");
}
