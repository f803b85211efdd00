// Maps in pixels of the original picture: crop, padding and tiles undone, against figures that can be worked out by hand, and the
// part of a picture that a grid covers against the pixels that its patches are computed from.
import { expect, test } from "vitest";
import { at, InputError } from "../../src/errors.ts";
import { type AttentionMap, attentionMap } from "../../src/inspect/attention-map.ts";
import { overlayAttention } from "../../src/inspect/heat-map.ts";
import { mapOnPicture } from "../../src/inspect/map-on-picture.ts";
import type { MappedImage } from "../../src/inspect/picture-placement.ts";
import { anyresLayout, anyresViews } from "../../src/preprocess/anyres.ts";
import { imagePixelValues } from "../../src/preprocess/image-processor.ts";
import { readImageProcessorConfig } from "../../src/preprocess/image-processors.ts";
import { coveredPart } from "../../src/preprocess/processor-transform.ts";

const processorOf = (settings: object) => readImageProcessorConfig({ do_normalize: false, ...settings });
const clip = processorOf({ image_processor_type: "CLIPImageProcessor", size: { shortest_edge: 2 }, crop_size: 2 });
const padding = processorOf({
  image_processor_type: "LlavaImageProcessor",
  do_pad: true,
  size: { shortest_edge: 2 },
  crop_size: 2,
});

/** The map of one head over the keys of a picture, which are all there is. */
function mapOf(image: MappedImage, probs: readonly number[]): AttentionMap {
  return attentionMap([{ layer: 0, probs: Float32Array.from(probs) }], image, { numHeads: 1 });
}

/** Four patches of one pixel each, of a processor that makes two by two pixels. */
function grid(config: typeof clip, width: number, height: number): MappedImage {
  const part = coveredPart({ width, height }, config, 2);
  return { runs: [[0, 4]], grid: { width: 2, height: 2 }, view: { imageSize: [height, width], part } };
}

const rowsOf = ({ values, width, height }: ReturnType<typeof mapOnPicture>) =>
  Array.from({ length: height }, (_, row) =>
    Array.from(values.subarray(row * width, (row + 1) * width), (value) => Number(value.toFixed(6))),
  );

test("a centre crop leaves the middle, and the sides are unseen", () => {
  // 8 × 4 becomes 4 × 2, of which columns 1 and 2 are kept: columns 2 to 5 of the original, two by two to a patch.
  const map = mapOf(grid(clip, 8, 4), [0.1, 0.2, 0.3, 0.4]);
  const [no, a, b, c, d] = [Number.NaN, 0.025, 0.05, 0.075, 0.1];
  expect(rowsOf(mapOnPicture(map))).toEqual([
    [no, no, a, a, b, b, no, no],
    [no, no, a, a, b, b, no, no],
    [no, no, c, c, d, d, no, no],
    [no, no, c, c, d, d, no, no],
  ]);
  expect(map.paddingShare).toBe(0);
});

test("padding to a square is cut off, and the attention on it is stated", () => {
  // 4 × 2 becomes 4 × 4 with a row above and below: half of each patch is padding.
  const map = mapOf(grid(padding, 4, 2), [0.1, 0.2, 0.3, 0.4]);
  expect(rowsOf(mapOnPicture(map))).toEqual([
    [0.025, 0.025, 0.05, 0.05],
    [0.075, 0.075, 0.1, 0.1],
  ]);
  expect(map.paddingShare).toBeCloseTo(0.5, 7);
  expect(map.share).toBeCloseTo(1, 7);
});

test("tiles show the whole picture, twice, and newlines none of it", () => {
  // 4 × 2 fits a grid of two tiles of 2 × 2 without padding: 4 patches of the base tile, 2 × (4 patches and a newline).
  const options = { imageSize: [2, 4], gridPinpoints: [[2, 4]], tileSize: 2, patchGrid: 2, patchSize: 1 } as const;
  const tiles = { imageSize: options.imageSize, patchGrid: 2, views: anyresViews(options) };
  const image = { runs: [[0, 14]], grid: undefined, rowIndex: anyresLayout(options), tiles } as const;
  // By 64ths: base 2, 4, 6, 8; rows 1, 2, 3, 4 and 5, 6, 7, 8, each with a newline of 4.
  const probs = [2, 4, 6, 8, 1, 2, 3, 4, 4, 5, 6, 7, 8, 4].map((part) => part / 64);
  const map = mapOf(image, probs);
  expect(rowsOf(mapOnPicture(map))).toEqual(
    [
      [1 + 1, 1 + 2, 2 + 3, 2 + 4],
      [3 + 5, 3 + 6, 4 + 7, 4 + 8],
    ].map((row) => row.map((part) => part / 64)),
  );
  expect(map).toMatchObject({ share: 1, unplacedShare: 8 / 64, paddingShare: 0 });
});

