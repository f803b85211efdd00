import { describe, expect, test } from "vitest";
import { CheckpointError, shown } from "../../src/errors.ts";
import type { ImageProcessorConfig } from "../../src/preprocess/image-processor.ts";
import { readImageProcessorConfig } from "../../src/preprocess/image-processors.ts";

type Json = Readonly<Record<string, unknown>>;
const clip = (values: Json = {}) => read({ image_processor_type: "CLIPImageProcessor", ...values });
const llava = (values: Json = {}) => read({ image_processor_type: "LlavaImageProcessor", ...values });
const siglip = (values: Json = {}) => read({ image_processor_type: "SiglipImageProcessor", ...values });

function read(json: unknown): ImageProcessorConfig {
  return readImageProcessorConfig(json, "some.json");
}

function refusal(message: string): CheckpointError {
  return new CheckpointError(`some.json: ${message}.`, { file: "some.json" });
}

const CLIP: ImageProcessorConfig = {
  imageSize: 224,
  padToSquare: false,
  resize: { shortestEdge: 224 },
  filter: "bicubic",
  centerCrop: true,
  rescaleFactor: 1 / 255,
  normalize: { mean: [0.48145466, 0.4578275, 0.40821073], std: [0.26862954, 0.26130258, 0.27577711] },
  imageMean: [0.48145466, 0.4578275, 0.40821073],
  imageGridPinpoints: undefined,
};
const SIGLIP: ImageProcessorConfig = {
  imageSize: 224,
  padToSquare: false,
  resize: { height: 224, width: 224 },
  filter: "bicubic",
  centerCrop: false,
  rescaleFactor: 1 / 255,
  normalize: { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] },
  imageMean: [0.5, 0.5, 0.5],
  imageGridPinpoints: undefined,
};

describe("the type", () => {
  test.each([
    ["CLIPImageProcessor", CLIP],
    ["CLIPImageProcessorFast", CLIP],
    ["CLIPImageProcessorPil", CLIP],
    ["CLIPFeatureExtractor", CLIP],
    ["LlavaNextImageProcessor", CLIP],
    ["LlavaImageProcessor", CLIP],
    ["SiglipImageProcessor", SIGLIP],
    ["SiglipImageProcessorFast", SIGLIP],
  ])("%s has its defaults", (type, config) => {
    expect(read({ image_processor_type: type })).toEqual(config);
    expect(read({ feature_extractor_type: type })).toEqual(config);
    expect(read({ image_processor_type: type, feature_extractor_type: "other" })).toEqual(config);
  });

  test.each(["size", "crop_size", "image_mean", "do_resize"])("none is CLIP's where there is %s", (key) => {
    expect(read({ [key]: null })).toEqual(CLIP);
    expect(read({ [key]: null, image_processor_type: null, feature_extractor_type: null })).toEqual(CLIP);
  });

  test.each([{}, { processor_class: "LlavaProcessor" }, { image_processor_type: null }])(
    "none and no settings: %j",
    (json) => {
      expect(() => read(json)).toThrow(
        refusal("expected an image processor's settings (size, image_mean, …), found none of them"),
      );
    },
  );

  test.each(["BlipImageProcessor", "CLIPFastImageProcessor", "CLIPImageProcessorSlow", "", 5])(
    "%j is refused",
    (type) => {
      const refused = () => read({ image_processor_type: type, size: 224 });
      expect(refused).toThrow(CheckpointError);
      expect(refused).toThrow(
        /^some\.json: image_processor_type must be one of CLIPImageProcessor, (\w+, )+SiglipImageProcessor, /,
      );
      expect(refused).toThrow(`, got ${JSON.stringify(type)}.`);
    },
  );
});

