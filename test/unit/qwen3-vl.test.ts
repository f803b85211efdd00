// Qwen3-VL's config.json, its interleaved positions, and its table of positions stretched over a picture.
import { describe, expect, test } from "vitest";
import { CheckpointError, InputError } from "../../src/errors.ts";
import { patchPlaces, rowOrder, stretched } from "../../src/models/layers/grid-windows.ts";
import { readArchitecture } from "../../src/models/registry.ts";

const TEXT = { hidden_size: 3584, head_dim: 128 };
const config = (text: object = {}, vision: object = {}) => ({
  model_type: "qwen3_vl",
  text_config: { ...TEXT, ...text },
  vision_config: vision,
});

describe("config.json", () => {
  test("defaults are those of transformers", () => {
    const { text, multimodal } = readArchitecture(config()).config;
    expect(text).toMatchObject({
      vocabSize: 151936,
      intermediateSize: 22016,
      numKeyValueHeads: 32,
      headDim: 128,
      rmsNormEps: 1e-6,
      hasHeadNorm: true,
      numDeepstackLayers: 3,
      rope: { theta: 500000, type: "default" },
    });
    expect(multimodal).toMatchObject({
      imageTokenId: 151655,
      vision: {
        hiddenSize: 1152,
        numHiddenLayers: 27,
        patchSize: 16,
        patchBias: true,
        hiddenAct: "gelu_pytorch_tanh",
        positionSide: 48,
        deepstackLayers: [8, 16, 24],
      },
    });
  });

  test("of three pairs, one turns by time, one by the row and one by the column, as often as the sections say", () => {
    const { axes = [] } = readArchitecture(config()).config.text.rope;
    expect(axes.slice(0, 6)).toEqual([0, 1, 2, 0, 1, 2]);
    expect(axes.slice(57)).toEqual([0, 1, 2, 0, 0, 0, 0]);
    const { axes: short } = readArchitecture(
      config({ head_dim: 16, rope_parameters: { rope_type: "default", rope_theta: 5e6, mrope_section: [4, 3, 1] } }),
    ).config.text.rope;
    expect(short).toEqual([0, 1, 2, 0, 1, 0, 0, 1]);
  });

  test.each([
    [config({ rope_scaling: { mrope_section: [24, 20, 19] } }), "mrope_section must be three whole numbers"],
    [config({ rope_scaling: { mrope_interleaved: false } }), "mrope_interleaved must be true, as in this family"],
    [config({}, { deepstack_visual_indexes: [5, 27] }), "deepstack_visual_indexes must be layers below 27"],
    [config({}, { deepstack_visual_indexes: [5, 5] }), "deepstack_visual_indexes must be layers below 27"],
    [config({ num_hidden_layers: 2 }), "deepstack_visual_indexes must be at most 2 layers"],
    [config({}, { num_position_embeddings: 2300 }), "num_position_embeddings must be a square number"],
    [config({ model_type: "qwen2_vl_text" }), "text_config.model_type must be qwen3_vl_text"],
    [config({}, { model_type: "qwen2_5_vl_vision" }), "vision_config.model_type must be qwen3_vl_vision or qwen3_vl"],
    [config({}, { out_hidden_size: 2048 }), "vision_config gives features of 2048 values"],
  ])("%j is refused", (json, message) => {
    expect(() => readArchitecture(json)).toThrow(CheckpointError);
    expect(() => readArchitecture(json)).toThrow(message);
  });

  test("a prompt that ends in a picture is refused", () => {
    const { pictures } = readArchitecture(config());
    expect(() => pictures?.checkTokens?.([1, 151655, 5])).not.toThrow();
    expect(() => pictures?.checkTokens?.([1, 151655])).toThrow(InputError);
  });
});

test("the corners of the table lie over the picture's, and patches between them take from four rows", () => {
  const grid = { width: 2, height: 3 };
  const places = patchPlaces(rowOrder(grid).blocks, { width: 2, mergeSize: 2 });
  const { index, weights } = stretched(places, { width: 4, height: 6 }, 5);
  const taken = (row: number, column: number) => {
    const patch = places.findIndex(([y, x]) => y === row && x === column);
    const sums = new Map<number, number>();
    for (let tap = 4 * patch; tap < 4 * patch + 4; tap++) {
      sums.set(Number(index[tap]), (sums.get(Number(index[tap])) ?? 0) + Number(weights[tap]));
    }
    return [...sums].filter(([, weight]) => weight > 0);
  };
  expect(taken(0, 0)).toEqual([[0, 1]]);
  expect(taken(0, 3)).toEqual([[4, 1]]);
  expect(taken(5, 0)).toEqual([[20, 1]]);
  expect(taken(5, 3)).toEqual([[24, 1]]);
  // Row 1 of 6 is at 0.8 of the table, column 1 of 4 at 4/3.
  const between = new Map(taken(1, 1));
  expect([...between.keys()]).toEqual([1, 2, 6, 7]);
  expect(between.get(6)).toBeCloseTo(0.8 * (2 / 3), 6);
  expect([...between.values()].reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(1, 6);
});
