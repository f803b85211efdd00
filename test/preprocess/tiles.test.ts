import { describe, expect, test } from "vitest";
import { CheckpointError } from "../../src/errors.ts";
import type { RgbImage } from "../../src/preprocess/image.ts";
import { readImageProcessorConfig } from "../../src/preprocess/image-processors.ts";
import { fitToTiles, type TilingRule, tiledPixelValues, tileGrid } from "../../src/preprocess/tiles.ts";
import { madePicture } from "../setup/made-picture.ts";
import { readGolden, sha256, type Versioned, versionsOf } from "./golden.ts";

interface TilesGolden extends Versioned {
  readonly cases: readonly {
    readonly size: readonly [width: number, height: number];
    readonly tile: number;
    readonly longest: number;
    readonly splits: boolean;
    readonly rows: number;
    readonly columns: number;
    readonly tiles: number;
    readonly sha256: string;
  }[];
  /** width, height, rows, columns with the published sizes */
  readonly grids: readonly (readonly [number, number, number, number])[];
}

const golden = readGolden<TilesGolden>("idefics3.json");
const read = (values: object) =>
  readImageProcessorConfig({ image_processor_type: "Idefics3ImageProcessor", ...values });

const known = new Map<string, RgbImage>();

/** The picture of a size, made once. */
function pictureOf(size: readonly [number, number]): RgbImage {
  const picture = known.get(size.join()) ?? madePicture(size);
  known.set(size.join(), picture);
  return picture;
}

function tilingOf(config: { readonly tiling?: TilingRule | undefined }): TilingRule {
  if (config.tiling === undefined) throw new Error("expected a rule for tiles");
  return config.tiling;
}

describe(`tiledPixelValues is bit-equal to ${versionsOf(golden, "transformers", "pillow")}`, () => {
  test.each(golden.cases)("$size, $longest in tiles of $tile, split: $splits", (own) => {
    const { size, tile, longest, splits, rows, columns } = own;
    const config = read({
      size: { longest_edge: longest },
      max_image_size: { longest_edge: tile },
      do_image_splitting: splits,
    });
    const rule = tilingOf(config);
    const values = tiledPixelValues(pictureOf(size), config, rule);
    expect(values).toHaveLength(own.tiles * 3 * tile * tile);
    expect(sha256(values)).toBe(own.sha256);
    expect(tileGrid({ width: size[0], height: size[1] }, rule, tile)).toEqual({ rows, columns });
  });
});

test("the tiles of the published sizes", () => {
  const rule = tilingOf(read({ size: { longest_edge: 2048 }, max_image_size: { longest_edge: 512 } }));
  for (const [width, height, rows, columns] of golden.grids) {
    expect([width, height, tileGrid({ width, height }, rule, 512)]).toEqual([width, height, { rows, columns }]);
  }
});

test("what the vision tower sees is all of the picture, as wide as its tiles", () => {
  const config = read({ size: { longest_edge: 48 }, max_image_size: { longest_edge: 16 } });
  expect(fitToTiles(madePicture([30, 20]), config, tilingOf(config))).toMatchObject({ width: 48, height: 32 });
});

describe("settings", () => {
  test("defaults are those of the class", () => {
    const config = read({ size: { longest_edge: 1456 } });
    expect(config).toMatchObject({
      imageSize: 364,
      filter: "lanczos",
      resize: { width: 364, height: 364 },
      normalize: { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] },
      tiling: { firstResize: { longestEdge: 1456 }, splits: true },
    });
    expect(read({ image_mean: 0.5 }).tiling).toEqual(config.tiling);
  });

  test("both sides, and no first resize", () => {
    const sides = read({ size: { height: 32, width: 48 }, max_image_size: { longest_edge: 16 } });
    expect(tileGrid({ width: 5, height: 900 }, tilingOf(sides), 16)).toEqual({ rows: 2, columns: 3 });
    const none = read({ do_resize: false, max_image_size: { longest_edge: 16 } });
    expect(tileGrid({ width: 17, height: 16 }, tilingOf(none), 16)).toEqual({ rows: 2, columns: 2 });
    expect(tileGrid({ width: 12, height: 16 }, tilingOf(none), 16)).toEqual({ rows: 0, columns: 0 });
  });

  test.each([
    [{ size: { shortest_edge: 5 } }, "size must be {longest_edge} or {height, width}, of at most 4096 pixels each"],
    [{ size: { longest_edge: 4097 } }, "size must be {longest_edge} or {height, width}, of at most 4096 pixels each"],
    [{ max_image_size: { longest_edge: 0 } }, "max_image_size must be {longest_edge} with a positive integer"],
    [{ do_image_splitting: 1 }, "do_image_splitting must be true or false"],
    [{ do_resize: "no" }, "do_resize must be true or false"],
  ])("%j is refused", (values, message) => {
    expect(() => read({ image_mean: 0.5, ...values })).toThrow(CheckpointError);
    expect(() => read({ image_mean: 0.5, ...values })).toThrow(message);
  });
});