describe("the file", () => {
  test("nests the settings, or does not", () => {
    expect(read({ image_processor: { size: 224 } })).toEqual(CLIP);
    expect(read({ image_processor: null, size: 224 })).toEqual(CLIP);
  });

  test.each([
    [null, "null"],
    [[], "[]"],
    ["CLIP", '"CLIP"'],
    [undefined, "nothing"],
  ])("%j is not an object", (json, shown) => {
    expect(() => read(json)).toThrow(refusal(`expected the file to hold a JSON object, got ${shown}`));
    if (json === null || json === undefined) return;
    expect(() => read({ image_processor: json })).toThrow(
      refusal(`expected image_processor to hold a JSON object, got ${shown}`),
    );
  });

  test("is preprocessor_config.json by default, and a field of the error", () => {
    expect(() => readImageProcessorConfig([])).toThrow(/^preprocessor_config\.json: /);
    for (const json of [[], {}, { size: "large" }, { image_processor_type: "other" }]) {
      expect(errorOf(json)).toMatchObject({ name: "CheckpointError", file: "some.json" });
    }
  });

  test.each([
    ["in full up to 80 characters", 78, `"${"x".repeat(78)}"`],
    ["cut after 80 characters", 79, `"${"x".repeat(79)}…`],
  ])("wrong values are shown %s", (_, length, shown) => {
    expect(() => clip({ do_resize: "x".repeat(length) })).toThrow(
      refusal(`do_resize must be true or false, got ${shown}`),
    );
  });
});

describe("what is not implemented", () => {
  test.each([
    "pad_size",
    "size_divisor",
    "reducing_gap",
    "use_square_size",
    "do_flip_channel_order",
    "do_reduce_labels",
    "do_image_splitting",
    "do_color_quantize",
    "do_thumbnail",
    "do_align_long_axis",
    "max_image_size",
    "min_pixels",
    "max_pixels",
    "offset",
  ])("%s is refused unless it is off", (key) => {
    expect(clip({ [key]: null })).toEqual(CLIP);
    expect(clip({ [key]: false })).toEqual(CLIP);
    for (const value of [true, 0, 384, "no"]) {
      expect(() => clip({ [key]: value })).toThrow(
        refusal(`${key} must be absent or null (it is not implemented), got ${JSON.stringify(value)}`),
      );
    }
  });

  test("channels last are refused", () => {
    for (const format of ["channels_first", null]) expect(clip({ data_format: format })).toEqual(CLIP);
    expect(() => clip({ data_format: "channels_last" })).toThrow(
      refusal('data_format must be "channels_first", got "channels_last"'),
    );
  });
});

describe("flags", () => {
  test.each(["do_resize", "do_center_crop", "do_rescale", "do_normalize"])("%s is true or false", (key) => {
    expect(clip({ [key]: true })).toEqual(CLIP);
    expect(clip({ [key]: null })).toEqual(CLIP);
    for (const value of [1, "yes"]) {
      expect(() => clip({ [key]: value })).toThrow(
        refusal(`${key} must be true or false, got ${JSON.stringify(value)}`),
      );
    }
  });

  test("switch off the resizing, the rescaling and the normalisation", () => {
    expect(clip({ do_resize: false })).toEqual({ ...CLIP, resize: undefined });
    expect(clip({ do_rescale: false })).toEqual({ ...CLIP, rescaleFactor: undefined });
    expect(clip({ do_normalize: false })).toEqual({ ...CLIP, normalize: undefined });
  });

  test("do_pad pads LLaVA's pictures, and no others", () => {
    expect(llava({ do_pad: true })).toEqual({ ...CLIP, padToSquare: true });
    expect(llava({ do_pad: false })).toEqual(CLIP);
    expect(() => llava({ do_pad: 1 })).toThrow(refusal("do_pad must be true or false, got 1"));
    for (const value of [true, 1]) {
      expect(clip({ do_pad: value })).toEqual(CLIP);
      expect(siglip({ do_pad: value })).toEqual(SIGLIP);
    }
  });
});

describe("the filter", () => {
  test.each([...["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"].entries()])(
    "PIL's number %i is %s",
    (resample, filter) => {
      expect(clip({ resample })).toEqual({ ...CLIP, filter });
    },
  );

  test("is bicubic where it is null, and no other number", () => {
    expect(clip({ resample: null }).filter).toBe("bicubic");
    for (const resample of [-1, 6, 2.5, "bicubic"]) {
      expect(() => clip({ resample })).toThrow(
        refusal(`resample must be a PIL filter from 0 to 5, got ${JSON.stringify(resample)}`),
      );
    }
  });
});

