// Pillow's image resizing, byte for byte: bicubic (a = −0.5) and its other convolution filters.
//
// Each output pixel is a weighted mean of the input pixels under the filter, which is stretched when shrinking, so that
// every input pixel contributes (antialiasing). First all columns, then all rows; the picture between the two is rounded to
// 8 bits. The weights are normalised in f64 and rounded to fixed point with 22 fractional bits.
// Source: Pillow 13, src/libImaging/Resample.c (ImagingResampleInner) and, for "nearest", Geometry.c (ImagingScaleAffine).
//
// Pillow 13 resizes rows first when the height loses more than twice the pixels that the width loses (pull request 9549),
// which rounds slightly differently; so does this file. With a constant aspect ratio, this concerns pictures more than twice as
// tall as wide: for them, Pillow 12 and older give other bytes.

import { InputError } from "../errors.ts";
import type { RgbImage } from "./image.ts";

/** PIL's resampling filters by name; PIL's numbers for them are the index in `RESAMPLE_FILTERS`. */
export type ResampleFilter = "nearest" | "lanczos" | "bilinear" | "bicubic" | "box" | "hamming";

/** The filters in the order of PIL's numbers, as `resample` of a preprocessor_config.json names them. */
export const RESAMPLE_FILTERS: readonly ResampleFilter[] = [
  "nearest",
  "lanczos",
  "bilinear",
  "bicubic",
  "box",
  "hamming",
];

/** Pixels that a picture may have by default: 100 megapixels. */
export const DEFAULT_MAX_PIXELS = 100_000_000;

/** Width and height in pixels. */
export interface Size {
  readonly width: number;
  readonly height: number;
}

/** A part of a picture: columns [left, left + width), rows [top, top + height). */
export interface Window extends Size {
  readonly left: number;
  readonly top: number;
}

/** How to resize. */
export interface ResizeOptions {
  readonly filter?: ResampleFilter;
  /** The part of the resized picture to compute; the whole by default. */
  readonly window?: Window;
  /** Maximum number of pixels of the result, and of the picture between the two passes. */
  readonly maxPixels?: number;
}

/**
 * Resizes a picture as `PIL.Image.resize(size, filter)` does; with `window`, that result cropped.
 * @throws InputError when the result or the picture between the two passes would exceed maxPixels.
 */
export function resizeImage(image: RgbImage, size: Size, options: ResizeOptions = {}): RgbImage {
  const { filter = "bicubic", maxPixels = DEFAULT_MAX_PIXELS } = options;
  const window = options.window ?? { left: 0, top: 0, width: size.width, height: size.height };
  if (filter === "nearest") return pickNearest(image, size, window, maxPixels);

  if (size.width === image.width && size.height === image.height) return crop(image, window);

  const columns = weigh(image.width, size.width, { filter, start: window.left, count: window.width });
  const rows = weigh(image.height, size.height, { filter, start: window.top, count: window.height });
  const { width, height } = window;
  // Pillow skips a pass whose side keeps its length. Its weights would be 1 and 0, so that running it changes nothing.
  if (takesRowsFirst(image, size)) {
    const under = rangeUnder(columns);
    checkPixels(image, size, { numPixels: Math.max(under.count, width) * height, maxPixels });
    const low = resampleRows(image, rows, { firstRow: 0, columns: under });
    return resampleColumns(low, columns, { firstColumn: under.start, rows: { start: 0, count: height } });
  }
  const under = rangeUnder(rows);
  checkPixels(image, size, { numPixels: Math.max(under.count, height) * width, maxPixels });
  const narrow = resampleColumns(image, columns, { firstColumn: 0, rows: under });
  return resampleRows(narrow, rows, { firstRow: under.start, columns: { start: 0, count: width } });
}

function takesRowsFirst(image: Size, size: Size): boolean {
  return image.height - size.height > Math.max(image.width - size.width, 0) * 2;
}

function crop(image: RgbImage, { left, top, width, height }: Window): RgbImage {
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    const start = ((top + y) * image.width + left) * 3;
    data.set(image.data.subarray(start, start + width * 3), y * width * 3);
  }
  return { width, height, data };
}

const PRECISION_BITS = 32 - 8 - 2;

/** For each output position: the first input position under the filter, their number, and their fixed-point weights. */
interface Weights {
  readonly starts: Int32Array;
  readonly counts: Int32Array;
  /** [positions, stride] */
  readonly values: Int32Array;
  readonly stride: number;
}

/** precompute_coeffs and normalize_coeffs_8bpc of Resample.c, for output positions [start, start + count). */
function weigh(
  inputLength: number,
  outputLength: number,
  { filter, start, count }: { filter: ConvolutionFilter; start: number; count: number },
): Weights {
  const { support: baseSupport, weight } = FILTERS[filter];
  const scale = inputLength / outputLength;
  const filterScale = Math.max(scale, 1);
  const support = baseSupport * filterScale;
  const stride = Math.ceil(support) * 2 + 1;
  const starts = new Int32Array(count);
  const counts = new Int32Array(count);
  const values = new Int32Array(count * stride);
  for (let index = 0; index < count; index++) {
    const center = (start + index + 0.5) * scale;
    const first = Math.max(Math.trunc(center - support + 0.5), 0);
    const numTaps = Math.min(Math.trunc(center + support + 0.5), inputLength) - first;
    const taps = Array.from({ length: numTaps }, (_, tap) => weight((tap + first - center + 0.5) * (1 / filterScale)));
    const sum = taps.reduce((total, value) => total + value, 0);
    taps.forEach((unscaled, tap) => {
      const value = sum === 0 ? unscaled : unscaled / sum;
      values[index * stride + tap] = Math.trunc(value * 2 ** PRECISION_BITS + (value < 0 ? -0.5 : 0.5));
    });
    starts[index] = first;
    counts[index] = numTaps;
  }
  return { starts, counts, values, stride };
}

