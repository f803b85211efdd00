// LLaVA-OneVision: a picture alone in its prompt is cut into tiles as LLaVA-NeXT's, and the joined grid of their features is resized
// where it is too large; of several pictures, each is one tile.
// Source: https://arxiv.org/abs/2408.03326; transformers 5.24, modeling_llava_onevision.py
import { isObject } from "../../errors.ts";
import type { GridPinpoints } from "../../preprocess/anyres.ts";
import type { ModelFamily } from "../architecture.ts";
import type { ConfigReader } from "../config-reader.ts";
import { numImageFeatures, type ProjectedConfig } from "../layers/projector.ts";
import { llavaArchitecture, readMultimodalConfig } from "../llava/llava.ts";
import { checkTileCounts, readPinpoints } from "../llava-next/llava-next.ts";
import { onevisionPictures } from "./onevision-pictures.ts";

/** `llava_onevision`. */
export const llavaOnevision: ModelFamily = {
  modelTypes: ["llava_onevision"],
  read(reader) {
    const config = withDefaults(reader);
    const gridPinpoints = readPinpoints(config, DEFAULT_PINPOINTS);
    const multimodal = readMultimodalConfig(config, gridPinpoints);
    checkTileCounts(config, gridPinpoints, multimodal.vision.imageSize);
    checkStrategy(config, multimodal);
    const pictures = onevisionPictures(multimodal, {
      gridPinpoints,
      maxTiles: readMaxTiles(config),
      videoTokenId: config.tokenId("video_token_id", DEFAULTS.video_token_index, "video_token_index"),
    });
    const architecture = llavaArchitecture(config, { multimodal, pictures });
    return {
      ...architecture,
      weights(w) {
        const weights = architecture.weights(w);
        return { ...weights, pictures: weights.pictures && { ...weights.pictures, hasFeatureGrids: true } };
      },
    };
  },
};

const SIDE = 384;
const SIDES = [1, 2, 3, 4, 5, 6].map((numTiles) => numTiles * SIDE);
const DEFAULT_PINPOINTS: GridPinpoints = SIDES.flatMap((height) => SIDES.map((width) => [height, width] as const));

/** Those of configuration_llava_onevision.py, where they are not the reader's of LLaVA's config. */
const DEFAULTS = {
  image_token_index: 151646,
  video_token_index: 151647,
  vision_feature_layer: -1,
  vision_feature_select_strategy: "full",
  vision_aspect_ratio: "anyres_max_9",
  vision_config: {
    hidden_size: 1152,
    intermediate_size: 4304,
    patch_size: 14,
    image_size: SIDE,
    num_hidden_layers: 26,
    num_attention_heads: 16,
  },
  text_config: {},
};

/** Model types of parts that do not name theirs. */
const PART_TYPES = { vision_config: "siglip_vision_model", text_config: "qwen2" };

/** A vision_config that is there has the defaults of its own class, as in transformers. */
function withDefaults(reader: ConfigReader): ConfigReader {
  const given = (key: string, value: unknown) => reader.raw(key) ?? value;
  const values = Object.fromEntries(Object.entries(DEFAULTS).map(([key, value]) => [key, given(key, value)]));
  const parts = Object.entries(PART_TYPES).map(([key, model_type]) => {
    const part = values[key];
    return [key, isObject(part) ? { ...part, model_type: part.model_type ?? model_type } : part] as const;
  });
  return reader.with({ ...values, ...Object.fromEntries(parts) });
}

/** @throws CheckpointError unless a tile has exactly one feature per patch, without which they are no grid. */
function checkStrategy(config: ConfigReader, multimodal: ProjectedConfig): void {
  if (numImageFeatures(multimodal) === multimodal.vision.numPatches) return;
  const { hasClassToken, modelType } = multimodal.vision;
  const [expected, reason] = hasClassToken ? ["default", "has a class token"] : ["full", "has no class token"];
  const { visionFeatureSelectStrategy: got } = multimodal;
  throw config.error("vision_feature_select_strategy", `${expected}, as ${modelType} ${reason}`, got);
}

/** Tiles whose features a picture's grid has at most: the N of anyres_max_N. */
function readMaxTiles(config: ConfigReader): number {
  const ratio = config.string("vision_aspect_ratio", undefined);
  const maxTiles = Number(/^anyres_max_(\d{1,4})$/.exec(ratio)?.[1]);
  if (!(maxTiles >= 1))
    throw config.error("vision_aspect_ratio", "anyres_max_ and a number, such as anyres_max_9", ratio);
  return maxTiles;
}