test.each([
  ["crops", { ...clip, imageSize: 12, resize: { shortestEdge: 12 } }, 40, 24],
  ["crops a taller one", { ...clip, imageSize: 12, resize: { shortestEdge: 15 } }, 24, 30],
  ["pads", { ...padding, imageSize: 12, resize: { shortestEdge: 12 } }, 36, 20],
  ["squeezes", { ...clip, imageSize: 12, resize: { width: 12, height: 12 }, centerCrop: false }, 30, 50],
  ["leaves black around", { ...clip, imageSize: 12, resize: { shortestEdge: 8 } }, 24, 16],
])("a patch shows the part that its pixels come from, of a processor that %s", (_, config, width, height) => {
  // Red grows to the right and green downwards, from 0 to 1; blue is 1 in the picture.
  const data = new Uint8Array(width * height * 3);
  for (let pixel = 0; pixel < width * height; pixel++) {
    const [x, y] = [(pixel % width) + 0.5, Math.floor(pixel / width) + 0.5];
    data.set([Math.round((255 * x) / width), Math.round((255 * y) / height), 255], pixel * 3);
  }
  const pixels = imagePixelValues({ width, height, data }, { ...config, imageMean: [0, 0, 0] });
  const [side, patch] = [12, 4];
  const { left, top, right, bottom } = coveredPart({ width, height }, config, side);
  for (let cell = 0; cell < 9; cell++) {
    const [column, row] = [cell % 3, Math.floor(cell / 3)];
    const mean = (channel: number) => {
      let sum = 0;
      for (let i = 0; i < patch * patch; i++) {
        const [x, y] = [column * patch + (i % patch), row * patch + Math.floor(i / patch)];
        sum += at(pixels, channel * side * side + y * side + x);
      }
      return sum / patch ** 2;
    };
    if (mean(2) < 0.999) continue; // partly padding
    expect(Math.abs(left + ((column + 0.5) / 3) * (right - left) - mean(0))).toBeLessThan(0.02);
    expect(Math.abs(top + ((row + 0.5) / 3) * (bottom - top) - mean(1))).toBeLessThan(0.02);
  }
});

test("an overlay is pale and hatched where nothing was seen, and only drawn over the map's picture", () => {
  const map = mapOf(grid(clip, 8, 4), [1, 1, 1, 1]);
  const black = { width: 80, height: 40, data: new Uint8Array(80 * 40 * 3) };
  const { data } = overlayAttention(black, map);
  const pixel = (x: number, y: number) => [...data.subarray((y * 80 + x) * 3, (y * 80 + x) * 3 + 3)];
  // 0.65 of white over black, and 0.75 of that on the lines.
  expect([pixel(0, 1), pixel(7, 1), pixel(19, 3), pixel(60, 1)]).toEqual(
    [166, 124, 166, 166].map((part) => [part, part, part]),
  );
  expect(pixel(20, 0)).toEqual(pixel(59, 39));
  expect(pixel(20, 0)).not.toEqual(pixel(19, 0));
  const square = { width: 40, height: 40, data: new Uint8Array(40 * 40 * 3) };
  expect(() => overlayAttention(square, map)).toThrow(
    new InputError(
      "The map is of a picture of 8 × 4 pixels and cannot be drawn over one of 40 × 40: give the original picture, of this or another size.",
    ),
  );
});

test("a map of tensors, whose picture is not known, has no pixels of it", () => {
  const map = mapOf({ runs: [[0, 4]], grid: { width: 2, height: 2 } }, [1, 0, 0, 0]);
  expect(() => mapOnPicture(map)).toThrow(InputError);
});
