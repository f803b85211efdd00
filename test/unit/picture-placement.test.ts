// Where LLaVA-NeXT's positions lie in a picture, against the pixels that each patch is computed from, and its attention map,
// against sums over points of the picture. That the order of positions is transformers' is tested in preprocess/anyres.test.ts.
import { describe, expect, test } from "vitest";
import { at, InputError } from "../../src/errors.ts";
import { answerAttention, attentionMap } from "../../src/inspect/attention-map.ts";
import { cellsOf, type MappedImage, placementOf } from "../../src/inspect/picture-placement.ts";
import { anyresLayout, anyresPicture, anyresPixelValues, anyresViews } from "../../src/preprocess/anyres.ts";
import { readImageProcessorConfig } from "../../src/preprocess/image-processors.ts";

const PATCH = 14;
const TILE = 56;
const P = TILE / PATCH;
/** [height, width]: two tiles beside each other, above each other, four, and three. */
const PINPOINTS = [
  [56, 112],
  [112, 56],
  [112, 112],
  [168, 56],
  [56, 168],
] as const;
/** [height, width]: unpadded above and below, left and right, in parts of patches, and not at all. */
const SIZES = [
  [128, 192],
  [144, 144],
  [128, 60],
  [41, 192],
  [127, 85],
  [23, 37],
] as const;
type Side = (typeof SIZES)[number];

const config = readImageProcessorConfig({
  image_processor_type: "LlavaNextImageProcessor",
  size: TILE,
  crop_size: TILE,
  do_normalize: false,
});

function tiled(imageSize: Side, start = 0) {
  const options = { imageSize, gridPinpoints: PINPOINTS, tileSize: TILE, patchGrid: P, patchSize: PATCH };
  const rowIndex = anyresLayout(options);
  return {
    runs: [[start, start + rowIndex.length]],
    grid: undefined,
    rowIndex,
    tiles: { imageSize, patchGrid: P, views: anyresViews(options) },
  } satisfies MappedImage;
}

