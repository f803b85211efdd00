// What a user can get wrong with a model: each is one typed sentence, nothing stays allocated, and the next question works.
import { mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { blobSource } from "../../src/checkpoint/blob-source.ts";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import { encodeSafetensors, type TensorToWrite } from "../../src/checkpoint/safetensors-writer.ts";
import type { Source } from "../../src/checkpoint/source.ts";
import { AbortError, CheckpointError, GpuError, InputError } from "../../src/errors.ts";
import { Gpu } from "../../src/gpu/device.ts";
import { openNodeAdapter } from "../../src/gpu/hosts/adapter.node.ts";
import { Llava } from "../../src/llava.ts";
import type { ModelInputs } from "../../src/models/inputs.ts";
import { adapterOfEnvironment, openTestDevice } from "../setup/device.ts";
import { GOLDEN, goldenInputs, readTensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";

const FOLDER = `${GOLDEN}/tiny-llava`;

/** The golden checkpoint as Blobs, with some files changed. */
async function changed(
  changes: Readonly<Record<string, string | Uint8Array<ArrayBuffer> | undefined>>,
): Promise<Source> {
  const files = new Map<string, Blob>();
  for (const name of ["config.json", "model.safetensors", "generation_config.json"]) {
    files.set(name, new Blob([new Uint8Array(await readFile(`${FOLDER}/${name}`))]));
  }
  for (const [name, content] of Object.entries(changes)) {
    if (content === undefined) files.delete(name);
    else files.set(name, new Blob([content]));
  }
  return blobSource(files, "changed");
}

async function configWith(changes: object, textChanges: object = {}): Promise<string> {
  const config = JSON.parse(await readFile(`${FOLDER}/config.json`, "utf8")) as Record<string, object>; // our golden
  return JSON.stringify({ ...config, ...changes, text_config: { ...config.text_config, ...textChanges } });
}

async function tensors(): Promise<TensorToWrite[]> {
  const file = await readTensorFile("tiny-llava/model.safetensors");
  return [...file.tensors].map(([name, { shape, data }]) => ({ name, dtype: "F32", shape, data }));
}

/** A device of its own with the specification's default limits. */
async function ownDevice(): Promise<GPUDevice> {
  const { adapter } = await openNodeAdapter(adapterOfEnvironment());
  return adapter.requestDevice();
}

async function failureOf(source: Source): Promise<Error> {
  const { device } = await openTestDevice();
  try {
    const model = await Llava.load(source, { device });
    model.dispose();
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error("loading did not fail");
}

describe("checkpoints that cannot be loaded", () => {
  test("no config.json", async () => {
    const error = await failureOf(await changed({ "config.json": undefined }));
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error.message).toContain("config.json");
  });

  test("no weights", async () => {
    const error = await failureOf(await changed({ "model.safetensors": undefined }));
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error.message).toContain("model.safetensors");
  });

  test("a truncated weight file", async () => {
    const bytes = new Uint8Array(await readFile(`${FOLDER}/model.safetensors`));
    const error = await failureOf(await changed({ "model.safetensors": bytes.slice(0, bytes.length - 1000) }));
    expect(error).toBeInstanceOf(CheckpointError);
  });

  test("a missing tensor is named", async () => {
    const kept = (await tensors()).filter(({ name }) => !name.endsWith("layers.1.mlp.up_proj.weight"));
    const error = await failureOf(await changed({ "model.safetensors": encodeSafetensors(kept) }));
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error.message).toContain("layers.1.mlp.up_proj.weight");
  });

  test("an unexpected tensor is named", async () => {
    const extra = {
      name: "language_model.model.layers.0.self_attn.q_norm.weight",
      dtype: "F32",
      shape: [1],
      data: new Float32Array(1),
    } as const;
    const error = await failureOf(
      await changed({ "model.safetensors": encodeSafetensors([...(await tensors()), extra]) }),
    );
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error.message).toContain("q_norm");
  });

  test("a tensor of a wrong dtype is named", async () => {
    const wrong = (await tensors()).map((tensor): TensorToWrite => {
      if (!tensor.name.endsWith("language_model.model.norm.weight")) return tensor;
      return { ...tensor, dtype: "I32", data: new Int32Array(tensor.data.length) };
    });
    const error = await failureOf(await changed({ "model.safetensors": encodeSafetensors(wrong) }));
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error.message).toContain("norm.weight");
    expect(error.message).toContain("I32");
  });

  test("sizes that do not fit config.json", async () => {
    const error = await failureOf(await changed({ "config.json": await configWith({}, { intermediate_size: 64 }) }));
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error.message).toContain("mlp");
  });

  test.each([
    [{}, { hidden_act: "xielu" }, "hidden_act"],
    [{}, { rope_scaling: { rope_type: "longrope", factor: 2 } }, "rope_type"],
    [{ model_type: "blip-2" }, {}, "model_type"],
    [{ quantization_config: {} }, {}, "quantization_config"],
  ])("config that asks for what the engine lacks: %o %o", async (changes, textChanges, key) => {
    const error = await failureOf(await changed({ "config.json": await configWith(changes, textChanges) }));
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error.message).toContain(key);
  });

  test("a config.json that is no JSON", async () => {
    const error = await failureOf(await changed({ "config.json": '{"model_type": ' }));
    expect(error).toBeInstanceOf(CheckpointError);
  });
});

