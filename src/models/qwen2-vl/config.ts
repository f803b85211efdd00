// config.json of Qwen2-VL and Qwen2.5-VL. Published files have the decoder's keys at the top, those of transformers 5 under
// text_config.
// Source: transformers 5.24, configuration_qwen2_vl.py, configuration_qwen2_5_vl.py
import { CheckpointError } from "../../errors.ts";
import { PICTURE_PIXELS } from "../../preprocess/qwen2-vl-processor.ts";
import {
  MAX_LAYERS,
  type ModelConfig,
  type MultimodalConfig,
  readActivation,
  readTextConfig,
  type TextConfig,
} from "../config.ts";
import type { ConfigReader } from "../config-reader.ts";
import type { GridVisionConfig } from "../layers/grid-encoder-weights.ts";

/** How pictures enter the decoder. */
export interface QwenMultimodalConfig extends MultimodalConfig {
  readonly vision: GridVisionConfig;
}

/** A config of the family. */
export interface QwenConfig extends ModelConfig {
  readonly multimodal: QwenMultimodalConfig;
  /** Ids of a picture in a prompt: its start, the image token and its end. */
  readonly placeTokens: readonly number[];
  /** The id that marks the positions of a video. */
  readonly videoTokenId: number;
}

const TEXT_DEFAULTS = {
  vocab_size: 152064,
  hidden_size: 8192,
  intermediate_size: 29568,
  num_hidden_layers: 80,
  num_attention_heads: 64,
  num_key_value_heads: 8,
  max_position_embeddings: 32768,
  max_window_layers: 80,
  rms_norm_eps: 1e-5,
  rope_theta: 1e6,
};

/** @throws CheckpointError naming the key, what is possible and what was found. */
export function readQwenConfig(reader: ConfigReader): QwenConfig {
  const modelType = reader.string("model_type", undefined);
  const isNested = (reader.raw("text_config") ?? undefined) !== undefined;
  const textReader = isNested ? reader.child("text_config") : reader;
  refuseSibling(textReader, isNested ? [modelType, `${modelType}_text`] : [modelType]);
  const text = readTextConfig(textReader, reader.optionalBoolean("tie_word_embeddings"), {
    modelType: "qwen2",
    defaults: TEXT_DEFAULTS,
    sections: [16, 24, 24],
  });
  const visionReader = reader.child("vision_config");
  refuseSibling(visionReader, [modelType, `${modelType}_vision`]);
  const vision = (modelType === "qwen2_vl" ? readVision2 : readVision25)(visionReader);
  return gridConfig(reader, { modelType, text, vision });
}

/**
 * The config of a model with such a tower.
 * @throws CheckpointError where tower and decoder do not fit together.
 */
export function gridConfig(
  reader: ConfigReader,
  model: { readonly modelType: string; readonly text: TextConfig; readonly vision: GridVisionConfig },
): QwenConfig {
  const { modelType, text, vision } = model;
  if (vision.outputSize !== text.hiddenSize) {
    throw new CheckpointError(
      `config.json: vision_config gives features of ${vision.outputSize} values, but the decoder's hidden_size is ${text.hiddenSize}.`,
      { file: "config.json" },
    );
  }
  const { mergeSize, windowSide, fullLayers, mergerAct } = vision;
  const windows =
    windowSide === undefined
      ? ""
      : `, windows of ${windowSide} × ${windowSide} but in ${fullLayers.length} of the layers`;
  const imageTokenId = reader.tokenId("image_token_id", 151655);
  const start = reader.tokenId("vision_start_token_id", 151652);
  const end = reader.tokenId("vision_end_token_id", 151653);
  return {
    modelType,
    text,
    multimodal: {
      vision,
      imageTokenId,
      numVisionLayers: vision.numHiddenLayers,
      pictureForm: "grid",
      featureSummary: `pictures of any shape, a position for ${mergeSize} × ${mergeSize} patches${windows}, merger ${mergerAct}`,
    },
    placeTokens: [start, imageTokenId, end],
    videoTokenId: reader.tokenId("video_token_id", 151656),
  };
}

/** @throws CheckpointError for a part of another model. */
export function refuseSibling(config: ConfigReader, own: readonly string[]): void {
  const found = config.string("model_type", own[0]);
  if (!own.includes(found)) throw config.error("model_type", own.join(" or "), found);
}

