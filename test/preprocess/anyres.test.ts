import { describe, expect, test } from "vitest";
import { CheckpointError } from "../../src/errors.ts";
import {
  anyresLayout,
  anyresPixelValues,
  anyresTileCount,
  anyresTokenCount,
  type GridPinpoints,
} from "../../src/preprocess/anyres.ts";
import type { RgbImage } from "../../src/preprocess/image.ts";
import { readImageProcessorConfig } from "../../src/preprocess/image-processors.ts";
import { cropped, readGolden, readPicture, sha256, type Versioned, versionsOf } from "./golden.ts";

interface AnyresGolden extends Versioned {
  readonly smallPinpoints: GridPinpoints;
  readonly pinpoints: GridPinpoints;
  readonly tiles: readonly {
    readonly label: string;
    readonly picture: string;
    readonly crop: readonly number[];
    readonly imageSize: readonly [number, number];
    readonly tiles: readonly string[];
  }[];
  readonly layouts: readonly {
    readonly imageSize: readonly [number, number];
    readonly tileSize: number;
    readonly patchGrid: number;
    readonly sources: readonly number[];
  }[];
  /** height, width, tokens, beginning of the SHA-256 of the layout */
  readonly counts: readonly (readonly [number, number, number, string])[];
}

const golden = readGolden<AnyresGolden>("anyres.json");
const real = { gridPinpoints: golden.pinpoints, tileSize: 336, patchGrid: 24 };

describe(`anyresPixelValues is bit-equal to ${versionsOf(golden, "transformers", "pillow")}`, () => {
  const config = readImageProcessorConfig({ image_processor_type: "LlavaNextImageProcessor", size: 56, crop_size: 56 });

  test.each(golden.tiles)("$label, $imageSize", async ({ picture, crop, imageSize, tiles }) => {
    const result = anyresPixelValues(cropped(await readPicture(picture), crop), config, golden.smallPinpoints);
    expect(result.imageSize).toEqual(imageSize);
    expect(result.numTiles).toBe(anyresTileCount({ imageSize, gridPinpoints: golden.smallPinpoints, tileSize: 56 }));
    const length = 3 * 56 * 56;
    const hashes = tiles.map((_, index) => sha256(result.pixelValues.subarray(index * length, (index + 1) * length)));
    expect(hashes).toEqual(tiles);
    expect(result.pixelValues).toHaveLength(tiles.length * length);
  });
});

describe(`anyresLayout equals pack_image_features of ${versionsOf(golden, "transformers")}`, () => {
  test.each(golden.layouts)("$imageSize on the small grid", ({ imageSize, tileSize, patchGrid, sources }) => {
    const options = { imageSize, tileSize, patchGrid, gridPinpoints: golden.smallPinpoints };
    expect([...anyresLayout(options)]).toEqual(sources);
    expect(anyresTokenCount(options)).toBe(sources.length);
  });

  test(`${golden.counts.length} random sizes on LLaVA-1.6's grid`, () => {
    for (const [height, width, count, hash] of golden.counts) {
      const layout = anyresLayout({ ...real, imageSize: [height, width] });
      expect([height, width, layout.length, sha256(layout).slice(0, 16)]).toEqual([height, width, count, hash]);
    }
  });
});

describe("token counts of transformers 4.44.2", () => {
  test("the real grid", () => {
    const { rows } = readGolden<{ readonly rows: readonly (readonly number[])[] }>("llava-next-real-grid.json");
    for (const [height = 0, width = 0, tilesHigh = 0, tilesWide = 0, , , count] of rows) {
      const options = { ...real, imageSize: [height, width] } as const;
      expect([height, width, anyresTokenCount(options)]).toEqual([height, width, count]);
      expect(anyresTileCount(options)).toBe(tilesHigh * tilesWide + 1);
    }
  });

  test("the tiny checkpoint's grid", () => {
    interface Tiny {
      readonly image_sizes_hw: readonly [readonly [number, number]];
      readonly tiles: readonly number[];
      readonly image_tokens: number;
    }
    const pictures = Object.values(readGolden<Readonly<Record<string, Tiny>>>("llava-next-tiny-grid.json"));
    for (const { image_sizes_hw: sizes, tiles, image_tokens: count } of pictures) {
      const options = { imageSize: sizes[0], gridPinpoints: golden.smallPinpoints, tileSize: 56, patchGrid: 4 };
      expect(anyresTokenCount(options)).toBe(count);
      expect(anyresTileCount(options)).toBe(tiles[1]);
    }
  });
});