describe("numbers", () => {
  test("the factor", () => {
    expect(clip({ rescale_factor: 0.5 }).rescaleFactor).toBe(0.5);
    expect(clip({ rescale_factor: null }).rescaleFactor).toBe(1 / 255);
    expect(() => clip({ rescale_factor: "1/255" })).toThrow(
      refusal('rescale_factor must be a number from -1000000 to 1000000, got "1/255"'),
    );
    expect(() => clip({ rescale_factor: 1e7 })).toThrow(CheckpointError);
    expect(() => clip({ rescale_factor: "1/255", do_rescale: false })).toThrow(CheckpointError);
  });

  test("the mean and the deviation, one per colour or one for all", () => {
    const config = clip({ image_mean: [0.1, 0, -0.3], image_std: 0.25 });
    expect(config.imageMean).toEqual([0.1, 0, -0.3]);
    expect(config.normalize).toEqual({ mean: [0.1, 0, -0.3], std: [0.25, 0.25, 0.25] });
    expect(clip({ image_mean: 0.5, image_std: [1, 2, 3] }).normalize).toEqual({
      mean: [0.5, 0.5, 0.5],
      std: [1, 2, 3],
    });
    expect(clip({ image_mean: null, image_std: null })).toEqual(CLIP);
    expect(clip({ image_mean: 0.5, do_normalize: false }).imageMean).toEqual([0.5, 0.5, 0.5]);
  });

  test.each([
    ["two", [1, 2]],
    ["four", [1, 2, 3, 4]],
    ["none", []],
    ["a word for the first", ["1", 2, 3]],
    ["a word for the second", [1, "2", 3]],
    ["a word for the third", [1, 2, "3"]],
    ["infinity", [1, 2, Number.POSITIVE_INFINITY]],
    ["a number that f32 cannot compute with", [1, 2, 1e39]],
    ["a hole", new Array(3)],
    ["a word", "0.5"],
    ["an object", { length: 3, 0: 1, 1: 2, 2: 3 }],
    ["true", true],
    ["infinity for all", Number.POSITIVE_INFINITY],
  ])("%s are not three", (_, value) => {
    for (const key of ["image_mean", "image_std"]) {
      expect(() => clip({ [key]: value })).toThrow(
        refusal(`${key} must be three numbers from -1000000 to 1000000, got ${shown(value)}`),
      );
    }
  });

  test.each([0, [0, 1, 1], [1, 0, 1], [1, 1, 0]])("a deviation of 0 is refused: %j", (std) => {
    expect(() => clip({ image_std: std })).toThrow(
      refusal(`image_std must be three numbers other than 0, and not nearly 0, got ${JSON.stringify(std)}`),
    );
  });
});

describe("size", () => {
  test.each<[unknown, unknown]>([
    [1, { shortestEdge: 1 }],
    [{ shortest_edge: 5 }, { shortestEdge: 5 }],
    [{ shortest_edge: 5, longest_edge: null, height: null }, { shortestEdge: 5 }],
    [
      { height: 4, width: 6 },
      { height: 4, width: 6 },
    ],
    [
      { width: 6, height: 4, shortest_edge: null },
      { height: 4, width: 6 },
    ],
    [[4, 6], { height: 4, width: 6 }],
    [null, { shortestEdge: 224 }],
  ])("%j", (size, resize) => {
    expect(clip({ size })).toEqual({ ...CLIP, resize });
  });

  test("one number is both sides with default_to_square", () => {
    expect(clip({ size: 7, default_to_square: true }).resize).toEqual({ width: 7, height: 7 });
    for (const value of [false, null, 1]) {
      expect(clip({ size: 7, default_to_square: value }).resize).toEqual({ shortestEdge: 7 });
    }
  });

  test.each([
    0,
    -1,
    1.5,
    "336",
    true,
    [],
    [4],
    [4, 5, 6],
    [0, 5],
    [5, 0],
    ["4", 5],
    [4, "5"],
    {},
    { shortest_edge: 0 },
    { shortest_edge: "5" },
    { shortest_edge: 5, longest_edge: 6 },
    { longest_edge: 5 },
    { height: 5 },
    { width: 5 },
    { height: 0, width: 5 },
    { height: 5, width: 0 },
    { height: 5, width: 5, shortest_edge: 5 },
    { 0: 4, 1: 6, length: 2 },
  ])("%j is refused", (size) => {
    expect(() => clip({ size })).toThrow(
      refusal(`size must be a positive integer, {shortest_edge} or {height, width}, got ${JSON.stringify(size)}`),
    );
  });
});

