// How far stored weights are from a checkpoint's, against the reference of the storage formats.
import { describe, expect, test } from "vitest";
import { type Checkpoint, openCheckpoint } from "../../src/checkpoint/checkpoint.ts";
import { encodeSafetensors, type TensorToWrite } from "../../src/checkpoint/safetensors-writer.ts";
import { AbortError } from "../../src/errors.ts";
import { QUANTIZED_DTYPES, WEIGHT_DTYPES, type WeightDtype } from "../../src/gpu/tensor.ts";
import { readArchitecture } from "../../src/models/registry.ts";
import { addErrors, quantizedErrors, weightError, weightErrors } from "../../src/models/weight-errors.ts";
import { listWeights } from "../../src/models/weight-table.ts";
import { memorySource } from "../checkpoint/fixtures.ts";
import { createRandom } from "../reference/random.ts";
import { at } from "../reference/rows.ts";
import { narrow, storeWeights } from "../reference/weight-formats.ts";

describe.each(WEIGHT_DTYPES)("weightError in %s", (dtype) => {
  test.each([4, 32, 36, 100])("is that of the stored numbers, %d columns", (columns) => {
    const values = createRandom(columns).normals(50 * columns, 0.03);
    const { values: stored } = storeWeights(values, dtype, columns);
    const errors = Array.from(values, (value, index) => Math.abs(at(stored, index) - value));
    const sums = weightError(values, columns, dtype);
    expect(sums.largest).toBe(Math.max(...errors));
    expect(sums.errorSquares).toBeCloseTo(
      errors.reduce((sum, error) => sum + error * error, 0),
      12,
    );
    const half = values.length / 2;
    const [first, second] = [
      weightError(values.slice(0, half), columns, dtype),
      weightError(values.slice(half), columns, dtype),
    ];
    expect(addErrors(first, second).largest).toBe(sums.largest);
  });
});

describe("weightError of weights that a format rounds in its own way", () => {
  const tiny = 2 ** -24; // the smallest f16

  test.each<[what: string, dtype: WeightDtype, weights: readonly number[], stored: readonly number[]]>([
    ["zeros", "q8", [0, 0, 0], [0, 0, 0]],
    ["zeros", "q4", [0, 0, 0], [0, 0, 0]],
    ["ties, to the even step", "q8", [127, 0.5, 1.5, 2.5, -0.5, -1.5], [127, 0, 2, 2, 0, -2]],
    ["ties, to the even step", "q4", [-8, 0.5, 1.5, 2.5, -0.5, -1.5], [-8, 0, 2, 2, 0, -2]],
    ["the largest at the longer end", "q4", [8, 1, -7], [8, 1, -7]],
    ["both ends, the first of which has the longer one", "q4", [8, -8, -8], [8, -7, -7]],
    ["both ends", "q4", [-8, 8], [-8, 7]],
    ["both ends", "q8", [127, -127], [127, -127]],
    ["a scale that is rounded down by much", "q8", [177 * tiny, -177 * tiny], [127 * tiny, -127 * tiny]],
    ["a scale that is rounded down by much", "q4", [-11 * tiny, 11 * tiny], [-8 * tiny, 7 * tiny]],
    ["a scale too small for f16", "q8", [63 * tiny, tiny], [0, 0]],
    ["the largest scale", "q8", [65_504 * 127, 65_504], [65_504 * 127, 65_504]],
    ["the largest scale", "q4", [65_504 * 8, 65_504], [65_504 * 8, 65_504]],
    ["a scale halfway between two of f16", "q8", [127 * (1 + 2 ** -11), 1], [127, 1]],
    ["a scale halfway between two of f16", "q8", [127 * (1 + 3 * 2 ** -11), 1], [127 * (1 + 2 ** -9), 1 + 2 ** -9]],
  ])("%s in %s: %j", (_, dtype, weights, stored) => {
    const errors = weights.map((weight, index) => Math.abs(at(stored, index) - weight));
    expect(weightError(Float32Array.from(weights), weights.length, dtype)).toEqual({
      squares: weights.reduce((sum, weight) => sum + weight * weight, 0),
      errorSquares: errors.reduce((sum, error) => sum + error * error, 0),
      largest: Math.max(...errors),
    });
  });

  test.each<[weight: number, dtype: WeightDtype, largest: number]>([
    [65_536 * 127, "q8", Number.NaN],
    [65_536 * 8, "q4", Number.NaN],
    [Number.POSITIVE_INFINITY, "q8", Number.NaN],
    [Number.NaN, "q4", Number.NaN],
    [Number.NaN, "f16", Number.NaN],
    [65_520, "f16", Number.POSITIVE_INFINITY],
  ])("%d, which does not fit %s, is reported, also with weights after it", (weight, dtype, largest) => {
    const values = new Float32Array(64).fill(1 / 3);
    values[3] = weight;
    const sums = weightError(values, 64, dtype);
    expect(sums.largest).toBe(largest);
    expect(sums.errorSquares).toBe(largest);
    expect(addErrors(sums, weightError(values.subarray(32), 32, dtype)).largest).toBe(largest);
  });

  test("sums add up, and the largest is the larger one", () => {
    const small = { squares: 1, errorSquares: 2, largest: 3 };
    const large = { squares: 10, errorSquares: 20, largest: 30 };
    expect(addErrors(small, large)).toEqual({ squares: 11, errorSquares: 22, largest: 30 });
    expect(addErrors(large, small)).toEqual({ squares: 11, errorSquares: 22, largest: 30 });
  });
});

