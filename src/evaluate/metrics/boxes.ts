// How much of the attention on a picture lies on its objects: overlap of an attention map with object boxes.
//
// Two definitions are in use, and both are computed: the mass inside the boxes as a share of the mass on the picture, and the
// cosine between the map and the mask of the boxes. The mask of a patch is the share of its area that the boxes cover, so a
// patch that is covered by a quarter counts a quarter. Boxes are in pixels of the original picture and are mapped to the
// vision tower's input with the geometry of the image processor.
import { at, InputError } from "../../errors.ts";
import type { PictureTransform } from "../../preprocess/processor-transform.ts";
import type { Size } from "../../preprocess/resize-bicubic.ts";

/** A rectangle in pixels, from (x0, y0) to (x1, y1); pixel i spans i to i + 1. */
export interface Rectangle {
  readonly x0: number;
  readonly y0: number;
  readonly x1: number;
  readonly y1: number;
}

/** An object's box in pixels of the original picture. */
export interface ObjectBox extends Rectangle {
  /** The object's name or class; undefined where the file has none. */
  readonly label: string | undefined;
  /** The detector's confidence, 0 to 1; undefined for annotations by hand. */
  readonly confidence: number | undefined;
}

/** Which boxes are used and how they are enlarged; goes into the record beside the overlap. */
export interface BoxSettings {
  /** Factor on width and height of every box about its centre, clipped to the picture; 1 leaves boxes unchanged. */
  readonly scale: number;
  /** Most boxes per picture; undefined for all. */
  readonly maxBoxes: number | undefined;
}

/** Boxes unchanged, and all of them. */
export const ALL_BOXES: BoxSettings = { scale: 1, maxBoxes: undefined };

/** Settings among forks of the reference code: boxes of a YOLOv8n at confidence 0.15, enlarged, at most two per picture. */
export const YOLO_BOXES: BoxSettings = { scale: 1.2, maxBoxes: 2 };

/**
 * The boxes that are used, enlarged: the `maxBoxes` of highest confidence, ties and boxes without confidence in the order of
 * the file, boxes without confidence first.
 * @param picture size of the original picture, which the enlarged boxes are clipped to
 * @throws InputError when a setting is out of range.
 */
export function usedBoxes(
  boxes: readonly ObjectBox[],
  picture: Size,
  { scale, maxBoxes }: BoxSettings,
): readonly ObjectBox[] {
  if (!(Number.isFinite(scale) && scale > 0)) throw new InputError(`scale must be a number above 0, got ${scale}.`);
  if (maxBoxes !== undefined && !(Number.isInteger(maxBoxes) && maxBoxes >= 1)) {
    throw new InputError(`maxBoxes must be a whole number of at least 1, got ${maxBoxes}.`);
  }
  const confidenceOf = ({ confidence = Infinity }: ObjectBox) => confidence;
  const rank = (a: ObjectBox, b: ObjectBox) =>
    confidenceOf(a) === confidenceOf(b) ? 0 : confidenceOf(b) - confidenceOf(a);
  return [...boxes]
    .sort(rank)
    .slice(0, maxBoxes)
    .map((box) => ({ ...box, ...enlarged(box, picture, scale) }));
}

function enlarged({ x0, y0, x1, y1 }: Rectangle, { width, height }: Size, scale: number): Rectangle {
  const [centerX, centerY] = [(x0 + x1) / 2, (y0 + y1) / 2];
  const [reachX, reachY] = [((x1 - x0) / 2) * scale, ((y1 - y0) / 2) * scale];
  return {
    x0: Math.min(Math.max(centerX - reachX, 0), width),
    y0: Math.min(Math.max(centerY - reachY, 0), height),
    x1: Math.min(Math.max(centerX + reachX, 0), width),
    y1: Math.min(Math.max(centerY + reachY, 0), height),
  };
}

/** The boxes whose label is one of some objects' names, without regard to case and surrounding space. */
export function boxesOfObjects(boxes: readonly ObjectBox[], names: readonly string[]): readonly ObjectBox[] {
  const wanted = new Set(names.map(normalized));
  return boxes.filter(({ label }) => label !== undefined && wanted.has(normalized(label)));
}

function normalized(name: string): string {
  return name.trim().toLowerCase();
}

/** The grid of patches that a vision tower divides its input into. */
export interface PatchGrid {
  /** Number of columns. */
  readonly width: number;
  /** Number of rows. */
  readonly height: number;
  /** Side of a patch in pixels of the tower's input; what lies beyond the last patch is not seen. */
  readonly patchSize: number;
}

/**
 * The share of every patch that the union of some boxes covers.
 * @param transform maps the boxes to the tower's input
 * @returns [height, width] row-major, 0 to 1
 */
