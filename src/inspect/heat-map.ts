// Where the model looked, as pixels: the picture as the model saw it, beside it the same picture under its attention.
import { at, InputError } from "../errors.ts";
import { isTyped, objectOf, type Rule, read, readOptions, required, rule, whole } from "../options.ts";
import { checkedPicture, type RgbImage } from "../preprocess/image.ts";
import { resizeImage } from "../preprocess/resize-bicubic.ts";
import type { AttentionMap } from "./attention-map.ts";

/** Shortest side of a drawn picture, pixels. */
export const HEAT_MAP_SIDE = 336;
/** White between two pictures, pixels. */
export const HEAT_MAP_GAP = 16;
/** How much of a pixel is the attention's colour, where there is least and most of it; the rest is the picture in grey. */
const OPACITY = { least: 0.45, most: 0.75 } as const;

/** matplotlib's "inferno" at 0, 1/16 … 1 (lib/matplotlib/_cm_listed.py, CC0): perceptually even, and readable in grey. */
const COLORS = [
  0x000004, 0x0b0724, 0x210c4a, 0x3d0965, 0x57106e, 0x71196e, 0x8a226a, 0xa32c61, 0xbc3754, 0xd24644, 0xe45a31,
  0xf1731d, 0xf98e09, 0xfcac11, 0xf9cb35, 0xf2ea69, 0xfcffa4,
];

/** The colour of a value from 0 to 1: black over purple and orange to pale yellow. */
export function heatColor(value: number): readonly [red: number, green: number, blue: number] {
  const place = Math.min(Math.max(value, 0), 1) * (COLORS.length - 1);
  const lower = Math.min(Math.floor(place), COLORS.length - 2);
  const from = at(COLORS, lower);
  const to = at(COLORS, lower + 1);
  const mix = (shift: number) => {
    const start = (from >> shift) & 255;
    return start + (((to >> shift) & 255) - start) * (place - lower);
  };
  return [mix(16), mix(8), mix(0)];
}

const number = rule("a number", (value) => typeof value === "number");

/** A map as it is drawn: its values, and the numbers that are written under it where they are given. */
export const attentionMap: Rule = objectOf<AttentionMap>("a map of an answer's attention", {
  values: required(rule("a Float64Array", (value) => isTyped(value, "Float64Array"))),
  width: required(whole(0)),
  height: required(whole(0)),
  layer: whole(0),
  head: whole(0),
  share: number,
  unplacedShare: number,
  entropy: number,
});

/** The longest `side`, pixels. */
const MAX_SIDE = 8192;

/**
 * The picture, and to its right the picture with attention over it; the brightest colour is the map's largest value.
 * @param picture as the model saw it (resized and cropped): the map's patches fill it
 * @returns both at least `side` pixels high and wide, on white
 * @throws InputError when the map's size and values do not fit each other.
 */
export function drawHeatMap(picture: RgbImage, map: AttentionMap, options: { readonly side?: number } = {}): RgbImage {
  const { side = HEAT_MAP_SIDE } = readOptions<typeof options>("drawHeatMap", options, { side: whole(1, MAX_SIDE) });
  const large = enlarge(checkedPicture(picture), side);
  return besideEachOther([large, overlayAttention(large, map)]);
}

/** A picture at least `side` pixels high and wide, its aspect kept; a picture that is large enough stays as it is. */
export function enlarge(picture: RgbImage, side: number): RgbImage {
  const shortest = Math.min(picture.width, picture.height);
  if (shortest >= side) return picture;
  const scale = side / shortest;
  return resizeImage(picture, { width: Math.round(picture.width * scale), height: Math.round(picture.height * scale) });
}

/**
 * The picture in grey with the map's colours over it, interpolated linearly between the centres of patches.
 * @throws InputError when the map's size and values do not fit each other.
 */
export function overlayAttention(
  picture: RgbImage,
  given: Pick<AttentionMap, "values" | "width" | "height">,
): RgbImage {
  const { width, height, data: pixels } = checkedPicture(picture);
  const map = read("map", given, attentionMap) as typeof given; // checked by the rule
  if (map.values.length !== map.width * map.height || map.values.length === 0) {
    throw new InputError(`A map of ${map.width} × ${map.height} patches cannot have ${map.values.length} values.`);
  }
  const largest = map.values.reduce((most, value) => Math.max(most, value), 0);
  const columns = interpolation(width, map.width);
  const rows = interpolation(height, map.height);
  const data = new Uint8Array(width * height * 3);
  for (const [y, row] of rows.entries()) {
    for (const [x, column] of columns.entries()) {
      const upper = between(map.values, row.before * map.width, column);
      const lower = between(map.values, row.after * map.width, column);
      const value = largest > 0 ? (upper + (lower - upper) * row.weight) / largest : 0;
      const color = heatColor(value);
      const opacity = OPACITY.least + (OPACITY.most - OPACITY.least) * value;
      const offset = (y * width + x) * 3;
      const grey = luma(pixels, offset);
      for (const [channel, part] of color.entries())
        data[offset + channel] = Math.round(grey + (part - grey) * opacity);
    }
  }
  return { width, height, data };
}

/** Pictures of one height in a row on white, {@link HEAT_MAP_GAP} pixels apart. */
export function besideEachOther(pictures: readonly RgbImage[]): RgbImage {
  const height = Math.max(...pictures.map((picture) => picture.height));
  const width = pictures.reduce((sum, picture) => sum + picture.width + HEAT_MAP_GAP, -HEAT_MAP_GAP);
  const data = new Uint8Array(width * height * 3).fill(255);
  let left = 0;
  for (const picture of pictures) {
    const rowBytes = picture.width * 3;
    for (let y = 0; y < picture.height; y++) {
      data.set(picture.data.subarray(y * rowBytes, (y + 1) * rowBytes), (y * width + left) * 3);
    }
    left += picture.width + HEAT_MAP_GAP;
  }
  return { width, height, data };
}

/** The two patches whose centres a pixel lies between, and how far it is towards the second. */
interface Between {
  readonly before: number;
  readonly after: number;
  readonly weight: number;
}

function interpolation(numPixels: number, numPatches: number): readonly Between[] {
  return Array.from({ length: numPixels }, (_, pixel) => {
    const place = Math.max(((pixel + 0.5) * numPatches) / numPixels - 0.5, 0);
    const before = Math.floor(place);
    return { before, after: Math.min(before + 1, numPatches - 1), weight: place - before };
  });
}

function between(values: Float64Array, rowStart: number, column: Between): number {
  const before = at(values, rowStart + column.before);
  return before + (at(values, rowStart + column.after) - before) * column.weight;
}

/** Rec. 601 luma, as PIL's conversion to grey. */
function luma(data: Uint8Array, offset: number): number {
  return 0.299 * at(data, offset) + 0.587 * at(data, offset + 1) + 0.114 * at(data, offset + 2);
}
