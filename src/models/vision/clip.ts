// CLIP's vision tower.
// Source: https://arxiv.org/abs/2103.00020; configuration_clip.py CLIPVisionConfig, modeling_clip.py CLIPVisionTransformer
import type { VisionTower } from "./towers.ts";
import { readTransformerConfig } from "./transformer-config.ts";

const modelType = "clip_vision_model";

/** `clip_vision_model`. */
export const clip: VisionTower = {
  modelType,
  readConfig: (config) =>
    readTransformerConfig(config, {
      modelType,
      hasClassToken: true,
      patchBias: false,
      hasPreLayernorm: true,
      hasPostLayernorm: true,
      defaultPatchSize: 32,
      defaultActivation: "quick_gelu",
      defaultNormEps: 1e-5,
    }),
};
