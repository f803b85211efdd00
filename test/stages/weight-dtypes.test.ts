// A model loaded in another dtype than its file's against a checkpoint whose numbers the CPU rounded to that dtype.
import { afterEach, describe, expect, test } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.ts";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import type { Source } from "../../src/checkpoint/source.ts";
import { CheckpointError } from "../../src/errors.ts";
import { Gpu } from "../../src/gpu/device.ts";
import { WEIGHT_DTYPES, type WeightDtype } from "../../src/gpu/tensor.ts";
import { Llava } from "../../src/llava.ts";
import { readArchitecture } from "../../src/models/registry.ts";
import { weightMemory } from "../../src/models/weight-table.ts";
import { loadWeights } from "../../src/models/weights.ts";
import { openTestDevice } from "../setup/device.ts";
import { GOLDEN, goldenInputs, largestError, readTensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";
import { PARITY } from "../setup/parity-bounds.ts";
import { rewritten } from "../setup/requantized.ts";

/** What each checkpoint adds: f32; bf16, widths and heads that are no multiples of 4; f16 in shards; one table for both ends. */
const CASES: readonly (readonly [name: string, dtype: WeightDtype])[] = [
  ["tiny-llava", "q8"],
  ["tiny-llava", "q4"],
  ["tiny-llava", "f16"],
  ["tiny-llava", "bf16"],
  ["llava-odd-widths-bf16", "q8"],
  ["llava-odd-widths-bf16", "q4_1"],
  ["llava-odd-widths-bf16", "f32"],
  ["tiny-llava-f16-sharded", "q4_1"],
  ["tiny-llava-f16-sharded", "bf16"],
  ["llama-text-tied", "q8"],
  ["llama-text-tied", "q4"],
];

const models: Llava[] = [];
afterEach(() => {
  for (const model of models.splice(0)) model.dispose();
});

async function load(source: Source): Promise<Llava> {
  const { device } = await openTestDevice();
  return Llava.load(source, { device });
}

describe.each(CASES)("%s in %s", (name, dtype) => {
  test("logits and ids are those of a checkpoint rounded on the CPU", async () => {
    const model = await loadGoldenModel(name, { dtype });
    models.push(model);
    const { text, multimodal } = model.config;
    const source = await rewritten(name, {
      dtype,
      isTied: text.tieWordEmbeddings,
      headDims: { text: text.headDim, vision: multimodal?.vision.headDim ?? 4 },
    });
    const expected = await load(source);
    models.push(expected);
    const inputs = goldenInputs(model, await readTensorFile(`${name}/expected.safetensors`));
    const [actual, wanted] = [await trace(model, inputs), await trace(expected, inputs)];
    expect(largestError(actual.logits, wanted.logits)).toBeLessThan(PARITY.logits);
    expect(actual.ids).toEqual(wanted.ids);
    expect(actual.dtype).toBe(dtype);
  });
});

async function trace(model: Llava, inputs: Parameters<Llava["trace"]>[0]) {
  const { tensors, answer, metadata } = await model.trace(inputs, { maxNewTokens: 8, ignoreEos: true });
  const logits = tensors.find(({ name }) => name === "logits")?.data ?? [];
  return { logits, ids: answer.tokens.map(({ tokenId }) => tokenId), dtype: metadata.dtype };
}

describe("memory", () => {
  test.each(["tiny-llava", "llava-odd-widths-bf16", "llama-text-tied", "llava-next"])(
    "%s takes what is foretold in every dtype, and a load leaves nothing else behind",
    async (name) => {
      const { device, isSoftware } = await openTestDevice();
      for (const dtype of [undefined, ...WEIGHT_DTYPES]) {
        const gpu = new Gpu(device, { isSoftware });
        const before = gpu.allocatedBytes;
        const checkpoint = await openCheckpoint(fileSource(`${GOLDEN}/${name}`));
        const architecture = readArchitecture(checkpoint.config);
        await loadWeights(checkpoint, architecture, { gpu, dtype });
        await checkpoint.close();
        expect(gpu.allocatedBytes - before, dtype).toBe(weightMemory(checkpoint, architecture, dtype));
        gpu.dispose();
        expect(gpu.allocatedBytes).toBe(0);
      }
    },
  );
});

describe("weights that a dtype cannot hold are named", () => {
  const name = "language_model.model.layers.1.mlp.up_proj.weight";
  test.each<readonly [dtype: WeightDtype, value: number]>([
    ["f16", 65_520],
    ["f16", Number.NaN],
    ["bf16", Infinity],
    ["q8", Number.NaN],
    ["q8", 1e7],
    ["q4", -1e6],
    ["q4_1", -1e5],
  ])("%s, %d", async (dtype, value) => {
    const { device } = await openTestDevice();
    const source = await rewritten("tiny-llava", {
      change: (tensor, values) => {
        if (tensor === name) values[5] = value;
      },
    });
    const error: unknown = await Llava.load(source, { device, dtype }).catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error).toMatchObject({ tensor: name, file: "model.safetensors" });
    expect(String(error)).toContain(`that ${dtype} can hold`);
  });
});
