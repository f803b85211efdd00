// config.json → numbers. Defaults are those of the model types in transformers, because published files leave most out;
// a value that changes the maths and that the engine does not compute is an error that names it, never ignored.
import { CheckpointError } from "../errors.ts";
import type { Activation } from "../gpu/ops/ops.ts";
import { ConfigReader } from "./config-reader.ts";
import { type RopeConfig, readRopeConfig } from "./layers/rope.ts";

/** Sizes of a CLIP vision tower. */
export interface VisionConfig {
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  readonly headDim: number;
  /** Side of the square picture, pixels. */
  readonly imageSize: number;
  /** Side of a square patch, pixels. */
  readonly patchSize: number;
  readonly numChannels: number;
  readonly hiddenAct: Activation;
  readonly layerNormEps: number;
  /** Patches of one picture: floor(imageSize / patchSize)². */
  readonly numPatches: number;
}

/** Sizes of a LLaMA-type decoder. */
export interface TextConfig {
  readonly modelType: "llama" | "mistral" | "qwen2";
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  readonly numKeyValueHeads: number;
  readonly headDim: number;
  readonly hiddenAct: Activation;
  readonly rmsNormEps: number;
  readonly rope: RopeConfig;
  readonly maxPositionEmbeddings: number;
  readonly tieWordEmbeddings: boolean;
  readonly qkvBias: boolean;
  readonly outputBias: boolean;
  readonly mlpBias: boolean;
}

/** How pictures enter the decoder. */
export interface MultimodalConfig {
  readonly vision: VisionConfig;
  readonly imageTokenId: number;
  readonly projectorHiddenAct: Activation;
  readonly projectorBias: boolean;
  /** Vision layers to run: hidden state number `visionFeatureLayer` is the output of the last of them. */
  readonly numVisionLayers: number;
  /** `default` drops the class token, `full` keeps it. */
  readonly visionFeatureSelectStrategy: "default" | "full";
  /** Grids of LLaVA-NeXT as [height, width] in pixels; undefined for plain LLaVA. */
  readonly imageGridPinpoints: readonly (readonly [number, number])[] | undefined;
}

/** Everything the forward passes need from config.json. */
export interface ModelConfig {
  readonly modelType: string;
  readonly text: TextConfig;
  /** Undefined for a text-only checkpoint. */
  readonly multimodal: MultimodalConfig | undefined;
}

const TEXT_DEFAULTS = {
  llama: { vocab_size: 32000, intermediate_size: 11008, num_key_value_heads: undefined, max_position_embeddings: 2048 },
  mistral: { vocab_size: 32000, intermediate_size: 14336, num_key_value_heads: 8, max_position_embeddings: 131072 },
  qwen2: { vocab_size: 151936, intermediate_size: 22016, num_key_value_heads: 32, max_position_embeddings: 32768 },
} as const;

const ACTIVATION_NAMES: Readonly<Record<string, Activation>> = {
  quick_gelu: "quick_gelu",
  gelu: "gelu",
  silu: "silu",
  swish: "silu",
  gelu_pytorch_tanh: "gelu_pytorch_tanh",
  gelu_new: "gelu_pytorch_tanh",
  relu: "relu",
};

/**
 * Reads config.json of a LLaVA, LLaVA-NeXT or text-only LLaMA-type checkpoint.
 * @throws CheckpointError naming the key, what is possible and what was found.
 */
export function readModelConfig(json: unknown, file = "config.json"): ModelConfig {
  const config = new ConfigReader(json, file);
  const modelType = config.string("model_type", undefined);
  config.refuse("quantization_config", "quantised checkpoints");
  if (modelType === "llava" || modelType === "llava_next") {
    const text = readTextConfig(config.child("text_config"), config.optionalBoolean("tie_word_embeddings"));
    return { modelType, text, multimodal: readMultimodalConfig(config, modelType) };
  }
  if (modelType in TEXT_DEFAULTS) {
    return { modelType, text: readTextConfig(config, undefined), multimodal: undefined };
  }
  throw config.error("model_type", "llava, llava_next, llama, mistral or qwen2", modelType);
}

function readTextConfig(config: ConfigReader, outerTied: boolean | undefined): TextConfig {
  const modelType = config.string("model_type", "llama");
  if (modelType !== "llama" && modelType !== "mistral" && modelType !== "qwen2") {
    throw config.error("model_type", "llama, mistral or qwen2", modelType);
  }
  const defaults = TEXT_DEFAULTS[modelType];
  const hiddenSize = config.count("hidden_size", 4096);
  const numAttentionHeads = config.count("num_attention_heads", 32);
  const numKeyValueHeads = config.count("num_key_value_heads", defaults.num_key_value_heads ?? numAttentionHeads);
  if (numAttentionHeads % numKeyValueHeads !== 0) {
    throw config.error(
      "num_key_value_heads",
      `a divisor of num_attention_heads (${numAttentionHeads})`,
      numKeyValueHeads,
    );
  }
  const headDim = config.count("head_dim", hiddenSize / numAttentionHeads);
  if (headDim % 2 !== 0) throw config.error("head_dim", "an even number, which rotary embeddings need", headDim);
  const maxPositionEmbeddings = config.count("max_position_embeddings", defaults.max_position_embeddings);
  const usesWindow = modelType === "mistral" || (modelType === "qwen2" && config.boolean("use_sliding_window", false));
  const window = config.optionalNumber("sliding_window") ?? (config.has("sliding_window") ? undefined : 4096);
  if (usesWindow && window !== undefined && window < maxPositionEmbeddings) {
    throw config.error("sliding_window", "null: windowed attention is not implemented", window);
  }
  if (config.number("partial_rotary_factor", 1) !== 1) {
    throw config.error(
      "partial_rotary_factor",
      "1: partial rotary embeddings are not implemented",
      config.raw("partial_rotary_factor"),
    );
  }
  const attentionBias = config.boolean("attention_bias", false);
  return {
    modelType,
    vocabSize: config.count("vocab_size", defaults.vocab_size),
    hiddenSize,
    intermediateSize: config.count("intermediate_size", defaults.intermediate_size),
    numHiddenLayers: config.count("num_hidden_layers", 32),
    numAttentionHeads,
    numKeyValueHeads,
    headDim,
    hiddenAct: readActivation(config, "hidden_act", "silu"),
    rmsNormEps: config.number("rms_norm_eps", 1e-6),
    rope: readRopeConfig(config, maxPositionEmbeddings),
    maxPositionEmbeddings,
    tieWordEmbeddings: config.optionalBoolean("tie_word_embeddings") ?? outerTied ?? false,
    qkvBias: modelType === "qwen2" || attentionBias,
    outputBias: attentionBias,
    mlpBias: config.boolean("mlp_bias", false),
  };
}

