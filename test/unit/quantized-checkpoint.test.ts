// The files of a quantised checkpoint: packing against the shader's twin, names, metadata and shards, and files that do not fit.
import { describe, expect, test } from "vitest";
import { blobSource } from "../../src/checkpoint/blob-source.ts";
import { type Checkpoint, openCheckpoint, requireTensors } from "../../src/checkpoint/checkpoint.ts";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import { encodeSafetensors, type TensorToWrite } from "../../src/checkpoint/safetensors-writer.ts";
import { AbortError, CheckpointError } from "../../src/errors.ts";
import { QUANTIZED_DTYPES, type QuantizedDtype } from "../../src/gpu/tensor.ts";
import { packRows } from "../../src/models/quantize-rows.ts";
import { quantizedFiles } from "../../src/models/quantized-checkpoint.ts";
import { readArchitecture } from "../../src/models/registry.ts";
import { expectedTensors, otherForm, planWeights } from "../../src/models/weight-table.ts";
import { memorySource, rejection } from "../checkpoint/fixtures.ts";
import { quantize as twin } from "../reference/quantize.ts";
import { createRandom } from "../reference/random.ts";
import { GOLDEN } from "../setup/golden.ts";
import { quantizedWeights } from "../setup/quantized-source.ts";

describe.each(QUANTIZED_DTYPES)("packRows in %s", (dtype) => {
  test.each([4, 32, 36, 100])("gives the bits of the shader's twin, %d columns", (columns) => {
    const values = createRandom(columns).normals(400 * columns, 0.03);
    // Scales of every size: some are subnormal in f16, some 0, some groups are 0 throughout.
    values.forEach((value, index) => {
      values[index] = value * 2 ** (((index >> 5) % 60) - 40) * (index % 97 === 0 ? 0 : 1);
    });
    values.fill(0, 0, 2 * columns);
    expectSame(packRows(values, columns, dtype), values, columns);
  });

  test.each<readonly [what: string, weights: readonly number[]]>([
    ["ties", [127, 0.5, 1.5, 2.5, -0.5, -1.5, -8, 8]],
    ["the longer end", [8, -8, 7.5, -7.5]],
    ["a scale that is rounded down by much", [177 * 2 ** -24, -177 * 2 ** -24, 0, 1 * 2 ** -24]],
    ["a scale of −0", [2 ** -30, 0, 0, 0]],
    ["a scale between two of f16", [127 * (1 + 2 ** -11), 8 * (1 + 2 ** -11), 0, 1]],
  ])("%s", (_, weights) => {
    const values = Float32Array.from(weights);
    expectSame(packRows(values, weights.length, dtype), values, weights.length);
  });

  // The kernel takes them for zeros.
  test("subnormals of f32 are zeros, and their scale is 0, not −0", () => {
    const packed = packRows(Float32Array.of(2 ** -127, -(2 ** -130), 0, 2 ** -149), 4, dtype);
    expect([...(packed?.scales ?? [])]).toEqual(dtype === "q4_1" ? [0, 0] : [0]);
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, -(65_520 * 127)])("%d does not fit", (weight) => {
    const values = createRandom(1).normals(128, 0.1);
    values[70] = weight;
    expect(packRows(values, 64, dtype)).toBeUndefined();
  });

  function expectSame(packed: ReturnType<typeof packRows>, values: Float32Array, columns: number): void {
    const expected = twin(values, columns, dtype);
    expect(Buffer.from(expected.stored.buffer).equals(packed?.codes ?? Buffer.of())).toBe(true);
    expect(packed?.scales).toEqual(expected.scales);
  }
});

const open = async (name: string, dtype: QuantizedDtype) =>
  openCheckpoint(blobSource(await quantizedWeights(fileSource(`${GOLDEN}/${name}`), dtype), name));

