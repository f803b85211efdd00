// CLIP's image processor, and LLaVA's, which consist of the same steps.
// Source: transformers 5.23, models/clip/image_processing_pil_clip.py, models/llava/image_processing_pil_llava.py and
// models/llava_next/image_processing_pil_llava_next.py
import { type ProcessorDefaults, readImageSteps } from "./image-processor-config.ts";
import type { ImageProcessorKind } from "./image-processors.ts";

const CLIP_DEFAULTS: ProcessorDefaults = {
  size: { shortest_edge: 224 },
  centerCrop: true,
  resample: 3,
  mean: [0.48145466, 0.4578275, 0.40821073],
  std: [0.26862954, 0.26130258, 0.27577711],
  padsToSquare: false,
};

/** CLIP's: resizes the shorter side and crops the centre. */
export const clip: ImageProcessorKind = {
  types: ["CLIPImageProcessor", "CLIPFeatureExtractor", "LlavaNextImageProcessor"],
  read: (values, file) => readImageSteps(values, CLIP_DEFAULTS, file),
};

/** LLaVA's: as CLIP's, but pads pictures to a square first if the file says so. */
export const llava: ImageProcessorKind = {
  types: ["LlavaImageProcessor"],
  read: (values, file) => readImageSteps(values, { ...CLIP_DEFAULTS, padsToSquare: true }, file),
};
