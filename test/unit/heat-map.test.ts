import sharp from "sharp";
import { expect, test } from "vitest";
import { InputError } from "../../src/errors.ts";
import type { AttentionMap } from "../../src/inspect/attention-map.ts";
import { drawHeatMap, HEAT_MAP_GAP, heatColor, overlayAttention } from "../../src/inspect/heat-map.ts";
import { heatMapPng } from "../../src/inspect/heat-map-png.node.ts";
import { textPath, textWidth, wrapText } from "../../src/inspect/text-paths.node.ts";
import type { RgbImage } from "../../src/preprocess/image.ts";

const grey: RgbImage = { width: 112, height: 112, data: new Uint8Array(112 * 112 * 3).fill(128) };

/** An 8 × 8 map with all its attention on one patch. */
function mapWithPeak(column: number, row: number): AttentionMap {
  const values = new Float64Array(64);
  values[row * 8 + column] = 0.25;
  return { layer: 2, head: undefined, values, width: 8, height: 8, share: 0.25, entropy: 0 };
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

test("no attention at all is the darkest colour everywhere", () => {
  const dark = { ...mapWithPeak(0, 0), values: new Float64Array(64) };
  expect(new Set(overlayAttention(grey, dark).data).size).toBeLessThanOrEqual(2);
});

test("a map whose size and values do not fit is refused", () => {
  expect(() => overlayAttention(grey, { ...mapWithPeak(0, 0), width: 9 })).toThrow(InputError);
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
  const draw = (heading: string) => heatMapPng({ picture: grey, heading, caption: "a.png", panels: [panel, panel] });
  const png = await draw("Where is the mug?");
  expect(await draw("Where is the mug?")).toEqual(png);
  const { data, info } = await sharp(png).raw().toBuffer({ resolveWithObject: true });
  expect([info.width, info.channels]).toEqual([24 + 3 * 336 + 2 * HEAT_MAP_GAP + 24, 3]);
  // Ink of the heading, in the rows above the pictures; without a heading there is none.
  const inkIn = (pixels: Uint8Array) => pixels.subarray(0, 46 * info.width * 3).filter((part) => part < 100).length;
  expect(inkIn(data)).toBeGreaterThan(1000);
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
