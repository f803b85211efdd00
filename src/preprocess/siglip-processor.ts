// SigLIP's image processor.
// Source: transformers 5.23, models/siglip/image_processing_pil_siglip.py
import { readImageSteps } from "./image-processor-config.ts";
import type { ImageProcessorKind } from "./image-processors.ts";

/** SigLIP's image processor: resizes to height × width without keeping the aspect ratio, and does not crop. */
export const siglip: ImageProcessorKind = {
  types: ["SiglipImageProcessor"],
  read: (values, file) =>
    readImageSteps(
      values,
      {
        size: { height: 224, width: 224 },
        centerCrop: false,
        resample: 3,
        mean: [0.5, 0.5, 0.5],
        std: [0.5, 0.5, 0.5],
        padsToSquare: false,
      },
      file,
    ),
};
