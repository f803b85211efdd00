// A map in pixels of the original picture: crop, padding and tiles undone.
import { at, InputError } from "../errors.ts";
import type { AttentionMap } from "./attention-map.ts";

/** Attention on the pixels of a picture. */
export interface PixelMap {
  /** [height, width] row-major f32: the attention on each pixel, NaN on those that the model did not see */
  readonly values: Float32Array<ArrayBuffer>;
  readonly width: number;
  readonly height: number;
}

/**
 * A map in pixels of the original picture. The attention of each patch is spread evenly over what it shows, so that the pixels sum
 * to the attention on the picture's patches, without that on padding around it.
 * @throws InputError for a map of inputs that were made from tensors: what their picture was is not known.
 */
export function mapOnPicture(map: Pick<AttentionMap, "values" | "width" | "height" | "view">): PixelMap {
  const { view } = map;
  if (view === undefined) {
    throw new InputError("The map's picture is not known: map inputs that were made from a picture, not from tensors.");
  }
  const [height, width] = view.imageSize;
  const { left, top, right, bottom } = view.part;
  const columns = overlaps([left, right], map.width, width);
  const rows = overlaps([top, bottom], map.height, height);
  const cellArea = (((right - left) * width) / map.width) * (((bottom - top) * height) / map.height);
  const values = new Float64Array(width * height).fill(Number.NaN);
  for (const row of rows) {
    for (const column of columns) {
      const pixel = row.pixel * width + column.pixel;
      const before = at(values, pixel);
      const part = (at(map.values, row.cell * map.width + column.cell) * row.length * column.length) / cellArea;
      values[pixel] = (Number.isNaN(before) ? 0 : before) + part;
    }
  }
  return { values: Float32Array.from(values), width, height };
}

/** Where a cell and a pixel of one side overlap. */
export interface Overlap {
  readonly cell: number;
  readonly pixel: number;
  /** In pixels. */
  readonly length: number;
}

/**
 * The overlaps of the cells of a map with the pixels of a picture, along one side.
 * @param range of the map, in shares of the picture's side
 */
export function overlaps(
  [start, end]: readonly [number, number],
  numCells: number,
  numPixels: number,
): readonly Overlap[] {
  const cellLength = ((end - start) * numPixels) / numCells;
  const found: Overlap[] = [];
  for (let cell = 0; cell < numCells; cell++) {
    const from = Math.max(start * numPixels + cell * cellLength, 0);
    const to = Math.min(start * numPixels + (cell + 1) * cellLength, numPixels);
    for (let pixel = Math.floor(from); pixel < to; pixel++) {
      const length = Math.min(pixel + 1, to) - Math.max(pixel, from);
      if (length > ROUNDING) found.push({ cell, pixel, length });
    }
  }
  return found;
}

/** Overlaps below this many pixels come from rounding. */
const ROUNDING = 1e-9;