describe.each(SIZES)("%i × %i", (height, width) => {
  const size = [height, width] as unknown as Side;

  test("the cell of a position is the part of the picture that its patch was computed from", () => {
    // Red grows to the right and green downwards, from 0 to 1; blue is 1 in the picture and 0 in the padding.
    const data = new Uint8Array(width * height * 3);
    for (let pixel = 0; pixel < width * height; pixel++) {
      const [x, y] = [(pixel % width) + 0.5, Math.floor(pixel / width) + 0.5];
      data.set([Math.round((255 * x) / width), Math.round((255 * y) / height), 255], pixel * 3);
    }
    const { pixelValues } = anyresPixelValues({ width, height, data }, config, PINPOINTS);
    /** Mean over a patch of a feature row. */
    const mean = (row: number, channel: number) => {
      const [tile, patch] = [Math.floor(row / P ** 2), row % P ** 2];
      let sum = 0;
      for (let y = 0; y < PATCH; y++) {
        for (let x = 0; x < PATCH; x++) {
          const line = Math.floor(patch / P) * PATCH + y;
          sum += at(pixelValues, ((tile * 3 + channel) * TILE + line) * TILE + (patch % P) * PATCH + x);
        }
      }
      return sum / PATCH ** 2;
    };
    const { rowIndex, tiles } = tiled(size);
    const { width: fittedWidth, height: fittedHeight } = anyresPicture({ width, height, data }, config, PINPOINTS);
    for (const [position, cell] of cellsOf(rowIndex, tiles).entries()) {
      const row = at(rowIndex, position);
      expect(cell === undefined).toBe(row < 0);
      if (cell === undefined) continue;
      const seen = mean(row, 2);
      const full = row < P ** 2 ? 1 / P ** 2 : PATCH ** 2 / (fittedWidth * fittedHeight);
      expect(((cell.right - cell.left) * (cell.bottom - cell.top)) / full).toBeCloseTo(seen, 5);
      expect(Math.abs((cell.left + cell.right) / 2 - mean(row, 0) / seen)).toBeLessThan(0.01);
      expect(Math.abs((cell.top + cell.bottom) / 2 - mean(row, 1) / seen)).toBeLessThan(0.01);
    }
  });

  test("its map is the attention of both resolutions at each point", () => {
    const image = tiled(size, 3);
    const numKeys = image.rowIndex.length + 5;
    const probs = Float32Array.from({ length: 2 * numKeys }, (_, key) => ((key * 7919) % 97) / 5000);
    const heads = [0, 1].map((head) => Array.from(image.rowIndex, (_, index) => at(probs, head * numKeys + 3 + index)));
    const rows = [{ layer: 0, probs }];
    const map = attentionMap(rows, image, { numHeads: 2 });

    // Points so dense that the edges of patches and of map cells lie between them.
    const [gridHeight, gridWidth] = gridOf(size);
    const scale = Math.min(gridWidth / width, gridHeight / height);
    const fitted = [Math.ceil(width * scale), Math.ceil(height * scale)] as const;
    const numX = leastMultiple(fitted[0], P, map.width);
    const numY = leastMultiple(fitted[1], P, map.height);
    const positionOf = new Map(Array.from(image.rowIndex, (row, index) => [row, index]));
    const [left, top] = [Math.floor((gridWidth - fitted[0]) / 2), Math.floor((gridHeight - fitted[1]) / 2)];
    const hits: { readonly position: number; readonly cell: number }[] = [];
    for (let i = 0; i < numX * numY; i++) {
      const [x, y] = [((i % numX) + 0.5) / numX, (Math.floor(i / numX) + 0.5) / numY];
      const column = Math.floor((left + x * fitted[0]) / PATCH);
      const line = Math.floor((top + y * fitted[1]) / PATCH);
      const tile = 1 + Math.floor(line / P) * (gridWidth / TILE) + Math.floor(column / P);
      const fine = tile * P ** 2 + (line % P) * P + (column % P);
      const coarse = Math.floor(y * P) * P + Math.floor(x * P);
      const cell = Math.floor(y * map.height) * map.width + Math.floor(x * map.width);
      for (const row of [coarse, fine]) {
        const position = positionOf.get(row);
        if (position !== undefined) hits.push({ position, cell });
      }
    }
    const counts = new Float64Array(image.rowIndex.length);
    for (const { position } of hits) counts[position] = at(counts, position) + 1;
    const byHead = heads.map((values) => {
      const expected = new Float64Array(map.values.length);
      for (const { position, cell } of hits) {
        expected[cell] = at(expected, cell) + at(values, position) / at(counts, position);
      }
      return expected;
    });
    for (const [cell, value] of map.values.entries()) {
      expect(value).toBeCloseTo((at(at(byHead, 0), cell) + at(at(byHead, 1), cell)) / 2, 10);
    }
    const perHead = answerAttention({ used: rows, unmodified: undefined }, [image], 2).usedByHead();
    const all = byHead.flatMap((values) => Array.from(values));
    for (const [index, value] of perHead.values.entries()) expect(value).toBeCloseTo(at(all, index), 6);

    // Patches make up the map; newlines are the rest of the share.
    const sum = (keep: (row: number) => boolean) =>
      heads.flatMap((values) => values.filter((_, index) => keep(at(image.rowIndex, index)))).reduce((a, b) => a + b) /
      2;
    expect(map.values.reduce((a, b) => a + b)).toBeCloseTo(
      sum((row) => row >= 0),
      10,
    );
    expect(map.unplacedShare).toBeCloseTo(
      sum((row) => row < 0),
      10,
    );
    expect(map.share).toBeCloseTo(map.unplacedShare + sum((row) => row >= 0), 10);
  });
});

test("the map's cells are as small as the smallest patch", () => {
  const sizeOf = (size: Side) => {
    const { width, height } = placementOf(tiled(size));
    return [height, width];
  };
  // In patches of 14 pixels: 75 × 112, 112 × 112, 120 × 56 and 36 × 168, of which the base tile's are as small or smaller.
  expect(SIZES.slice(0, 4).map(sizeOf)).toEqual([
    [6, 8],
    [8, 8],
    [9, 4],
    [4, 12],
  ]);
});

test("positions and feature rows have to be as many", () => {
  const image = { ...tiled(SIZES[0]), runs: [[0, 5]] } as const;
  expect(() => placementOf(image)).toThrow(InputError);
});

/** The grid of each size, as [height, width]. */
function gridOf(size: Side): readonly [number, number] {
  const grids = new Map<number, readonly [number, number]>([
    [128 * 192, [112, 112]],
    [144 * 144, [112, 112]],
    [128 * 60, [168, 56]],
    [41 * 192, [56, 168]],
    [127 * 85, [112, 112]],
    [23 * 37, [56, 112]],
  ]);
  return at(
    [grids.get(size[0] * size[1])].flatMap((grid) => (grid === undefined ? [] : [grid])),
    0,
  );
}

function leastMultiple(...numbers: readonly number[]): number {
  const divisor = (a: number, b: number): number => (b === 0 ? a : divisor(b, a % b));
  return numbers.reduce((a, b) => (a * b) / divisor(a, b));
}
