import sharp from "sharp";
import { beforeAll, expect, test } from "vitest";
import { at, InputError } from "../../src/errors.ts";
import type { AttentionMap } from "../../src/inspect/attention-map.ts";
import {
  besideEachOther,
  drawHeatMap,
  enlarge,
  HEAT_MAP_GAP,
  heatColor,
  overlayAttention,
  signedColor,
} from "../../src/inspect/heat-map.ts";
import { heatMapPng } from "../../src/inspect/heat-map-png.node.ts";
import { layerHeadSection, mapSheetPng, sectionNumbers } from "../../src/inspect/map-sheet-png.node.ts";
import { relativeMap } from "../../src/inspect/relative-map.ts";
import { loadFonts, textPath, textWidth, wrapText } from "../../src/inspect/text-paths.node.ts";
import type { RgbImage } from "../../src/preprocess/image.ts";

beforeAll(loadFonts);

const grey: RgbImage = { width: 112, height: 112, data: new Uint8Array(112 * 112 * 3).fill(128) };

/** An 8 × 8 map with all its attention on one patch. */
function mapWithPeak(column: number, row: number): AttentionMap {
  const values = new Float64Array(64);
  values[row * 8 + column] = 0.25;
  return {
    layer: 2,
    head: undefined,
    values,
    width: 8,
    height: 8,
    share: 0.25,
    unplacedShare: 0,
    paddingShare: 0,
    entropy: 0,
  };
}

/** Where a picture is brightest, in pixels. */
function brightest(image: RgbImage): readonly [x: number, y: number] {
  let best = 0;
  const sum = (pixel: number) => image.data.slice(pixel * 3, pixel * 3 + 3).reduce((total, part) => total + part, 0);
  for (let pixel = 1; pixel < image.width * image.height; pixel++) if (sum(pixel) > sum(best)) best = pixel;
  return [best % image.width, Math.floor(best / image.width)];
}

test.each([
  [0, 0],
  [5, 2],
  [7, 7],
])("the brightest pixel lies in patch (%i, %i) that has the attention", (column, row) => {
  const [x, y] = brightest(overlayAttention(grey, mapWithPeak(column, row)));
  expect([Math.floor(x / 14), Math.floor(y / 14)]).toEqual([column, row]);
});

test("the picture stands on the left, the attention on the right, both at least 336 pixels high", () => {
  const image = drawHeatMap(grey, mapWithPeak(3, 3));
  expect([image.width, image.height]).toEqual([2 * 336 + HEAT_MAP_GAP, 336]);
  expect(image.data.slice(0, 3)).toEqual(Uint8Array.of(128, 128, 128));
  expect(brightest({ ...image, data: image.data.map((part) => (part === 255 ? 0 : part)) })[0]).toBeGreaterThan(336);
});

test("a picture that is large enough keeps its size, and its aspect is kept where it is not", () => {
  const wide = { width: 400, height: 340, data: new Uint8Array(400 * 340 * 3) };
  expect(drawHeatMap(wide, mapWithPeak(0, 0))).toMatchObject({ width: 2 * 400 + HEAT_MAP_GAP, height: 340 });
  const small = { width: 40, height: 20, data: new Uint8Array(40 * 20 * 3) };
  expect(drawHeatMap(small, mapWithPeak(0, 0), { side: 100 })).toMatchObject({
    width: 2 * 200 + HEAT_MAP_GAP,
    height: 100,
  });
});

test("a picture is enlarged only where its shortest side is too short", () => {
  const image = (width: number, height: number): RgbImage => ({
    width,
    height,
    data: new Uint8Array(width * height * 3).fill(90),
  });
  const enough = image(30, 20);
  expect(enlarge(enough, 20)).toBe(enough);
  expect(enlarge(enough, 21)).toEqual(image(32, 21));
  expect(enlarge(image(20, 30), 40)).toEqual(image(40, 60));
});

/** A map of these values, row by row. */
function mapOf(width: number, values: readonly number[]): AttentionMap {
  return { ...mapWithPeak(0, 0), values: Float64Array.from(values), width, height: values.length / width };
}

/** A pixel of this grey under the colour of `value`, whose opacity grows from 0.45 to 0.75. */
const under = (grey: number, value: number) =>
  heatColor(value).map((part) => Math.round(grey * (0.55 - 0.3 * value) + part * (0.45 + 0.3 * value)));

test.each<[string, number, AttentionMap, readonly number[]]>([
  ["across", 4, mapOf(2, [0, 0.5]), [0, 0.25, 0.75, 1]],
  ["down", 1, mapOf(1, [0.5, 0]), [1, 0.75, 0.25, 0]],
  ["both ways", 2, mapOf(2, [1, 3, 0, 4]), [0.25, 0.75, 0, 1]],
  ["past pixels that are larger than patches", 1, mapOf(4, [9, 3, 5, 9]), [4 / 9]],
  ["past pixels that are smaller than a patch", 3, mapOf(1, [2]), [1, 1, 1]],
  ["nowhere without attention", 2, mapOf(2, [0, 0]), [0, 0]],
])("values are interpolated between the centres of patches, %s", (_, width, map, expected) => {
  const data = new Uint8Array(expected.length * 3).fill(100);
  const image = overlayAttention({ width, height: expected.length / width, data }, map);
  expect([image.width, image.height]).toEqual([width, expected.length / width]);
  expect([...image.data]).toEqual(expected.flatMap((value) => under(100, value)));
});