/** A LayerNorm, no gate and no windows; `hidden_size` is the width of the features. */
function readVision2(config: ConfigReader): GridVisionConfig {
  const hiddenSize = config.count("embed_dim", 1280);
  return {
    ...readGridVision(config, hiddenSize, SIZES),
    modelType: "qwen2_vl_vision",
    intermediateSize: hiddenSize * config.count("mlp_ratio", 4),
    hiddenAct: readActivation(config, "hidden_act", "quick_gelu"),
    norm: "layer",
    hasGate: false,
    windowSide: undefined,
    fullLayers: [],
    outputSize: config.count("hidden_size", 3584),
  };
}

/** An RMSNorm, a gate, and windows in all layers but a few. */
function readVision25(config: ConfigReader): GridVisionConfig {
  const shared = readGridVision(config, config.count("hidden_size", 3584), SIZES);
  const windowSize = config.count("window_size", 112);
  const windowSide = Math.floor(Math.floor(windowSize / shared.mergeSize) / shared.patchSize);
  if (windowSide < 1) {
    const least = shared.mergeSize * shared.patchSize;
    throw config.error("window_size", `at least ${least}, a block of patches`, windowSize);
  }
  const fullLayers: unknown = config.raw("fullatt_block_indexes") ?? [7, 15, 23, 31];
  const isLayer = (layer: unknown): layer is number => Number.isInteger(layer) && Number(layer) >= 0;
  if (!Array.isArray(fullLayers) || !fullLayers.every(isLayer)) {
    throw config.error("fullatt_block_indexes", "a list of layers", fullLayers);
  }
  return {
    ...shared,
    modelType: "qwen2_5_vl_vision",
    intermediateSize: config.count("intermediate_size", 3420),
    hiddenAct: readActivation(config, "hidden_act", "silu"),
    norm: "rms",
    hasGate: true,
    windowSide,
    fullLayers,
    outputSize: config.count("out_hidden_size", 3584),
  };
}

/** Defaults of these two towers. */
const SIZES = { depth: 32, patchSize: 14 };

/** What the towers have in common. */
export function readGridVision(
  config: ConfigReader,
  hiddenSize: number,
  defaults: { readonly depth: number; readonly patchSize: number },
) {
  const numAttentionHeads = config.count("num_heads", 16);
  const headDim = hiddenSize / numAttentionHeads;
  if (headDim % 4 !== 0) {
    throw config.error(
      "num_heads",
      `one that divides the width ${hiddenSize} into heads of a multiple of 4`,
      numAttentionHeads,
    );
  }
  const patchSize = config.count("patch_size", defaults.patchSize, 256);
  const temporalPatchSize = config.count("temporal_patch_size", 2, 16);
  const numChannels = config.count("in_channels", 3, 16);
  const mergeSize = config.count("spatial_merge_size", 2, 16);
  if ((numChannels * temporalPatchSize * patchSize ** 2) % 4 !== 0) {
    throw config.error("patch_size", "one whose patches have a multiple of 4 values", patchSize);
  }
  const rope = config.child("rope_parameters");
  const ropeType = rope.string("rope_type", "axial");
  if (ropeType !== "axial") throw rope.error("rope_type", "axial", ropeType);
  // The largest square picture.
  const imageSize = Math.floor(Math.sqrt(PICTURE_PIXELS) / (patchSize * mergeSize)) * patchSize * mergeSize;
  const numPatches = (imageSize / patchSize) ** 2;
  return {
    hiddenSize,
    numHiddenLayers: config.count("depth", defaults.depth, MAX_LAYERS),
    numAttentionHeads,
    headDim,
    imageSize,
    patchSize,
    temporalPatchSize,
    mergeSize,
    numChannels,
    layerNormEps: 1e-6,
    numPatches,
    hasClassToken: false,
    numPositions: numPatches,
    patchBias: false,
    hasPreLayernorm: false,
    hasPostLayernorm: false,
    mergerAct: "gelu",
    positionSide: undefined,
    deepstackLayers: [],
    names: { mlp: ["mlp.fc1", "mlp.fc2"], mergerNorm: "ln_q", merger: ["mlp.0", "mlp.2"] },
    ropeTheta: rope.number("rope_theta", 10000),
  } as const;
}
