// Qwen2-VL's config in both forms, its weights' names, and what its pictures become.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.ts";
import { canonicalName } from "../../src/checkpoint/tensor-names.ts";
import { CheckpointError, InputError } from "../../src/errors.ts";
import type { Architecture, PictureLayout } from "../../src/models/architecture.ts";
import { withMaxPicturePixels } from "../../src/models/checkpoint-architecture.ts";
import { patchPlaces, rowOrder, windowOrder } from "../../src/models/layers/grid-windows.ts";
import { loadProcessor, Processor } from "../../src/models/processor.ts";
import { readArchitecture, readModelConfig } from "../../src/models/registry.ts";
import { readImageProcessorConfig } from "../../src/preprocess/image-processors.ts";
import { loadTokenizer } from "../../src/preprocess/tokenizer/tokenizer.ts";
import { memorySource, weights } from "../checkpoint/fixtures.ts";
import { GOLDEN } from "../setup/golden.ts";

type Json = Readonly<Record<string, unknown>>;
const readJson = (path: string): Json => JSON.parse(readFileSync(`${GOLDEN}/${path}`, "utf8"));
const NESTED = readJson("qwen2-vl/config.json");
const FLAT = readJson("qwen2-vl/config-published.json");
const FLAT_25 = readJson("qwen2-5-vl/config.json");
const vision = (config: Json, changes: Json): Json => ({
  ...config,
  vision_config: { ...(config.vision_config as Json), ...changes },
});
const PROCESSOR = readImageProcessorConfig({
  image_processor_type: "Qwen2VLImageProcessor",
  patch_size: 4,
  min_pixels: 64,
});

function picturesOf(json: Json): PictureLayout {
  const { pictures } = readArchitecture(json);
  if (pictures === undefined) throw new Error("expected a model with pictures");
  return pictures;
}

/** Tokens that take the ids up to those of the test. */
const fillers = (start: number, end: number) =>
  Array.from({ length: end - start }, (_, index) => [`<${start + index}>`, start + index] as const);

/** A processor without files. */
function processorOf(architecture: Architecture): Processor {
  const none = { eosTokenIds: [], imageProcessor: PROCESSOR, tokenizer: undefined, template: undefined };
  return new Processor(architecture, none);
}

