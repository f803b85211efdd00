import { describe, expect, test } from "vitest";
import { CheckpointError, InputError } from "../../src/errors.ts";
import { imagePixelValues } from "../../src/preprocess/image-processor.ts";
import { readImageProcessorConfig } from "../../src/preprocess/image-processors.ts";
import { readGolden, readPicture, sha256, type Versioned } from "./golden.ts";

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
    ["a size that is no integer", { ...llava, size: 33.5 }, /size must be/],
    ["an oblong crop", { ...llava, crop_size: { height: 336, width: 224 } }, /crop_size must be/],
    [
      "no crop and no square",
      { ...llava, do_center_crop: false },
      /size must be one that makes every picture the same/,
    ],
    ["a padding size", { ...llava, pad_size: { height: 400, width: 400 } }, /pad_size must be absent/],
    ["swapped channels", { ...llava, do_flip_channel_order: true }, /do_flip_channel_order must be absent/],
    ["channels last", { ...llava, data_format: "channels_last" }, /data_format must be "channels_first"/],
    ["a flag that is no flag", { ...llava, do_resize: "yes" }, /do_resize must be true or false/],
    ["two means", { ...llava, image_mean: [0.5, 0.5] }, /image_mean must be three numbers/],
    ["a deviation of 0", { ...llava, image_std: [0.5, 0, 0.5] }, /image_std must be three numbers other than 0/],
    ["a factor that is no number", { ...llava, rescale_factor: "1/255" }, /rescale_factor must be a number/],
    ["pinpoints that are no pairs", { ...llava, image_grid_pinpoints: [[336]] }, /image_grid_pinpoints must be/],
  ])("refuses %s", (_, json, message) => {
    expect(() => readImageProcessorConfig(json)).toThrow(CheckpointError);
    expect(() => readImageProcessorConfig(json, "some.json")).toThrow(message);
    expect(() => readImageProcessorConfig(json, "some.json")).toThrow(/^some\.json: /);
  });
});
