// Decoders without a vision tower: LLaMA, Mistral and Qwen2.
import type { ModelFamily } from "../architecture.ts";
import { readTextConfig, TEXT_MODEL_TYPES } from "../config.ts";
import { llamaWeights } from "../layers/decoder-weights.ts";

/** `llama`, `mistral` and `qwen2`. */
export const text: ModelFamily = {
  modelTypes: TEXT_MODEL_TYPES,
  read(reader) {
    const config = readTextConfig(reader, undefined);
    return {
      config: { modelType: config.modelType, text: config, multimodal: undefined },
      pictures: undefined,
      weights: (w) => ({ llama: llamaWeights(w, config), pictures: undefined }),
    };
  },
};