test("the picture under the colours is grey, as bright as its own colours", () => {
  const picture = { width: 3, height: 1, data: Uint8Array.of(200, 0, 0, 0, 200, 0, 0, 0, 200) };
  const { data } = overlayAttention(picture, mapOf(1, [1]));
  expect([...data]).toEqual([59.8, 117.4, 22.8].flatMap((grey) => under(grey, 1)));
});

test("a map whose size and values do not fit is refused", () => {
  const refusal = (size: string, numValues: number) =>
    new InputError(`A map of ${size} patches cannot have ${numValues} values.`);
  expect(() => overlayAttention(grey, { ...mapWithPeak(0, 0), width: 9 })).toThrow(refusal("9 × 8", 64));
  expect(() => overlayAttention(grey, { ...mapWithPeak(0, 0), height: 7 })).toThrow(refusal("8 × 7", 64));
  const empty = { ...mapOf(1, []), width: 0 };
  expect(() => overlayAttention(grey, empty)).toThrow(refusal("0 × 0", 0));
});

test("pictures beside each other are apart by a gap, on white", () => {
  const gap = Array<number>(HEAT_MAP_GAP * 3).fill(255);
  const pixels = (value: number, count: number) => Array<number>(count * 3).fill(value);
  const one = { width: 1, height: 2, data: Uint8Array.from([...pixels(10, 1), ...pixels(11, 1)]) };
  const two = { width: 2, height: 2, data: Uint8Array.from([...pixels(20, 2), ...pixels(21, 2)]) };
  const short = { width: 1, height: 1, data: Uint8Array.from(pixels(30, 1)) };
  const image = besideEachOther([one, two, short]);
  expect([image.width, image.height]).toEqual([4 + 2 * HEAT_MAP_GAP, 2]);
  expect([...image.data]).toEqual(
    [
      [pixels(10, 1), gap, pixels(20, 2), gap, pixels(30, 1)],
      [pixels(11, 1), gap, pixels(21, 2), gap, pixels(255, 1)],
    ].flat(2),
  );
  expect(besideEachOther([one])).toEqual(one);
});

test("a value between two colours has a mixture of them, and one outside of 0 to 1 the nearest", () => {
  expect(heatColor(0.5)).toEqual([0xbc, 0x37, 0x54]);
  expect(heatColor(1 / 16)).toEqual([0x0b, 0x07, 0x24]);
  expect(heatColor(1 / 32)).toEqual([5.5, 3.5, 20]);
  expect(heatColor(1 - 1 / 64)).toEqual([0xf2 + 7.5, 0xea + 15.75, 0x69 + 44.25]);
  expect(heatColor(-1)).toEqual(heatColor(0));
});

test("colours get lighter all the way from black to pale yellow", () => {
  expect(heatColor(0)).toEqual([0, 0, 4]);
  expect(heatColor(1)).toEqual([252, 255, 164]);
  expect(heatColor(7)).toEqual(heatColor(1));
  const luma = Array.from({ length: 65 }, (_, index) => {
    const [red, green, blue] = heatColor(index / 64);
    return 0.299 * red + 0.587 * green + 0.114 * blue;
  });
  for (const [index, value] of luma.entries()) if (index > 0) expect(value).toBeGreaterThan(luma[index - 1] ?? 0);
});

test("the PNG has a panel a map and text, and is the same twice", async () => {
  const map = mapWithPeak(1, 6);
  const panel = { map, title: "Greedy: Left", lines: ["Confidence 0.32"] };
  const row = { picture: grey, caption: "a.png", panels: [panel, panel] };
  const draw = (heading: string, rows = [row]) => heatMapPng({ heading, rows });
  const png = await draw("Where is the mug?");
  expect(await draw("Where is the mug?")).toEqual(png);
  const { data, info } = await sharp(png).raw().toBuffer({ resolveWithObject: true });
  expect([info.width, info.channels]).toEqual([24 + 3 * 336 + 2 * HEAT_MAP_GAP + 24, 3]);
  // Ink of the heading, in the rows above the pictures; without a heading there is none.
  const inkIn = (pixels: Uint8Array) => pixels.subarray(0, 46 * info.width * 3).filter((part) => part < 100).length;
  expect(inkIn(data)).toBeGreaterThan(1000);
  // A second picture is as tall as the first, and below it.
  const two = await sharp(await draw("Where is the mug?", [row, row])).metadata();
  const [heading, bottom] = [46, 20];
  expect(two.height).toBeGreaterThan(2 * (info.height - heading - bottom));
  expect(two.width).toBe(info.width);
});

