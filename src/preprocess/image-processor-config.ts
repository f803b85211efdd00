// preprocessor_config.json → the steps that prepare a picture, for every image processor of the CLIP kind.
import { CheckpointError, isObject, shown } from "../errors.ts";
import type { ColorTriple, ImageProcessorConfig, ResizeRule } from "./image-processor.ts";
import { RESAMPLE_FILTERS } from "./resize-bicubic.ts";

/** The keys of a preprocessor_config.json. */
export type Values = Readonly<Record<string, unknown>>;

/** Defaults of an image processor for keys that the file lacks. */
export interface ProcessorDefaults {
  /** `size`, in the file's form. */
  readonly size: object;
  readonly centerCrop: boolean;
  /** PIL's number of the filter. */
  readonly resample: number;
  readonly mean: ColorTriple;
  readonly std: ColorTriple;
  /** Whether `do_pad` pads pictures to a square. */
  readonly padsToSquare: boolean;
}

/** Keys that would change the pixel values and that are not implemented; false and null disable them. */
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

/**
 * Reads the steps of an image processor.
 * @throws CheckpointError when a value has the wrong type or changes the pixel values in a way that is not implemented.
 */
export function readImageSteps(values: Values, defaults: ProcessorDefaults, file: string): ImageProcessorConfig {
  const fail: Fail = (key, expected) => wrongValue(values, { key, expected, file });
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
    const colors: unknown = typeof value === "number" ? [value, value, value] : value;
    if (!isTriple(colors)) throw fail(key, `three numbers from ${-MAX_NUMBER} to ${MAX_NUMBER}`);
    const [red, green, blue] = colors;
    return [red, green, blue];
  };

  const resample = values.resample ?? defaults.resample;
  const filter = typeof resample === "number" ? RESAMPLE_FILTERS[resample] : undefined;
  if (filter === undefined) throw fail("resample", "a PIL filter from 0 to 5");
  const rescaleFactor = values.rescale_factor ?? 1 / 255;
  if (!isNumber(rescaleFactor)) throw fail("rescale_factor", `a number from ${-MAX_NUMBER} to ${MAX_NUMBER}`);
  const imageMean = triple("image_mean", defaults.mean);
  const std = triple("image_std", defaults.std);
  if (std.some((each) => Math.abs(each) < MIN_STD))
    throw fail("image_std", "three numbers other than 0, and not nearly 0");

  const padToSquare = defaults.padsToSquare && flag("do_pad", false);
  const resize = flag("do_resize", true) ? readResizeRule(values, defaults.size, fail) : undefined;
  const centerCrop = flag("do_center_crop", defaults.centerCrop);
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

/** The error for a value that does not fit. */
export function wrongValue(
  values: Values,
  { key, expected, file }: { readonly key: string; readonly expected: string; readonly file: string },
): CheckpointError {
  return new CheckpointError(`${file}: ${key} must be ${expected}, got ${shown(values[key])}.`, { file });
}

/** `json` as an object. @throws CheckpointError when it is something else. */
export function asObject(json: unknown, what: string, file: string): Values {
  if (isObject(json)) return json;
  throw new CheckpointError(`${file}: expected ${what} to hold a JSON object, got ${shown(json)}.`, { file });
}

/** Smaller ones, and factors and means that are larger, would make pixel values that f32 cannot compute with. */
const MIN_STD = 1e-6;
const MAX_NUMBER = 1e6;

type Fail = (key: string, expected: string) => CheckpointError;

function readResizeRule(values: Values, fallback: object, fail: Fail): ResizeRule {
  const size = values.size ?? fallback;
  if (isCount(size)) {
    return values.default_to_square === true ? { width: size, height: size } : { shortestEdge: size };
  }
  if (isPair(size)) return { height: size[0], width: size[1] };
  const given = Object.fromEntries(Object.entries(size).filter(([, value]) => value !== null));
  const keys = Object.keys(given).sort().join();
  if (keys === "shortest_edge" && isCount(given.shortest_edge)) return { shortestEdge: given.shortest_edge };
  if (keys === "height,width" && isCount(given.height) && isCount(given.width)) {
    return { height: given.height, width: given.width };
  }
  throw fail("size", "a positive integer, {shortest_edge} or {height, width}");
}

function readCropSize(size: NonNullable<unknown>): number | undefined {
  if (isCount(size)) return size;
  const { height, width } = size as Values; // whose values are checked below; of anything but an object, they are undefined
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
  if (!Array.isArray(value) || value.length === 0 || !value.every(isPair)) {
    throw fail("image_grid_pinpoints", "a list of [height, width]");
  }
  return value.map(([height, width]) => [height, width]);
}

/** Spread, because `every` skips the holes of an array. */
function isTriple(value: unknown): value is ColorTriple {
  return Array.isArray(value) && value.length === 3 && [...value].every(isNumber);
}

function isPair(value: unknown): value is readonly [number, number] {
  return Array.isArray(value) && value.length === 2 && isCount(value[0]) && isCount(value[1]);
}

/** Whether a value is a positive integer. */
export function isCount(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) > 0; // isInteger is true of numbers only
}

function isNumber(value: unknown): value is number {
  return typeof value === "number" && Math.abs(value) <= MAX_NUMBER;
}