/** Positions [start, start + count). */
interface Range {
  readonly start: number;
  readonly count: number;
}

/** The input positions that any of the output positions needs. */
function rangeUnder({ starts, counts }: Weights): Range {
  const last = starts.length - 1;
  if (last < 0) throw new RangeError("weights: no positions.");
  const start = starts[0] as number; // both in range
  return { start, count: (starts[last] as number) + (counts[last] as number) - start };
}

/** New columns for the given rows; column 0 of `image` is `firstColumn` of what the weights count from. */
function resampleColumns(
  image: RgbImage,
  { starts, counts, values, stride }: Weights,
  { firstColumn, rows }: { readonly firstColumn: number; readonly rows: Range },
): RgbImage {
  const { data } = image;
  const width = starts.length;
  const height = rows.count;
  const output = new Uint8Array(width * height * 3);
  let out = 0;
  for (let y = 0; y < height; y++) {
    const rowOffset = ((rows.start + y) * image.width - firstColumn) * 3;
    for (let x = 0; x < width; x++) {
      let red = HALF;
      let green = HALF;
      let blue = HALF;
      let at = rowOffset + (starts[x] as number) * 3; // indices within these loops are in range by construction
      const end = x * stride + (counts[x] as number);
      for (let tap = x * stride; tap < end; tap++, at += 3) {
        const weight = values[tap] as number;
        red = (red + (data[at] as number) * weight) | 0;
        green = (green + (data[at + 1] as number) * weight) | 0;
        blue = (blue + (data[at + 2] as number) * weight) | 0;
      }
      output[out] = clip8(red);
      output[out + 1] = clip8(green);
      output[out + 2] = clip8(blue);
      out += 3;
    }
  }
  return { width, height, data: output };
}

/** New rows for the given columns; row 0 of `image` is `firstRow` of what the weights count from. */
function resampleRows(
  image: RgbImage,
  { starts, counts, values, stride }: Weights,
  { firstRow, columns }: { readonly firstRow: number; readonly columns: Range },
): RgbImage {
  const { data } = image;
  const width = columns.count;
  const height = starts.length;
  const rowBytes = width * 3;
  const output = new Uint8Array(rowBytes * height);
  const sums = new Int32Array(rowBytes);
  for (const [y, start] of starts.entries()) {
    sums.fill(HALF);
    for (let tap = 0; tap < (counts[y] as number); tap++) {
      const weight = values[y * stride + tap] as number;
      const offset = ((start + tap - firstRow) * image.width + columns.start) * 3;
      for (let x = 0; x < rowBytes; x++) sums[x] = (sums[x] as number) + (data[offset + x] as number) * weight;
    }
    output.set(sums.map(clip8), y * rowBytes);
  }
  return { width, height, data: output };
}

const HALF = 1 << (PRECISION_BITS - 1);

function clip8(sum: number): number {
  const value = sum >> PRECISION_BITS;
  return Math.min(Math.max(value, 0), 255);
}

function pickNearest(image: RgbImage, size: Size, window: Window, maxPixels: number): RgbImage {
  checkPixels(image, size, { numPixels: window.width * window.height, maxPixels });
  const columns = nearestPositions(image.width, size.width, window.left, window.width);
  const rows = nearestPositions(image.height, size.height, window.top, window.height);
  const output = new Uint8Array(window.width * window.height * 3);
  let out = 0;
  for (const row of rows) {
    for (const column of columns) {
      const at = (row * image.width + column) * 3;
      output[out++] = image.data[at] as number;
      output[out++] = image.data[at + 1] as number;
      output[out++] = image.data[at + 2] as number;
    }
  }
  return { width: window.width, height: window.height, data: output };
}

/** Accumulates the step instead of multiplying, as ImagingScaleAffine does: the roundings are part of its result. */
function nearestPositions(inputLength: number, outputLength: number, start: number, count: number): Int32Array {
  const step = inputLength / outputLength;
  let position = step * 0.5;
  for (let skipped = 0; skipped < start; skipped++) position += step;
  return Int32Array.from({ length: count }, () => {
    const nearest = Math.min(Math.trunc(position), inputLength - 1);
    position += step;
    return nearest;
  });
}

function checkPixels(
  image: Size,
  size: Size,
  { numPixels, maxPixels }: { readonly numPixels: number; readonly maxPixels: number },
): void {
  if (numPixels <= maxPixels) return;
  throw new InputError(
    `Resizing the picture from ${image.width}×${image.height} to ${size.width}×${size.height} needs ${numPixels} pixels, ` +
      `more than the limit of ${maxPixels}: crop it to a less extreme shape first.`,
  );
}

type ConvolutionFilter = Exclude<ResampleFilter, "nearest">;

/** Each filter's half width and its weight at distance `x`, both in units of the coarser of the two pixel grids. */
const FILTERS: Readonly<Record<ConvolutionFilter, { support: number; weight: (x: number) => number }>> = {
  box: { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, weight: (x) => Math.max(1 - Math.abs(x), 0) },
  hamming: { support: 1, weight: hamming },
  bicubic: { support: 2, weight: bicubic },
  lanczos: { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

function bicubic(distance: number): number {
  const a = -0.5;
  const x = Math.abs(distance);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

function hamming(distance: number): number {
  const x = Math.abs(distance);
  if (x === 0) return 1;
  if (x >= 1) return 0;
  return (Math.sin(x * Math.PI) / (x * Math.PI)) * (Math.fround(0.54) + Math.fround(0.46) * Math.cos(x * Math.PI));
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
}
