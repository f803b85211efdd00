// A whole model, small: made, cached, loaded, measured beside a peer that speaks the protocol.
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { measureFullSize } from "../../src/bench/full-size.ts";
import { cachedCheckpoint } from "../../src/bench/host.node.ts";
import { LLAVA_7B_FULL, type ModelCase } from "../../src/bench/model-cases.ts";
import { measureModel, textIds } from "../../src/bench/models.ts";
import { startPeers } from "../../src/bench/peer-process.node.ts";
import { checkpointFiles } from "../../src/bench/random-checkpoint.ts";
import { randomSource } from "../../src/bench/random-source.ts";
import { CLIP_B, LLAMA_110M } from "../../src/bench/shapes.ts";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.ts";
import { toF32 } from "../../src/checkpoint/dtypes.ts";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import { Llava } from "../../src/llava.ts";
import { tinySpatial } from "../cli/command.ts";
import { openTestDevice } from "../setup/device.ts";
import { fakePeerFolder } from "./fake-peer.ts";

const spec = {
  name: "small",
  seed: 3,
  dtype: "F16",
  decoder: {
    ...LLAMA_110M,
    hiddenSize: 64,
    intermediateSize: 96,
    numHiddenLayers: 2,
    numAttentionHeads: 4,
    numKeyValueHeads: 4,
    headDim: 16,
    vocabSize: 512,
  },
  vision: { ...CLIP_B, hiddenSize: 32, intermediateSize: 64, numHiddenLayers: 2, numAttentionHeads: 2, imageSize: 32 },
  tieWordEmbeddings: true,
  maxPositions: 256,
} as const;

let cacheFolder: string;

beforeAll(async () => {
  cacheFolder = await mkdtemp(join(tmpdir(), "adaptvis-bench-"));
});

afterAll(() => rm(cacheFolder, { recursive: true, force: true }));

test("equal specs give equal bytes, another seed others", () => {
  const weights = (seed: number) => [...checkpointFiles({ ...spec, seed })].map(({ content }) => content);
  expect(weights(3)).toEqual(weights(3));
  expect(weights(4)[1]).not.toEqual(weights(3)[1]);
});

test("a random checkpoint loads, and its greedy tokens are not all the same", async () => {
  const { device, isSoftware } = await openTestDevice();
  const folder = await cachedCheckpoint(spec, { cacheFolder, tokenizerFolder: tinySpatial });
  expect(await cachedCheckpoint(spec, { cacheFolder, tokenizerFolder: tinySpatial })).toBe(folder);
  expect(await readdir(cacheFolder)).toHaveLength(1);
  const llava = await Llava.load(fileSource(folder), { device, adapterClass: isSoftware ? "cpu" : "gpu" });
  try {
    const inputs = llava.processor.fromTensors({ inputIds: textIds(16, 1), pixelValues: undefined });
    const { tokens } = await llava.answer(inputs, { maxNewTokens: 24, ignoreEos: true });
    expect(new Set(tokens.map(({ tokenId }) => tokenId)).size).toBeGreaterThan(4);
  } finally {
    llava.dispose();
  }
});

test("a model is measured beside a peer, whose refusals stand in the figures", async () => {
  const { device, isSoftware } = await openTestDevice();
  const folder = await cachedCheckpoint(spec, { cacheFolder, tokenizerFolder: tinySpatial });
  const peerFolder = await fakePeerFolder("none");
  const { peers } = await startPeers(peerFolder, {});
  const model: ModelCase = {
    name: "models/small",
    description: "small",
    spec,
    weights: "f16",
    prefillRows: 16,
    decodeTokens: 4,
    asksQuestions: true,
    questionTokens: 8,
    hasPeers: true,
    isQuick: true,
  };
  try {
    const figures = await measureModel(model, {
      device,
      isSoftware,
      folder,
      open: () => fileSource(folder),
      peers,
      rounds: { rounds: 2, budgetMs: 60_000 },
      peakRssBytes: () => null,
    });
    expect(figures).toMatchObject({ prefill: [expect.any(Number), expect.any(Number)], peakRssBytes: null });
    expect(figures.questions).toMatchObject({ promptTokens: 12, imageTokens: 4 });
    expect(figures.questions?.greedy).toHaveLength(2);
    const positive = [...figures.decode, ...figures.visionMs, ...(figures.questions?.secondMs ?? []), figures.loadMbps];
    expect(Math.min(...positive)).toBeGreaterThan(0);
    expect(figures.peers).toMatchObject([
      {
        name: "onnxruntime-fake",
        refusals: { vision: "It has no eyes." },
        prefill: [1600, 1600],
        decode: [200, 200],
        agreement: { numCompared: 5 },
      },
    ]);
  } finally {
    for (const peer of peers) await peer.close();
    await rm(peerFolder, { recursive: true, force: true });
  }
});

