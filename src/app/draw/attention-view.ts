// The map of one layer and head from the worker's data, and drawing pictures on canvases.

import { at } from "../../errors.ts";
import { type AttentionMap, outsideOf } from "../../inspect/attention-map.ts";
import { entropyBits } from "../../inspect/entropy.ts";
import type { RgbImage } from "../../preprocess/image.ts";
import type { AttentionView } from "../protocol.ts";

const WHOLE = { left: 0, top: 0, right: 1, bottom: 1 } as const;

/** The grid of a map, and where it lies in the original picture. */
export type PatchGrid = Pick<AttentionMap, "width" | "height" | "view"> & Partial<AttentionMap>;

/** The selected map of an answer. */
export interface MapChoice {
  readonly layer: number;
  /** Undefined: the mean over heads. */
  readonly head: number | undefined;
}

/**
 * The map of one layer and head, or of the mean over heads; indices past the end select the last layer or head.
 * @returns values [gridHeight, gridWidth] as shares of all attention
 */
export function mapOf(view: AttentionView, choice: MapChoice): AttentionMap {
  const { numLayers, numHeads, gridWidth: width, gridHeight: height } = view;
  const size = { width, height, view: view.view };
  const layer = Math.min(choice.layer, numLayers - 1);
  const head = choice.head === undefined ? undefined : Math.min(choice.head, numHeads - 1);
  const heads = head === undefined ? Array.from({ length: numHeads }, (_, index) => index) : [head];
  const numPatches = width * height;
  const values = new Float64Array(numPatches);
  let share = 0;
  for (const index of heads) {
    const row = layer * numHeads + index;
    share += at(view.shares, row) / heads.length;
    for (let patch = 0; patch < numPatches; patch++) {
      values[patch] = at(values, patch) + at(view.values, row * numPatches + patch) / heads.length;
    }
  }
  const placed = values.reduce((sum, value) => sum + value, 0);
  const unplacedShare = Math.max(share - placed, 0);
  const entropy = entropyBits(values);
  return {
    layer,
    head,
    values,
    width,
    height,
    share,
    unplacedShare,
    paddingShare: outsideOf(values, size),
    entropy,
    view: view.view,
  };
}

/** The patch at a place of the original picture, in shares of its width and height; undefined where the model saw nothing. */
export function patchAt(map: PatchGrid, x: number, y: number): number | undefined {
  const { left, top, right, bottom } = map.view?.part ?? WHOLE;
  const column = Math.floor(((x - left) / (right - left)) * map.width);
  const row = Math.floor(((y - top) / (bottom - top)) * map.height);
  return column >= 0 && column < map.width && row >= 0 && row < map.height ? row * map.width + column : undefined;
}

/** The patch with the most attention. */
export function brightestPatch({ values, width }: AttentionMap): {
  readonly row: number;
  readonly column: number;
  readonly value: number;
} {
  let best = 0;
  for (let patch = 1; patch < values.length; patch++) if (at(values, patch) > at(values, best)) best = patch;
  return { row: Math.floor(best / width), column: best % width, value: at(values, best) };
}

/** A patch's place in the picture in words. */
export function placeInWords(
  map: PatchGrid,
  { row, column }: { readonly row: number; readonly column: number },
): string {
  const { left, top, right, bottom } = map.view?.part ?? WHOLE;
  const third = (share: number) => Math.min(2, Math.max(0, Math.floor(share * 3)));
  const vertical = ["upper", "middle", "lower"][third(top + ((row + 0.5) / map.height) * (bottom - top))];
  const horizontal = ["left", "centre", "right"][third(left + ((column + 0.5) / map.width) * (right - left))];
  return vertical === "middle" && horizontal === "centre" ? "centre" : `${vertical} ${horizontal}`;
}

/**
 * Draws a picture on a canvas, which gets the picture's size.
 * @param largest maximum side of the canvas, pixels: of a larger picture, every n-th pixel is drawn
 */
export function putPicture(canvas: HTMLCanvasElement, picture: RgbImage, largest = Number.POSITIVE_INFINITY): void {
  const { data } = picture;
  const step = Math.max(1, Math.ceil(Math.max(picture.width, picture.height) / largest));
  const width = Math.ceil(picture.width / step);
  const height = Math.ceil(picture.height / step);
  canvas.width = width;
  canvas.height = height;
  const pixels = new ImageData(width, height);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++, to += 4) {
      const from = (y * picture.width + x) * step * 3;
      pixels.data[to] = at(data, from);
      pixels.data[to + 1] = at(data, from + 1);
      pixels.data[to + 2] = at(data, from + 2);
      pixels.data[to + 3] = 255;
    }
  }
  canvas.getContext("2d")?.putImageData(pixels, 0, 0);
}
