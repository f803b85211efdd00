// transformers' CLIPImageProcessor (NumPy and PIL backend): picture → pixel values of the CLIP vision tower.
//
// [pad to a square] → resize → centre crop → ×rescaleFactor → (x − mean) / std, each as preprocessor_config.json says.
// Source: transformers 5.23, image_processing_backends.py (PilBackend), image_transforms.py, and
// models/llava/image_processing_pil_llava.py for the square. The arithmetic is the same since 4.39.

import { CheckpointError, InputError } from "../errors.ts";
import type { RgbImage } from "./image.ts";
import { DEFAULT_MAX_PIXELS, RESAMPLE_FILTERS, type ResampleFilter, resizeImage, type Size } from "./resize-bicubic.ts";

/** What to resize to: the shorter side to a length with the aspect kept, or both sides. */
export type ResizeRule = { readonly shortestEdge: number } | Size;

/** What preprocessor_config.json says, defaults filled in. */
export interface ClipProcessorConfig {
  /** Side of the result S, in pixels. */
  readonly imageSize: number;
  /** Fill up to a square with the mean colour first (LlavaImageProcessor's do_pad). */
  readonly padToSquare: boolean;
  /** Undefined when do_resize is false. */
  readonly resize: ResizeRule | undefined;
  readonly filter: ResampleFilter;
  /** Whether to cut S×S from the middle, or fill up to it with black. */
  readonly centerCrop: boolean;
  /** Undefined when do_rescale is false. */
  readonly rescaleFactor: number | undefined;
  /** Undefined when do_normalize is false. */
  readonly normalize: { readonly mean: ColorTriple; readonly std: ColorTriple } | undefined;
  /** For the padding of padToSquare, which takes the mean even when do_normalize is false. */
  readonly imageMean: ColorTriple;
  /** LLaVA-NeXT: the grids as [height, width], when the file has them. */
  readonly imageGridPinpoints: readonly (readonly [number, number])[] | undefined;
}

/** A number for each of red, green and blue. */
export type ColorTriple = readonly [number, number, number];

/**
 * Pixel values of a picture, bit-equal to transformers' PIL backend.
 * @returns f32 [3, S, S]
 * @throws InputError when a step would exceed the pixel limit.
 */
export function clipPixelValues(image: RgbImage, config: ClipProcessorConfig): Float32Array<ArrayBuffer> {
  return normalizePixels(fitToSquare(image, config), config);
}

/**
 * The bytes that are normalised: the picture padded, resized and cropped to S×S.
 * @throws InputError when a step would exceed the pixel limit.
 */
