import { describe, expect, test } from "vitest";
import { CheckpointError, InputError } from "../../src/errors.ts";
import type { RgbImage } from "../../src/preprocess/image.ts";
import { filled, fitToSquare, imagePixelValues, paste } from "../../src/preprocess/image-processor.ts";
import { readImageProcessorConfig } from "../../src/preprocess/image-processors.ts";
import { resizeImage } from "../../src/preprocess/resize-bicubic.ts";
import { cropped, readGolden, readPicture, sha256, type Versioned } from "./golden.ts";

interface ProcessorGolden extends Versioned {
  readonly cases: readonly {
    readonly label: string;
    readonly picture: string;
    readonly config: unknown;
    readonly shape: readonly number[];
    readonly sha256: string;
    readonly first: readonly number[];
  }[];
  readonly extremes: readonly { readonly size: readonly [number, number]; readonly sha256: string }[];
}

const HALF = [0.5, 0.5, 0.5];
const KINDS = [
  { file: "clip.json", forExtremes: { size: 56, crop_size: 56 } },
  {
    file: "siglip.json",
    forExtremes: {
      image_processor_type: "SiglipImageProcessor",
      size: { height: 42, width: 42 },
      image_mean: HALF,
      image_std: HALF,
    },
  },
].map((kind) => ({ ...kind, golden: readGolden<ProcessorGolden>(kind.file) }));

describe.each(KINDS)("imagePixelValues is bit-equal to transformers, $file", ({ golden, forExtremes }) => {
  test.each(golden.cases)("$label: $picture", async ({ picture, config, shape, sha256: hash, first }) => {
    const processor = readImageProcessorConfig(config);
    const pixelValues = imagePixelValues(await readPicture(picture), processor);
    const side = processor.imageSize;
    expect([3, side, side]).toEqual(shape);
    expect([0, 1, 2].map((channel) => pixelValues[channel * side * side])).toEqual(first);
    expect(sha256(pixelValues)).toBe(hash);
  });

  test.each(golden.extremes)("a picture of $size", ({ size: [width, height], sha256: hash }) => {
    const data = Uint8Array.from({ length: width * height * 3 }, (_, index) => (index * 7) % 256);
    const config = readImageProcessorConfig(forExtremes);
    expect(sha256(imagePixelValues({ width, height, data }, config))).toBe(hash);
  });
});

describe("imagePixelValues", () => {
  test("20000×10 at 336, where the whole resized picture would have 226 megapixels, takes its middle only", () => {
    const image = { width: 20_000, height: 10, data: new Uint8Array(600_000).fill(77) };
    const pixelValues = imagePixelValues(image, readImageProcessorConfig({ size: 336, crop_size: 336 }));
    expect(pixelValues).toHaveLength(3 * 336 * 336);
    expect(new Set(pixelValues).size).toBe(3);
  });

  test("filling 20000×10 up to a square is refused", () => {
    const image = { width: 20_000, height: 10, data: new Uint8Array(600_000) };
    const config = readImageProcessorConfig({ image_processor_type: "LlavaImageProcessor", do_pad: true });
    expect(() => imagePixelValues(image, config)).toThrow(InputError);
  });
});