test("random weights that are made while they are read: any range has the same bytes in any read, rows differ, values spread as stated", async () => {
  const checkpoint = await openCheckpoint(randomSource(spec, fileSource(tinySpatial)));
  const name = "language_model.model.embed_tokens.weight";
  const whole = await checkpoint.read(name);
  expect(whole.length).toBe(512 * 64 * 2);
  for (const [start, end] of [
    [0, 1],
    [1001, 40_003],
    [60_000, whole.length],
  ] as const) {
    expect(await checkpoint.read(name, { start, end })).toEqual(whole.slice(start, end));
  }
  const other = await openCheckpoint(randomSource({ ...spec, seed: 4 }, fileSource(tinySpatial)));
  expect(await other.read(name)).not.toEqual(whole);
  const matrix = toF32(await checkpoint.read("language_model.model.layers.1.mlp.down_proj.weight"), "f16"); // [64, 96]
  const deviation = Math.hypot(...matrix) / Math.sqrt(matrix.length);
  expect(deviation).toBeGreaterThan(0.97 / Math.sqrt(96));
  expect(deviation).toBeLessThan(1.03 / Math.sqrt(96));
  const rows = Array.from({ length: 64 }, (_, row) => String(matrix.subarray(row * 96, (row + 1) * 96)));
  expect(new Set(rows).size).toBe(64);
  expect(new Set([...checkpoint.tensors.values()].map(({ file }) => file)).size).toBe(3);
});

test("the full-size one has the tensors and bytes of the published llava-1.5-7b", async () => {
  const checkpoint = await openCheckpoint(randomSource(LLAVA_7B_FULL, fileSource(tinySpatial)));
  // Of its model.safetensors.index.json: entries of weight_map, and metadata.total_size.
  expect([checkpoint.tensors.size, checkpoint.totalBytes]).toEqual([686, 14_126_854_144]);
  const gate = checkpoint.tensors.get("language_model.model.layers.31.mlp.gate_proj.weight");
  expect(gate).toMatchObject({ entry: { dtype: "F16", shape: [11_008, 4096] } });
  expect(checkpoint.tensors.has("vision_tower.vision_model.encoder.layers.23.mlp.fc2.weight")).toBe(true);
});

test("a model that is measured once: every stage of one question with AdaptVis", async () => {
  const { device, isSoftware } = await openTestDevice();
  const model: ModelCase = {
    name: "models/small-full",
    description: "for this test",
    spec,
    quantized: "q4",
    weights: "q4",
    prefillRows: 0,
    decodeTokens: 3,
    asksQuestions: false,
    questionTokens: 16,
    hasPeers: false,
    isQuick: false,
    isFullSize: true,
  };
  const open = () => randomSource(spec, fileSource(tinySpatial));
  const rounds = { rounds: 1, budgetMs: 1 };
  const figures = await measureFullSize(model, { device, isSoftware, open, rounds, peakRssBytes: () => 1 });
  expect(figures).toMatchObject({
    name: model.name,
    prefillRows: 20,
    decodeTokens: 3,
    peakRssBytes: 1,
    questions: null,
  });
  expect(figures.loadMbps).toBeGreaterThan(0);
  expect(figures.gpuBytes).toBeGreaterThan(10_000);
  if (!device.features.has("timestamp-query")) return;
  expect(figures.stages?.map(({ stage }) => stage)).toEqual([
    "vision",
    "embed prompt",
    "prefill",
    "choose",
    "AdaptVis step and decode steps",
    "embed 1 tokens",
  ]);
  for (const times of [figures.visionMs, figures.prefill, figures.decode]) expect(times).toHaveLength(1);
});