describe("config.json", () => {
  test("means the same in the form of published files and in that of transformers 5", () => {
    const nested = readModelConfig(NESTED);
    expect(readModelConfig(FLAT)).toEqual(nested);
    expect(nested.text).toMatchObject({ qkvBias: true, outputBias: false, tieWordEmbeddings: true, rmsNormEps: 1e-5 });
    expect(nested.text.rope).toEqual({ type: "default", theta: 500, axes: [0, 0, 1, 1, 1, 2, 2, 2] });
    expect(nested.multimodal).toMatchObject({ imageTokenId: 150, vision: { hasGate: false, norm: "layer" } });
  });

  test("takes transformers' defaults", () => {
    const own = { model_type: "qwen2_vl", vision_config: { hidden_size: 8192 } };
    const { text, multimodal } = readModelConfig(own);
    expect(text).toMatchObject({
      vocabSize: 152064,
      intermediateSize: 29568,
      numHiddenLayers: 80,
      numAttentionHeads: 64,
      numKeyValueHeads: 8,
      rmsNormEps: 1e-5,
      maxPositionEmbeddings: 32768,
      rope: { theta: 1e6, axes: [16, 24, 24].flatMap((count, axis) => new Array(count).fill(axis)) },
    });
    expect(multimodal).toMatchObject({ imageTokenId: 151655, vision: { hiddenSize: 1280, intermediateSize: 5120 } });
    const newer = readModelConfig({ model_type: "qwen2_5_vl", vision_config: { out_hidden_size: 8192 } });
    expect(newer.multimodal?.vision).toMatchObject({
      hiddenSize: 3584,
      intermediateSize: 3420,
      windowSide: 4,
      fullLayers: [7, 15, 23, 31],
      hiddenAct: "silu",
    });
  });

  test.each<[Json, RegExp]>([
    [
      vision(FLAT, { model_type: "qwen2_5_vl" }),
      /vision_config\.model_type must be qwen2_vl or qwen2_vl_vision, got "qwen2_5_vl"/,
    ],
    [
      { ...NESTED, model_type: "qwen2_5_vl" },
      /text_config\.model_type must be qwen2_5_vl or qwen2_5_vl_text, got "qwen2_vl_text"/,
    ],
    [{ ...FLAT, model_type: "qwen2_audio" }, /model_type must be .*qwen2_vl, qwen2_5_vl.* \(the nearest is qwen2/],
    [vision(FLAT, { hidden_size: 36 }), /gives features of 36 values, but the decoder's hidden_size is 32/],
    [
      vision(FLAT, { num_heads: 5 }),
      /num_heads must be one that divides the width 24 into heads of a multiple of 4, got 5/,
    ],
    [
      vision(FLAT, { patch_size: 3, temporal_patch_size: 1 }),
      /patch_size must be one whose patches have a multiple of 4 values, got 3/,
    ],
    [vision(FLAT_25, { window_size: 7 }), /window_size must be at least 8, a block of patches, got 7/],
    [vision(FLAT_25, { fullatt_block_indexes: 3 }), /fullatt_block_indexes must be a list of layers, got 3/],
    [vision(FLAT, { rope_parameters: { rope_type: "default" } }), /rope_type must be axial, got "default"/],
    [
      { ...FLAT, rope_scaling: { type: "mrope", mrope_section: [2, 3] } },
      /mrope_section must be three whole numbers that add up to head_dim \/ 2 \(8\)/,
    ],
    [
      { ...FLAT, rope_scaling: { type: "mrope", mrope_section: [2, 3, 4] } },
      /mrope_section must be three whole numbers/,
    ],
    [{ ...FLAT, rope_scaling: { type: "yarn", factor: 2 } }, /rope_type must be default or mrope, got "yarn"/],
    [{ ...FLAT, rope_scaling: { type: "default", mrope_interleaved: true } }, /mrope_interleaved must be false/],
    [{ ...FLAT, image_token_id: -1 }, /image_token_id must be a token id, got -1/],
  ])("is refused for what it cannot be: %#", (json, message) => {
    expect(() => readArchitecture(json)).toThrow(CheckpointError);
    expect(() => readArchitecture(json)).toThrow(message);
  });
});

test.each([
  ["visual.blocks.3.attn.qkv.weight", "visual.blocks.3.attn.qkv.weight", "model.visual.blocks.3.attn.qkv.weight"],
  ["visual.merger.ln_q.weight", "visual.merger.ln_q.weight", "model.visual.merger.ln_q.weight"],
  ["language_model.model.norm.weight", "model.norm.weight", "model.language_model.norm.weight"],
  ["language_model.lm_head.weight", "lm_head.weight", "lm_head.weight"],
])("%s is found under both names", (canonical, ...names) => {
  for (const name of names) expect(canonicalName(name)).toBe(canonical);
});

test("windows cut a grid, and are smaller at its edges", () => {
  const { blocks, windows } = windowOrder({ width: 3, height: 5 }, 2);
  expect(blocks).toEqual([0, 1, 3, 4, 2, 5, 6, 7, 9, 10, 8, 11, 12, 13, 14]);
  expect(windows.filter(([start], index) => start === index)).toEqual([
    [0, 4],
    [4, 6],
    [6, 10],
    [10, 12],
    [12, 14],
    [14, 15],
  ]);
  expect(rowOrder({ width: 2, height: 1 })).toEqual({
    blocks: [0, 1],
    windows: [
      [0, 2],
      [0, 2],
    ],
  });
  expect(patchPlaces([1, 2], { width: 2, mergeSize: 2 })).toEqual([
    [0, 2],
    [0, 3],
    [1, 2],
    [1, 3],
    [2, 0],
    [2, 1],
    [3, 0],
    [3, 1],
  ]);
});

describe("pictures", () => {
  const pictures = picturesOf(FLAT);
  const context = { processor: PROCESSOR, numPictures: 1 };

  test("take a position for every block of patches", () => {
    const image = { width: 41, height: 23, data: new Uint8Array(41 * 23 * 3).fill(9) };
    const positions = pictures.positions([23, 41], context);
    expect(positions).toMatchObject({ numTiles: 15, runLengths: [15], grid: { width: 5, height: 3 } });
    expect(pictures.pixelValues(image, context)).toHaveLength(15 * 4 * 96);
    expect(pictures.seen(image, PROCESSOR)).toMatchObject({ width: 40, height: 24 });
    expect(pictures.part?.([23, 41], PROCESSOR)).toEqual({ left: 0, top: 0, right: 1, bottom: 1 });
    const [largest] = pictures.sizes;
    expect(largest).toEqual([16 * 8, 16 * 8]); // half of the context
  });

  test("of 28-pixel blocks take at most 1,280 positions", () => {
    const { sizes } = picturesOf({ model_type: "qwen2_vl", vision_config: { hidden_size: 8192 } });
    expect(sizes).toEqual([[32 * 28, 40 * 28]]);
  });

  test("of another limit take so many, up to the context", () => {
    const arch = readArchitecture({ model_type: "qwen2_vl", vision_config: { hidden_size: 8192 } });
    const sizes = (maxPixels: number) => withMaxPicturePixels(arch, maxPixels).pictures?.sizes;
    expect(withMaxPicturePixels(arch, undefined)).toBe(arch);
    expect(sizes(12_845_056)).toEqual([[128 * 28, 128 * 28]]);
    expect(sizes(1e8)).toEqual([[170 * 28, 192 * 28]]); // 128 of 32,768 positions are left
    expect(sizes(784)).toEqual([[28, 28]]);
    const name = "maxPicturePixels (--max-picture-pixels)";
    expect(() => sizes(783)).toThrow(new InputError(`${name} must be at least 784, a block of patches, got 783.`));
    const other = readArchitecture({ model_type: "llava", text_config: {}, vision_config: {} });
    expect(() => withMaxPicturePixels(other, 1e6)).toThrow(
      new InputError(
        `${name} is a setting of Qwen2-VL, Qwen2.5-VL and Qwen3-VL, which this checkpoint does not have: omit it.`,
      ),
    );
  });

  test.each<[maxPixels: number | undefined, numPositions: number]>([
    [undefined, 1225],
    [12_845_056, 1296],
    [50_176, 64],
  ])("of 1000×1000 pixels, with at most %j, take %i positions", async (maxPixels, numPositions) => {
    const config = { model_type: "qwen2_vl", vision_config: { hidden_size: 8192 } };
    const limits = { min_pixels: 3136, max_pixels: 12_845_056 };
    const files = {
      "config.json": config,
      "preprocessor_config.json": { image_processor_type: "Qwen2VLImageProcessor", ...limits },
    };
    const source = memorySource({
      ...Object.fromEntries(Object.entries(files).map(([name, json]) => [name, JSON.stringify(json)])),
      "model.safetensors": weights([]),
    });
    const architecture = withMaxPicturePixels(readArchitecture(config), maxPixels);
    const { imageProcessor } = await loadProcessor(await openCheckpoint(source), architecture);
    if (imageProcessor === undefined) throw new Error("expected a processor");
    const positions = architecture.pictures?.positions([1000, 1000], { processor: imageProcessor });
    expect(positions?.rowIndex).toHaveLength(numPositions);
  });

  test("are laid out by the grids of transformers' tensors, with positions on three axes", () => {
    const processor = processorOf(readArchitecture(FLAT));
    const values = new Float32Array((4 + 8) * 96);
    const inputIds = [1, 152, 150, 153, 150, 5, 6];
    const inputs = processor.fromTensors({
      inputIds,
      pixelValues: values,
      imageGridThw: [
        [1, 2, 2],
        [1, 2, 4],
      ],
    });
    expect([...inputs.inputIds]).toEqual([1, 152, 150, 153, 150, 150, 5, 6]);
    expect([...(inputs.positions ?? [])]).toEqual(
      [
        [0, 0, 0],
        [1, 1, 1],
        [2, 2, 2],
        [3, 3, 3],
        [4, 4, 4],
        [4, 4, 5],
        [6, 6, 6],
        [7, 7, 7],
      ].flat(),
    );
    expect(processor.fromTensors({ inputIds: [1, 2], pixelValues: undefined }).positions).toBeUndefined();
    const videoOf = () =>
      processor.fromTensors({
        inputIds,
        pixelValues: values,
        imageGridThw: [
          [2, 2, 2],
          [1, 2, 2],
        ],
      });
    expect(videoOf).toThrow("imageGridThw: expected pictures of one frame, got 2: videos are not supported.");
    expect(() => processor.fromTensors({ inputIds, pixelValues: values })).toThrow(/^imageGridThw is missing/);
  });

  test("are written by the template, or as <image>, with the tokens around them", () => {
    const names = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"];
    const letters = ["w", "h", "y", "?", "Ġ"].map((letter, id) => [letter, id] as const);
    const tokenizer = loadTokenizer({
      added_tokens: names.map((content, index) => ({ id: 150 + index, content, special: true, normalized: false })),
      model: { type: "BPE", merges: [], vocab: Object.fromEntries([...letters, ...fillers(letters.length, 150)]) },
      pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: true },
      decoder: { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: true },
    });
    const architecture = readArchitecture(FLAT);
    const processor = new Processor(architecture, {
      eosTokenIds: [],
      imageProcessor: PROCESSOR,
      tokenizer,
      template: undefined,
    });
    const image = { width: 16, height: 8, data: new Uint8Array(16 * 8 * 3) };
    const inputs = processor.inputs("<|vision_start|><|image_pad|><|vision_end|>why?", [image]);
    expect([...inputs.inputIds]).toEqual([152, 150, 150, 153, 0, 1, 2, 3]);
    expect(inputs.images[0]?.view).toEqual({ imageSize: [8, 16], part: { left: 0, top: 0, right: 1, bottom: 1 } });
    expect(processor.inputs("<image>why?", [image])).toEqual(inputs);
    expect(() => processor.inputs("<|video_pad|>why?", [])).toThrow("videos are not supported");
  });

  test("videos are refused, and sides that no processor makes", () => {
    const processor = processorOf(readArchitecture(FLAT));
    const message =
      "The prompt has a video token (id 151), but videos are not supported: give single frames as pictures.";
    expect(() => processor.fromTensors({ inputIds: [1, 151], pixelValues: undefined })).toThrow(
      new InputError(message),
    );
    expect(() => pictures.positions([20, 16], {})).toThrow("must be multiples of 8 pixels, got 16×20");
  });

  test("need a processor that cuts as the tower does", () => {
    const other = readImageProcessorConfig({ image_processor_type: "Qwen2VLImageProcessor" });
    const check = (processor: typeof other) => () => pictures.resolveProcessor?.(processor, "some.json");
    expect(check(PROCESSOR)).not.toThrow();
    expect(check(other)).toThrow("some.json: patch_size is 14, but the vision tower of config.json takes 4.");
    expect(check(readImageProcessorConfig({ size: 224 }))).toThrow(CheckpointError);
  });
});
