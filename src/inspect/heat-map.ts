// Where the model looked, as pixels: the picture, and beside it the same picture under the attention on it.
import { at, InputError } from "../errors.ts";
import type { PictureView } from "../models/inputs.ts";
import { isTyped, listOf, objectOf, type Rule, read, readOptions, required, rule, whole } from "../options.ts";
import { checkedPicture, type RgbImage } from "../preprocess/image.ts";
import { resizeImage } from "../preprocess/resize-bicubic.ts";
import type { AttentionMap } from "./attention-map.ts";

/** Shortest side of a drawn picture, pixels. */
export const HEAT_MAP_SIDE = 336;
/** White between two pictures, pixels. */
export const HEAT_MAP_GAP = 16;
/** How much of a pixel is the attention's colour, where there is least and most of it; the rest is the picture in grey. */
const OPACITY = { least: 0.45, most: 0.75 } as const;
/** How much of a pixel's darkness is left where the model did not see it, and every how many pixels a line crosses it, how bright. */
const UNSEEN = { ink: 0.35, period: 8, line: 0.75 } as const;
const WHOLE = { left: 0, top: 0, right: 1, bottom: 1 } as const;

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

/** The colour of a value from −1 to 1: blue over white to red (ColorBrewer's RdBu). */
export function signedColor(value: number): readonly [red: number, green: number, blue: number] {
  const end = value < 0 ? [0x21, 0x66, 0xac] : [0xb2, 0x18, 0x2b];
  const part = Math.min(Math.abs(value), 1);
  const mix = (channel: number) => 0xf7 + (at(end, channel) - 0xf7) * part;
  return [mix(0), mix(1), mix(2)];
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
  paddingShare: number,
  negativeScores: number,
  entropy: number,
  view: objectOf<PictureView>("{ imageSize, part }", {
    imageSize: required(listOf(whole(1), "[height, width]", 2)),
    part: required(
      objectOf("{ left, top, right, bottom }", {
        left: required(number),
        top: required(number),
        right: required(number),
        bottom: required(number),
      }),
    ),
  }),
});

/** The longest `side`, pixels. */
const MAX_SIDE = 8192;

/**
 * The picture, and to its right the picture with attention over it; the brightest colour is the map's largest value.
 * @param picture the original picture, of any size; that of a map without `view`, which it fills, as the model saw it
 * @returns both at least `side` pixels high and wide, on white; what the model did not see is pale and hatched
 * @throws InputError when the map's size and values do not fit each other, or the picture is not the map's.
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

/** A picture whose shortest side is from `least` (1 unless given) to `most` pixels, its aspect kept. */
export function fitted(
  picture: RgbImage,
  { least = 1, most }: { readonly least?: number; readonly most: number },
): RgbImage {
  const shortest = Math.min(picture.width, picture.height);
  if (shortest <= most) return enlarge(picture, least);
  const scaled = (side: number) => Math.round((side * most) / shortest);
  return resizeImage(picture, { width: scaled(picture.width), height: scaled(picture.height) });
}

/**
 * The picture in grey with the map's colours over it, interpolated linearly between the centres of patches. What the model did not
 * see of it is pale and hatched. Where some values are negative, as of a difference, blue is below 0 and red above.
 * @param picture the original picture, of any size; that of a map without `view`, which it fills, as the model saw it
 * @throws InputError when the map's size and values do not fit each other, or the picture is not the map's.
 */
export function overlayAttention(
  picture: RgbImage,
  given: Pick<AttentionMap, "values" | "width" | "height" | "view">,
): RgbImage {
  const { width, height, data: pixels } = checkedPicture(picture);
  const map = read("map", given, attentionMap) as typeof given; // checked by the rule
  if (map.values.length !== map.width * map.height || map.values.length === 0) {
    throw new InputError(`A map of ${map.width} × ${map.height} patches cannot have ${map.values.length} values.`);
  }
  checkPicture({ width, height }, map.view);
  const { left, top, right, bottom } = map.view?.part ?? WHOLE;
  const largest = map.values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const colorOf = map.values.some((value) => value < 0) ? signedColor : heatColor;
  const columns = interpolation(width, [left, right], map.width);
  const rows = interpolation(height, [top, bottom], map.height);
  const data = new Uint8Array(width * height * 3);
  for (const [y, row] of rows.entries()) {
    for (const [x, column] of columns.entries()) {
      const offset = (y * width + x) * 3;
      const grey = luma(pixels, offset);
      if (row === undefined || column === undefined) {
        data.fill(unseen(grey, x, y), offset, offset + 3);
        continue;
      }
      const upper = between(map.values, row.before * map.width, column);
      const lower = between(map.values, row.after * map.width, column);
      const value = largest > 0 ? (upper + (lower - upper) * row.weight) / largest : 0;
      const color = colorOf(value);
      const opacity = OPACITY.least + (OPACITY.most - OPACITY.least) * Math.abs(value);
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

/** For each pixel of a side; undefined where its centre lies outside of the range that patches cover, in shares of the side. */
function interpolation(
  numPixels: number,
  [start, end]: readonly [number, number],
  numPatches: number,
): readonly (Between | undefined)[] {
  return Array.from({ length: numPixels }, (_, pixel) => {
    const along = (pixel + 0.5) / numPixels;
    if (along < start || along > end) return undefined;
    const place = Math.min(Math.max(((along - start) * numPatches) / (end - start) - 0.5, 0), numPatches - 1);
    const before = Math.floor(place);
    return { before, after: Math.min(before + 1, numPatches - 1), weight: place - before };
  });
}

/** A pixel that the model did not see: pale, with diagonal lines. */
function unseen(grey: number, x: number, y: number): number {
  const pale = 255 - (255 - grey) * UNSEEN.ink;
  return Math.round((x + y) % UNSEEN.period === 0 ? pale * UNSEEN.line : pale);
}

/** @throws InputError when a picture's aspect is not that of the map's original, to the rounding of a resize. */
function checkPicture({ width, height }: Pick<RgbImage, "width" | "height">, view: PictureView | undefined): void {
  if (view === undefined) return;
  const [originalHeight, originalWidth] = view.imageSize;
  if (Math.abs(width * originalHeight - height * originalWidth) <= originalHeight + originalWidth) return;
  throw new InputError(
    `The map is of a picture of ${originalWidth} × ${originalHeight} pixels and cannot be drawn over one of ${width} × ${height}: give the original picture, of this or another size.`,
  );
}

function between(values: Float64Array, rowStart: number, column: Between): number {
  const before = at(values, rowStart + column.before);
  return before + (at(values, rowStart + column.after) - before) * column.weight;
}

/** Rec. 601 luma, as PIL's conversion to grey. */
function luma(data: Uint8Array, offset: number): number {
  return 0.299 * at(data, offset) + 0.587 * at(data, offset + 1) + 0.114 * at(data, offset + 2);
}
