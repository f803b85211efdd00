// What follows from config.json: how pictures are laid out, and which weights there are.
import { describe, expect, test } from "vitest";
import { CheckpointError, InputError } from "../../src/errors.ts";
import type { ModelWeights, PictureContext, PictureLayout } from "../../src/models/architecture.ts";
import { readArchitecture } from "../../src/models/registry.ts";
import { listWeights } from "../../src/models/weight-table.ts";
import type { RgbImage } from "../../src/preprocess/image.ts";
import { imagePixelValues } from "../../src/preprocess/image-processor.ts";
import { readImageProcessorConfig } from "../../src/preprocess/image-processors.ts";

const DECODER = { hidden_size: 8, num_attention_heads: 2, num_hidden_layers: 1, vocab_size: 10 };
const LLAVA = {
  model_type: "llava",
  image_token_index: 7,
  text_config: DECODER,
  vision_config: { hidden_size: 12, num_attention_heads: 2, num_hidden_layers: 2, image_size: 8, patch_size: 4 },
};
const NEXT = {
  ...LLAVA,
  model_type: "llava_next",
  image_grid_pinpoints: [
    [8, 16],
    [16, 8],
  ],
};
const SETTINGS = readImageProcessorConfig({ size: 8, crop_size: 8 });
const CONTEXT: PictureContext = { processor: SETTINGS, numPictures: 1 };

function picturesOf(json: object): PictureLayout {
  const { pictures } = readArchitecture(json);
  if (pictures === undefined) throw new Error("expected a model with pictures");
  return pictures;
}

function weightsOf(json: object): { readonly weights: ModelWeights; readonly names: readonly string[] } {
  const architecture = readArchitecture(json);
  let weights: ModelWeights | undefined;
  const specs = listWeights((w) => {
    weights = architecture.weights(w);
  });
  if (weights === undefined) throw new Error("expected a declaration");
  return { weights, names: specs.flatMap(({ tensors }) => tensors.map(({ name }) => name)) };
}

const picture = ({ width, height }: { readonly width: number; readonly height: number }): RgbImage => ({
  width,
  height,
  data: Uint8Array.from({ length: width * height * 3 }, (_, index) => index),
});

describe("LLaVA", () => {
  test("makes one tile of a picture, one position of a patch", () => {
    const pictures = picturesOf(LLAVA);
    expect(pictures.imageTokenId).toBe(7);
    expect(pictures.tileShape).toEqual([3, 8, 8]);
    const positions = {
      numTiles: 1,
      runLengths: [4],
      rowIndex: Int32Array.of(0, 1, 2, 3),
      grid: { width: 2, height: 2 },
    };
    expect(pictures.positions(undefined, {})).toEqual(positions);
    expect(pictures.positions([100, 20], {})).toEqual(positions);
    const image = picture({ width: 9, height: 12 });
    expect(pictures.pixelValues(image, CONTEXT)).toEqual(imagePixelValues(image, SETTINGS));
  });

  test("keeps the class token under the full strategy", () => {
    const full = { ...LLAVA, vision_feature_select_strategy: "full" };
    expect(picturesOf(full).positions(undefined, {})).toMatchObject({ runLengths: [5], rowIndex: { length: 5 } });
    expect(weightsOf(full).weights.pictures?.featuresPerTile).toBe(5);
  });

  test("encodes tiles with the tower and the projector", () => {
    const { weights, names } = weightsOf(LLAVA);
    expect(weights.pictures).toMatchObject({ tileLength: 192, featuresPerTile: 4, filler: undefined });
    expect(weights.llama.layers).toHaveLength(1);
    expect(names).toContain("multi_modal_projector.linear_1.weight");
    expect(names).toContain("vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight");
    expect(names).toContain("language_model.lm_head.weight");
    expect(names).not.toContain("image_newline");
  });
});

describe("LLaVA-NeXT", () => {
  test("cuts a picture into tiles by its size, and ends its rows in a newline", () => {
    const pictures = picturesOf(NEXT);
    expect(pictures.imageTokenId).toBe(7);
    expect(pictures.tileShape).toEqual([3, 8, 8]);
    const tilesOf = (imageSize: readonly number[], ...views: readonly (readonly number[])[]) => ({
      imageSize,
      patchGrid: 2,
      views: views.map(([left, top, right, bottom]) => ({ left, top, right, bottom })),
    });
    // Rows of the base tile, then of two tiles beside or above each other; the picture is 16 pixels long in them.
    expect(pictures.positions([10, 20], {})).toEqual({
      numTiles: 3,
      runLengths: [14],
      rowIndex: Int32Array.of(0, 1, 2, 3, 4, 5, 8, 9, -1, 6, 7, 10, 11, -1),
      grid: undefined,
      tiles: tilesOf([10, 20], [0, 0, 1, 1], [0, 0, 0.5, 1], [0.5, 0, 1, 1]),
    });
    expect(pictures.positions([20, 10], {})).toEqual({
      numTiles: 3,
      runLengths: [16],
      rowIndex: Int32Array.of(0, 1, 2, 3, 4, 5, -1, 6, 7, -1, 8, 9, -1, 10, 11, -1),
      grid: undefined,
      tiles: tilesOf([20, 10], [0, 0, 1, 1], [0, 0, 1, 0.5], [0, 0.5, 1, 1]),
    });
    const values = pictures.pixelValues(picture({ width: 20, height: 10 }), CONTEXT);
    expect(values).toHaveLength(3 * 192);
    expect(pictures.seen(picture({ width: 40, height: 20 }), SETTINGS)).toMatchObject({ width: 16, height: 8 });
  });

  test("cannot lay out a picture of unknown size", () => {
    expect(() => picturesOf(NEXT).positions(undefined, {})).toThrow(
      new InputError("image_sizes is missing: LLaVA-NeXT needs the original picture's [height, width]."),
    );
  });

  test("has a newline among its weights", () => {
    const { weights, names } = weightsOf(NEXT);
    expect(names).toContain("image_newline");
    expect(weights.pictures).toMatchObject({ tileLength: 192, featuresPerTile: 4 });
    expect(weights.pictures?.filler).toBeDefined();
  });
});

test.each(["llama", "mistral", "qwen2"])("%s is a decoder alone", (modelType) => {
  const json = { model_type: modelType, ...DECODER, num_key_value_heads: 2, sliding_window: null };
  const architecture = readArchitecture(json);
  expect(architecture.pictures).toBeUndefined();
  expect(architecture.config.multimodal).toBeUndefined();
  const { weights, names } = weightsOf(json);
  expect(weights.pictures).toBeUndefined();
  expect(weights.llama.layers).toHaveLength(1);
  expect(names.every((name) => name.startsWith("language_model."))).toBe(true);
});

test("messages name config.json unless it is another file", () => {
  const problem = (file: string) => new CheckpointError(`${file}: expected a JSON object.`, { file });
  expect(() => readArchitecture([])).toThrow(problem("config.json"));
  expect(() => readArchitecture([], "other.json")).toThrow(problem("other.json"));
});
