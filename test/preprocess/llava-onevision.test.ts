// LLaVA-OneVision's pictures against transformers (tools/goldens/llava_onevision_pictures.py), and what its config may say.
import { describe, expect, test } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.ts";
import { at, CheckpointError, InputError } from "../../src/errors.ts";
import { placementOf } from "../../src/inspect/picture-placement.ts";
import type { FrameLayout, PictureLayout } from "../../src/models/architecture.ts";
import type { FeatureGrid, ModelInputs } from "../../src/models/inputs.ts";
import { featureSums } from "../../src/models/layers/resized-features.ts";
import { loadProcessor, Processor, type Video } from "../../src/models/processor.ts";
import { readArchitecture } from "../../src/models/registry.ts";
import { readImageProcessorConfig } from "../../src/preprocess/image-processors.ts";
import { loadTokenizer } from "../../src/preprocess/tokenizer/tokenizer.ts";
import { memorySource, weights } from "../checkpoint/fixtures.ts";
import { rampPicture } from "../setup/ramp-picture.ts";
import { readGolden, sha256, type Versioned, versionsOf } from "./golden.ts";

type Size = readonly [height: number, width: number];

interface OnevisionGolden extends Versioned {
  readonly pinpoints: readonly Size[];
  readonly pictures: readonly {
    readonly size: Size;
    readonly tiles: readonly string[];
    readonly single: string;
    readonly frame: string;
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

function framesOf({ frames }: PictureLayout): FrameLayout {
  if (frames === undefined) throw new Error("expected a model of videos");
  return frames;
}

const whole = picturesOf(MODEL);
const small = picturesOf(SMALL);

describe(`pixel values are bit-equal to those of ${versionsOf(golden, "transformers", "pillow")}`, () => {
  test.each(golden.pictures)("$size", ({ size, tiles, single, frame, isDefault = false }) => {
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
    expect(sha256(framesOf(layout).pixelValues(picture, processor))).toBe(frame);
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

describe("videos", () => {
  const places = ["<image>", "<video>"];
  const vocabulary = Array.from({ length: 150 }, (_, id) => [["w", "h", "y", "?"][id] ?? `filler${id}`, id] as const);
  const tokenizer = loadTokenizer({
    added_tokens: places.map((content, index) => ({ id: 150 + index, content, special: true, normalized: false })),
    model: { type: "BPE", merges: [], vocab: Object.fromEntries(vocabulary) },
  });
  const imageProcessor = readImageProcessorConfig({
    image_processor_type: "LlavaOnevisionImageProcessor",
    size: { height: 42, width: 42 },
  });
  const config = { ...SMALL, image_token_index: 150, video_token_index: 151, text_config: { vocab_size: 160 } };
  const parts = { eosTokenIds: [], tokenizer, template: undefined };
  const processor = new Processor(readArchitecture(config), {
    ...parts,
    imageProcessor,
    videoProcessor: imageProcessor,
  });
  const picture = rampPicture(30, 20);
  const runsOf = (inputs: ModelInputs) => inputs.images.map(({ runs, video }) => [...runs.flat(), video]);

  test("each frame is a picture of its own with a quarter of a tile's positions, and a newline ends the last", () => {
    const { frames = framesOf(small) } = whole;
    const positions = [false, true].map((isLast) => frames.positions([480, 640], { isLast }));
    expect(positions.map(({ runLengths }) => runLengths)).toEqual([[196], [197]]);
    expect(at(positions, 1).rowIndex[196]).toBe(-1);
    const { tiles, rowIndex, grid } = at(positions, 1);
    const placement = placementOf({ runs: [[0, 197]], rowIndex, grid, ...(tiles && { tiles }) });
    // Six of 384 pixels are in no patch; the frame is stretched, so they are as much of its width as of its height.
    expect(tiles?.views).toEqual([{ left: 0, top: 0, right: 378 / 384, bottom: 378 / 384 }]);
    expect([placement.width, placement.height]).toEqual([15, 15]); // of whole patches and one in part
  });

  test("take the place of <video>, pictures that of <image>, in the order of the prompt", () => {
    const inputs = processor.inputs("w<video>h<image>y<video>?", [picture], [[picture, picture], [picture]]);
    // Frames of 3 × 3 patches have 2 × 2 positions; the only picture has 9 and a grid of 3 rows with newlines.
    expect(runsOf(inputs)).toEqual([
      [1, 5, 0],
      [5, 10, 0],
      [11, 32, undefined],
      [33, 38, 1],
    ]);
    expect([...inputs.inputIds]).toEqual([
      0,
      ...Array(9).fill(151),
      1,
      ...Array(21).fill(150),
      2,
      ...Array(5).fill(151),
      3,
    ]);
    const [frame] = inputs.images;
    expect(frame?.pixelValues).toEqual(framesOf(small).pixelValues(picture, imageProcessor));
    const pixelValuesVideos = Float32Array.from(
      [0, 1, 3].flatMap((index) => [...(inputs.images[index]?.pixelValues ?? [])]),
    );
    const tensors = {
      inputIds: inputs.inputIds, // expanded already
      pixelValues: inputs.images[2]?.pixelValues,
      imageSizes: [[30, 20] as const],
      pixelValuesVideos,
    };
    const size = [30, 20] as const;
    expect(processor.fromTensors({ ...tensors, imageSizesVideos: [[size, size], [size]] })).toEqual(inputs);
    expect(() => processor.fromTensors(tensors)).toThrow(/^image_sizes_videos is missing/);
    const none = { inputIds: [0, 151, 1], pixelValues: undefined, pixelValuesVideos: new Float32Array() };
    expect(() => processor.fromTensors({ ...none, imageSizesVideos: [[]] })).toThrow(
      /imageSizesVideos\[0\] must be a list of \[height, width\], one for each frame and at least one, got an empty list\.$/,
    );
    expect(() => processor.fromTensors({ ...tensors, imageSizesVideos: [[size]] })).toThrow(
      /^pixel_values_videos must hold 1 × \[3, 42, 42\] numbers, got 15876: /,
    );
  });

  test.each<readonly [string, string, readonly Video[], string]>([
    [
      "no video for its token",
      "w<video>",
      [],
      "The prompt has 1 video token(s) (id 151), but there is no video: give one.",
    ],
    [
      "no token for a video",
      "why?",
      [[picture]],
      "The prompt has no video token (id 151) for one video: write <video> once, or give one unbroken run of exactly 5.",
    ],
    [
      "a video without frames",
      "<video>",
      [[]],
      "videos[0] must be a list of the video's frames, at least one picture, got an empty list.",
    ],
    ["a picture instead of frames", "<video>", [picture as never], "videos[0] must be a list of the video's frames"],
    [
      "more frames than the context has room for",
      "<video>",
      [Array(10_000).fill(picture)],
      "The prompt has 40001 tokens (0 of text, 40001 of one video), but the model's context has 32768: give fewer frames.",
    ],
  ])("%s is refused", (_, prompt, videos, message) => {
    const prepare = () => processor.inputs(prompt, [], videos);
    expect(prepare).toThrow(InputError);
    expect(prepare).toThrow(message);
  });

  test("are refused by a family that has no token for them, or no preparation", () => {
    const { pictures, ...others } = readArchitecture(config);
    if (pictures === undefined) throw new Error("expected pictures");
    const { frames: _frames, videoTokenId: _token, ...rest } = pictures;
    const without = new Processor({ ...others, pictures: rest }, { ...parts, imageProcessor });
    expect(() => without.inputs("<video>", [], [[picture]])).toThrow(
      new InputError("Videos are not supported for model_type llava_onevision: give single frames as pictures."),
    );
  });

  test("have a processor of their own where the checkpoint has a file for it", async () => {
    const size = { height: 42, width: 42 };
    const image = { image_processor_type: "LlavaOnevisionImageProcessor", size, image_mean: 0.5 };
    const video = {
      video_processor_type: "LlavaOnevisionVideoProcessor",
      size,
      image_mean: 0.25,
      do_sample_frames: false,
    };
    const load = async (files: Readonly<Record<string, object>>) => {
      const texts = Object.entries({ "config.json": config, ...files }).map(([name, json]) => [
        name,
        JSON.stringify(json),
      ]);
      const source = memorySource({ ...Object.fromEntries(texts), "model.safetensors": weights([]) });
      return loadProcessor(await openCheckpoint(source), readArchitecture(config));
    };
    const own = await load({ "preprocessor_config.json": image, "video_preprocessor_config.json": video });
    expect([own.imageProcessor?.imageMean, own.videoProcessor?.imageMean]).toEqual([
      [0.5, 0.5, 0.5],
      [0.25, 0.25, 0.25],
    ]);
    const nested = await load({ "processor_config.json": { image_processor: image, video_processor: video } });
    expect([nested.imageProcessor, nested.videoProcessor]).toEqual([own.imageProcessor, own.videoProcessor]);
    const older = { ...video, video_processor_type: undefined, image_processor_type: "LlavaOnevisionVideoProcessor" };
    const files = { "preprocessor_config.json": image, "video_preprocessor_config.json": older };
    expect((await load(files)).videoProcessor).toEqual(own.videoProcessor);
    const shared = await load({ "preprocessor_config.json": image });
    expect(shared.videoProcessor).toEqual(shared.imageProcessor);
    const wrong = { ...video, size: { height: 84, width: 84 } };
    await expect(load({ "preprocessor_config.json": image, "video_preprocessor_config.json": wrong })).rejects.toThrow(
      "video_preprocessor_config.json: pictures come out 84 pixels wide, but the vision tower of config.json takes 42.",
    );
  });
});
