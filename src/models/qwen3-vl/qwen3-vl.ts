// Qwen3-VL: Qwen2-VL's pictures and positions, with learned positions in the tower, features of some of its layers behind the
// decoder's first ones, and a norm of every head.
// Source: https://arxiv.org/abs/2511.21631; modeling_qwen3_vl.py
import { InputError } from "../../errors.ts";
import type { ModelFamily, PictureLayout } from "../architecture.ts";
import { llamaWeights } from "../layers/decoder-weights.ts";
import { gridEncoderWeights } from "../layers/grid-encoder-weights.ts";
import { gridRecipe } from "../layers/grid-recipe.ts";
import type { QwenConfig } from "../qwen2-vl/config.ts";
import { gridPictures } from "../qwen2-vl/pictures.ts";
import { readQwen3Config } from "./config.ts";

/** `qwen3_vl`. */
export const qwen3Vl: ModelFamily = {
  modelTypes: ["qwen3_vl"],
  read(reader) {
    const config = readQwen3Config(reader);
    const { text, multimodal } = config;
    const { vision } = multimodal;
    return {
      config,
      pictures: endingInText(config),
      weights: (w) => {
        const weights = gridEncoderWeights(w, vision);
        return { llama: llamaWeights(w, text), pictures: gridRecipe({ vision, weights }) };
      },
    };
  },
};

/**
 * Qwen2-VL's, for prompts that do not end in a picture: the step that runs their last row again would lack what is added to a picture's
 * rows.
 */
function endingInText(config: QwenConfig, maxPixels?: number): PictureLayout {
  const pictures = gridPictures(config, maxPixels);
  return {
    ...pictures,
    withMaxPixels: (limit) => endingInText(config, limit),
    checkTokens(ids) {
      if (ids[ids.length - 1] !== pictures.imageTokenId) return;
      throw new InputError("The prompt ends in a picture: put text, or at least its end marker, behind it.");
    },
  };
}
