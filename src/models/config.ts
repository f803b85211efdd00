// The numbers of config.json, and the reading of what families share. Defaults are those of the model types in transformers, because published files leave most out;
// a value that changes the maths and that the engine does not compute is an error that names it, never ignored.
import { CheckpointError } from "../errors.ts";
import type { Activation } from "../gpu/ops/activations.ts";
import type { ConfigReader } from "./config-reader.ts";
import { type RopeConfig, readRopeConfig } from "./layers/rope.ts";

/** Sizes and parts of a vision transformer. */
export interface VisionConfig {
  /** As config.json spells it, such as `clip_vision_model`. */
  readonly modelType: string;
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
  /** Whether a class token comes before the patches. */
  readonly hasClassToken: boolean;
  /** Hidden states of one picture: its patches and the class token. */
  readonly numPositions: number;
  /** Whether the patch convolution has a bias. */
  readonly patchBias: boolean;
  /** Whether a layer norm comes before the layers. */
  readonly hasPreLayernorm: boolean;
  /** Whether checkpoints hold a layer norm behind the layers; the family decides whether it is applied. */
  readonly hasPostLayernorm: boolean;
}

/** Sizes of a LLaMA-type decoder. */
export interface TextConfig {
  readonly modelType: TextModelType;
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
  /** Biases of q_proj, k_proj and v_proj. */
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

/** A decoder that is computed as LLaMA's. */
export type TextModelType = keyof typeof TEXT_DEFAULTS;

/** Every {@link TextModelType}. */
export const TEXT_MODEL_TYPES: readonly string[] = Object.keys(TEXT_DEFAULTS);

function isTextModelType(modelType: string): modelType is TextModelType {
  return Object.hasOwn(TEXT_DEFAULTS, modelType);
}

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
 * Reads the config of a LLaMA-type decoder.
 * @param outerTied `tie_word_embeddings` of the config around it, which counts where its own is missing
 * @throws CheckpointError naming the key, what is possible and what was found.
 */
export function readTextConfig(config: ConfigReader, outerTied: boolean | undefined): TextConfig {
  const modelType = config.string("model_type", "llama");
  if (!isTextModelType(modelType)) throw config.error("model_type", "llama, mistral or qwen2", modelType);
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
  const window =
    config.optionalNumber("sliding_window") ?? (config.has("sliding_window") ? Number.POSITIVE_INFINITY : 4096);
  if (usesWindow && window < maxPositionEmbeddings) {
    throw config.error("sliding_window", "null: windowed attention is not implemented", window);
  }
  if (config.number("partial_rotary_factor", 1) !== 1) {
    throw config.error(
      "partial_rotary_factor",
      "1: partial rotary embeddings are not implemented",
      config.raw("partial_rotary_factor"),
    );
  }
  // transformers' Mistral and Qwen2 have no such settings: their classes ignore them in a config.
  const hasBiasSettings = modelType === "llama";
  const attentionBias = hasBiasSettings && config.boolean("attention_bias", false);
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
    mlpBias: hasBiasSettings && config.boolean("mlp_bias", false),
  };
}

/** Reads the name of an activation function. @throws CheckpointError when it is not implemented. */
export function readActivation(config: ConfigReader, key: string, fallback: Activation): Activation {
  const name = config.string(key, fallback);
  const activation = Object.hasOwn(ACTIVATION_NAMES, name) ? ACTIVATION_NAMES[name] : undefined;
  if (activation === undefined) throw config.error(key, `one of ${Object.keys(ACTIVATION_NAMES).join(", ")}`, name);
  return activation;
}

/** @throws CheckpointError when no picture can be given to this model. */
export function requireMultimodal(config: ModelConfig): MultimodalConfig {
  if (config.multimodal === undefined) throw noVisionTower(config);
  return config.multimodal;
}

/** The error for a picture that a text-only model is given. */
export function noVisionTower({ modelType }: ModelConfig): CheckpointError {
  return new CheckpointError(
    `config.json: model_type ${modelType} has no vision tower, so no picture can be given; use a LLaVA checkpoint.`,
    { file: "config.json" },
  );
}
