// What the page computes before it draws: numbers in words, maps out of the worker's arrays, passes in groups, files.
import { describe, expect, test } from "vitest";
import { brightestPatch, mapOf, placeInWords } from "../../src/app/draw/attention-view.ts";
import { extent, stagesOf, timeOf } from "../../src/app/draw/pass-groups.ts";
import { byteSize, decimal, duration, percent, visibleToken } from "../../src/app/draw/words.ts";
import type { AttentionView } from "../../src/app/protocol.ts";
import { attentionMap } from "../../src/inspect/attention-map.ts";
import type { ExplainedPass } from "../../src/inspect/explained-pass.ts";

/** As people read them: a no-break space is a space. */
const read = (text: string) => text.replaceAll("\u00a0", " ");

describe("numbers in words", () => {
  test("probabilities keep a digit, but for none and all", () => {
    expect([0, 0.0001, 0.0006, 0.5591, 0.99949, 0.9996, 1].map(percent).map(read)).toEqual([
      "0 %",
      "< 0.1 %",
      "0.1 %",
      "55.9 %",
      "99.9 %",
      "100 %",
      "100 %",
    ]);
  });

  test("factors have no zeros at their end", () => {
    expect([1, 0.5, 1.25, 1 / 3].map((value) => decimal(value))).toEqual(["1", "0.5", "1.25", "0.333"]);
  });

  test("bytes and times are in the unit that suits them", () => {
    expect([512, 1024, 3.2 * 2 ** 20, 14 * 2 ** 30].map(byteSize).map(read)).toEqual([
      "512 B",
      "1.0 KiB",
      "3.2 MiB",
      "14 GiB",
    ]);
    expect([0.078, 5.3, 470, 2350, 75_000].map(duration).map(read)).toEqual([
      "78 µs",
      "5.3 ms",
      "470 ms",
      "2.35 s",
      "75 s",
    ]);
  });

  test("what cannot be seen in a token is shown", () => {
    expect([" Left", "a\nb", "", "x"].map(visibleToken)).toEqual(["␣Left", "a↵b", "(nothing)", "x"]);
  });
});

describe("maps", () => {
  const numLayers = 2;
  const numHeads = 3;
  const [gridWidth, gridHeight] = [3, 2];
  const numPatches = gridWidth * gridHeight;
  const numKeys = numPatches + 3;
  const span = [1, 1 + numPatches] as const;
  const rows = Array.from({ length: numLayers }, (_, layer) => {
    const probs = Float32Array.from({ length: numHeads * numKeys }, (_, at) => ((at * 7 + layer * 3) % 11) / 100);
    return { layer, scores: probs, probs };
  });
  const view: AttentionView = {
    numLayers,
    numHeads,
    gridWidth,
    gridHeight,
    values: Float32Array.from({ length: numLayers * numHeads * numPatches }, (_, at) => {
      const row = Math.floor(at / numPatches);
      const probs = rows[Math.floor(row / numHeads)]?.probs;
      return probs?.[(row % numHeads) * numKeys + span[0] + (at % numPatches)] ?? 0;
    }),
    shares: Float32Array.from({ length: numLayers * numHeads }, (_, row) => {
      const start = (row % numHeads) * numKeys + span[0];
      const probs = rows[Math.floor(row / numHeads)]?.probs.subarray(start, start + numPatches) ?? new Float32Array();
      return probs.reduce((sum, prob) => sum + prob, 0);
    }),
  };

  test.each([
    { layer: 0, head: undefined },
    { layer: 1, head: undefined },
    { layer: 1, head: 2 },
  ])("layer $layer, head $head is the engine's own map", (choice) => {
    const image = { runs: [span], grid: { width: gridWidth, height: gridHeight } };
    const ours = mapOf(view, choice);
    const theirs = attentionMap(rows, image, { numHeads, selection: choice });
    expect(ours.values.length).toBe(theirs.values.length);
    for (const [patch, value] of theirs.values.entries()) expect(ours.values[patch]).toBeCloseTo(value, 6);
    expect(ours.share).toBeCloseTo(theirs.share, 6);
    expect(ours.entropy).toBeCloseTo(theirs.entropy, 5);
    expect([ours.layer, ours.head, ours.width, ours.height]).toEqual([
      choice.layer,
      choice.head,
      gridWidth,
      gridHeight,
    ]);
  });

  test("numbers past the last layer and head mean the last", () => {
    expect(mapOf(view, { layer: 9, head: 9 })).toEqual(mapOf(view, { layer: 1, head: 2 }));
  });

  test("the brightest patch has a place in words", () => {
    const map = { ...mapOf(view, { layer: 0, head: 0 }), width: 3, height: 3 };
    const place = (patch: number) => {
      const values = Float64Array.from({ length: 9 }, (_, at) => (at === patch ? 1 : 0));
      return placeInWords({ ...map, values }, brightestPatch({ ...map, values }));
    };
    expect([0, 1, 4, 5, 8].map(place)).toEqual(["upper left", "upper centre", "centre", "middle right", "lower right"]);
  });
});

describe("passes", () => {
  const pass = (index: number, stage: string, place: string, gpuMs: number | undefined): ExplainedPass => ({
    index,
    stage,
    place,
    what: "",
    kernel: "matmul",
    grid: [1, 1, 1],
    workgroupSize: [64, 1, 1],
    constants: {},
    params: {},
    gpuMs,
    tensors: [],
    outputs: [],
  });

  test("are grouped by stage, and in a stage by layer, in their order", () => {
    const stages = stagesOf([
      pass(0, "vision", "vision.patch_embedding", 1),
      pass(1, "vision", "vision.layers.0.mlp.fc1", 2),
      pass(2, "vision", "vision.layers.0.mlp.fc2", 3),
      pass(3, "prefill", "layers.0.mlp.down_proj", 4),
      pass(4, "prefill", "norm", undefined),
    ]);
    const shape = stages.map(({ title, groups, numPasses, gpuMs }) => ({
      title,
      numPasses,
      gpuMs,
      groups: groups.map((group) => [group.title, ...group.passes.map(({ index }) => index)]),
    }));
    expect(shape).toEqual([
      {
        title: "vision",
        numPasses: 3,
        gpuMs: 6,
        groups: [
          ["", 0],
          ["layer 0", 1, 2],
        ],
      },
      {
        title: "prefill",
        numPasses: 2,
        gpuMs: undefined,
        groups: [
          ["layer 0", 3],
          ["", 4],
        ],
      },
    ]);
    expect(timeOf([])).toBe(0);
  });

  test("grids are written without the ones at their end", () => {
    expect(
      [
        [1, 1, 1],
        [14, 1, 1],
        [1, 12, 91],
        [3, 1, 2],
      ].map(extent),
    ).toEqual(["1", "14", "1 × 12 × 91", "3 × 1 × 2"]);
  });
});
