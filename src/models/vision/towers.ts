// The vision towers, by config.json's vision_config.model_type. A tower is a config: layers/vision-encoder.ts computes them all.
import type { VisionConfig } from "../config.ts";
import type { ConfigReader } from "../config-reader.ts";
import { clip } from "./clip.ts";
import { siglip } from "./siglip.ts";

/** A kind of vision transformer. */
export interface VisionTower {
  /** As config.json spells it. */
  readonly modelType: string;
  /** @throws CheckpointError naming the key, what is possible and what was found. */
  readConfig(config: ConfigReader): VisionConfig;
}

const TOWERS: readonly VisionTower[] = [clip, siglip];

/**
 * Reads a vision_config; without a model_type it is CLIP's, as in transformers.
 * @throws CheckpointError for an unknown model_type, or a value that the tower cannot have.
 */
export function readVisionConfig(config: ConfigReader): VisionConfig {
  const modelType = config.string("model_type", clip.modelType);
  const tower = TOWERS.find((candidate) => candidate.modelType === modelType);
  if (tower === undefined)
    throw config.error("model_type", TOWERS.map((each) => each.modelType).join(" or "), modelType);
  return tower.readConfig(config);
}