describe("the side of the result", () => {
  test.each([
    [1, 1],
    [{ height: 1, width: 1 }, 1],
    [{ height: 336, width: 336 }, 336],
    [null, 224],
  ])("of the crop %j is %i", (cropSize, imageSize) => {
    expect(clip({ crop_size: cropSize })).toEqual({ ...CLIP, imageSize });
  });

  test.each([
    0,
    -5,
    33.5,
    "336",
    true,
    [336, 336],
    {},
    { height: 336 },
    { width: 336 },
    { height: 336, width: 224 },
    { height: 0, width: 0 },
    { height: "336", width: "336" },
  ])("a crop of %j is refused", (cropSize) => {
    expect(() => clip({ crop_size: cropSize })).toThrow(
      refusal(
        `crop_size must be a positive integer, or {height, width} with equal ones, got ${JSON.stringify(cropSize)}`,
      ),
    );
    expect(siglip({ crop_size: cropSize }), "without a crop it is not read").toEqual(SIGLIP);
  });

  test("without a crop is the square that every picture is resized to", () => {
    expect(clip({ do_center_crop: false, size: [30, 30] }).imageSize).toBe(30);
    expect(siglip({ size: { height: 384, width: 384 } })).toMatchObject({ imageSize: 384, centerCrop: false });
    expect(llava({ do_center_crop: false, do_pad: true, size: { shortest_edge: 40 } }).imageSize).toBe(40);
  });

  test.each<[string, () => unknown, string]>([
    ["an oblong", () => siglip({ size: [30, 31] }), "[30,31]"],
    ["an oblong, though padded before", () => llava({ do_center_crop: false, do_pad: true, size: [3, 4] }), "[3,4]"],
    ["the shorter side", () => clip({ do_center_crop: false, size: 30 }), "30"],
    ["the shorter side by default", () => clip({ do_center_crop: false }), "nothing"],
    ["no resizing", () => siglip({ do_resize: false, size: 30 }), "30"],
    [
      "no resizing, though padded before",
      () => llava({ do_center_crop: false, do_pad: true, do_resize: false }),
      "nothing",
    ],
  ])("without a crop, there is none: %s", (_, readIt, shown) => {
    expect(readIt).toThrow(
      refusal(`size must be one that makes every picture the same square, since do_center_crop is false, got ${shown}`),
    );
  });
});

describe("image_grid_pinpoints", () => {
  test("are pairs", () => {
    const pairs = [
      [336, 672],
      [1, 1],
    ];
    expect(clip({ image_grid_pinpoints: pairs })).toEqual({ ...CLIP, imageGridPinpoints: pairs });
    expect(clip({ image_grid_pinpoints: null }).imageGridPinpoints).toBeUndefined();
  });

  test.each([
    [[]],
    ["336"],
    [336],
    [{}],
    [[336]],
    [[[336]]],
    [[[1, 2, 3]]],
    [[[0, 1]]],
    [[[1, 0]]],
    [[[1, 1], "12"]],
    [[null]],
  ])("%j are refused", (pairs) => {
    expect(() => clip({ image_grid_pinpoints: pairs })).toThrow(
      refusal(`image_grid_pinpoints must be a list of [height, width], got ${JSON.stringify(pairs)}`),
    );
  });
});

function errorOf(json: unknown): unknown {
  try {
    return read(json);
  } catch (error) {
    return error;
  }
}
