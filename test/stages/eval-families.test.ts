// What an evaluation keeps of a question, on a tiny checkpoint of each family whose pictures are tiles or grids: methods, boxes, maps.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import { identityOf, readModelFacts, readTask, settingsOfRun } from "../../src/cli/eval-setup.ts";
import { at } from "../../src/errors.ts";
import { dataSetNamed } from "../../src/evaluate/datasets/registry.ts";
import { type DataFolder, readDataFolder } from "../../src/evaluate/run/data-folder.node.ts";
import { differences } from "../../src/evaluate/run/run-folder.node.ts";
import { answerTask, type PromptForm } from "../../src/evaluate/run/samples.ts";
import { Llava } from "../../src/llava.ts";
import { tinySpatial } from "../cli/command.ts";
import { openTestDevice } from "../setup/device.ts";
import { goldenCheckpoint } from "../setup/golden-checkpoint.ts";

const METHODS = ["greedy", "scaling", "adaptvis:beta=1"];
const dataSet = dataSetNamed("Controlled_A");
let folder: string;
let data: DataFolder;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "adaptvis-families-"));
  data = await readDataFolder(dataSet, { folder: join(tinySpatial, "benchmark", "test") });
});
afterAll(() => rm(folder, { recursive: true }));

interface Family {
  readonly name: string;
  readonly promptForm: PromptForm;
  /** Columns and rows of the map of a square picture. */
  readonly side: number;
  readonly maxPicturePixels?: number;
}

const FAMILIES: readonly Family[] = [
  { name: "smolvlm", promptForm: "template", side: 6 }, // 3 × 3 tiles of 2 × 2 positions
  { name: "llava-onevision", promptForm: "authors", side: 5 },
  { name: "qwen2-vl", promptForm: "authors", side: 10, maxPicturePixels: 6400 }, // blocks of 8 × 8 pixels
  { name: "qwen2-5-vl", promptForm: "template", side: 10, maxPicturePixels: 6400 },
  { name: "qwen3-vl", promptForm: "authors", side: 10, maxPicturePixels: 6400 },
];

test("a run with another limit of pixels is another run, and a family without one refuses it", async () => {
  const { signal } = new AbortController();
  const qwen = await goldenCheckpoint("qwen2-vl", join(folder, "limited"));
  const identity = async (flags: { readonly maxPicturePixels?: number }) => {
    const facts = await readModelFacts(qwen, flags, signal);
    expect(facts.imageProcessor?.patches?.maxPixels).toBe(flags.maxPicturePixels ?? 1_003_520);
    const request = { dataSet, methods: METHODS, promptForm: "authors", maxNewTokens: 2, maxRows: 4 } as const;
    const rest = { hasQuirks: false, mapLayer: undefined, boxes: undefined };
    const settings = await settingsOfRun({ ...request, ...rest }, facts, signal);
    return identityOf({ model: "", facts, data, settings, boxes: undefined, split: "all", ids: null });
  };
  const [usual, limited] = [await identity({}), await identity({ maxPicturePixels: 6400 })];
  expect(differences(limited, usual)).toEqual(["maxPicturePixels 6400 instead of undefined"]);
  const smolvlm = await goldenCheckpoint("smolvlm", join(folder, "tiles"));
  await expect(readModelFacts(smolvlm, { maxPicturePixels: 6400 }, signal)).rejects.toThrow(
    /^maxPicturePixels \(--max-picture-pixels\) is a setting of Qwen2-VL/,
  );
});

test.each(FAMILIES)("$name, prompts by $promptForm", async ({ name, promptForm, side, maxPicturePixels }) => {
  const { device } = await openTestDevice();
  const source = fileSource(await goldenCheckpoint(name, join(folder, name)));
  const model = await Llava.load(source, { device, maxPicturePixels });
  try {
    const { config, defaults } = model;
    const { numHiddenLayers, numAttentionHeads } = config.text;
    const request = { dataSet, methods: METHODS, promptForm, maxNewTokens: 2, maxRows: 4, hasQuirks: false } as const;
    const facts = { text: config.text, defaults };
    const rest = { mapLayer: undefined, boxes: undefined };
    const run = await settingsOfRun({ ...request, ...rest }, facts, new AbortController().signal);
    for (const id of [0, 1]) {
      const task = await readTask(data, id, undefined);
      const { width, height } = at(task.images, 0);
      const top = { label: "top", confidence: 1, x0: 0, y0: 0, x1: width, y1: height / 2 };
      const bottom = { label: "bottom", confidence: 1, x0: 0, y0: height / 2, x1: width, y1: height };
      const boxes = id === 0 ? [top, bottom] : [top];
      const lines = await answerTask(model, { ...task, boxes }, run);
      expect(lines.map(({ method }) => method)).toEqual(METHODS);
      const [greedy, scaled, gated] = lines;
      expect([greedy?.factor, scaled?.factor, gated?.factor]).toEqual([1, 0.8, 0.5]); // below a beta of 1, it is alpha1
      for (const { confidence, image_share: shares, image_map: map, box_overlap: overlap } of lines) {
        expect(confidence).toBe(greedy?.confidence);
        expect(shares?.map((share) => share > 0 && share < 1)).toEqual(Array(numHiddenLayers).fill(true));
        expect(map).toMatchObject({ rows: side, columns: side });
        expect(overlap?.coverage).toBeCloseTo(id === 0 ? 1 : 0.5, 5);
        const heads = overlap?.mass.flat().map(Number) ?? [];
        expect(heads).toHaveLength(numHiddenLayers * numAttentionHeads);
        // Two halves hold all of the attention on the picture, and one half some of it.
        expect(heads.every((mass) => (id === 0 ? Math.abs(mass - 1) < 1e-4 : mass > 0 && mass < 1))).toBe(true);
      }
      expect(gated?.unmodified_map).toEqual(greedy?.image_map);
      expect(gated?.image_share).not.toEqual(greedy?.image_share);
    }
  } finally {
    model.dispose();
  }
});
