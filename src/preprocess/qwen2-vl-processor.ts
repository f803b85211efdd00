// Qwen2-VL's image processor, also that of Qwen2.5-VL: pictures keep their shape.
// Source: transformers 5.24, models/qwen2_vl/image_processing_pil_qwen2_vl.py
import { InputError } from "../errors.ts";
import type { PatchRule } from "./image-processor.ts";
import { asObject, readImageSteps, type Values, wrongValue } from "./image-processor-config.ts";
import type { ImageProcessorKind } from "./image-processors.ts";
import { DEFAULT_MAX_PIXELS } from "./resize-bicubic.ts";

/**
 * Default maximum number of pixels of a resized picture, whatever the file allows: 1,280 positions of the prompt, which is also the
 * limit of transformers for files that set none. Published files allow ten times as many, for which the vision tower's attention takes
 * a hundred times as long.
 */
export const PICTURE_PIXELS = 1280 * 28 * 28;

/**
 * The limits that a model is loaded with: the file's, up to {@link PICTURE_PIXELS}, or `maxPixels` in place of both.
 * @throws InputError for a `maxPixels` below the file's min_pixels.
 */
export function withPixelLimit(
  rule: PatchRule,
  { maxPixels, file }: { readonly maxPixels: number | undefined; readonly file: string },
): PatchRule {
  const { minPixels } = rule;
  if (maxPixels === undefined) {
    return {
      ...rule,
      minPixels: Math.min(minPixels, PICTURE_PIXELS),
      maxPixels: Math.min(rule.maxPixels, PICTURE_PIXELS),
    };
  }
  if (maxPixels >= minPixels) return { ...rule, maxPixels };
  throw new InputError(
    `maxPicturePixels (--max-picture-pixels) must be at least min_pixels of ${file}, ${minPixels}, got ${maxPixels}.`,
  );
}

/** Resizes to sides of whole blocks of patches, within limits for the number of pixels. */
export const qwen2Vl: ImageProcessorKind = {
  types: ["Qwen2VLImageProcessor"],
  read(values, file) {
    const patchSize = countOf(values, { key: "patch_size", fallback: 14, file });
    const temporalPatchSize = countOf(values, { key: "temporal_patch_size", fallback: 2, file });
    const mergeSize = countOf(values, { key: "merge_size", fallback: 2, file });
    const side = patchSize * mergeSize;
    const { minPixels, maxPixels } = readPixelLimits(values, file);
    if (values.do_resize === false) throw wrongValue(values, { key: "do_resize", expected: "true or absent", file });
    const { size: _size, min_pixels: _min, max_pixels: _max, ...others } = values;
    const steps = readImageSteps(
      { ...others, do_center_crop: false },
      {
        size: { height: side, width: side },
        centerCrop: false,
        resample: 3,
        mean: [0.48145466, 0.4578275, 0.40821073],
        std: [0.26862954, 0.26130258, 0.27577711],
        padsToSquare: false,
      },
      file,
    );
    return { ...steps, resize: undefined, patches: { patchSize, temporalPatchSize, mergeSize, minPixels, maxPixels } };
  },
};

/** The limits, which older files call min_pixels and max_pixels, and newer ones edges of `size` although they are areas. */
function readPixelLimits(values: Values, file: string): { readonly minPixels: number; readonly maxPixels: number } {
  const size = asObject(values.size ?? {}, "size", file);
  const limit = (
    key: "min_pixels" | "max_pixels",
    edge: "shortest_edge" | "longest_edge",
    fallback: number,
  ): number => {
    const value = values[key] ?? size[edge] ?? size[key] ?? fallback;
    if (Number.isInteger(value) && Number(value) > 0) return Number(value);
    const isOwn = (values[key] ?? undefined) !== undefined;
    const place = isOwn ? { [key]: value } : { [`size.${edge}`]: value };
    throw wrongValue(place, { key: isOwn ? key : `size.${edge}`, expected: "a positive number of pixels", file });
  };
  const minPixels = limit("min_pixels", "shortest_edge", 56 * 56);
  const maxPixels = limit("max_pixels", "longest_edge", PICTURE_PIXELS);
  if (minPixels > maxPixels || minPixels > DEFAULT_MAX_PIXELS) {
    const shown = { min_pixels: minPixels };
    throw wrongValue(shown, { key: "min_pixels", expected: `at most max_pixels (${maxPixels})`, file });
  }
  return { minPixels, maxPixels };
}

function countOf(
  values: Values,
  { key, fallback, file }: { readonly key: string; readonly fallback: number; readonly file: string },
): number {
  const value = values[key] ?? fallback;
  if (Number.isInteger(value) && Number(value) > 0 && Number(value) <= 256) return Number(value);
  throw wrongValue(values, { key, expected: "a whole number from 1 to 256", file });
}
