// LLaVA: every picture is one square tile, and its patches are one run of image positions.
// Source: https://arxiv.org/abs/2310.03744; modeling_llava.py
import { fitToSquare, imagePixelValues } from "../../preprocess/image-processor.ts";
import { coveredPart } from "../../preprocess/processor-transform.ts";
import type { Architecture, ModelFamily, PictureLayout } from "../architecture.ts";
import { type ModelConfig, readActivation, readTextConfig, type TextConfig } from "../config.ts";
import type { ConfigReader } from "../config-reader.ts";
import { llamaWeights } from "../layers/decoder-weights.ts";
import { numImageFeatures, type ProjectedConfig, projectedTower, projectorWeights } from "../layers/projector.ts";
import { visionWeights } from "../layers/vision-encoder.ts";
import { readVisionConfig } from "../vision/towers.ts";
import type { WeightDeclarer } from "../weight-table.ts";

/** `llava`. */
export const llava: ModelFamily = {
  modelTypes: ["llava"],
  read(reader) {
    const multimodal = readMultimodalConfig(reader, undefined);
    return llavaArchitecture(reader, { multimodal, pictures: singleTileLayout(multimodal) });
  },
};

/** The model that LLaVA and LLaVA-NeXT share: a vision tower, a projector and a LLaMA-type decoder. */
export function llavaArchitecture(
  reader: ConfigReader,
  parts: { readonly multimodal: ProjectedConfig; readonly pictures: PictureLayout },
): Architecture {
  const { multimodal, pictures } = parts;
  const text = readTextConfig(reader.child("text_config"), reader.optionalBoolean("tie_word_embeddings"));
  const config: ModelConfig = { modelType: reader.string("model_type", undefined), text, multimodal };
  return { config, pictures, weights: (w) => llavaWeights(w, text, multimodal) };
}

function llavaWeights(w: WeightDeclarer, text: TextConfig, multimodal: ProjectedConfig) {
  const { vision, numVisionLayers: numLayers } = multimodal;
  const tower = visionWeights(w, vision, { numLayers, usesPostLayernorm: false });
  const projector = projectorWeights(w, text, multimodal);
  const pictures = projectedTower({ text, multimodal, weights: { vision: tower, projector } });
  return { llama: llamaWeights(w, text), pictures };
}

/** Reads how pictures enter the decoder. @throws CheckpointError naming the key, what is possible and what was found. */
export function readMultimodalConfig(
  config: ConfigReader,
  imageGridPinpoints: ProjectedConfig["imageGridPinpoints"],
): ProjectedConfig {
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
  const imageTokenId = config.tokenId("image_token_id", 32000, "image_token_index");
  const projectorHiddenAct = readActivation(config, "projector_hidden_act", "gelu");
  const { numPatches } = vision;
  const patches =
    imageGridPinpoints === undefined
      ? `${numPatches} patches`
      : `${numPatches} patches per tile, ${imageGridPinpoints.length} grids`;
  return {
    vision,
    imageTokenId,
    projectorHiddenAct,
    projectorBias: config.boolean("multimodal_projector_bias", true),
    numVisionLayers,
    visionFeatureSelectStrategy: strategy,
    imageGridPinpoints,
    pictureForm: imageGridPinpoints === undefined ? "square" : "tiles",
    featureSummary: `${patches}, features ${strategy}, projector ${projectorHiddenAct}`,
  };
}

function singleTileLayout(multimodal: ProjectedConfig): PictureLayout {
  const { numPatches, numChannels, imageSize, patchSize } = multimodal.vision;
  const numFeatures = numImageFeatures(multimodal);
  const side = Math.sqrt(numPatches);
  return {
    imageTokenId: multimodal.imageTokenId,
    tileShape: [numChannels, imageSize, imageSize],
    sizes: [undefined],
    pixelValues: (image, { processor }) => imagePixelValues(image, processor),
    seen: fitToSquare,
    part: ([height, width], processor) => coveredPart({ height, width }, processor, side * patchSize),
    positions: () => ({
      numTiles: 1,
      runLengths: [numFeatures],
      rowIndex: Int32Array.from({ length: numFeatures }, (_, row) => row),
      grid: { width: side, height: side },
    }),
  };
}
