// The numbers of config.json, and the reading of what families share. Defaults are those of the model types in transformers, because published files leave most out;
// a value that changes the maths and that the engine does not compute is an error that names it, never ignored.
import { CheckpointError } from "../errors.ts";
import type { Activation } from "../gpu/ops/activations.ts";
import type { ConfigReader } from "./config-reader.ts";
import { contextLength, type RopeConfig, readRopeConfig } from "./rope-config.ts";

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
  /** Positions of the context: `max_position_embeddings`, or what the rotary embeddings stretch it to. */
  readonly maxPositionEmbeddings: number;
  /**
   * Keys that a row of each layer sees at most, its own included; undefined for a layer whose rows see all before them, and as a
   * whole where no layer has a window that the context exceeds.
   */
  readonly slidingWindows: readonly (number | undefined)[] | undefined;
  readonly tieWordEmbeddings: boolean;
  /** Biases of q_proj, k_proj and v_proj. */
  readonly qkvBias: boolean;
  readonly outputBias: boolean;
  readonly mlpBias: boolean;
  /** Whether every head of the queries and keys is normed before it is rotated. */
  readonly hasHeadNorm: boolean;
  /** First layers behind each of which features of the pictures' positions are added to their hidden states. */
  readonly numDeepstackLayers: number;
}