test("a sheet has a labelled map per cell and stays readable for 32 layers and heads", async () => {
  const mapAt = (layer: number, head: number): AttentionMap => ({
    ...mapWithPeak(head % 8, layer % 8),
    negativeScores: 0.5,
  });
  const section = layerHeadSection({ picture: grey, numLayers: 2, numHeads: 32, mapAt });
  const draw = () => mapSheetPng({ heading: "Where?", notes: ["Greedy: Left"], sections: [section] });
  const png = await draw();
  expect(await draw()).toEqual(png);
  const { data, info } = await sharp(png).raw().toBuffer({ resolveWithObject: true });
  // 32 maps of 96 pixels, 10 between two; 58 for the titles of layers and 20 on each side.
  expect(info.width).toBe(20 + 58 + 32 * 106 - 10 + 20);
  const bottom = info.height - 20 - 2 * (96 + 3 + 2 * 13 + 10);
  const inkIn = (left: number, top: number, width: number, height: number) => {
    let count = 0;
    for (let y = top; y < top + height; y++) {
      for (let x = left; x < left + width; x++) if (at(data, (y * info.width + x) * 3) < 160) count++;
    }
    return count;
  };
  for (const column of [0, 31]) {
    for (const row of [0, 1]) {
      const [x, y] = [78 + column * 106, bottom + row * 135];
      expect(inkIn(x, y + 99, 96, 26)).toBeGreaterThan(100); // numbers
      expect(inkIn(x, y, 96, 96)).toBeGreaterThan(96 * 96 * 0.9); // map
    }
    expect(inkIn(78 + column * 106, bottom - 17, 60, 14)).toBeGreaterThan(50); // "head 0"
  }
  expect(inkIn(20, bottom + 40, 50, 20)).toBeGreaterThan(50); // "layer 0"
  const numbers = sectionNumbers(section);
  expect(numbers.share).toEqual([Array(32).fill(0.25), Array(32).fill(0.25)]);
  expect(numbers.negativeScores[1]?.[31]).toBe(0.5);
});

test("outlined cells, rollouts and comparisons are drawn; a difference has blue and red", async () => {
  const map = mapWithPeak(1, 6);
  const relative = relativeMap(map, mapWithPeak(5, 2), "difference");
  const panel = { map, title: "Greedy: Left", lines: [], what: "rollout of layers 0 to 3", marked: [9], relative };
  const png = await heatMapPng({ heading: "", rows: [{ picture: grey, caption: "a.png", panels: [panel] }] });
  const { data, info } = await sharp(png).raw().toBuffer({ resolveWithObject: true });
  const left = 24 + 336 + HEAT_MAP_GAP;
  const pixel = (x: number, y: number) =>
    [0, 1, 2].map((part) => at(data, ((32 + y) * info.width + left + x) * 3 + part));
  const [centre, blue, red] = [pixel(300, 300), pixel(5 * 42 + 21, 2 * 42 + 21), pixel(42 + 21, 6 * 42 + 21)];
  expect(at(blue, 2)).toBeGreaterThan(at(blue, 0) + 30);
  expect(at(red, 0)).toBeGreaterThan(at(red, 2) + 30);
  expect(at(centre, 0)).toBe(at(centre, 2));
  const onFrame = pixel(42 + 20, 42);
  expect(at(onFrame, 2)).toBeGreaterThan(at(onFrame, 0) + 60);
  expect(signedColor(-1)).toEqual([0x21, 0x66, 0xac]);
  expect(signedColor(0.5)).toEqual([(0xf7 + 0xb2) / 2, (0xf7 + 0x18) / 2, (0xf7 + 0x2b) / 2]);
});

test("text is outlines of the font that comes with the package", () => {
  expect(textPath("I", { x: 0, y: 10, size: 10 })).toMatch(/^M[\d. -]+(L[\d. -]+)+Z?$/);
  expect(textPath("mug → α 0.5", { x: 0, y: 10, size: 13 })).not.toMatch(/NaN|undefined/);
  expect(textWidth("mm", 20)).toBeCloseTo(2 * textWidth("m", 20));
});

// opentype.js 2.0.0's toPathData writes NaN at such places, where products in f64 end in 5e-14.
test("no place on the page makes an outline unreadable", () => {
  for (let y = 500; y < 560; y += 0.85) {
    expect(textPath("Brightest: 1.1 % of attention", { x: 376, y, size: 13 })).not.toMatch(/NaN/);
  }
});

test("text is broken between words, inside a word that is too long, and cut with an ellipsis", () => {
  const wrap = (text: string, maxLines: number) => wrapText(text, { width: 100, size: 13, maxLines });
  expect(wrap("", 2)).toEqual([]);
  expect(wrap("the mug is left of the dog", 4).join(" ")).toBe("the mug is left of the dog");
  expect(wrap("x".repeat(40), 9).join("")).toBe("x".repeat(40));
  const cut = wrap("the mug is left of the dog and under the lamp", 2);
  expect(cut).toHaveLength(2);
  expect(cut.at(-1)).toMatch(/…$/);
  for (const line of cut) expect(textWidth(line, 13)).toBeLessThanOrEqual(100);
});
