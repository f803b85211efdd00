// A whole model, small: made, cached, loaded, measured beside a peer that speaks the protocol.
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { cachedCheckpoint } from "../../src/bench/host.node.ts";
import type { ModelCase } from "../../src/bench/model-cases.ts";
import { measureModel, textIds } from "../../src/bench/models.ts";
import { startPeers } from "../../src/bench/peer-process.node.ts";
import { checkpointFiles } from "../../src/bench/random-checkpoint.ts";
import { CLIP_B, LLAMA_110M } from "../../src/bench/shapes.ts";
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
