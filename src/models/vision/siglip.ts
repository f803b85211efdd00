// SigLIP's vision tower.
// Source: https://arxiv.org/abs/2303.15343; configuration_siglip.py SiglipVisionConfig, modeling_siglip.py SiglipVisionTransformer
import type { VisionTower } from "./towers.ts";
import { readTransformerConfig } from "./transformer-config.ts";

const modelType = "siglip_vision_model";

/** `siglip_vision_model`. */
export const siglip: VisionTower = {
  modelType,
  readConfig: (config) =>
    readTransformerConfig(config, {
      modelType,
      hasClassToken: false,
      patchBias: true,
      hasPreLayernorm: false,
      hasPostLayernorm: true,
      defaultPatchSize: 16,
      defaultActivation: "gelu_pytorch_tanh",
      defaultNormEps: 1e-6,
    }),
};
