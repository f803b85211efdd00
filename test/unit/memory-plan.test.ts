// The memory of LLaVA-1.5-7B's width from headers alone, by arithmetic that can be followed, and the form that is chosen for a memory.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { modelConfig } from "../../src/bench/random-checkpoint.ts";
import { CLIP_L, LLAVA_7B } from "../../src/bench/shapes.ts";
import { type Checkpoint, openCheckpoint } from "../../src/checkpoint/checkpoint.ts";
import { chooseForm, nearestFit, neededBytes } from "../../src/choose-form.ts";
import { InputError } from "../../src/errors.ts";
import type { WeightDtype } from "../../src/gpu/tensor.ts";
import { type PlannedDevice, planMemory } from "../../src/memory-plan.ts";
import type { Architecture } from "../../src/models/architecture.ts";
import { withMaxPicturePixels } from "../../src/models/checkpoint-architecture.ts";
import { readArchitecture } from "../../src/models/registry.ts";
import { headersOnly } from "../setup/headers-only.ts";

const MIB = 2 ** 20;

/** A GPU's traits; WebGPU guarantees bindings of 128 MiB. */
function deviceWith(bindingBytes: number, isSoftware = false): PlannedDevice {
  const limits = {
    maxBufferSize: bindingBytes,
    maxStorageBufferBindingSize: bindingBytes,
    maxComputeWorkgroupStorageSize: 16_384,
    maxComputeInvocationsPerWorkgroup: 256,
    maxComputeWorkgroupsPerDimension: 65_535,
  };
  const info = { vendor: "", architecture: "", device: "", description: "", isFallbackAdapter: false };
  // What the kernels are chosen by; a host's object has more.
  return {
    limits: limits as unknown as GPUSupportedLimits,
    features: new Set(),
    adapterInfo: info as GPUAdapterInfo,
    isSoftware,
  };
}

async function open(numHiddenLayers: number): Promise<{ checkpoint: Checkpoint; architecture: Architecture }> {
  const config = modelConfig({
    name: "7b",
    seed: 0,
    dtype: "F16",
    decoder: { ...LLAVA_7B, numHiddenLayers },
    vision: CLIP_L,
    tieWordEmbeddings: false,
    maxPositions: 4096,
  });
  const checkpoint = await openCheckpoint(headersOnly(config, "F16"));
  return { checkpoint, architecture: readArchitecture(checkpoint.config) };
}

let model: Awaited<ReturnType<typeof open>>;

beforeAll(async () => {
  model = await open(2);
});

afterAll(() => model.checkpoint.close());

const D = 4096;
const INNER = 11_008;
const VOCABULARY = 32_064;
const PICTURE = 576;

/** Weights of a decoder layer's matrices. */
const LAYER = 4 * D * D + 3 * D * INNER;
/** Of a layer of the vision tower. */
const VISION_LAYER = 4 * 1024 ** 2 + 2 * 1024 * 4096;
/** Bytes of its vectors in f32: biases of q, k, v, out, fc1 and fc2, and two norms. */
const VISION_VECTORS = 4 * (4 * 1024 + 4096 + 1024 + 4 * 1024);

describe.each([
  // Bytes of a weight of a matrix: in groups of 32, q8 takes 34 and q4 18.
  [undefined, 2, 2],
  ["q8", 34 / 32, 34 / 32],
  ["q4_1", 20 / 32, 34 / 32], // all but the decoder's layers in q8
  ["q4", 18 / 32, 34 / 32],
] as const)("7B in %s", (dtype, weight, otherWeight) => {
  test.each([2, 8])("%i layers", async (numLayers) => {
    const { checkpoint, architecture } = numLayers === 2 ? model : await open(numLayers);
    const device = deviceWith(2 ** 32 - 4);
    const { parts, ...plan } = await planMemory(checkpoint, architecture, { device, dtype });
    // Two of every 32 groups' scales share a word; the file's f16 stays for tables that no step multiplies by.
    expect(parts.embeddings).toBe(VOCABULARY * D * 2);
    expect(parts.lm_head).toBe(VOCABULARY * D * otherWeight);
    expect(parts["decoder layers"]).toBe(numLayers * (LAYER * weight + 2 * D * 4) + D * 4);
    expect(parts.projector).toBe((1024 * D + D * D) * otherWeight + 2 * D * 4);
    // 23 of 24 layers run; patches and positions keep f16, class token and the first norm are vectors.
    const tables = (3 * 14 * 14 + 580) * 1024 * 2; // 577 positions, padded to a multiple of 4
    expect(parts["vision tower"]).toBe(23 * (VISION_LAYER * otherWeight + VISION_VECTORS) + tables + 3 * 1024 * 4);
    // 576 positions of the picture, 64 of text and 64 new ones are 704, in slots of 256.
    expect([plan.contextLength, plan.promptLength, plan.numImages]).toEqual([704, 640, 1]);
    expect(plan.cacheBytesPerToken).toBe(numLayers * 2 * D * 4);
    expect(parts["keys and values"]).toBe(768 * plan.cacheBytesPerToken);
    expect(parts["image features"]).toBe(PICTURE * D * 4);
    expect(parts["logits and parameters"]).toBeGreaterThan(VOCABULARY * 4);
    const weights =
      parts["vision tower"] + parts.projector + parts.embeddings + parts["decoder layers"] + parts.lm_head;
    expect(plan.loadedBytes).toBe(weights + 3 * 256); // and what unused bindings are bound to
    expect(plan.answeredBytes).toBe(Object.values(parts).reduce((sum, bytes) => sum + bytes, 0));
    expect(plan.peakBytes).toBeGreaterThanOrEqual(plan.answeredBytes);
    expect(plan.hostPeakBytes).toBe((256 + 64) * MIB); // of a GPU, only the process and chunks of the file
  });
});

