// transformers' image processors of the CLIP kind (NumPy and PIL backend): picture → pixel values of a vision tower.
//
// [pad to a square] → resize → centre crop → ×rescaleFactor → (x − mean) / std, as set in preprocessor_config.json.
// Source: transformers 5.23, image_processing_backends.py (PilBackend), image_transforms.py, and
// models/llava/image_processing_pil_llava.py for the square. The arithmetic is the same since 4.39.

import { InputError } from "../errors.ts";
import { either, flag, listOf, numberFrom, objectOf, oneOf, read, required, whole } from "../options.ts";
import { checkedPicture, type RgbImage } from "./image.ts";
import { DEFAULT_MAX_PIXELS, RESAMPLE_FILTERS, type ResampleFilter, resizeImage, type Size } from "./resize-bicubic.ts";
import type { TilingRule } from "./tiles.ts";

/** What to resize to: the shorter side to a length with the aspect kept, or both sides. */
export type ResizeRule = { readonly shortestEdge: number } | Size;

/** The settings of preprocessor_config.json, with defaults filled in. */
export interface ImageProcessorConfig {
  /** Side of the result S, in pixels. */
  readonly imageSize: number;
  /** Whether to pad to a square with the mean colour first (LlavaImageProcessor's do_pad). */
  readonly padToSquare: boolean;
  /** Undefined when do_resize is false. */
  readonly resize: ResizeRule | undefined;
  readonly filter: ResampleFilter;
  /** Whether to crop S×S from the centre; smaller pictures are padded with black. */
  readonly centerCrop: boolean;
  /** Undefined when do_rescale is false. */
  readonly rescaleFactor: number | undefined;
  /** Undefined when do_normalize is false. */
  readonly normalize: { readonly mean: ColorTriple; readonly std: ColorTriple } | undefined;
  /** Colour of padToSquare, which uses the mean even when do_normalize is false. */
  readonly imageMean: ColorTriple;
  /** LLaVA-NeXT: the grids as [height, width], when the file has them. */
  readonly imageGridPinpoints: readonly (readonly [number, number])[] | undefined;
  /** Idefics3 and SmolVLM: how pictures are cut into tiles of S×S; undefined for the other processors. */
  readonly tiling?: TilingRule | undefined;
  /** Qwen2-VL: pictures of any shape become grids of patches; `imageSize` is then the side of a block of merged ones. */
  readonly patches?: PatchRule | undefined;
}

/** How pictures of any shape become grids of patches. */
export interface PatchRule {
  /** Side of a patch, in pixels. */
  readonly patchSize: number;
  /** Frames of a patch; a still picture is repeated. */
  readonly temporalPatchSize: number;
  /** Patches along each side of a block, whose features become one. */
  readonly mergeSize: number;
  /** Pixels that a resized picture has at least and at most. */
  readonly minPixels: number;
  readonly maxPixels: number;
}

/** One number each for red, green and blue. */
export type ColorTriple = readonly [number, number, number];

/**
 * Pixel values of a picture, bit-equal to transformers' PIL backend.
 * @returns f32 [3, S, S]
 * @throws InputError when a step would exceed the pixel limit.
 */
export function imagePixelValues(image: RgbImage, config: ImageProcessorConfig): Float32Array<ArrayBuffer> {
  return normalizePixels(fitToSquare(image, config), config);
}

const side = whole(1, 2 ** 16);
const SQUARE = objectOf<
  Pick<ImageProcessorConfig, "imageSize" | "padToSquare" | "resize" | "filter" | "centerCrop" | "imageMean">
>("the processor's imageProcessor", {
  imageSize: required(side),
  padToSquare: flag,
  resize: either(
    (value) => Object.hasOwn(Object(value), "shortestEdge"),
    objectOf("{ shortestEdge }", { shortestEdge: required(side) }),
    objectOf("{ shortestEdge } or { width, height }", { width: required(side), height: required(side) }),
  ),
  filter: required(oneOf(RESAMPLE_FILTERS)),
  centerCrop: flag,
  imageMean: required(listOf(numberFrom({}), "three numbers", 3)),
});

/**
 * The bytes that are normalised: the picture padded, resized and cropped to S×S.
 * @throws InputError when a step would exceed the pixel limit.
 */
