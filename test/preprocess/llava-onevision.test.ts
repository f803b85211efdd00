// LLaVA-OneVision's pictures against transformers (tools/goldens/llava_onevision_pictures.py), and what its config may say.
import { describe, expect, test } from "vitest";
import { at, CheckpointError, InputError } from "../../src/errors.ts";
import { placementOf } from "../../src/inspect/picture-placement.ts";
import type { PictureLayout } from "../../src/models/architecture.ts";
import type { FeatureGrid } from "../../src/models/inputs.ts";
import { featureSums } from "../../src/models/layers/resized-features.ts";
import { Processor } from "../../src/models/processor.ts";
import { readArchitecture } from "../../src/models/registry.ts";
import { readImageProcessorConfig } from "../../src/preprocess/image-processors.ts";
import { rampPicture } from "../setup/ramp-picture.ts";
import { readGolden, sha256, type Versioned, versionsOf } from "./golden.ts";

type Size = readonly [height: number, width: number];

interface OnevisionGolden extends Versioned {
  readonly pinpoints: readonly Size[];
  readonly pictures: readonly {
    readonly size: Size;
    readonly tiles: readonly string[];
    readonly single: string;
    readonly isDefault?: boolean;
  }[];
  readonly counts: readonly (readonly [height: number, width: number, count: number])[];
  readonly resized: readonly {
    readonly size: Size;
    readonly count: number;
    readonly step: number;
    readonly values: readonly number[];
  }[];
}

const golden = readGolden<OnevisionGolden>("llava-onevision.json");
const MODEL = { model_type: "llava_onevision" };
const SMALL = { ...MODEL, vision_config: { image_size: 42, patch_size: 14 }, image_grid_pinpoints: golden.pinpoints };

function picturesOf(config: object): PictureLayout {
  const { pictures } = readArchitecture(config);
  if (pictures === undefined) throw new Error("expected a model with pictures");
  return pictures;
}

const whole = picturesOf(MODEL);
const small = picturesOf(SMALL);

describe(`pixel values are bit-equal to those of ${versionsOf(golden, "transformers", "pillow")}`, () => {
  test.each(golden.pictures)("$size", ({ size, tiles, single, isDefault = false }) => {
    const processor = readImageProcessorConfig({
      image_processor_type: "LlavaOnevisionImageProcessor",
      do_pad: true,
      ...(!isDefault && { size: { height: 42, width: 42 } }),
    });
    const layout = isDefault ? whole : small;
    const picture = rampPicture(...size);
    const values = layout.pixelValues(picture, { processor, numPictures: 1 });
    const tileLength = 3 * processor.imageSize ** 2;
    const hashes = tiles.map((_, tile) => sha256(values.subarray(tile * tileLength, (tile + 1) * tileLength)));
    expect(hashes).toEqual(tiles);
    expect(values).toHaveLength(tiles.length * tileLength);
    expect(layout.positions(size, { numPictures: 1 }).numTiles).toBe(tiles.length);
    expect(sha256(layout.pixelValues(picture, { processor, numPictures: 2 }))).toBe(single);
  });
});

describe(`positions and features equal those of ${versionsOf(golden, "transformers", "torch")}`, () => {
  test(`tokens of ${golden.counts.length} sizes, and never more than the largest size that plans reckon with`, () => {
    const largest = Math.max(...whole.sizes.map((size) => whole.positions(size, {}).rowIndex.length));
    for (const [height, width, count] of golden.counts) {
      const { runLengths, rowIndex } = whole.positions([height, width], {});
      expect([height, width, ...runLengths, rowIndex.length]).toEqual([height, width, count, count]);
      expect(count).toBeLessThanOrEqual(largest);
    }
    expect(largest).toBe(8765); // 98 rows of 81 patches are just below 1.1² times nine tiles, and each has a newline
  });

  test.each(golden.resized)("$size: features resized", ({ size, count, step, values }) => {
    const { rowIndex, featureGrids = [], numTiles } = whole.positions(size, {});
    expect(rowIndex).toHaveLength(count);
    const rows = resizedFeatures(featureGrids, numTiles);
    const packed = Array.from(rowIndex, (row) => (row < 0 ? -1 : at(rows, row)));
    const errors = values.map((value, index) => Math.abs(at(packed, index * step) - value));
    expect(Math.max(...errors)).toBeLessThan(2e-7);
  });

  test("of several pictures, each has a tile's patches and a newline", () => {
    const { numTiles, rowIndex, featureGrids } = whole.positions([480, 640], { numPictures: 2 });
    expect([numTiles, rowIndex.length, rowIndex[728], rowIndex[729], featureGrids]).toEqual([
      1,
      730,
      728,
      -1,
      undefined,
    ]);
  });

  test("a picture whose size is not known is refused", () => {
    expect(() => whole.positions(undefined, {})).toThrow(InputError);
  });
});

/** The rows of the grids where feature row r of all tiles is (7919 r mod 1024) / 1024. */
function resizedFeatures(grids: readonly FeatureGrid[], numTiles: number): readonly number[] {
  const { numRows, tileStarts, outputRow, index, weights } = featureSums(grids, numTiles);
  const rows = new Array<number>(numRows).fill(0);
  for (let tile = 0; tile < numTiles; tile++) {
    for (let sum = at(tileStarts, tile); sum < at(tileStarts, tile + 1); sum++) {
      const row = at(outputRow, sum);
      for (let tap = sum * 4; tap < sum * 4 + 4; tap++) {
        rows[row] = at(rows, row) + at(weights, tap) * ((((tile * 729 + at(index, tap)) * 7919) % 1024) / 1024);
      }
    }
  }
  return rows;
}