describe("weightErrors", () => {
  const config = {
    model_type: "llava",
    text_config: {
      hidden_size: 36,
      num_attention_heads: 6,
      intermediate_size: 40,
      num_hidden_layers: 1,
      vocab_size: 5,
      attention_bias: true,
    },
    vision_config: {
      hidden_size: 12,
      num_attention_heads: 2,
      intermediate_size: 20,
      num_hidden_layers: 2,
      image_size: 8,
      patch_size: 4,
    },
  };
  const architecture = readArchitecture(config);
  const specs = listWeights((w) => architecture.weights(w));
  const valuesOf = (name: string, length: number) =>
    name.endsWith("down_proj.weight") ? new Float32Array(length) : createRandom(name.length).normals(length, 0.03);

  /** The model's checkpoint with random weights, but zeros in down_proj. */
  function open(dtypeOf: (name: string) => TensorToWrite["dtype"] | undefined): Promise<Checkpoint> {
    const tensors = specs.flatMap((spec) =>
      spec.tensors.flatMap(({ name, shape }): TensorToWrite[] => {
        const values = valuesOf(
          name,
          shape.reduce((product, size) => product * size, 1),
        );
        const dtype = dtypeOf(name);
        if (dtype === undefined) return [];
        if (dtype === "F32") return [{ name, dtype, shape, data: values }];
        return [{ name, dtype, shape, data: Uint16Array.from(values, (value) => narrow(value, "f16")) }];
      }),
    );
    const files = { "config.json": JSON.stringify(config), "model.safetensors": encodeSafetensors(tensors) };
    return openCheckpoint(memorySource(files));
  }

  /** By the reference, on rows that are padded as on the GPU. */
  function expected(dtype: WeightDtype, isMeant: (weight: (typeof specs)[number]) => boolean) {
    return specs.filter(isMeant).flatMap(({ tensors, columns }) =>
      tensors.map(({ name, shape }) => {
        const { count, size } = columns ?? { count: 0, size: 0 };
        const padded = Math.ceil(size / 4) * 4;
        const values = valuesOf(
          name,
          shape.reduce((product, length) => product * length, 1),
        );
        const rows = new Float32Array((values.length / size) * padded);
        values.forEach((value, index) => {
          rows[Math.floor(index / size) * padded + (index % size)] = value;
        });
        const { values: stored } = storeWeights(rows, dtype, count * padded);
        const errors = rows.map((value, index) => at(stored, index) - value);
        const norm = (numbers: Float32Array) => Math.hypot(...numbers);
        const relativeRms = norm(errors) === 0 ? 0 : norm(errors) / norm(rows);
        return { name, dtype, relativeRms, maxError: Math.max(...errors.map(Math.abs)) };
      }),
    );
  }

  function expectSame(actual: Awaited<ReturnType<typeof weightErrors>>, wanted: ReturnType<typeof expected>): void {
    expect(actual.map(({ name, dtype }) => [name, dtype])).toEqual(wanted.map(({ name, dtype }) => [name, dtype]));
    for (const [index, { relativeRms, maxError }] of wanted.entries()) {
      expect(actual[index]?.relativeRms).toBeCloseTo(relativeRms, 6);
      expect(actual[index]?.maxError).toBeCloseTo(maxError, 8);
    }
  }

  test.each(QUANTIZED_DTYPES)("in %s are those of the matrices that are quantised, as padded", async (dtype) => {
    const errors = await weightErrors(await open(() => "F32"), architecture, { dtype });
    const names = errors.map(({ name }) => name);
    expect(names).toContain("language_model.model.layers.0.self_attn.o_proj.weight");
    expect(names).not.toContain("language_model.model.embed_tokens.weight");
    expect(errors.find(({ name }) => name.endsWith("down_proj.weight"))?.relativeRms).toBe(0);
    const isMeant = (weight: (typeof specs)[number]) => weight.isUsed && weight.isQuantizable;
    const isDecoder = (weight: (typeof specs)[number]) => isMeant(weight) && weight.part === "decoder";
    const isOther = (weight: (typeof specs)[number]) => isMeant(weight) && weight.part !== "decoder";
    const wanted = [...expected(dtype, isDecoder), ...expected("q8", isOther)]; // those others always are in q8
    const order = expected(dtype, isMeant).map(({ name }) => name);
    expectSame(
      errors,
      wanted.sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name)),
    );
  });

  test("in every quantised form at once, with the form that q4_1 means", async () => {
    const numDone: number[] = [];
    const onMatrix = (done: number, all: number) => numDone.push(done / all);
    const errors = await quantizedErrors(await open(() => "F32"), architecture, { dtype: "q4_1", onMatrix });
    const isMeant = (weight: (typeof specs)[number]) => weight.isUsed && weight.isQuantizable;
    for (const dtype of QUANTIZED_DTYPES) {
      const wanted = expected(dtype, isMeant);
      expect(errors.map(({ name }) => name)).toEqual(wanted.map(({ name }) => name));
      for (const [index, { relativeRms }] of wanted.entries()) {
        expect(errors[index]?.relativeRms[dtype]).toBeCloseTo(relativeRms, 6);
      }
    }
    expect(errors.filter(({ chosen }) => chosen === "q4_1").map(({ name }) => name)).toEqual(
      expected("q4_1", (weight) => isMeant(weight) && weight.part === "decoder").map(({ name }) => name),
    );
    expect(numDone).toEqual(errors.map((_, index) => (index + 1) / errors.length));
  });

  test("in f16 are those of all matrices that are read, not of vectors", async () => {
    const errors = await weightErrors(await open(() => "F32"), architecture, { dtype: "f16" });
    expectSame(
      errors,
      expected("f16", ({ isUsed, columns }) => isUsed && columns !== undefined),
    );
  });

  test("are not measured where nothing changes, or where there is no weight", async () => {
    const names = ["language_model.lm_head.weight", "language_model.model.layers.0.mlp.up_proj.weight"];
    const halves = await open((name) => (names.includes(name) ? "F32" : "F16"));
    const changed = await weightErrors(halves, architecture, { dtype: "f16" });
    expect(changed.map(({ name }) => name)).toEqual(names.toReversed());
    const few = await open((name) => (names.includes(name) ? "F32" : undefined));
    expect(await weightErrors(few, architecture, { dtype: "f32" })).toEqual([]);
    expect(await weightErrors(few, architecture, { dtype: "bf16" })).toHaveLength(2);
  });

  test("are 0 where the wider type holds every weight", async () => {
    const errors = await weightErrors(await open(() => "F16"), architecture, { dtype: "f32" });
    expect(errors.length).toBeGreaterThan(10);
    expect(errors.every(({ relativeRms, maxError }) => relativeRms === 0 && maxError === 0)).toBe(true);
  });

  test("can be stopped", async () => {
    const signal = AbortSignal.abort();
    await expect(weightErrors(await open(() => "F32"), architecture, { dtype: "q8", signal })).rejects.toThrow(
      new AbortError("Measuring the weights' errors"),
    );
  });

  describe("read a large matrix in whole rows, about 2 million weights at a time", () => {
    /** A checkpoint that holds one F32 matrix, and the ranges that are read of it. */
    async function rangesOf(
      matrix: string,
      sizes: { readonly vocab_size: number; readonly intermediate_size: number },
    ) {
      const text = { model_type: "llama", hidden_size: 4, num_attention_heads: 1, num_hidden_layers: 1, ...sizes };
      const ranges: unknown[] = [];
      const entry = { name: matrix, dtype: "F32", shape: [], start: 0, end: 0 } as const;
      const { signal } = new AbortController();
      const checkpoint: Checkpoint = {
        ...(await open(() => undefined)),
        tensors: new Map([[matrix, { file: "model.safetensors", entry }]]),
        read(_, { start = 0, end = 0, signal: given } = {}) {
          ranges.push([start / 4, end / 4]);
          expect(given).toBe(signal);
          return Promise.resolve(new Uint8Array()); // the ranges do not depend on what is read
        },
      };
      await weightErrors(checkpoint, readArchitecture(text), { dtype: "bf16", signal });
      return ranges;
    }

    test("many short rows", async () => {
      const ranges = await rangesOf("language_model.lm_head.weight", { vocab_size: 2 ** 19 + 1, intermediate_size: 4 });
      expect(ranges).toEqual([
        [0, 2 ** 21],
        [2 ** 21, 2 ** 21 + 4],
      ]);
    });

    test("rows that are longer themselves", async () => {
      const length = 2 ** 21 + 4;
      const matrix = "language_model.model.layers.0.mlp.down_proj.weight";
      const ranges = await rangesOf(matrix, { vocab_size: 4, intermediate_size: length });
      expect(ranges).toEqual([0, 1, 2, 3].map((row) => [row * length, (row + 1) * length]));
    });
  });
});