test("a 3 GiB tensor against an adapter's 128 MiB bindings is refused before anything is read", async () => {
  const folder = await mkdtemp(join(tmpdir(), "adaptvis-large-"));
  try {
    // A sparse file: 6,291,456 rows of 128 f32 are 3 GiB that nobody writes.
    const vocabSize = 6 * 2 ** 20;
    const small = await tensors();
    const header: Record<string, object> = {};
    let end = 0;
    for (const { name, shape, data } of small) {
      const isTable = name.endsWith("embed_tokens.weight") || name.endsWith("lm_head.weight");
      const wanted = isTable ? [vocabSize, shape[1] ?? 0] : shape;
      const byteLength = isTable ? vocabSize * (shape[1] ?? 0) * 4 : data.byteLength;
      header[name] = { dtype: "F32", shape: wanted, data_offsets: [end, end + byteLength] };
      end += byteLength;
    }
    const json = new TextEncoder().encode(JSON.stringify(header));
    const file = await open(join(folder, "model.safetensors"), "w");
    const length = new Uint8Array(8);
    new DataView(length.buffer).setBigUint64(0, BigInt(json.length), true);
    await file.write(length);
    await file.write(json);
    await file.truncate(8 + json.length + end);
    await file.close();
    await writeFile(join(folder, "config.json"), await configWith({}, { vocab_size: vocabSize }));

    // The adapter may allow more: a device asked for no limits has the 128 MiB default of the specification.
    const device = await ownDevice();
    expect(device.limits.maxStorageBufferBindingSize).toBe(128 * 2 ** 20);
    await expect(Llava.load(fileSource(folder), { device })).rejects.toMatchObject({
      name: "GpuError",
      reason: "limit",
      message: expect.stringContaining("embed_tokens"),
    });
    device.destroy();
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("weights that are not numbers give an error, not words", async () => {
  const broken = (await tensors()).map((tensor): TensorToWrite => {
    if (!tensor.name.endsWith("language_model.model.norm.weight")) return tensor;
    return { ...tensor, data: new Float32Array(tensor.data.length).fill(Number.NaN) };
  });
  const { device } = await openTestDevice();
  const model = await Llava.load(await changed({ "model.safetensors": encodeSafetensors(broken) }), { device });
  const inputs = goldenInputs(model, await readTensorFile("tiny-llava/expected.safetensors"));
  for (const method of ["greedy", "adaptvis"] as const) {
    await expect(model.answer(inputs, { method })).rejects.toThrow("The logits are not finite numbers");
  }
  await expect(model.sweep(inputs, [1, 2])).rejects.toThrow(GpuError);
  await expect(model.answer(inputs, { sampling: { temperature: 1 } })).rejects.toThrow(GpuError);
  model.dispose();
});

describe("a loaded model", () => {
  let model: Llava;
  let inputs: ModelInputs;
  let answer: readonly number[];
  const ask = async (options = {}) =>
    (await model.answer(inputs, { maxNewTokens: 4, ignoreEos: true, ...options })).tokens.map(({ tokenId }) => tokenId);

  beforeAll(async () => {
    model = await loadGoldenModel("tiny-llava");
    inputs = goldenInputs(model, await readTensorFile("tiny-llava/expected.safetensors"));
    answer = await ask();
  });
  afterAll(() => model.dispose());

  const pixels = () => inputs.images[0]?.pixelValues;
  const prepare = (inputIds: readonly number[], pixelValues = pixels()) =>
    model.processor.fromTensors({ inputIds, pixelValues });

  test("an empty prompt, one without <image> or without its picture, an id outside of the vocabulary, a prompt longer than the context", () => {
    expect(() => prepare([])).toThrow("empty");
    expect(() => prepare([1, 5, 6])).toThrow(InputError);
    expect(() => model.processor.fromTensors({ inputIds: [1, 120, 5], pixelValues: undefined })).toThrow(InputError);
    expect(() => prepare([1, 120, 128])).toThrow(InputError);
    const context = model.config.text.maxPositionEmbeddings;
    const long = Array.from({ length: context }, () => 7);
    expect(() => prepare([1, 120, ...long])).toThrow(String(context));
  });

  test("pixel values of another size", () => {
    expect(() => prepare([1, 120, 5], new Float32Array(3 * 28 * 28))).toThrow("pixel_values must hold 1 × [3, 56, 56]");
  });

  test("without a tokenizer, text is refused in one sentence", async () => {
    await expect(model.ask({ prompt: "Where?" })).rejects.toThrow("no tokenizer.json");
    await expect(model.ask({})).rejects.toThrow("Neither question nor prompt");
    await expect(model.ask({ question: "Where?" })).rejects.toThrow(CheckpointError);
  });

  test("options out of range", async () => {
    await expect(ask({ factor: -1, method: "scaling" })).rejects.toThrow("factor must be");
    await expect(ask({ rows: { last: 1000 }, method: "adaptvis" })).rejects.toThrow("rows: last must be");
    expect(await ask()).toEqual(answer);
  });

  test("abort before and while decoding; the model goes on", async () => {
    await expect(ask({ signal: AbortSignal.abort() })).rejects.toThrow(AbortError);
    const controller = new AbortController();
    let numTokens = 0;
    const onToken = () => {
      numTokens++;
      if (numTokens === 2) controller.abort();
    };
    await expect(ask({ signal: controller.signal, onToken, maxNewTokens: 50 })).rejects.toThrow(AbortError);
    expect(numTokens).toBe(2);
    const before = model.gpu.allocatedBytes;
    expect(await ask()).toEqual(answer);
    expect(model.gpu.allocatedBytes).toBe(before);
  });

  test("an error thrown by onToken reaches the caller; the model goes on", async () => {
    const onToken = () => {
      throw new RangeError("the caller's own");
    };
    await expect(ask({ onToken })).rejects.toThrow("the caller's own");
    expect(await ask()).toEqual(answer);
  });

  test("questions asked at once are answered in turn", async () => {
    const answers = await Promise.all([ask(), ask({ method: "adaptvis" }), ask()]);
    expect(answers[0]).toEqual(answer);
    expect(answers[2]).toEqual(answer);
  });

  test("maxNewTokens is cut to what the context leaves", async () => {
    const context = model.config.text.maxPositionEmbeddings;
    const tokens = await ask({ maxNewTokens: 100_000 });
    expect(tokens).toHaveLength(context - inputs.inputIds.length + 1);
  });
});

test("abort in the middle of loading leaves nothing allocated", async () => {
  const { device } = await openTestDevice();
  const controller = new AbortController();
  const loading = Llava.load(fileSource(FOLDER), {
    device,
    signal: controller.signal,
    onProgress: ({ loadedBytes, totalBytes }) => {
      if (loadedBytes > totalBytes / 2) controller.abort();
    },
  });
  await expect(loading).rejects.toThrow(AbortError);
  const model = await loadGoldenModel("tiny-llava");
  model.dispose();
});

test("a disposed model says so, a second dispose does nothing, and the device lives on", async () => {
  const { device } = await openTestDevice();
  const model = await loadGoldenModel("tiny-llava");
  const inputs = goldenInputs(model, await readTensorFile("tiny-llava/expected.safetensors"));
  model.dispose();
  model.dispose();
  expect(model.gpu.allocatedBytes).toBe(0);
  await expect(model.answer(inputs)).rejects.toThrow("disposed");
  const gpu = new Gpu(device);
  gpu.dispose();
});

test("a lost device is a typed error, not wrong text", async () => {
  const device = await ownDevice();
  const model = await Llava.load(fileSource(FOLDER), { device });
  const inputs = goldenInputs(model, await readTensorFile("tiny-llava/expected.safetensors"));
  device.destroy();
  await device.lost;
  const failure = await model.answer(inputs).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(GpuError);
  expect(failure).toMatchObject({ reason: "device-lost" });
});
