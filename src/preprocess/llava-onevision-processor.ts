// LLaVA-OneVision's image processor: its tiles are resized to height × width; the cutting is anyres.ts's.
// Source: transformers 5.24, models/llava_onevision/image_processing_pil_llava_onevision.py
import { readImageSteps } from "./image-processor-config.ts";
import type { ImageProcessorKind } from "./image-processors.ts";

/** LLaVA-OneVision's. Its do_pad pads lists of tiles in a batch, so it changes no picture. */
export const llavaOnevision: ImageProcessorKind = {
  types: ["LlavaOnevisionImageProcessor"],
  read: (values, file) =>
    readImageSteps(
      values,
      {
        size: { height: 384, width: 384 },
        centerCrop: false,
        resample: 3,
        mean: [0.48145466, 0.4578275, 0.40821073],
        std: [0.26862954, 0.26130258, 0.27577711],
        padsToSquare: false,
      },
      file,
    ),
};
