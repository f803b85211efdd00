// Models that the engine runs, to begin with. Sizes are those of the weights; the hub's own numbers are shown before a download.

/** A model to suggest. */
export interface SuggestedModel {
  readonly id: string;
  readonly bytes: number;
  /** What its authors name as its licence; undefined where only its page says. */
  readonly licence: string | undefined;
  readonly purpose: string;
}

/** The smallest first. */
export const SUGGESTED_MODELS: readonly SuggestedModel[] = [
  {
    id: "HuggingFaceTB/SmolVLM-256M-Instruct",
    bytes: 512_969_856, // 256,484,928 parameters in two bytes
    licence: "Apache 2.0",
    purpose: "photographs, on a phone or without a GPU",
  },
  {
    id: "llava-hf/llava-interleave-qwen-0.5b-hf",
    bytes: 1_728_062_528, // 864,031,264 parameters in two bytes
    licence: "tongyi-qianwen-research, for research only",
    purpose: "photographs, on a small GPU",
  },
  {
    id: "llava-hf/llava-onevision-qwen2-0.5b-si-hf",
    bytes: 1_787_351_104, // 893,675,552 parameters in two bytes
    licence: "Apache 2.0",
    purpose: "one photograph in detail, on a small GPU",
  },
  {
    id: "Qwen/Qwen3-VL-2B-Instruct",
    bytes: 4_255_064_064, // 2,127,532,032 parameters in two bytes
    licence: undefined,
    purpose: "photographs of any shape, several in a conversation",
  },
  {
    id: "llava-hf/llava-1.5-7b-hf",
    bytes: 14_126_854_144,
    licence: undefined,
    purpose: "photographs; the model that AdaptVis was published with",
  },
];
