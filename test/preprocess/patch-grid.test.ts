import { describe, expect, test } from "vitest";
import { CheckpointError, InputError } from "../../src/errors.ts";
import { readImageProcessorConfig } from "../../src/preprocess/image-processors.ts";
import { gridSize, patchPixelValues, patchRule, resizeToGrid } from "../../src/preprocess/patch-grid.ts";
import { withPixelLimit } from "../../src/preprocess/qwen2-vl-processor.ts";
import { readGolden, sha256, type Versioned, versionsOf } from "./golden.ts";

interface PatchGolden extends Versioned {
  readonly cases: readonly {
    readonly size: readonly [height: number, width: number];
    readonly config: object;
    /** Given to the processor's call, in place of the configuration's. */
    readonly max_pixels?: number;
    readonly grid: readonly number[];
    readonly shape: readonly number[];
    readonly sha256: string;
  }[];
  /** [min pixels, max pixels, height, width, resized height, resized width] */
  readonly sides: readonly (readonly number[])[];
}

const golden = readGolden<PatchGolden>("qwen2-vl.json");
const type = { image_processor_type: "Qwen2VLImageProcessorFast" };
const RULE = { patchSize: 14, temporalPatchSize: 2, mergeSize: 2, minPixels: 3136, maxPixels: 12845056 };

describe(`patches are bit-equal to ${versionsOf(golden, "transformers", "pillow")}`, () => {
  test.each(golden.cases)("of a picture of $size, $max_pixels", (each) => {
    const { config, grid, shape, sha256: hash } = each;
    const [height, width] = each.size;
    const data = Uint8Array.from({ length: width * height * 3 }, (_, index) => (index * 7) % 256);
    const read = readImageProcessorConfig({ ...type, ...config });
    const patches = withPixelLimit(patchRule(read), { maxPixels: each.max_pixels, file: "preprocessor_config.json" });
    const processor = { ...read, patches };
    const resized = resizeToGrid({ width, height, data }, processor);
    expect([1, resized.height / 14, resized.width / 14]).toEqual(grid);
    const values = patchPixelValues({ width, height, data }, processor);
    expect(values.length).toBe(shape.reduce((product, side) => product * side, 1));
    expect(sha256(values)).toBe(hash);
  });

  test("sides of pictures under several limits", () => {
    const sides = golden.sides.map(([minPixels = 0, maxPixels = 0, height = 0, width = 0]) => {
      const size = gridSize({ width, height }, { ...RULE, minPixels, maxPixels });
      return [minPixels, maxPixels, height, width, size.height, size.width];
    });
    expect(sides).toEqual(golden.sides);
  });
});

test.each([
  [640, 480, 391],
  [336, 336, 144],
  [1000, 1000, 1296],
  [1200, 300, 473],
  [300, 200, 77],
])("%i×%i takes %i positions", (width, height, numTokens) => {
  const size = gridSize({ width, height }, RULE);
  expect((size.width * size.height) / 28 ** 2).toBe(numTokens);
});

test("both spellings of the limits are read, and 1,280 positions are exceeded only where a load says so", () => {
  const read = (values: object, maxPixels?: number) =>
    withPixelLimit(patchRule(readImageProcessorConfig({ ...type, ...values })), { maxPixels, file: "some.json" });
  const published = read({ min_pixels: 3136, max_pixels: 12845056, patch_size: 14, merge_size: 2 });
  expect(published).toEqual({ ...RULE, maxPixels: 1003520 });
  expect(read({ size: { shortest_edge: 3136, longest_edge: 12845056 } })).toEqual(published);
  expect(read({})).toEqual(published);
  expect(read({ min_pixels: 12544, size: { shortest_edge: 3136, longest_edge: 50176 } })).toMatchObject({
    minPixels: 12544,
    maxPixels: 50176,
  });
  expect(read({ min_pixels: 2e6, max_pixels: 3e6 })).toMatchObject({ minPixels: 1003520, maxPixels: 1003520 });
  expect(read({ min_pixels: 2e6, max_pixels: 3e6 }, 4e6)).toMatchObject({ minPixels: 2e6, maxPixels: 4e6 });
  expect(() => read({ min_pixels: 3136 }, 3135)).toThrow(
    new InputError("maxPicturePixels (--max-picture-pixels) must be at least min_pixels of some.json, 3136, got 3135."),
  );
  expect(read({ patch_size: 4, merge_size: 3, temporal_patch_size: 1 })).toMatchObject({
    patchSize: 4,
    mergeSize: 3,
    temporalPatchSize: 1,
  });
});

test.each([
  [{ max_pixels: "many" }, /^preprocessor_config\.json: max_pixels must be a positive number of pixels, got "many"\.$/],
  [{ size: { longest_edge: -1 } }, /size\.longest_edge must be a positive number of pixels, got -1\.$/],
  [{ min_pixels: 5000, max_pixels: 4000 }, /min_pixels must be at most max_pixels \(4000\), got 5000\.$/],
  [{ patch_size: 0 }, /patch_size must be a whole number from 1 to 256, got 0\.$/],
  [{ do_resize: false }, /do_resize must be true or absent, got false\.$/],
  [{ size: 3 }, /expected size to hold a JSON object, got 3\.$/],
])("a setting that cannot be is named: %j", (values, message) => {
  expect(() => readImageProcessorConfig({ ...type, ...values })).toThrow(message);
});

test("a picture of more than 200 to 1 is refused, and so is a processor of squares", () => {
  const message = "A picture's longer side must be at most 200 times the shorter one, got 201×1: crop it first.";
  expect(() => gridSize({ width: 201, height: 1 }, RULE)).toThrow(new InputError(message));
  expect(() => patchRule(readImageProcessorConfig({ size: 224 }))).toThrow(CheckpointError);
});
