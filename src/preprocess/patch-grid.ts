// Pictures of any shape as grids of patches, bit-equal to transformers' PIL backend.
// Source: transformers 5.24, models/qwen2_vl/image_processing_pil_qwen2_vl.py (smart_resize, patchify)
import { CheckpointError, InputError } from "../errors.ts";
import { checkedPicture, type RgbImage } from "./image.ts";
import { type ImageProcessorConfig, type PatchRule, pixelTable } from "./image-processor.ts";
import { resizeImage, type Size } from "./resize-bicubic.ts";

/** Most that the longer side of a picture may be times the shorter one. */
const MAX_ASPECT = 200;

/**
 * The size that a picture is resized to: sides of whole blocks of patches, the aspect kept as closely as possible, and the number
 * of pixels within the limits.
 * @throws InputError for a picture more than 200 times as long as wide.
 */
export function gridSize({ width, height }: Size, rule: PatchRule): Size {
  const { minPixels, maxPixels } = rule;
  const factor = rule.patchSize * rule.mergeSize;
  const aspect = Math.max(width, height) / Math.min(width, height);
  if (aspect > MAX_ASPECT) {
    throw new InputError(
      `A picture's longer side must be at most ${MAX_ASPECT} times the shorter one, got ${width}×${height}: crop it first.`,
    );
  }
  const whole = { width: roundHalfEven(width / factor) * factor, height: roundHalfEven(height / factor) * factor };
  if (whole.width * whole.height > maxPixels) {
    const shrink = Math.sqrt((height * width) / maxPixels);
    const side = (length: number) => Math.max(factor, Math.floor(length / shrink / factor) * factor);
    return { width: side(width), height: side(height) };
  }
  if (whole.width * whole.height < minPixels) {
    const grow = Math.sqrt(minPixels / (height * width));
    const side = (length: number) => Math.ceil((length * grow) / factor) * factor;
    return { width: side(width), height: side(height) };
  }
  return whole;
}

/** The picture in the size that its patches are cut from. @throws InputError as {@link gridSize}. */
export function resizeToGrid(given: RgbImage, processor: ImageProcessorConfig): RgbImage {
  const image = checkedPicture(given);
  return resizeImage(image, gridSize(image, patchRule(processor)), { filter: processor.filter });
}

/**
 * Pixel values [P, 3·t·p²] of a picture's patches: the blocks of patches that are merged row by row, in each its patches row by
 * row, of each the channels, and of each channel the picture t times.
 * @throws InputError as {@link gridSize}.
 */
export function patchPixelValues(given: RgbImage, processor: ImageProcessorConfig): Float32Array<ArrayBuffer> {
  const { patchSize, temporalPatchSize, mergeSize } = patchRule(processor);
  const { data, width, height } = resizeToGrid(given, processor);
  const values = new Float32Array(3 * temporalPatchSize * width * height);
  const tables = ([0, 1, 2] as const).map((channel) => pixelTable(processor, channel));
  const block = patchSize * mergeSize;
  const area = patchSize * patchSize;
  let out = 0;
  const writePatch = (left: number, top: number) => {
    for (const [channel, table] of tables.entries()) {
      const first = out;
      for (let y = top; y < top + patchSize; y++) {
        for (let x = left; x < left + patchSize; x++) {
          values[out++] = table[data[(y * width + x) * 3 + channel] as number] as number; // both in range
        }
      }
      for (let frame = 1; frame < temporalPatchSize; frame++, out += area) values.copyWithin(out, first, first + area);
    }
  };
  for (let top = 0; top < height; top += block) {
    for (let left = 0; left < width; left += block) {
      for (let patch = 0; patch < mergeSize * mergeSize; patch++) {
        writePatch(left + (patch % mergeSize) * patchSize, top + Math.floor(patch / mergeSize) * patchSize);
      }
    }
  }
  return values;
}

/** @throws CheckpointError for a processor that makes squares. */
export function patchRule({ patches }: ImageProcessorConfig): PatchRule {
  if (patches !== undefined) return patches;
  const file = "preprocessor_config.json";
  throw new CheckpointError(
    `${file}: image_processor_type must be Qwen2VLImageProcessor for this model, which takes patches, got a processor of squares.`,
    { file },
  );
}

/** Python's `round`: halves to the even neighbour. */
function roundHalfEven(value: number): number {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}