test("the decoder's scratch is that of a chunk of 256 rows and of the whole prompt", async () => {
  const { checkpoint, architecture } = model;
  const { parts } = await planMemory(checkpoint, architecture, { device: deviceWith(2 ** 32 - 4) });
  const promptRows = 768;
  const prompt = promptRows * (D + 1) * 4;
  const rows = 256 * (2 * D + 3 * D + D + 2 * INNER + INNER + 128) * 4; // hidden, normed, qkv, attention, gate and up, inner, rotary
  const decode = parts["scratch, decoder"] - prompt - rows;
  expect(decode).toBeGreaterThan(0); // partial sums of attention of one row, and room for edits
  expect(decode).toBeLessThan(2 * MIB);
});

test("matrices larger than a binding are split, by the multiple of 4 rows that fit", async () => {
  const { checkpoint, architecture } = model;
  const plan = await planMemory(checkpoint, architecture, { device: deviceWith(128 * MIB) });
  // f16 rows of 4096 are 8 KiB: 16,384 of them fit.
  expect(plan.splits).toEqual(
    [
      ["embed_tokens", VOCABULARY],
      ["0.mlp.gate_proj", 2 * INNER],
      ["1.mlp.gate_proj", 2 * INNER],
      ["lm_head", VOCABULARY],
    ].map(([name, rows]) => ({
      name: expect.stringContaining(String(name)),
      numPieces: Math.ceil(Number(rows) / 16_384),
    })),
  );
  const whole = await planMemory(checkpoint, architecture, { device: deviceWith(2 ** 32 - 4) });
  expect(whole.splits).toEqual([]);
  expect(plan.loadedBytes).toBe(whole.loadedBytes);
});

test("a limit that forbids a load is its problem, and the sizes are those without it", async () => {
  const { checkpoint, architecture } = model;
  // 8 pieces of 16 MiB hold 128 of the table's 250.5 MiB.
  const plan = await planMemory(checkpoint, architecture, { device: deviceWith(16 * MIB) });
  expect(plan.problem).toMatch(/^Tensor .*embed_tokens.weight is 250\.5 MiB, more than 8 bindings of 16\.0 MiB/);
  const whole = await planMemory(checkpoint, architecture, { device: deviceWith(2 ** 32 - 4) });
  expect(plan.loadedBytes).toBe(whole.loadedBytes);
});

test("a memory is filled with the most exact form that fits, to the byte", async () => {
  const { checkpoint, architecture } = model;
  for (const isSoftware of [false, true]) {
    const device = deviceWith(2 ** 32 - 4, isSoftware);
    const needs = async (dtype: WeightDtype | undefined) =>
      neededBytes(await planMemory(checkpoint, architecture, { device, dtype }));
    const chosen = async (memoryBytes: number) => {
      const { plan, fits } = await chooseForm(checkpoint, architecture, { device, memoryBytes });
      return [plan.dtype, fits];
    };
    const [file, q8, q4] = [await needs(undefined), await needs("q8"), await needs("q4")];
    const q41 = await needs("q4_1");
    expect(await chosen(file)).toEqual([undefined, true]);
    expect(await chosen(file - 1)).toEqual(["q8", true]); // f16 is the file's own form
    expect(await chosen(q8 - 1)).toEqual(["q4_1", true]);
    expect(await chosen(q41 - 1)).toEqual(["q4", true]);
    expect(await chosen(q4)).toEqual(["q4", true]);
    expect(await chosen(q4 - 1)).toEqual(["q4", false]);
  }
});