function readMultimodalConfig(config: ConfigReader, modelType: "llava" | "llava_next"): MultimodalConfig {
  const vision = readVisionConfig(config.child("vision_config"));
  const layer = config.optionalNumberOrSingle("vision_feature_layer") ?? -2;
  const numVisionLayers = layer < 0 ? vision.numHiddenLayers + 1 + layer : layer;
  if (!Number.isInteger(layer) || numVisionLayers < 0 || numVisionLayers > vision.numHiddenLayers) {
    const bound = vision.numHiddenLayers;
    throw config.error("vision_feature_layer", `an integer from ${-bound - 1} to ${bound}`, layer);
  }
  const strategy = config.string("vision_feature_select_strategy", "default");
  if (strategy !== "default" && strategy !== "full") {
    throw config.error("vision_feature_select_strategy", "default or full", strategy);
  }
  const imageTokenId = config.optionalNumber("image_token_id") ?? config.number("image_token_index", 32000);
  if (!Number.isInteger(imageTokenId) || imageTokenId < 0) {
    throw config.error("image_token_index", "a token id", imageTokenId);
  }
  return {
    vision,
    imageTokenId,
    projectorHiddenAct: readActivation(config, "projector_hidden_act", "gelu"),
    projectorBias: config.boolean("multimodal_projector_bias", true),
    numVisionLayers,
    visionFeatureSelectStrategy: strategy,
    imageGridPinpoints: modelType === "llava_next" ? readPinpoints(config) : undefined,
  };
}

function readVisionConfig(config: ConfigReader): VisionConfig {
  const modelType = config.string("model_type", "clip_vision_model");
  if (modelType !== "clip_vision_model") throw config.error("model_type", "clip_vision_model", modelType);
  const hiddenSize = config.count("hidden_size", 768);
  const numAttentionHeads = config.count("num_attention_heads", 12);
  const imageSize = config.count("image_size", 224);
  const patchSize = config.count("patch_size", 32);
  const gridSize = Math.floor(imageSize / patchSize);
  if (gridSize < 1) throw config.error("patch_size", `at most image_size (${imageSize})`, patchSize);
  if (hiddenSize % numAttentionHeads !== 0) {
    throw config.error("num_attention_heads", `a divisor of hidden_size (${hiddenSize})`, numAttentionHeads);
  }
  return {
    hiddenSize,
    intermediateSize: config.count("intermediate_size", 3072),
    numHiddenLayers: config.count("num_hidden_layers", 12),
    numAttentionHeads,
    headDim: hiddenSize / numAttentionHeads,
    imageSize,
    patchSize,
    numChannels: config.count("num_channels", 3),
    hiddenAct: readActivation(config, "hidden_act", "quick_gelu"),
    layerNormEps: config.number("layer_norm_eps", 1e-5),
    numPatches: gridSize * gridSize,
  };
}

function readActivation(config: ConfigReader, key: string, fallback: Activation): Activation {
  const name = config.string(key, fallback);
  const activation = ACTIVATION_NAMES[name];
  if (activation === undefined) throw config.error(key, `one of ${Object.keys(ACTIVATION_NAMES).join(", ")}`, name);
  return activation;
}

const DEFAULT_PINPOINTS: readonly (readonly [number, number])[] = [
  [336, 672],
  [672, 336],
  [672, 672],
  [1008, 336],
  [336, 1008],
];

function readPinpoints(config: ConfigReader): readonly (readonly [number, number])[] {
  const value = config.raw("image_grid_pinpoints");
  if (value === undefined || value === null) return DEFAULT_PINPOINTS;
  const isPair = (pair: unknown): pair is [number, number] =>
    Array.isArray(pair) && pair.length === 2 && pair.every((side) => Number.isInteger(side) && side > 0);
  if (!Array.isArray(value) || value.length === 0 || !value.every(isPair)) {
    throw config.error("image_grid_pinpoints", "a list of [height, width] in pixels", JSON.stringify(value));
  }
  return value;
}

/** @throws CheckpointError when a prompt cannot be asked about a picture with this checkpoint. */
export function requireMultimodal(config: ModelConfig): MultimodalConfig {
  if (config.multimodal === undefined) {
    throw new CheckpointError(
      `config.json: model_type ${config.modelType} has no vision tower, so no picture can be given; use a LLaVA checkpoint.`,
      { file: "config.json" },
    );
  }
  return config.multimodal;
}
