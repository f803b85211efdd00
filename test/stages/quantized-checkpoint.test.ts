// A checkpoint that `adaptvis quantize` wrote beside its source loaded with `dtype`: the same bits on the GPU, and so the same answers.
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, test, vi } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.ts";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import type { Source } from "../../src/checkpoint/source.ts";
import { Gpu } from "../../src/gpu/device.ts";
import type { QuantizedDtype, WeightDtype } from "../../src/gpu/tensor.ts";
import { Llava } from "../../src/llava.ts";
import { readArchitecture } from "../../src/models/registry.ts";
import { weightMemory } from "../../src/models/weight-table.ts";
import { loadWeights } from "../../src/models/weights.ts";
import { openTestDevice } from "../setup/device.ts";
import { GOLDEN, goldenInputs, readTensorFile } from "../setup/golden.ts";
import { quantizedSource } from "../setup/quantized-source.ts";

const WEIGHTS = fileURLToPath(new URL("../../weights", import.meta.url));

const models: Llava[] = [];
afterEach(() => {
  for (const model of models.splice(0)) model.dispose();
});

/** What a load writes into every buffer of the weights, by the buffer's label. */
async function contents(source: Source, dtype?: WeightDtype): Promise<ReadonlyMap<string, Buffer>> {
  const { device, isSoftware } = await openTestDevice();
  const gpu = new Gpu(device, { isSoftware });
  const create = vi.spyOn(gpu, "createBuffer");
  const checkpoint = await openCheckpoint(source);
  try {
    const architecture = readArchitecture(checkpoint.config);
    const read: number[] = [];
    await loadWeights(checkpoint, architecture, {
      gpu,
      dtype,
      onProgress: ({ loadedBytes, totalBytes }) => read.push(loadedBytes / totalBytes),
    });
    expect(read.at(-1)).toBe(1);
    const found = new Map<string, Buffer>();
    for (const [index, [label, byteLength]] of [...create.mock.calls].entries()) {
      const result = create.mock.results[index];
      if (/^(quantize |readback)/.test(label) || result?.type !== "return") continue;
      found.set(label, Buffer.from(await gpu.readBuffer(result.value, byteLength)));
    }
    const bytes = [...found.values()].reduce((sum, buffer) => sum + Math.max(16, buffer.length), 0);
    expect(bytes).toBe(weightMemory(checkpoint, architecture, dtype));
    return found;
  } finally {
    await checkpoint.close();
    gpu.dispose();
  }
}

describe("the GPU holds the same bits", () => {
  // Widths and heads that are no multiples of 4; fewer heads for keys and values; shards; one table for both ends; SigLIP's tower.
  test.each<readonly [name: string, dtype: QuantizedDtype]>([
    ["llava-odd-widths-bf16", "q8"],
    ["llava-odd-widths-bf16", "q4_1"],
    ["llava-qwen2-f16-sharded", "q4_1"],
    ["llama-text-tied", "q4"],
    ["llava-siglip", "q8"],
    ["tiny-llava-gqa", "q4"],
    ["tiny-spatial", "q8"],
  ])("%s in %s", async (name, dtype) => {
    const folder = name === "tiny-spatial" ? `${WEIGHTS}/${name}` : `${GOLDEN}/${name}`;
    const expected = await contents(fileSource(folder), dtype);
    const source = await quantizedSource(folder, dtype);
    for (const wanted of [undefined, dtype]) {
      const actual = await contents(source, wanted);
      expect([...actual.keys()]).toEqual([...expected.keys()]);
      const different = [...actual].filter(([label, bytes]) => expected.get(label)?.equals(bytes) !== true);
      expect(different.map(([label]) => label)).toEqual([]);
    }
  });
});

// Their kernels are those of weight-dtypes.test.ts.
test.each<readonly [name: string, dtype: QuantizedDtype, others: readonly WeightDtype[]]>([
  ["tiny-llava", "q4_1", ["f32", "q4"]],
  ["llava-odd-widths-bf16", "q8", ["bf16"]],
])("logits and ids of %s in %s, which is refused in another dtype", async (name, dtype, others) => {
  const { device } = await openTestDevice();
  const folder = `${GOLDEN}/${name}`;
  const source = await quantizedSource(folder, dtype);
  const golden = await readTensorFile(`${name}/expected.safetensors`);
  const trace = async (from: Source, wanted?: WeightDtype) => {
    const model = await Llava.load(from, { device, dtype: wanted });
    models.push(model);
    const { tensors, answer } = await model.trace(goldenInputs(model, golden), { maxNewTokens: 8, ignoreEos: true });
    const logits = tensors.find((tensor) => tensor.name === "logits")?.data;
    return { dtype: model.dtype, logits, ids: answer.tokens.map(({ tokenId }) => tokenId) };
  };
  const actual = await trace(source);
  expect(actual).toEqual(await trace(fileSource(folder), dtype));
  expect(actual.dtype).toBe(dtype);
  for (const other of others) {
    await expect(Llava.load(source, { device, dtype: other })).rejects.toThrow(
      `and cannot be loaded as ${other}; load it without a dtype, or load the checkpoint that it was made from.`,
    );
  }
});