describe("where positions lie in a picture", () => {
  const placed = (size: Size, numPictures = 1) => {
    const { rowIndex, grid, tiles, runLengths } = whole.positions(size, { numPictures });
    const runs = runLengths.map((length) => [0, length] as const);
    return { tiles, placement: placementOf({ runs, rowIndex, grid, ...(tiles && { tiles }) }) };
  };

  test("a resized grid covers the picture without its padding, once", () => {
    const { tiles, placement } = placed([1500, 2000]);
    expect(tiles?.grids).toEqual([
      { width: 27, height: 27 },
      { width: 93, height: 70 },
    ]);
    const { left, top, right, bottom } = at(tiles?.views ?? [], 1);
    for (const edge of [left, top]) expect(Math.abs(edge)).toBeLessThan(0.005);
    // Six pixels on the right of a tile are in none of its patches.
    for (const edge of [right, bottom]) expect(Math.abs(1 - edge)).toBeLessThan(0.01);
    const shares = new Float64Array(placement.width * placement.height);
    const first = at(placement.starts, 729);
    placement.cells.forEach((cell, part) => {
      if (part >= first) shares[cell] = at(shares, cell) + at(placement.weights, part);
    });
    const numPatches = shares.reduce((sum, share) => sum + share, 0);
    expect(numPatches).toBeCloseTo(70 * 93, 6);
    expect(Math.max(...shares) / Math.min(...shares.subarray(0, placement.width - 1))).toBeLessThan(1.1);
  });

  test("of several pictures, a tile shows the padding that makes a square of each", () => {
    const { tiles, placement } = placed([200, 400], 2);
    expect(at(tiles?.views ?? [], 0)).toEqual({ left: 0, top: -0.5, right: 378 / 384, bottom: -0.5 + (2 * 378) / 384 });
    expect([placement.width, placement.height]).toEqual([28, 14]);
    const numPlaced = placement.positions.filter((_, index) => placement.starts[index] !== placement.starts[index + 1]);
    expect(numPlaced.length).toBe(27 * 15); // two rows in half
    expect(placement.starts.at(-1)).toBe(placement.starts.at(-2)); // the newline
  });
});

describe("config.json", () => {
  test("has the defaults of transformers, also for parts that are there without a type", () => {
    const { config } = readArchitecture({
      ...MODEL,
      vision_config: { image_size: 28, patch_size: 14 },
      image_grid_pinpoints: [[28, 28]],
    });
    expect(config.text.modelType).toBe("qwen2");
    expect(config.multimodal).toMatchObject({
      imageTokenId: 151646,
      numVisionLayers: 12,
      pictureForm: "tiles",
      featureSummary: "4 patches per tile, 1 grids, features full, projector gelu",
      vision: { modelType: "siglip_vision_model", hiddenSize: 768 },
    });
    const { multimodal } = readArchitecture(MODEL).config;
    expect(multimodal?.vision).toMatchObject({ hiddenSize: 1152, headDim: 72, numPatches: 729 });
    expect([multimodal?.numVisionLayers, whole.sizes.length]).toEqual([26, expect.any(Number)]);
    expect(readArchitecture({ ...MODEL, vision_aspect_ratio: null, image_token_id: 5 }).pictures?.imageTokenId).toBe(5);
  });

  const clip = { ...MODEL, vision_config: { model_type: "clip_vision_model", image_size: 384 } };
  test.each([
    [
      { ...MODEL, vision_aspect_ratio: "anyres" },
      'vision_aspect_ratio must be anyres_max_ and a number, such as anyres_max_9, got "anyres".',
    ],
    [{ ...MODEL, vision_aspect_ratio: "anyres_max_0" }, 'got "anyres_max_0"'],
    [{ ...MODEL, vision_aspect_ratio: 9 }, "vision_aspect_ratio must be a string, got 9."],
    [
      { ...MODEL, vision_feature_select_strategy: "default" },
      "must be full, as siglip_vision_model has no class token",
    ],
    [clip, "must be default, as clip_vision_model has a class token"],
    [{ ...MODEL, video_token_index: -1 }, "video_token_index must be a token id, got -1."],
    [{ ...MODEL, image_grid_pinpoints: [384] }, "image_grid_pinpoints must be a list of [height, width]"],
    [
      { ...MODEL, text_config: { model_type: "qwen3" } },
      'text_config.model_type must be llama, mistral or qwen2, got "qwen3".',
    ],
    [{ model_type: "llava_onevision1_5" }, 'got "llava_onevision1_5"'],
  ])("%j is refused", (config, message) => {
    const read = () => readArchitecture(config);
    expect(read).toThrow(CheckpointError);
    expect(read).toThrow(message);
  });

  test("a picture whose resized grid would have no row is refused", () => {
    const thin = picturesOf({ ...SMALL, vision_aspect_ratio: "anyres_max_1", image_grid_pinpoints: [[42, 42 * 40]] });
    expect(() => thin.positions([1, 40 * 42], {})).toThrow(
      "The picture is 1×1680 pixels: too thin to resize its features; crop it.",
    );
  });
});

test("a prompt with a video is refused in one sentence", () => {
  const architecture = readArchitecture(MODEL);
  const parts = { eosTokenIds: [], imageProcessor: undefined, tokenizer: undefined, template: undefined };
  const processor = new Processor(architecture, parts);
  expect(() => processor.fromTensors({ inputIds: [1, 151647, 2], pixelValues: undefined })).toThrow(
    new InputError(
      "The prompt has a video token (id 151647), but videos are not supported: give single frames as pictures.",
    ),
  );
});
