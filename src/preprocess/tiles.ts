// Idefics3's and SmolVLM's tiles: a picture is enlarged or shrunk to a longest side, fitted to whole tiles, cut, and shown once more
// as a whole in a last tile; or, without splitting, only as a whole.
//
// Source: transformers 5.24, models/idefics3/image_processing_pil_idefics3.py (get_resize_output_image_size,
// resize_for_vision_encoder, split_images)
import type { RgbImage } from "./image.ts";
import { type ImageProcessorConfig, normalizePixels } from "./image-processor.ts";
import { resizeImage, type Size } from "./resize-bicubic.ts";

/** How pictures are cut into tiles. */
export interface TilingRule {
  /**
   * What a picture is resized to first: its longer side to a length with the aspect kept, small pictures too, or both sides; undefined
   * when do_resize is false.
   */
  readonly firstResize: { readonly longestEdge: number } | Size | undefined;
  /** Whether pictures are cut into tiles; otherwise the whole picture is the only tile. */
  readonly splits: boolean;
}

/** Tiles of one picture. */
export interface TileGrid {
  /** Rows and columns of tiles, before the one of the whole picture; 0 where that is the only one. */
  readonly rows: number;
  readonly columns: number;
}

/** Longest side of a picture after the first resize, in pixels, whatever the settings say. */
const MAX_SIDE = 4096;

/** The first resize with sides as transformers rounds them: the shorter one truncated, then made even. */
function firstSize(size: Size, rule: TilingRule["firstResize"]): Size {
  if (rule === undefined || "width" in rule) return rule ?? size;
  const even = (side: number) => Math.max(side + (side % 2), 1);
  const aspect = size.width / size.height;
  const { longestEdge } = rule;
  const first =
    size.width >= size.height
      ? { width: longestEdge, height: even(Math.trunc(longestEdge / aspect)) }
      : { width: even(Math.trunc(longestEdge * aspect)), height: longestEdge };
  if (Math.max(first.width, first.height) <= MAX_SIDE) return first;
  const firstAspect = first.width / first.height;
  return first.width >= first.height
    ? { width: MAX_SIDE, height: Math.max(Math.trunc(MAX_SIDE / firstAspect), 1) }
    : { width: Math.max(Math.trunc(MAX_SIDE * firstAspect), 1), height: MAX_SIDE };
}

/** The size in whole tiles that a picture is fitted to: the longer side is rounded up, then the shorter one that follows from it. */
function wholeTiles({ width, height }: Size, tileSize: number): Size {
  const up = (side: number) => Math.ceil(side / tileSize) * tileSize;
  const aspect = width / height;
  if (width >= height) return { width: up(width), height: up(Math.trunc(up(width) / aspect)) };
  return { width: up(Math.trunc(up(height) * aspect)), height: up(height) };
}

/** The tiles that a picture of this size is cut into. */
export function tileGrid(size: Size, { firstResize, splits }: TilingRule, tileSize: number): TileGrid {
  if (!splits) return { rows: 0, columns: 0 };
  const { width, height } = wholeTiles(firstSize(size, firstResize), tileSize);
  if (width <= tileSize && height <= tileSize) return { rows: 0, columns: 0 };
  return { rows: height / tileSize, columns: width / tileSize };
}

/**
 * The picture that is cut: resized to whole tiles, or to one of them.
 * @throws InputError when a step would exceed the pixel limit.
 */
export function fitToTiles(image: RgbImage, config: ImageProcessorConfig, rule: TilingRule): RgbImage {
  const { imageSize: tileSize, filter } = config;
  const first = resizeImage(image, firstSize(image, rule.firstResize), { filter });
  const size = rule.splits ? wholeTiles(first, tileSize) : { width: tileSize, height: tileSize };
  return resizeImage(first, size, { filter });
}

/**
 * Pixel values of a picture's tiles, bit-equal to transformers' PIL backend.
 * @returns [N, 3, S, S] f32: the tiles row by row, then the whole picture
 * @throws InputError when a step would exceed the pixel limit.
 */
export function tiledPixelValues(
  image: RgbImage,
  config: ImageProcessorConfig,
  rule: TilingRule,
): Float32Array<ArrayBuffer> {
  const { imageSize: tileSize, filter } = config;
  const fitted = fitToTiles(image, config, rule);
  const { rows, columns } = tileGrid(image, rule, tileSize);
  const side = { width: tileSize, height: tileSize };
  const tileLength = 3 * tileSize * tileSize;
  const values = new Float32Array((rows * columns + 1) * tileLength);
  for (let tile = 0; tile < rows * columns; tile++) {
    const window = {
      left: (tile % columns) * tileSize,
      top: Math.floor(tile / columns) * tileSize,
      ...side,
    };
    values.set(normalizePixels(resizeImage(fitted, fitted, { filter: "box", window }), config), tile * tileLength);
  }
  values.set(normalizePixels(resizeImage(fitted, side, { filter }), config), rows * columns * tileLength);
  return values;
}