export function fitToSquare(image: RgbImage, config: ClipProcessorConfig): RgbImage {
  const { resize, filter, centerCrop, imageSize } = config;
  const padded = config.padToSquare ? padToSquare(image, config.imageMean) : image;
  const size =
    resize === undefined ? padded : "width" in resize ? resize : withShortestEdge(padded, resize.shortestEdge);
  if (!centerCrop) return resizeImage(padded, size, { filter });

  // The crop may reach over the picture's edges; what is outside is black. Only what is inside is computed.
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
export function filled({ width, height }: Size, [red, green, blue]: ColorTriple): RgbImage {
  const data = new Uint8Array(width * height * 3);
  if (red === 0 && green === 0 && blue === 0) return { width, height, data };
  for (let at = 0; at < data.length; at += 3) data.set([red, green, blue], at);
  return { width, height, data };
}

/** get_resize_output_image_size: the longer side is truncated, not rounded. */
function withShortestEdge({ width, height }: Size, shortestEdge: number): Size {
  const longest = Math.trunc((shortestEdge * Math.max(width, height)) / Math.min(width, height));
  return width <= height ? { width: shortestEdge, height: longest } : { width: longest, height: shortestEdge };
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

/** f64 product rounded to f32, then subtraction and division in f32: NumPy's rescale and normalize, one table a channel. */
function normalizePixels(
  { data }: RgbImage,
  { imageSize, rescaleFactor, normalize }: ClipProcessorConfig,
): Float32Array<ArrayBuffer> {
  const numPixels = imageSize * imageSize;
  const pixelValues = new Float32Array(3 * numPixels);
  for (let channel = 0; channel < 3; channel++) {
    const table = new Float32Array(256);
    for (let byte = 0; byte < 256; byte++) {
      let value = Math.fround(rescaleFactor === undefined ? byte : byte * rescaleFactor);
      if (normalize !== undefined) {
        value = Math.fround(value - Math.fround(normalize.mean[channel] ?? 0));
        value = Math.fround(value / Math.fround(normalize.std[channel] ?? 1));
      }
      table[byte] = value;
    }
    for (let pixel = 0; pixel < numPixels; pixel++) {
      pixelValues[channel * numPixels + pixel] = table[data[pixel * 3 + channel] as number] as number; // both in range
    }
  }
  return pixelValues;
}

const PROCESSOR_TYPES = [
  "CLIPImageProcessor",
  "CLIPFeatureExtractor",
  "LlavaImageProcessor",
  "LlavaNextImageProcessor",
];

/** Keys that would change the pixel values and that are not implemented; false and null switch them off. */
const REFUSED_KEYS = [
  "pad_size",
  "size_divisor",
  "reducing_gap",
  "use_square_size",
  "do_flip_channel_order",
  "do_reduce_labels",
  "do_image_splitting",
  "do_color_quantize",
  "do_thumbnail",
  "do_align_long_axis",
  "max_image_size",
  "min_pixels",
  "max_pixels",
  "offset",
];

const OPENAI_CLIP_MEAN: ColorTriple = [0.48145466, 0.4578275, 0.40821073];
const OPENAI_CLIP_STD: ColorTriple = [0.26862954, 0.26130258, 0.27577711];

/**
 * Reads preprocessor_config.json, or a processor_config.json that nests it under image_processor.
 * @param json the parsed file
 * @param file its name, for messages
 * @throws CheckpointError when a value has the wrong type or changes the pixel values in a way that is not implemented.
 */
export function readClipProcessorConfig(json: unknown, file = "preprocessor_config.json"): ClipProcessorConfig {
  const outer = asObject(json, "the file", file);
  const nested = outer.image_processor ?? undefined;
  const values = nested === undefined ? outer : asObject(nested, "image_processor", file);
  const fail = (key: string, expected: string): CheckpointError =>
    new CheckpointError(`${file}: ${key} must be ${expected}, got ${show(values[key])}.`, { file });

  const type = values.image_processor_type ?? values.feature_extractor_type ?? undefined;
  if (type === undefined && !["size", "crop_size", "image_mean", "do_resize"].some((key) => key in values)) {
    throw new CheckpointError(
      `${file}: expected an image processor's settings (size, image_mean, …), found none of them.`,
      {
        file,
      },
    );
  }
  const plainType = type === undefined ? "CLIPImageProcessor" : String(type).replace(/(Fast|Pil)$/, "");
  if (!PROCESSOR_TYPES.includes(plainType)) throw fail("image_processor_type", `one of ${PROCESSOR_TYPES.join(", ")}`);
  for (const key of REFUSED_KEYS) {
    if ((values[key] ?? false) !== false) throw fail(key, "absent or null (it is not implemented)");
  }
  if ((values.data_format ?? "channels_first") !== "channels_first") throw fail("data_format", '"channels_first"');

  const flag = (key: string, fallback: boolean): boolean => {
    const value = values[key] ?? fallback;
    if (typeof value !== "boolean") throw fail(key, "true or false");
    return value;
  };
  const triple = (key: string, fallback: ColorTriple): ColorTriple => {
    const value = values[key] ?? fallback;
    const [red, green, blue, ...more] =
      typeof value === "number" ? [value, value, value] : Array.isArray(value) ? value : [];
    if (!isNumber(red) || !isNumber(green) || !isNumber(blue) || more.length > 0) throw fail(key, "three numbers");
    return [red, green, blue];
  };

  const filter = RESAMPLE_FILTERS[Number(values.resample ?? 3)];
  if (filter === undefined) throw fail("resample", "a PIL filter from 0 to 5");
  const rescaleFactor = values.rescale_factor ?? 1 / 255;
  if (!isNumber(rescaleFactor)) throw fail("rescale_factor", "a number");
  const imageMean = triple("image_mean", OPENAI_CLIP_MEAN);
  const std = triple("image_std", OPENAI_CLIP_STD);
  if (std.includes(0)) throw fail("image_std", "three numbers other than 0");

  const padToSquare = plainType === "LlavaImageProcessor" && flag("do_pad", false);
  const resize = flag("do_resize", true) ? readResizeRule(values, fail) : undefined;
  const centerCrop = flag("do_center_crop", true);
  const imageSize = centerCrop ? readCropSize(values.crop_size ?? 224) : sideOf(resize, padToSquare);
  if (imageSize === undefined) {
    if (centerCrop) throw fail("crop_size", "a positive integer, or {height, width} with equal ones");
    throw fail("size", "one that makes every picture the same square, since do_center_crop is false");
  }
  return {
    imageSize,
    padToSquare,
    resize,
    filter,
    centerCrop,
    rescaleFactor: flag("do_rescale", true) ? rescaleFactor : undefined,
    normalize: flag("do_normalize", true) ? { mean: imageMean, std } : undefined,
    imageMean,
    imageGridPinpoints: readPinpoints(values.image_grid_pinpoints ?? undefined, fail),
  };
}

type Fail = (key: string, expected: string) => CheckpointError;

function readResizeRule(values: Readonly<Record<string, unknown>>, fail: Fail): ResizeRule {
  const size = values.size ?? { shortest_edge: 224 };
  if (isCount(size)) {
    return values.default_to_square === true ? { width: size, height: size } : { shortestEdge: size };
  }
  if (Array.isArray(size) && size.length === 2 && isCount(size[0]) && isCount(size[1])) {
    return { height: size[0], width: size[1] };
  }
  if (typeof size === "object" && size !== null) {
    const given = Object.fromEntries(Object.entries(size).filter(([, value]) => value !== null));
    const keys = Object.keys(given).sort().join();
    if (keys === "shortest_edge" && isCount(given.shortest_edge)) return { shortestEdge: given.shortest_edge };
    if (keys === "height,width" && isCount(given.height) && isCount(given.width)) {
      return { height: given.height, width: given.width };
    }
  }
  throw fail("size", "a positive integer, {shortest_edge} or {height, width}");
}

function readCropSize(size: unknown): number | undefined {
  if (isCount(size)) return size;
  if (typeof size !== "object" || size === null) return undefined;
  const { height, width } = size as Readonly<Record<string, unknown>>; // an object whose values are checked below
  return isCount(height) && height === width ? height : undefined;
}

/** The side of the square that every picture is resized to, if it is one. */
function sideOf(resize: ResizeRule | undefined, padToSquare: boolean): number | undefined {
  if (resize === undefined) return undefined;
  if ("width" in resize) return resize.width === resize.height ? resize.width : undefined;
  return padToSquare ? resize.shortestEdge : undefined;
}

function readPinpoints(value: unknown, fail: Fail): readonly (readonly [number, number])[] | undefined {
  if (value === undefined) return undefined;
  if (!Array.isArray(value) || value.length === 0) throw fail("image_grid_pinpoints", "a list of [height, width]");
  return value.map((pair) => {
    if (!Array.isArray(pair) || pair.length !== 2) throw fail("image_grid_pinpoints", "a list of [height, width]");
    const [height, width] = pair;
    if (!isCount(height) || !isCount(width)) throw fail("image_grid_pinpoints", "a list of [height, width]");
    return [height, width];
  });
}

function asObject(json: unknown, what: string, file: string): Readonly<Record<string, unknown>> {
  if (typeof json === "object" && json !== null && !Array.isArray(json))
    return json as Readonly<Record<string, unknown>>; // checked
  throw new CheckpointError(`${file}: expected ${what} to hold a JSON object, got ${show(json)}.`, { file });
}

function isCount(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) > 0; // isInteger is true of numbers only
}

function isNumber(value: unknown): value is number {
  return Number.isFinite(value);
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}
