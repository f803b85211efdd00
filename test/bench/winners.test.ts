// Which engine the report recommends: from medians, with adaptvis among them, and only engines whose results are right.
import { describe, expect, test } from "vitest";
import type { ModelFigures, PeerFigures } from "../../src/bench/models.ts";
import { type BenchReport, reportTables } from "../../src/bench/report.ts";
import { reportHtml } from "../../src/bench/report-html.node.ts";
import { type Winner, winnersOf } from "../../src/bench/winners.ts";

const ours: ModelFigures = {
  name: "models/small",
  description: "small, f32",
  weights: "f32",
  weightBytes: 1e6,
  loadMs: 10,
  warmUpMs: 5,
  loadMbps: 100,
  visionMs: [400, 300, 500],
  prefillRows: 100,
  prefill: [100, 90, 110],
  decodeTokens: 20,
  decode: [10, 8, 12],
  questions: null,
  gpuBytes: 1e6,
  peakRssBytes: null,
  peers: [],
};

function peer(name: string, figures: Partial<PeerFigures>): PeerFigures {
  const agreement = { numCompared: 21, numEqual: 21 };
  return { name, refusals: {}, loadMs: 1, visionMs: [], prefill: [], decode: [], agreement, ...figures };
}

const identity = (name: string, caveats?: readonly string[]) => ({
  name,
  version: "1.2.3",
  adapter: "CPU",
  ...(caveats && { caveats }),
});

function winnersWith(peers: readonly PeerFigures[], of: Partial<ModelFigures> = {}): ReadonlyMap<string, Winner> {
  const winners = winnersOf(
    [{ ...ours, ...of, peers }],
    peers.map(({ name }) => identity(name)),
  );
  return new Map(winners.map((winner) => [winner.task, winner]));
}

describe("the winner of a task", () => {
  test("is the best median, and the sentence says that adaptvis loses", () => {
    const winners = winnersWith([peer("llama.cpp-cpu", { prefill: [50, 700, 600], decode: [30, 1, 40] })]);
    expect(winners.get("decode")).toEqual({
      model: "models/small",
      weights: "f32",
      task: "decode",
      use: "llama.cpp-cpu",
      unit: "tokens/s",
      contenders: [
        { name: "llama.cpp-cpu", value: 30 },
        { name: "adaptvis", value: 10 },
      ],
      sentence:
        "On this machine, with f32 weights, use llama.cpp-cpu for decode (20 tokens): 30.0 tokens/s, 3.00 times as fast as adaptvis (10.0 tokens/s), which loses here.",
    });
    expect(winners.get("prefill")?.use).toBe("llama.cpp-cpu");
  });

  test("is adaptvis where it is faster, or where no other engine has a figure", () => {
    const winners = winnersWith([peer("slow", { prefill: [50], decode: [5] })], { weights: "q8" });
    expect(winners.get("decode")?.sentence).toBe(
      "On this machine, with q8 weights, use adaptvis for decode (20 tokens): 10.0 tokens/s, 2.00 times as fast as the next, slow (5.00 tokens/s).",
    );
    expect(winners.get("vision")?.sentence).toBe(
      "On this machine, with q8 weights, use adaptvis for vision (one picture): 400 ms, no other engine has a figure.",
    );
  });

  test("of an answer is the smallest sum of its parts; an engine that lacks a part has none", () => {
    const winners = winnersWith([
      peer("text only", { prefill: [1000], decode: [100] }),
      peer("whole", { prefill: [200], decode: [20], visionMs: [100] }),
    ]);
    expect(winners.get("a whole answer to a text")?.contenders).toEqual([
      { name: "text only", value: 300 },
      { name: "whole", value: 1500 },
      { name: "adaptvis", value: 3000 },
    ]);
    expect(winners.get("a whole answer about a picture")).toMatchObject({
      use: "whole",
      contenders: [
        { name: "whole", value: 1600 },
        { name: "adaptvis", value: 3400 },
      ],
    });
  });

  test("is no engine whose results are known to be wrong, and the sentence says so", () => {
    const fast = peer("onnxruntime-webgpu", { visionMs: [10], prefill: [999], decode: [99] });
    const winners = winnersOf([{ ...ours, peers: [fast] }], [identity(fast.name, ["Its attention is wrong."])]);
    expect(winners.map(({ use }) => use)).toEqual(Array(5).fill("adaptvis"));
    expect(winners[2]?.sentence).toContain(
      "no other engine has a figure; onnxruntime-webgpu (99.0 tokens/s) is left out because its results are known to be wrong",
    );
  });

  test("is no engine whose first token in f32 is another one, but for vision it may be", () => {
    const agreement = { numCompared: 21, numEqual: 0 };
    const other = peer("other", { visionMs: [10], prefill: [999], decode: [99], agreement });
    const winners = winnersWith([other]);
    expect(winners.get("decode")).toMatchObject({ use: "adaptvis" });
    expect(winners.get("decode")?.sentence).toContain("because it gives other tokens than adaptvis");
    expect(winners.get("vision")).toMatchObject({ use: "other" });
    expect(winnersWith([other], { weights: "q4" }).get("decode")).toMatchObject({ use: "other" });
  });

  test("may leave our tokens later, which the sentence says", () => {
    const agreement = { numCompared: 21, numEqual: 7 };
    const { sentence } = winnersWith([peer("other", { decode: [99], agreement })]).get("decode") ?? { sentence: "" };
    expect(sentence).toContain("; of its tokens the first 7 of 21 are adaptvis'.");
  });
});

test("models without peers have no winners", () => {
  expect(winnersOf([ours], [])).toEqual([]);
  expect(winnersOf(null, [])).toEqual([]);
});

test("the tables and the page name the winners and where each engine ran", async () => {
  const peers = [peer("llama.cpp-vulkan", { decode: [30] })];
  const identities = [{ ...identity("llama.cpp-vulkan"), adapter: "lavapipe: llvmpipe (LLVM 15)" }];
  const models = [{ ...ours, peers }];
  const report: BenchReport = {
    stamp: {
      date: "2026-01-01T00:00:00.000Z",
      revision: null,
      versions: {},
      cpu: "a CPU",
      numCpus: 2,
      memoryBytes: 1e9,
      platform: "linux",
      adapter: { kind: "lavapipe", isSoftware: true, description: "lavapipe", info: {}, features: [], limits: {} },
      options: {},
      tuningKey: "",
    },
    roofline: null,
    kernels: null,
    sweeps: null,
    parity: null,
    models,
    scaling: null,
    start: null,
    peers: identities,
    missingPeers: [],
    ratios: [],
    winners: winnersOf(models, identities),
    failures: [],
    seconds: {},
  };
  const tables = reportTables(report);
  expect(tables.at(-2)).toMatchObject({ rows: [["llama.cpp-vulkan", "1.2.3", "lavapipe: llvmpipe (LLVM 15)"]] });
  expect(tables.at(-1)).toMatchObject({
    title: "What to use on this machine",
    rows: expect.arrayContaining([["f32", "decode", "llama.cpp-vulkan", "30.0 tokens/s", "10.0 tokens/s"]]),
  });
  const page = await reportHtml(report);
  expect(page).toContain("<li>On this machine, with f32 weights, use llama.cpp-vulkan for decode");
});