export function boxMask(
  boxes: readonly Rectangle[],
  { transform, grid }: { readonly transform: PictureTransform; readonly grid: PatchGrid },
): Float64Array<ArrayBuffer> {
  const { scaleX, scaleY, offsetX, offsetY } = transform;
  const { width, height, patchSize } = grid;
  // In units of patches, so that patch (row, column) is the unit square at (column, row).
  const mapped = boxes.map(({ x0, y0, x1, y1 }) => ({
    x0: (x0 * scaleX + offsetX) / patchSize,
    y0: (y0 * scaleY + offsetY) / patchSize,
    x1: (x1 * scaleX + offsetX) / patchSize,
    y1: (y1 * scaleY + offsetY) / patchSize,
  }));
  return Float64Array.from({ length: width * height }, (_, patch) => {
    const column = patch % width;
    const row = Math.floor(patch / width);
    const inside = mapped.flatMap((box) => {
      const part = {
        x0: Math.max(box.x0 - column, 0),
        y0: Math.max(box.y0 - row, 0),
        x1: Math.min(box.x1 - column, 1),
        y1: Math.min(box.y1 - row, 1),
      };
      return part.x1 > part.x0 && part.y1 > part.y0 ? [part] : [];
    });
    return unionArea(inside);
  });
}

/** Area of the union of rectangles: their edges cut the plane into vertical strips, in which intervals are merged. */
function unionArea(boxes: readonly Rectangle[]): number {
  const cuts = [...new Set(boxes.flatMap(({ x0, x1 }) => [x0, x1]))].sort((a, b) => a - b);
  const byTop = [...boxes].sort((a, b) => a.y0 - b.y0);
  let area = 0;
  for (const [index, right] of cuts.entries()) {
    if (index === 0) continue;
    const left = at(cuts, index - 1);
    let covered = 0;
    let bottom = -Infinity;
    for (const { x0, y0, x1, y1 } of byTop) {
      if (x0 > left || x1 < right) continue;
      covered += Math.max(y1 - Math.max(y0, bottom), 0);
      bottom = Math.max(bottom, y1);
    }
    area += covered * (right - left);
  }
  return area;
}

/** An attention map, such as an `AttentionMap`: [height, width] row-major, non-negative. */
export interface PatchMap {
  readonly values: ArrayLike<number>;
  readonly width: number;
  readonly height: number;
}

/** Overlap of an attention map with the boxes of a picture, in both definitions, with what it was computed from. */
export interface BoxOverlap {
  /** Σ map · mask / Σ map, 0 to 1; null where no used box is visible, or the map is 0 everywhere. */
  readonly mass: number | null;
  /** Σ map · mask / (‖map‖ · ‖mask‖), 0 to 1; null where `mass` is. */
  readonly cosine: number | null;
  /** Share of the grid that the boxes cover: the mass that an even map would have. */
  readonly coverage: number;
  /** Boxes used, after `maxBoxes`. */
  readonly numBoxes: number;
  readonly settings: BoxSettings;
}

/**
 * Overlap of a picture's attention map with its boxes.
 *
 * A box that the centre crop removes is used but not visible; a picture whose boxes are all invisible has no overlap (null),
 * so that it is counted as a picture without boxes instead of one that the model ignored.
 * Source: Chen et al., ICML 2025 (arXiv 2503.01773), the overlap of attention and boxes per layer.
 * @param boxes in pixels of the original picture
 * @throws InputError when the map has another number of values than patches, a value is negative or not finite, or a setting
 *   is out of range.
 */
export function boxOverlap(
  map: PatchMap,
  boxes: readonly ObjectBox[],
  options: {
    /** Size of the original picture. */
    readonly picture: Size;
    readonly transform: PictureTransform;
    /** Side of a patch in pixels of the tower's input. */
    readonly patchSize: number;
    readonly settings?: BoxSettings;
  },
): BoxOverlap {
  const { picture, transform, patchSize, settings = ALL_BOXES } = options;
  const { width, height } = map;
  const values = Array.from(map.values);
  if (values.length !== width * height) {
    throw new InputError(`The attention map: expected ${width} × ${height} values, got ${values.length}.`);
  }
  const bad = values.findIndex((value) => !(Number.isFinite(value) && value >= 0));
  if (bad >= 0) throw new InputError(`The attention map: expected values of at least 0, got ${values[bad]} at ${bad}.`);

  const used = usedBoxes(boxes, picture, settings);
  const mask = boxMask(used, { transform, grid: { width, height, patchSize } });
  const total = sum(values);
  const covered = sum(mask);
  const record = { coverage: values.length === 0 ? 0 : covered / values.length, numBoxes: used.length, settings };
  if (total === 0 || covered === 0) return { mass: null, cosine: null, ...record };
  const inside = sum(values.map((value, patch) => value * at(mask, patch)));
  return { mass: inside / total, cosine: inside / (norm(values) * norm(mask)), ...record };
}

function norm(values: ArrayLike<number>): number {
  return Math.sqrt(sum(Array.from(values, (value) => value * value)));
}

function sum(values: ArrayLike<number>): number {
  let total = 0;
  for (let index = 0; index < values.length; index++) total += Number(values[index]);
  return total;
}
