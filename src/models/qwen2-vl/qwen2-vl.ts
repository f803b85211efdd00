// Qwen2-VL and Qwen2.5-VL: pictures of any shape, a position of the prompt for every 2 × 2 patches, and positions of time, row and
// column.
// Source: https://arxiv.org/abs/2409.12191, https://arxiv.org/abs/2502.13923; modeling_qwen2_vl.py, modeling_qwen2_5_vl.py
import type { ModelFamily } from "../architecture.ts";
import { llamaWeights } from "../layers/decoder-weights.ts";
import { gridEncoderWeights } from "../layers/grid-encoder-weights.ts";
import { gridRecipe } from "../layers/grid-recipe.ts";
import { readQwenConfig } from "./config.ts";
import { gridPictures } from "./pictures.ts";

/** `qwen2_vl` and `qwen2_5_vl`. */
export const qwen2Vl: ModelFamily = {
  modelTypes: ["qwen2_vl", "qwen2_5_vl"],
  read(reader) {
    const config = readQwenConfig(reader);
    const { text, multimodal } = config;
    const { vision } = multimodal;
    return {
      config,
      pictures: gridPictures(config),
      weights: (w) => {
        const weights = gridEncoderWeights(w, vision);
        return { llama: llamaWeights(w, text), pictures: gridRecipe({ vision, weights }) };
      },
    };
  },
};