describe("the files", () => {
  test("as many shards as the source, with an index; codes, scales and the other tensors", async () => {
    const source = await openCheckpoint(fileSource(`${GOLDEN}/llava-qwen2-f16-sharded`));
    const weights = await quantizedWeights(fileSource(`${GOLDEN}/llava-qwen2-f16-sharded`), "q4");
    expect([...weights.keys()].filter((name) => name.endsWith(".safetensors"))).toEqual(
      Array.from({ length: 6 }, (_, index) => `model-0000${index + 1}-of-00006.safetensors`),
    );
    const checkpoint = await openCheckpoint(blobSource(weights, "quantised"));
    expect(checkpoint.metadata).toMatchObject({
      ...source.metadata,
      adaptvis_format: "quantized",
      adaptvis_version: "1",
      adaptvis_dtype: "q4",
    });
    expect(checkpoint.config).toEqual({
      ...source.config,
      quantization_config: { quant_method: "adaptvis", version: 1, dtype: "q4", group_size: 32 },
    });
    const name = "language_model.model.layers.0.mlp.down_proj.weight";
    const [rows = 0, columns = 0] = source.tensors.get(name)?.entry.shape ?? [];
    const groups = Math.ceil(columns / 32);
    expect(checkpoint.tensors.has(name)).toBe(false);
    expect(checkpoint.tensors.get(`${name}.codes`)?.entry).toMatchObject({ dtype: "U8", shape: [rows, groups * 16] });
    expect(checkpoint.tensors.get(`${name}.scales`)?.entry).toMatchObject({ dtype: "F16", shape: [rows, groups] });
    for (const [tensor, { entry }] of source.tensors) {
      if (checkpoint.tensors.has(`${tensor}.codes`)) continue;
      expect(checkpoint.tensors.get(tensor)?.entry).toMatchObject({ dtype: entry.dtype, shape: entry.shape });
      expect(await checkpoint.read(tensor)).toEqual(await source.read(tensor));
    }
    await source.close();
  });

  test("q4_1 has scales and minima, which makes them version 2", async () => {
    const checkpoint = await open("tiny-llava", "q4_1");
    const name = "language_model.model.layers.0.mlp.down_proj.weight";
    expect(checkpoint.tensors.get(`${name}.codes`)?.entry).toMatchObject({ dtype: "U8", shape: [64, 96] });
    expect(checkpoint.tensors.get(`${name}.scales`)?.entry).toMatchObject({ dtype: "F16", shape: [64, 6, 2] });
    expect(checkpoint.metadata).toMatchObject({ adaptvis_version: "2", adaptvis_dtype: "q4_1" });
    expect(checkpoint.config).toMatchObject({ quantization_config: { version: 2, dtype: "q4_1" } });
    const plan = planWeights(checkpoint, readArchitecture(checkpoint.config), undefined);
    expect(plan.find(({ tensors }) => tensors[0]?.name === name)).toMatchObject({ dtype: "q4_1" });
    expect(problemOf(checkpoint)).toBeUndefined();
  });

  test("a tied table and its alias are one tensor", async () => {
    const [embed, head] = ["model.embed_tokens.weight", "lm_head.weight"];
    const plain = await openCheckpoint(fileSource(`${GOLDEN}/llama-text-tied`));
    const tensors: TensorToWrite[] = [];
    for (const { entry } of plain.tensors.values()) {
      const name = entry.name === embed ? head : entry.name;
      tensors.push({ ...entry, name, data: await plain.read(entry.name.replace(/^(?=model)/, "language_model.")) });
    }
    const files = {
      "config.json": JSON.stringify(plain.config),
      "model.safetensors": encodeSafetensors(tensors, { [embed]: head }),
    };
    const packed = await openCheckpoint(blobSource(await quantizedWeights(memorySource(files), "q8"), "tied"));
    const names = [...packed.tensors.keys()].filter((name) => /lm_head|embed_tokens/.test(name));
    expect(names).toEqual([
      "language_model.model.embed_tokens.weight.scales",
      "language_model.model.embed_tokens.weight.codes",
    ]);
    expect(problemOf(packed)).toBeUndefined();
    await plain.close();
  });

  test("what is quantised already, does not fit or is aborted is refused", async () => {
    const packed = await open("tiny-llava", "q8");
    const architecture = readArchitecture(packed.config);
    expect(() => quantizedFiles(packed, architecture, "q4")).toThrow(/^tiny-llava is quantised already \(.* in q8\)/);
    const plain = await openCheckpoint(fileSource(`${GOLDEN}/tiny-llava`));
    const [file] = quantizedFiles(plain, architecture, "q4");
    const first = file?.chunks(AbortSignal.abort());
    await first?.next(); // the header
    expect(await rejection(first?.next() ?? Promise.resolve())).toBeInstanceOf(AbortError);
    await plain.close();
  });
});

/** The error that a load would begin with. */
function problemOf(checkpoint: Checkpoint): CheckpointError | undefined {
  const { expected, unused } = expectedTensors(planWeights(checkpoint, readArchitecture(checkpoint.config), undefined));
  try {
    requireTensors(checkpoint, expected, { unused });
    return undefined;
  } catch (error) {
    if (error instanceof CheckpointError) return error;
    throw error;
  }
}