describe("readImageProcessorConfig", () => {
  const llava = {
    crop_size: { height: 336, width: 336 },
    do_center_crop: true,
    do_convert_rgb: true,
    image_processor_type: "CLIPImageProcessor",
    processor_class: "LlavaProcessor",
    resample: 3,
    rescale_factor: 0.00392156862745098,
    size: { shortest_edge: 336 },
  };

  test("reads LLaVA-1.5's, and fills in CLIP's defaults", () => {
    const config = readImageProcessorConfig(llava);
    expect(config).toMatchObject({
      imageSize: 336,
      resize: { shortestEdge: 336 },
      filter: "bicubic",
      centerCrop: true,
    });
    expect(config.rescaleFactor).toBe(1 / 255);
    expect(config.normalize?.mean[0]).toBe(0.48145466);
    expect(readImageProcessorConfig({ image_processor_type: "CLIPImageProcessor" }).imageSize).toBe(224);
  });

  test("reads a processor_config.json that nests it, and the names of fast processors", () => {
    const nested = {
      image_processor: { ...llava, image_processor_type: "LlavaImageProcessorFast" },
      processor_class: "x",
    };
    expect(readImageProcessorConfig(nested, "processor_config.json")).toEqual(readImageProcessorConfig(llava));
  });

  test("a LLaVA-NeXT do_pad pads batches, not pictures", () => {
    const next = { image_processor_type: "LlavaNextImageProcessor", do_pad: true, image_grid_pinpoints: [[336, 672]] };
    const config = readImageProcessorConfig({ ...llava, ...next });
    expect(config).toMatchObject({ padToSquare: false, imageGridPinpoints: [[336, 672]] });
  });

  test.each([
    ["no object", [], /JSON object/],
    ["nothing of an image processor", { processor_class: "LlavaProcessor", patch_size: 14 }, /found none/],
    ["another processor", { image_processor_type: "BlipImageProcessor" }, /image_processor_type must be one of/],
    ["an unknown filter", { ...llava, resample: 6 }, /resample must be a PIL filter/],
    ["a longest edge", { ...llava, size: { shortest_edge: 336, longest_edge: 672 } }, /size must be .*longest_edge/],
    ["a size that is not an integer", { ...llava, size: 33.5 }, /size must be/],
    ["an oblong crop", { ...llava, crop_size: { height: 336, width: 224 } }, /crop_size must be/],
    [
      "no crop and no square",
      { ...llava, do_center_crop: false },
      /size must be one that makes every picture the same/,
    ],
    ["a padding size", { ...llava, pad_size: { height: 400, width: 400 } }, /pad_size must be absent/],
    ["swapped channels", { ...llava, do_flip_channel_order: true }, /do_flip_channel_order must be absent/],
    ["channels last", { ...llava, data_format: "channels_last" }, /data_format must be "channels_first"/],
    ["a flag that is not a flag", { ...llava, do_resize: "yes" }, /do_resize must be true or false/],
    ["two means", { ...llava, image_mean: [0.5, 0.5] }, /image_mean must be three numbers/],
    ["a deviation of 0", { ...llava, image_std: [0.5, 0, 0.5] }, /image_std must be three numbers other than 0/],
    ["a factor that is not a number", { ...llava, rescale_factor: "1/255" }, /rescale_factor must be a number/],
    ["pinpoints that are not pairs", { ...llava, image_grid_pinpoints: [[336]] }, /image_grid_pinpoints must be/],
  ])("refuses %s", (_, json, message) => {
    expect(() => readImageProcessorConfig(json)).toThrow(CheckpointError);
    expect(() => readImageProcessorConfig(json, "some.json")).toThrow(message);
    expect(() => readImageProcessorConfig(json, "some.json")).toThrow(/^some\.json: /);
  });
});

describe("fitToSquare", () => {
  const nothing = { do_resize: false, do_rescale: false, do_normalize: false };
  /** Rows of red values; green and blue are 1 and 2 higher. */
  const picture = (...rows: readonly (readonly number[])[]): RgbImage => {
    const data = rows.flatMap((row) => row.flatMap((red) => [red, red + 1, red + 2]));
    return { width: rows[0]?.length ?? 0, height: rows.length, data: Uint8Array.from(data) };
  };
  const reds = ({ width, height, data }: RgbImage): number[][] => {
    return Array.from({ length: height }, (_, y) =>
      Array.from({ length: width }, (_, x) => data[(y * width + x) * 3] ?? -1),
    );
  };

  test.each<[string, number, number[][], number[][]]>([
    [
      "a larger picture",
      2,
      [
        [1, 2, 3, 4],
        [5, 6, 7, 8],
        [9, 10, 11, 12],
        [13, 14, 15, 16],
      ],
      [
        [6, 7],
        [10, 11],
      ],
    ],
    [
      "odd margins, of which the first is the smaller",
      2,
      [
        [1, 2, 3],
        [4, 5, 6],
        [7, 8, 9],
      ],
      [
        [1, 2],
        [4, 5],
      ],
    ],
    [
      "a wide picture, padded above and below",
      3,
      [[1, 2, 3, 4, 5]],
      [
        [0, 0, 0],
        [2, 3, 4],
        [0, 0, 0],
      ],
    ],
    [
      "a tall picture, padded left and right",
      3,
      [[1], [2], [3], [4], [5]],
      [
        [0, 2, 0],
        [0, 3, 0],
        [0, 4, 0],
      ],
    ],
    [
      "a smaller picture with odd margins",
      4,
      [[9]],
      [
        [0, 0, 0, 0],
        [0, 0, 0, 0],
        [0, 0, 9, 0],
        [0, 0, 0, 0],
      ],
    ],
    [
      "a picture of its size",
      2,
      [
        [1, 2],
        [3, 4],
      ],
      [
        [1, 2],
        [3, 4],
      ],
    ],
  ])("crops the centre: %s", (_, side, rows, expected) => {
    const square = fitToSquare(picture(...rows), readImageProcessorConfig({ ...nothing, crop_size: side }));
    expect([square.width, square.height, square.data.length]).toEqual([side, side, side * side * 3]);
    expect(reds(square)).toEqual(expected);
  });

  test.each<[string, number[][], number[][]]>([
    [
      "a wide picture",
      [[1, 2, 3, 4]],
      [
        [51, 51, 51, 51],
        [1, 2, 3, 4],
        [51, 51, 51, 51],
        [51, 51, 51, 51],
      ],
    ],
    [
      "a tall picture",
      [[1], [2], [3]],
      [
        [51, 1, 51],
        [51, 2, 51],
        [51, 3, 51],
      ],
    ],
    [
      "a square one not at all",
      [
        [1, 2],
        [3, 4],
      ],
      [
        [1, 2],
        [3, 4],
      ],
    ],
  ])("pads %s with the mean colour", (_, rows, expected) => {
    const image = picture(...rows);
    const json = {
      image_processor_type: "LlavaImageProcessor",
      do_pad: true,
      image_mean: [0.2, 0, 1],
      crop_size: expected.length,
    };
    const square = fitToSquare(image, readImageProcessorConfig({ ...nothing, ...json }));
    expect(reds(square)).toEqual(expected);
    if (expected[0]?.[0] === 51) expect([...square.data.subarray(0, 3)]).toEqual([51, 0, 255]);
  });

  test("the mean colour wraps around as NumPy's bytes do, and is truncated", () => {
    const json = {
      image_processor_type: "LlavaImageProcessor",
      do_pad: true,
      image_mean: [1.01, -0.01, 0.999],
      crop_size: 2,
    };
    const square = fitToSquare(picture([7, 8]), readImageProcessorConfig({ ...nothing, ...json }));
    expect([...square.data.subarray(6, 9)]).toEqual([1, 254, 254]);
  });

  test.each([
    [10, 20, 5, [5, 10]],
    [20, 10, 5, [10, 5]],
    [10, 10, 5, [5, 5]],
    [10, 19, 5, [5, 9]],
    [19, 10, 5, [9, 5]],
    [3, 5, 7, [7, 11]],
  ])("%i×%i with its shorter side resized to %i", (width, height, size, [newWidth = 0, newHeight = 0]) => {
    const data = Uint8Array.from({ length: width * height * 3 }, (_, index) => (index * index) % 256);
    const image = { width, height, data };
    const side = Math.max(newWidth, newHeight);
    const square = fitToSquare(image, readImageProcessorConfig({ size, crop_size: side }));
    const [left, top] = [Math.ceil((side - newWidth) / 2), Math.ceil((side - newHeight) / 2)];
    expect(cropped(square, [left, top, newWidth, newHeight])).toEqual(
      resizeImage(image, { width: newWidth, height: newHeight }),
    );
  });

  test("pads up to 100 megapixels, and a square picture of more needs no padding", () => {
    // Black, and of each row and column only few pixels are read, so that no large memory is touched.
    const config = readImageProcessorConfig({
      image_processor_type: "LlavaImageProcessor",
      do_pad: true,
      image_mean: 0,
      resample: 0,
      size: 8,
      crop_size: 8,
    });
    const black = (width: number, height: number) => ({ width, height, data: new Uint8Array(width * height * 3) });
    expect(fitToSquare(black(10_000, 1), config).data).toHaveLength(192);
    expect(fitToSquare(black(10_001, 10_001), config).data).toHaveLength(192);
    for (const [width, height] of [
      [10_001, 1],
      [2, 10_001],
    ] as const) {
      expect(() => fitToSquare(black(width, height), config)).toThrow(
        new InputError(
          `Filling the ${width}×${height} picture up to a square needs 100020001 pixels, ` +
            "more than the limit of 100000000: crop it to a less extreme shape first.",
        ),
      );
    }
  });
});