test("2×1 tiles of 2×2 patches, a square picture centred, its rows ended by a newline", () => {
  const options = { imageSize: [10, 10], gridPinpoints: [[4, 8]], tileSize: 4, patchGrid: 2 } as const;
  expect([...anyresLayout(options)]).toEqual([0, 1, 2, 3, 5, 8, -1, 7, 10, -1]);
});

describe("anyresPixelValues", () => {
  /** Black and white in turn, so that each filter but nearest gives greys. */
  const stripes = (width: number, height: number): RgbImage => ({
    width,
    height,
    data: Uint8Array.from({ length: width * height * 3 }, (_, at) => (Math.floor(at / 3) % 2) * 255),
  });
  const pinpoints: GridPinpoints = [[8, 16]];
  const config = readImageProcessorConfig({
    image_processor_type: "LlavaNextImageProcessor",
    size: 8,
    crop_size: 8,
    do_normalize: false,
  });

  test("resizes with the filter that is set, both the whole picture and the grid", () => {
    const { pixelValues, numTiles } = anyresPixelValues(stripes(21, 11), { ...config, filter: "nearest" }, pinpoints);
    expect(numTiles).toBe(3);
    expect([...new Set(pixelValues)].sort()).toEqual([0, 1]);
  });

  test("resizes the whole picture to a tile when no size is set", () => {
    const picture = stripes(21, 11);
    const { pixelValues } = anyresPixelValues(picture, { ...config, resize: undefined }, pinpoints);
    expect(pixelValues).toEqual(anyresPixelValues(picture, config, pinpoints).pixelValues);
  });

  test("takes a size of two sides unchanged", () => {
    const picture = stripes(21, 11);
    const square = anyresPixelValues(picture, { ...config, resize: { width: 8, height: 8 } }, pinpoints);
    expect(square.pixelValues).toEqual(anyresPixelValues(picture, config, pinpoints).pixelValues);
  });

  test("never pads to a square with the mean colour", () => {
    const black = { width: 21, height: 11, data: new Uint8Array(21 * 11 * 3) };
    for (const padToSquare of [false, true]) {
      const flat = { ...config, padToSquare, resize: { width: 8, height: 4 } };
      expect([...new Set(anyresPixelValues(black, flat, pinpoints).pixelValues)]).toEqual([0]);
    }
  });
});

test("of grids that show equally much of the picture, the smallest is taken, in any order", () => {
  for (const gridPinpoints of [
    [
      [8, 8],
      [4, 8],
      [8, 12],
    ],
    [
      [8, 12],
      [8, 8],
      [4, 8],
    ],
    [
      [4, 8],
      [8, 12],
      [8, 8],
    ],
  ] as const) {
    expect(anyresTileCount({ imageSize: [4, 8], gridPinpoints, tileSize: 4 })).toBe(3);
  }
});

test.each([
  ["no grid", [], "an empty list"],
  ["a grid that is not whole tiles wide", [[336, 500]], "336×500"],
  ["a grid that is not whole tiles high", [[500, 336]], "500×336"],
] as const)("refuses %s", (_, gridPinpoints, got) => {
  expect(() => anyresLayout({ ...real, imageSize: [10, 10], gridPinpoints })).toThrow(
    new CheckpointError(`config.json: image_grid_pinpoints must hold multiples of 336 pixels, got ${got}.`, {
      file: "config.json",
    }),
  );
});