describe("a stranger's files", () => {
  const name = "language_model.model.layers.0.mlp.down_proj.weight";

  /** tiny-llava in q4 with some of its tensors changed or left out. */
  async function changed(change: (tensor: TensorToWrite) => TensorToWrite | undefined): Promise<Checkpoint> {
    const packed = await open("tiny-llava", "q4");
    const tensors: TensorToWrite[] = [];
    for (const [key, { entry }] of packed.tensors) {
      const tensor = change({ ...entry, name: key, data: await packed.read(key) });
      if (tensor !== undefined) tensors.push(tensor);
    }
    const files = { "config.json": JSON.stringify(packed.config), "model.safetensors": encodeSafetensors(tensors) };
    return openCheckpoint(memorySource(files));
  }

  const withShape = (tensor: TensorToWrite, shape: readonly number[], dtype = tensor.dtype): TensorToWrite => {
    const bytes = shape.reduce((product, size) => product * size, 1) * (dtype === "F32" ? 4 : dtype === "F16" ? 2 : 1);
    return { name: tensor.name, dtype, shape, data: new Uint8Array(bytes) };
  };

  test("unchanged, they fit", async () => {
    expect(problemOf(await changed((tensor) => tensor))).toBeUndefined();
  });

  test.each<[what: string, tensor: string, change: (t: TensorToWrite) => TensorToWrite | undefined, message: string]>([
    ["short codes", `${name}.codes`, (t) => withShape(t, [64, 95]), "U8 [64, 95] instead of U8 [64, 96]"],
    ["too few scales", `${name}.scales`, (t) => withShape(t, [64, 5]), "F16 [64, 5] instead of F16 [64, 6]"],
    ["scales in f32", `${name}.scales`, (t) => withShape(t, t.shape, "F32"), "F32 [64, 6] instead of F16 [64, 6]"],
    ["no scales", `${name}.scales`, () => undefined, `it lacks ${name}.scales`],
    ["no codes", `${name}.codes`, () => undefined, `it lacks ${name}, and holds the unexpected "${name}.scales"`],
    [
      "codes in f16",
      `${name}.codes`,
      (t) => withShape(t, t.shape, "F16"),
      `it lacks ${name}, and holds the unexpected`,
    ],
    [
      "codes of the other form",
      `${name}.codes`,
      (t) => withShape(t, t.shape, "I8"),
      "I8 [64, 96] instead of I8 [64, 192]",
    ],
  ])("%s", async (_, tensor, change, message) => {
    const error = problemOf(await changed((each) => (each.name === tensor ? change(each) : each)));
    expect(error?.message).toContain(message);
    expect(error?.tensor).toMatch(name);
  });

  test("a folder whose projector was written in q4, before it was kept in q8, keeps that", async () => {
    const checkpoint = await changed((tensor) => {
      if (!/multi_modal_projector.*codes$/.test(tensor.name)) return tensor;
      const [rows = 0, columns = 0] = tensor.shape;
      return withShape(tensor, [rows, columns / 2], "U8");
    });
    expect(problemOf(checkpoint)).toBeUndefined();
    for (const dtype of [undefined, "q4"] as const) {
      const plan = planWeights(checkpoint, readArchitecture(checkpoint.config), dtype);
      expect(plan.find(otherForm)).toBeUndefined();
      const forms = plan.filter(({ part, columns }) => part === "projector" && columns !== undefined);
      expect(new Set(forms.map((weight) => weight.dtype))).toEqual(new Set(["q4"]));
    }
  });

  test("one part of a stack in another form is found", async () => {
    const up = "language_model.model.layers.0.mlp.up_proj.weight";
    const checkpoint = await changed((tensor) => {
      const [rows = 0, columns = 0] = tensor.shape;
      return tensor.name === `${up}.codes` ? withShape(tensor, [rows, columns * 2], "I8") : tensor;
    });
    expect(problemOf(checkpoint)).toBeUndefined();
    const plan = planWeights(checkpoint, readArchitecture(checkpoint.config), undefined);
    expect(plan.find(otherForm)?.tensors.map(({ packed }) => packed)).toEqual(["q4", "q8"]);
  });

  test.each([
    [{ quant_method: "awq", bits: 4 }, 'checkpoints quantised by "awq" are not implemented'],
    [{ quant_method: "adaptvis", version: 3 }, "quantization_config.version must be 1 or 2"],
    [{ quant_method: "adaptvis" }, "got nothing"],
  ])("a config.json with %j is refused", async (form, message) => {
    const { config } = await open("tiny-llava", "q4");
    expect(() => readArchitecture({ ...config, quantization_config: form })).toThrow(message);
  });
});