test("values of each step, and without it", () => {
  const image = { width: 2, height: 2, data: Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 255) };
  const json = { size: 2, crop_size: 2, image_mean: [1, 2, 3], image_std: [2, 4, 8], rescale_factor: 0.5 };
  const values = (off: object) => [...imagePixelValues(image, readImageProcessorConfig({ ...json, ...off }))];
  const bytes = [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 255];
  expect(values({ do_rescale: false, do_normalize: false })).toEqual(bytes);
  expect(values({ do_normalize: false })).toEqual(bytes.map((byte) => byte / 2));
  expect(values({ do_rescale: false })).toEqual([-0.5, 1, 2.5, 4, -0.25, 0.5, 1.25, 2, -0.125, 0.25, 0.625, 31.5]);
  expect(values({})).toEqual([-0.5, 0.25, 1, 1.75, -0.375, 0, 0.375, 0.75, -0.25, -0.0625, 0.125, 15.5625]);
});

test.each([
  [
    [0, 0, 0],
    [0, 0, 0, 0, 0, 0],
  ],
  [
    [9, 0, 0],
    [9, 0, 0, 9, 0, 0],
  ],
  [
    [0, 9, 0],
    [0, 9, 0, 0, 9, 0],
  ],
  [
    [0, 0, 9],
    [0, 0, 9, 0, 0, 9],
  ],
  [
    [1, 2, 3],
    [1, 2, 3, 1, 2, 3],
  ],
] as const)("filled with %j", (color, bytes) => {
  expect(filled({ width: 1, height: 2 }, color)).toEqual({ width: 1, height: 2, data: Uint8Array.from(bytes) });
});

test("paste copies rows to their place, and nothing else", () => {
  const target = filled({ width: 4, height: 4 }, [9, 9, 9]);
  paste({ width: 2, height: 2, data: Uint8Array.of(1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4) }, target, { left: 1, top: 2 });
  const first = Array.from({ length: 16 }, (_, pixel) => target.data[pixel * 3]);
  expect(first).toEqual([9, 9, 9, 9, 9, 9, 9, 9, 9, 1, 2, 9, 9, 3, 4, 9]);
});