test("where no form fits, keys and values in q8 are the next, then a shorter context", async () => {
  const { checkpoint, architecture } = model;
  const device = deviceWith(2 ** 32 - 4);
  const options = { device, contextLength: 4096 };
  const q4 = await planMemory(checkpoint, architecture, { ...options, dtype: "q4" });
  const near = (memoryBytes: number) => nearestFit(checkpoint, architecture, { ...options, memoryBytes });
  expect(await near(q4.peakBytes - 1)).toMatchObject({ dtype: "q4", kvDtype: "q8", contextLength: 4096 });
  const packed = await planMemory(checkpoint, architecture, { ...options, dtype: "q4", kvDtype: "q8" });
  const shorter = await near(packed.peakBytes - 1);
  expect(shorter).toMatchObject({ dtype: "q4", kvDtype: "q8" });
  expect(shorter?.peakBytes).toBeLessThan(packed.peakBytes);
  expect(Number(shorter?.contextLength) % 256).toBe(0); // as slots are allocated
  const longer = {
    ...options,
    dtype: "q4",
    kvDtype: "q8",
    contextLength: Number(shorter?.contextLength) + 256,
  } as const;
  expect((await planMemory(checkpoint, architecture, longer)).peakBytes).toBeGreaterThan(packed.peakBytes - 1);
  expect(await near(100 * MIB)).toBeUndefined();
});

describe("Qwen2-VL's width with a raised limit of pixels", () => {
  const vision_config = { depth: 1, embed_dim: 1280, hidden_size: 1536, num_heads: 16 };
  const text = { hidden_size: 1536, intermediate_size: 8960, num_attention_heads: 12, num_key_value_heads: 2 };
  const config = { model_type: "qwen2_vl", ...text, vocab_size: 152_000, num_hidden_layers: 1, vision_config };
  const architecture = readArchitecture(config);
  let checkpoint: Checkpoint;

  beforeAll(async () => {
    checkpoint = await openCheckpoint(headersOnly(config, "F16"));
  });
  afterAll(() => checkpoint.close());

  test("the plan is for a picture of so many pixels", async () => {
    const device = deviceWith(2 ** 32 - 4);
    const plan = await planMemory(checkpoint, withMaxPicturePixels(architecture, 2_000_000), { device });
    const usual = await planMemory(checkpoint, architecture, { device });
    expect(plan.promptLength - usual.promptLength).toBe(50 * 51 - 1280); // 2,550 × 28² pixels are at most 2,000,000
    expect(plan.parts["image features"]).toBe(50 * 51 * 1536 * 4);
    expect(plan.problem).toBeUndefined();
  });

  test("a limit of the adapter that it exceeds is told, and memory alone decides on the form", async () => {
    const raised = withMaxPicturePixels(architecture, 2_000_000);
    const advice = "lower maxPicturePixels (--max-picture-pixels) or use an adapter with larger limits";
    const small = deviceWith(128 * MIB);
    const { plan, fits } = await chooseForm(checkpoint, raised, { device: small, memoryBytes: 2 ** 40 });
    expect(fits).toBe(false);
    expect(plan.dtype).toBeUndefined();
    expect(plan.problem).toBe(
      `A picture of 1428×1400 pixels is too large: Buffer vision qkv needs 149.4 MiB but this adapter allows 128.0 MiB in one binding; ${advice}.`,
    );
    const device = { ...small, limits: { ...small.limits, maxComputeWorkgroupsPerDimension: 10_000 } };
    expect((await planMemory(checkpoint, raised, { device })).problem).toBe(
      `A picture of 1428×1400 pixels is too large: it has 10200 patches but this adapter allows 10000 at once; ${advice}.`,
    );
  });
});

test("a question that cannot be is refused", async () => {
  const { checkpoint, architecture } = model;
  const plan = (options: object) =>
    planMemory(checkpoint, architecture, { device: deviceWith(2 ** 32 - 4), ...options });
  await expect(plan({ contextLength: 4097 })).rejects.toThrow(InputError);
  await expect(plan({ contextLength: 4097 })).rejects.toThrow("from 578 to 4096 positions, of which 576 are");
  await expect(plan({ contextLength: 577 })).rejects.toThrow("got 577");
  await expect(plan({ numImages: 8 })).rejects.toThrow("from 4610 to 4096");
  await expect(plan({ numImages: -1 })).rejects.toThrow("numImages must be a whole number of at least 0, got -1.");
  await expect(plan({ contextLength: 600, maxNewTokens: 24 })).rejects.toThrow("from 1 to 23, got 24");
  expect(await plan({ contextLength: 578 })).toMatchObject({ promptLength: 577 });
});
