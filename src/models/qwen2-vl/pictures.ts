// How Qwen2-VL's pictures become positions of the prompt: a grid of blocks of patches each, and where they are in time, row and column.
// Source: transformers 5.24, modeling_qwen2_vl.py `get_rope_index`, `get_vision_position_ids`
import { CheckpointError, InputError } from "../../errors.ts";
import { gridSize, patchPixelValues, patchRule, resizeToGrid } from "../../preprocess/patch-grid.ts";
import { PICTURE_PIXELS, withPixelLimit } from "../../preprocess/qwen2-vl-processor.ts";
import type { Size } from "../../preprocess/resize-bicubic.ts";
import type { ImageSize, PictureContext, PictureLayout } from "../architecture.ts";
import type { ImageInput } from "../inputs.ts";
import type { QwenConfig } from "./config.ts";

/**
 * The pictures of a model.
 * @param maxPixels maximum number of pixels of a resized picture; replaces the file's limit and {@link PICTURE_PIXELS}
 * @throws InputError if it is smaller than a block of patches.
 */
export function gridPictures(config: QwenConfig, maxPixels?: number): PictureLayout {
  const { multimodal, videoTokenId, placeTokens, text } = config;
  const { vision, imageTokenId } = multimodal;
  const { patchSize, temporalPatchSize, mergeSize, numChannels } = vision;
  const side = patchSize * mergeSize;
  if (maxPixels !== undefined && maxPixels < side ** 2) {
    const least = `${side ** 2}, a block of patches`;
    throw new InputError(`maxPicturePixels (--max-picture-pixels) must be at least ${least}, got ${maxPixels}.`);
  }
  return {
    imageTokenId,
    placeTokens,
    videoTokenId,
    tileShape: [mergeSize ** 2, numChannels * temporalPatchSize * patchSize ** 2],
    sizes: [largestPicture(side, text.maxPositionEmbeddings, maxPixels)],
    withMaxPixels: (limit) => gridPictures(config, limit),
    pixelValues: (image, { processor }) => patchPixelValues(image, processor),
    seen: resizeToGrid,
    part: () => ({ left: 0, top: 0, right: 1, bottom: 1 }),
    positions(imageSize, context) {
      const { width, height } = pictureSize(imageSize, context, side);
      const grid = { width: width / side, height: height / side };
      const numPositions = grid.width * grid.height;
      const rowIndex = Int32Array.from({ length: numPositions }, (_, row) => row);
      return { numTiles: numPositions, runLengths: [numPositions], rowIndex, grid };
    },
    ropePositions,
    resolveProcessor(processor, file) {
      const rule = patchRule(processor);
      const sizes: readonly (readonly [key: string, own: number, wanted: number])[] = [
        ["patch_size", rule.patchSize, patchSize],
        ["temporal_patch_size", rule.temporalPatchSize, temporalPatchSize],
        ["merge_size", rule.mergeSize, mergeSize],
      ];
      for (const [key, own, wanted] of sizes) {
        if (own === wanted) continue;
        const message = `${file}: ${key} is ${own}, but the vision tower of config.json takes ${wanted}.`;
        throw new CheckpointError(message, { file });
      }
      return { ...processor, patches: withPixelLimit(rule, { maxPixels, file }) };
    },
  };
}

/** Positions that a picture leaves to a question and its answer. */
const TEXT_POSITIONS = 128;

/** The size in which a picture is cut; as it is where it has been prepared already. */
function pictureSize(imageSize: ImageSize | undefined, { processor }: Partial<PictureContext>, side: number): Size {
  if (imageSize === undefined) {
    throw new InputError("imageGridThw is missing: Qwen-VL needs each picture's [time, height, width] in patches.");
  }
  const [height, width] = imageSize;
  if (processor !== undefined) return gridSize({ width, height }, patchRule(processor));
  if (height % side === 0 && width % side === 0) return { width, height };
  throw new InputError(`A prepared picture's sides must be multiples of ${side} pixels, got ${width}×${height}.`);
}

/** A picture of as many positions as the limits allow, no more than twice as wide as high; a raised limit may take up the context. */
function largestPicture(side: number, contextLength: number, maxPixels: number | undefined): ImageSize {
  const half = Math.floor(contextLength / 2);
  const room = maxPixels === undefined ? half : Math.max(half, contextLength - TEXT_POSITIONS);
  const most = Math.min(Math.floor((maxPixels ?? PICTURE_PIXELS) / side ** 2), room);
  const square = Math.max(1, Math.floor(Math.sqrt(most)));
  let best = square;
  for (let rows = square; 2 * rows ** 2 >= most; rows--) {
    if (rows * Math.floor(most / rows) > best * Math.floor(most / best)) best = rows;
  }
  return [best * side, Math.max(1, Math.floor(most / best)) * side];
}

/**
 * [T, 3] positions: text counts up on all axes; a picture that begins at p has time p and, from p on, its rows and columns, and the
 * text behind it goes on where the longer of its sides ends.
 */
export function ropePositions(
  numTokens: number,
  images: readonly Pick<ImageInput, "runs" | "grid">[],
): Int32Array<ArrayBuffer> {
  const positions = new Int32Array(3 * numTokens);
  let next = 0;
  let token = 0;
  const countUpTo = (end: number) => {
    for (; token < end; token++, next++) positions.fill(next, 3 * token, 3 * token + 3);
  };
  for (const { runs, grid } of images) {
    if (grid === undefined) throw new RangeError("A picture has no grid.");
    for (const [start, end] of runs) {
      countUpTo(start);
      for (; token < end; token++) {
        const place = token - start;
        const row = Math.floor(place / grid.width);
        positions.set([next, next + row, next + (place % grid.width)], 3 * token);
      }
      next += Math.max(grid.width, grid.height);
    }
  }
  countUpTo(numTokens);
  return positions;
}