export function fitToSquare(given: RgbImage, givenConfig: ImageProcessorConfig): RgbImage {
  const image = checkedPicture(given);
  const config = read("config", givenConfig, SQUARE) as ImageProcessorConfig; // checked by the rule
  const { resize, filter, centerCrop, imageSize } = config;
  const padded = config.padToSquare ? padToSquare(image, config.imageMean) : image;
  const size =
    resize === undefined ? padded : "width" in resize ? resize : withShortestEdge(padded, resize.shortestEdge);
  if (!centerCrop) return resizeImage(padded, size, { filter });

  // The crop may extend beyond the picture, where it is black. Only the inside is computed.
  const left = Math.floor((size.width - imageSize) / 2);
  const top = Math.floor((size.height - imageSize) / 2);
  const window = {
    left: Math.max(left, 0),
    top: Math.max(top, 0),
    width: Math.min(size.width, imageSize),
    height: Math.min(size.height, imageSize),
  };
  const inside = resizeImage(padded, size, { filter, window });
  if (inside.width === imageSize && inside.height === imageSize) return inside;
  const square = filled({ width: imageSize, height: imageSize }, [0, 0, 0]);
  paste(inside, square, { left: Math.max(-left, 0), top: Math.max(-top, 0) });
  return square;
}

/** Copies `image` into `target` with its upper left corner at (left, top). */
export function paste(image: RgbImage, target: RgbImage, { left, top }: { left: number; top: number }): void {
  for (let y = 0; y < image.height; y++) {
    const row = image.data.subarray(y * image.width * 3, (y + 1) * image.width * 3);
    target.data.set(row, ((top + y) * target.width + left) * 3);
  }
}

/** A picture of one colour. */
export function filled({ width, height }: Size, color: ColorTriple): RgbImage {
  const data = new Uint8Array(width * height * 3);
  if (color.some((part) => part !== 0)) for (let at = 0; at < data.length; at += 3) data.set(color, at);
  return { width, height, data };
}

/** get_resize_output_image_size: the size with the shorter side at `shortestEdge`; the longer side is truncated, not rounded. */
export function withShortestEdge({ width, height }: Size, shortestEdge: number): Size {
  const resized = (side: number) => Math.trunc((shortestEdge * side) / Math.min(width, height));
  return { width: resized(width), height: resized(height) };
}

function padToSquare(image: RgbImage, mean: ColorTriple): RgbImage {
  const side = Math.max(image.width, image.height);
  if (image.width === image.height) return image;
  if (side * side > DEFAULT_MAX_PIXELS) {
    throw new InputError(
      `Filling the ${image.width}×${image.height} picture up to a square needs ${side * side} pixels, ` +
        `more than the limit of ${DEFAULT_MAX_PIXELS}: crop it to a less extreme shape first.`,
    );
  }
  const [red, green, blue] = mean;
  const square = filled({ width: side, height: side }, [byteOf(red), byteOf(green), byteOf(blue)]);
  paste(image, square, { left: (side - image.width) >> 1, top: (side - image.height) >> 1 });
  return square;
}

/** NumPy's cast of int(x · 255) to uint8. */
function byteOf(color: number): number {
  return Math.trunc(color * 255) & 255;
}

/**
 * NumPy's rescale and normalize, with one table per channel.
 * @returns [3, height, width] f32
 */
export function normalizePixels(
  { data, width, height }: RgbImage,
  config: Pick<ImageProcessorConfig, "rescaleFactor" | "normalize">,
): Float32Array<ArrayBuffer> {
  const numPixels = width * height;
  const pixelValues = new Float32Array(3 * numPixels);
  for (const channel of [0, 1, 2] as const) {
    const table = pixelTable(config, channel);
    for (let pixel = 0; pixel < numPixels; pixel++) {
      pixelValues[channel * numPixels + pixel] = table[data[pixel * 3 + channel] as number] as number; // both in range
    }
  }
  return pixelValues;
}

/** [256] pixel value of each byte: NumPy's rescale, an f64 product rounded to f32, and normalize, in f32. */
export function pixelTable(
  { rescaleFactor, normalize }: Pick<ImageProcessorConfig, "rescaleFactor" | "normalize">,
  channel: 0 | 1 | 2,
): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: 256 }, (_, byte) => {
    const value = Math.fround(rescaleFactor === undefined ? byte : byte * rescaleFactor);
    if (normalize === undefined) return value;
    return Math.fround(value - Math.fround(normalize.mean[channel])) / Math.fround(normalize.std[channel]);
  });
}