/** How pictures enter the decoder; a family adds what it alone has. */
export interface MultimodalConfig {
  readonly vision: VisionConfig;
  readonly imageTokenId: number;
  /** Vision layers to run: hidden state number `visionFeatureLayer` is the output of the last of them. */
  readonly numVisionLayers: number;
  /** What a picture becomes: one square that it is cropped or fitted to, squares that it is cut into, or a grid of patches of its own shape. */
  readonly pictureForm: "square" | "tiles" | "grid";
  /** What becomes of the tower's hidden states, in a few words for listings. */
  readonly featureSummary: string;
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

/**
 * Layers of a tower or a decoder, far more than any has: lists of so many can be made before the file's tensors are compared with
 * them.
 */
export const MAX_LAYERS = 1000;

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

/** The form of a family's decoder, where its text config has a `model_type` of its own. */
export interface TextForm {
  /** The decoder that it is computed as. */
  readonly modelType: TextModelType;
  readonly defaults: Partial<TextDefaults>;
  /** Where positions have several axes: `mrope_section`, unless the file has it. */
  readonly sections?: readonly number[] | undefined;
  /** Whether the axes take turns from pair to pair. */
  readonly isInterleaved?: boolean;
  readonly hasHeadNorm?: boolean;
}

/** Values of a text config that most files leave out. */
interface TextDefaults {
  readonly vocab_size: number;
  readonly hidden_size: number;
  readonly intermediate_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly num_key_value_heads: number | undefined;
  /** hidden_size / num_attention_heads unless given. */
  readonly head_dim?: number;
  readonly max_position_embeddings: number;
  readonly max_window_layers: number;
  readonly rms_norm_eps: number;
  readonly rope_theta: number;
}

const SHARED_DEFAULTS = {
  hidden_size: 4096,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  max_window_layers: 28,
  rms_norm_eps: 1e-6,
  rope_theta: 10000,
} as const;

/**
 * Reads the config of a LLaMA-type decoder.
 * @param outerTied `tie_word_embeddings` of the config around it; either of the two ties them
 * @param form of a family whose text config has a model_type of its own
 * @throws CheckpointError naming the key, what is possible and what was found.
 */
export function readTextConfig(config: ConfigReader, outerTied: boolean | undefined, form?: TextForm): TextConfig {
  const modelType = form?.modelType ?? config.string("model_type", "llama");
  if (!isTextModelType(modelType)) throw config.error("model_type", "llama, mistral or qwen2", modelType);
  const defaults: TextDefaults = { ...SHARED_DEFAULTS, ...TEXT_DEFAULTS[modelType], ...form?.defaults };
  const hiddenSize = config.count("hidden_size", defaults.hidden_size);
  const numAttentionHeads = config.count("num_attention_heads", defaults.num_attention_heads);
  const numKeyValueHeads = config.count("num_key_value_heads", defaults.num_key_value_heads ?? numAttentionHeads);
  if (numAttentionHeads % numKeyValueHeads !== 0) {
    throw config.error(
      "num_key_value_heads",
      `a divisor of num_attention_heads (${numAttentionHeads})`,
      numKeyValueHeads,
    );
  }
  const headDim = config.count("head_dim", defaults.head_dim ?? hiddenSize / numAttentionHeads);
  if (headDim % 2 !== 0) throw config.error("head_dim", "an even number, which rotary embeddings need", headDim);
  const givenPositions = config.count("max_position_embeddings", defaults.max_position_embeddings);
  const rope = readRopeConfig(config, {
    maxPositionEmbeddings: givenPositions,
    headDim,
    sections: form?.sections,
    isInterleaved: form?.isInterleaved,
    defaultTheta: defaults.rope_theta,
  });
  const maxPositionEmbeddings = contextLength(rope, givenPositions);
  const numHiddenLayers = config.count("num_hidden_layers", defaults.num_hidden_layers, MAX_LAYERS);
  // transformers' Mistral and Qwen2 have no such settings: their classes ignore them in a config.
  const hasBiasSettings = modelType === "llama";
  const attentionBias = hasBiasSettings && config.boolean("attention_bias", false);
  return {
    modelType,
    vocabSize: config.count("vocab_size", defaults.vocab_size),
    hiddenSize,
    intermediateSize: config.count("intermediate_size", defaults.intermediate_size),
    numHiddenLayers,
    numAttentionHeads,
    numKeyValueHeads,
    headDim,
    hiddenAct: readActivation(config, "hidden_act", "silu"),
    rmsNormEps: config.epsilon("rms_norm_eps", defaults.rms_norm_eps),
    rope,
    maxPositionEmbeddings,
    slidingWindows: readSlidingWindows(config, {
      modelType,
      numHiddenLayers,
      maxPositionEmbeddings,
      maxWindowLayers: defaults.max_window_layers,
    }),
    tieWordEmbeddings: config.boolean("tie_word_embeddings", false) || outerTied === true,
    qkvBias: modelType === "qwen2" || attentionBias,
    outputBias: attentionBias,
    mlpBias: hasBiasSettings && config.boolean("mlp_bias", false),
    hasHeadNorm: form?.hasHeadNorm ?? false,
    numDeepstackLayers: 0,
  };
}

/**
 * The window of each layer: of all layers of mistral; of qwen2, where `use_sliding_window` is set, of those that `layer_types`
 * says, or from `max_window_layers` on. Other models have none, whatever the config says, as in transformers.
 */
function readSlidingWindows(
  config: ConfigReader,
  text: Pick<TextConfig, "modelType" | "numHiddenLayers" | "maxPositionEmbeddings"> & {
    readonly maxWindowLayers: number;
  },
): TextConfig["slidingWindows"] {
  const { modelType, numHiddenLayers, maxPositionEmbeddings, maxWindowLayers } = text;
  if (modelType === "llama") return undefined;
  const isUsed = modelType === "mistral" || config.boolean("use_sliding_window", false);
  const isNull = config.has("sliding_window") && config.raw("sliding_window") === null;
  const window = isUsed && !isNull ? config.count("sliding_window", 4096) : undefined;
  const firstWindowed = modelType === "mistral" ? 0 : config.number("max_window_layers", maxWindowLayers);
  const isWindowed = Array.from(
    { length: numHiddenLayers },
    (_, layer) => window !== undefined && layer >= firstWindowed,
  );
  const types = readLayerTypes(config, numHiddenLayers);
  for (const [layer, type] of types?.entries() ?? []) {
    const isSliding = type === "sliding_attention";
    // transformers' mistral does not read layer_types, and a window of null is an error in its qwen2.
    if (modelType === "mistral" ? isSliding !== isWindowed[layer] : isSliding && window === undefined) {
      const expected = window === undefined ? "full_attention" : "sliding_attention";
      throw config.error(
        "layer_types",
        `${expected} in every layer, as sliding_window is ${window ?? "not used"}`,
        types,
      );
    }
    isWindowed[layer] = isSliding;
  }
  if (window === undefined || window >= maxPositionEmbeddings || !isWindowed.includes(true)) return undefined;
  return isWindowed.map((windowed) => (windowed ? window : undefined));
}

function readLayerTypes(config: ConfigReader, numHiddenLayers: number): readonly unknown[] | undefined {
  const types = config.raw("layer_types") ?? undefined;
  if (types === undefined) return undefined;
  const isType = (type: unknown) => type === "full_attention" || type === "sliding_attention";
  if (Array.isArray(types) && types.length === numHiddenLayers && types.every(isType)) return types;
  throw config.error("layer_types", `${numHiddenLayers} times full_attention or sliding_attention`, types);
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
    `config.json: model_type ${modelType} has no vision tower, so no picture can be given; use a vision-language checkpoint, such as LLaVA.`,
    { file: "config.json" },
  );
}
