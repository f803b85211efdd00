// Activation patching, knock-out windows and head ablation against transformers with hooks (tools/goldens/causal.py), batched and one by
// one.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ablationGrid } from "../../src/causal/ablation.ts";
import type { ExperimentHost } from "../../src/causal/changed-runs.ts";
import type { Measure } from "../../src/causal/grid.ts";
import { knockOutGrid } from "../../src/causal/knock-out-windows.ts";
import { patchGrid } from "../../src/causal/patching.ts";
import { editContext } from "../../src/edits.ts";
import { at, InputError } from "../../src/errors.ts";
import type { PatchOptions } from "../../src/experiments.ts";
import type { Llava } from "../../src/llava.ts";
import type { ModelInputs } from "../../src/models/inputs.ts";
import { goldenInputs, largestError, logitsOf, readTensorFile, type TensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";
import { PARITY } from "../setup/parity-bounds.ts";

describe.each(["llava-deep", "tiny-llava"])("%s", (name) => {
  let model: Llava;
  let golden: TensorFile;
  let clean: ModelInputs;
  let corrupted: ModelInputs;
  beforeAll(async () => {
    model = await loadGoldenModel(name, { chunkRows: 7 }); // changed rows begin within chunks
    golden = await readTensorFile(`causal/${name}.safetensors`);
    clean = goldenInputs(model, golden, "clean.");
    corrupted = goldenInputs(model, golden, "corrupted.");
  });
  afterAll(() => model.dispose());

  test.each(["hidden", "attention", "mlp", "head"] as const)(
    "%s of the clean run in the corrupted one",
    async (part) => {
      const grid = { part, positions: golden.ids("positions") };
      const logits = await logitsOfCells(corrupted, (host, of) =>
        patchGrid(host, { clean, corrupted }, { ...of, grid }),
      );
      expect(largestError(logits.cells, golden.get(`patch.${part}`).data)).toBeLessThan(PARITY.logits);
      expect(largestError(logits.unchanged, golden.get("corrupted.logits").data)).toBeLessThan(PARITY.logits);
    },
  );

  test("hidden states of the whole picture", async () => {
    const grid = { part: "hidden", positions: "image", grouping: "picture" } as const;
    const { cells } = await logitsOfCells(corrupted, (host, of) => {
      return patchGrid(host, { clean, corrupted }, { ...of, grid });
    });
    expect(largestError(cells, golden.get("patch.image").data)).toBeLessThan(PARITY.logits);
  });

  test.each([
    ["last", { window: 3 }],
    ["after", { rows: "after-image", window: 2 }],
  ] as const)("the picture knocked out in windows, rows: %s", async (rows, grid) => {
    const { cells } = await logitsOfCells(clean, (host, of) => knockOutGrid(host, clean, { ...of, grid }));
    expect(largestError(cells, golden.get(`knock-out.${rows}`).data)).toBeLessThan(PARITY.logits);
  });

  test.each(["zero", "mean", "mean-over"] as const)("heads ablated: %s", async (mode) => {
    const grids = {
      zero: {},
      mean: { mode: "mean", positions: "all" },
      "mean-over": { mode: "mean", over: [clean, corrupted] },
    } as const;
    const grid = grids[mode];
    const { cells } = await logitsOfCells(clean, (host, of) => ablationGrid(host, clean, { ...of, grid }));
    expect(largestError(cells, golden.get(`ablate.${mode}`).data)).toBeLessThan(PARITY.logits);
  });

  test("all layers of the last row as one batch, one by one, and by reading and writing places: the same", async () => {
    const [token, against] = [17, 42];
    const options: PatchOptions = { part: "hidden", token, against };
    const batched = await model.patch(clean, corrupted, options);
    const single = await model.patch(clean, corrupted, { ...options, maxRows: 1 });
    const naive: number[] = [];
    for (const layer of batched.layers) {
      const place = `layers.${layer}.hidden_states`;
      const { reads } = await model.answer(clean, { maxNewTokens: 1, read: [{ place }] });
      const write = [{ place, positions: [corrupted.inputIds.length - 1], values: at(reads, 0).data }];
      const logits = logitsOf(await model.trace(corrupted, { maxNewTokens: 1, write }));
      naive.push(at(logits, token) - at(logits, against));
    }
    expect(largestError(batched.values, single.values)).toBeLessThan(PARITY.oracle);
    expect(largestError(batched.values, naive)).toBeLessThan(PARITY.oracle);
    const difference = (logits: Float32Array) => at(logits, token) - at(logits, against);
    const ends = [batched.clean.value, batched.corrupted.value];
    const expected = ["clean", "corrupted"].map((run) => difference(golden.get(`${run}.logits`).data));
    expect(largestError(ends, expected)).toBeLessThan(2 * PARITY.logits);
    // Behind the last layer nothing of the corrupted run is left in the last row.
    expect(batched.recovered.at(-1)).toBeCloseTo(1, 5);
  });

  /** The logits of every cell of a grid, [cells, V]: the "measure" of a cell is the index of its logits among all that were measured. */
  async function logitsOfCells(
    inputs: ModelInputs,
    run: (
      host: ExperimentHost,
      of: { readonly measure: Measure; readonly context: ReturnType<typeof editContext> },
    ) => Promise<{ readonly values: Float64Array }>,
  ) {
    const all: Float32Array[] = [];
    const of = (logits: Float32Array) => all.push(logits.slice()) - 1;
    const measure: Measure = { name: "probability", tokenId: 0, againstId: undefined, of };
    using session = model.session();
    const context = editContext(inputs, model.config);
    const { values } = await session.experiment((host) => run(host, { measure, context }));
    const rows = Array.from(values, (index) => at(all, index));
    const unchanged = at(all, Math.min(...values) - 1);
    return { cells: rows.flatMap((logits) => Array.from(logits)), unchanged };
  }
});

describe("what the host does", () => {
  let allocated: number; // all but the caches
  let model: Llava;
  let clean: ModelInputs;
  let corrupted: ModelInputs;
  beforeAll(async () => {
    model = await loadGoldenModel("llava-deep");
    const golden = await readTensorFile("causal/llava-deep.safetensors");
    clean = goldenInputs(model, golden, "clean.");
    corrupted = goldenInputs(model, golden, "corrupted.");
    await model.patch(clean, corrupted, { part: "hidden", token: 17 });
    model.clearCaches();
    allocated = model.gpu.allocatedBytes;
  });
  afterAll(() => model.dispose());

  test.each<[string, () => Promise<unknown>, RegExp]>([
    [
      "prompts of different length",
      () => model.patch(clean, shortened(corrupted), { part: "hidden", token: 17 }),
      /^The clean prompt has (\d+) positions, the corrupted one \d+: patching needs prompts of equal length, so word one of them otherwise\.$/,
    ],
    [
      "the same run",
      () => model.patch(clean, clean, { part: "hidden", token: 17 }),
      /^The clean and the corrupted run are the same: there is nothing to recover; give another picture or question/,
    ],
    [
      "runs that measure the same",
      () => model.patch(clean, brighter(clean), { part: "hidden", token: 17, against: 18 }),
      /^The clean and the corrupted run both measure \S+: there is nothing to recover;/,
    ],
    [
      "an unknown layer",
      () => model.ablate(clean, { token: 17, layers: [1, 9] }),
      /^layers must be whole numbers from 0 to \d for this model, at least one, got 9\.$/,
    ],
    [
      "an unknown head",
      () => model.knockOut(clean, { token: 17, heads: [4] }),
      /^heads must be .* from 0 to 3 .* got 4\.$/,
    ],
    [
      "an unknown position",
      () => model.ablate(clean, { token: 17, positions: [99] }),
      /^positions must be whole numbers from 0 to \d+ for this prompt, at least one, got 99\.$/,
    ],
    [
      "heads of hidden states",
      () => model.patch(clean, corrupted, { part: "hidden", token: 17, heads: [0] }),
      /^heads can only be chosen where heads are patched, not for "hidden": leave them out\.$/,
    ],
    [
      "an unknown part",
      () => model.patch(clean, corrupted, { part: "query" as "mlp", token: 17 }),
      /^part must be "hidden" or "attention" or "mlp" or "head", got "query"\.$/,
    ],
    [
      "rows without any column",
      () => model.knockOut(clean, { token: 17, rows: [1, 2], columns: "all", grouping: "together" }),
      /^columns: all 2 positions that row 1 sees are cut: leave one of them\.$/,
    ],
    [
      "an unknown token",
      () => model.ablate(clean, { token: 9999 }),
      /^token must be an id from 0 to \d+ or a text, got 9999\.$/,
    ],
  ])("%s: one sentence, and nothing stays allocated", async (_, run, message) => {
    const refused = run();
    await expect(refused).rejects.toThrow(InputError);
    await expect(refused).rejects.toThrow(message);
    model.clearCaches();
    expect(model.gpu.allocatedBytes).toBe(allocated);
  });

  test("layers together: the whole row of every layer is the clean run's", async () => {
    const options: PatchOptions = { part: "attention", token: 17, joint: true, positions: "all", grouping: "together" };
    const { recovered, layers, isJoint } = await model.patch(clean, corrupted, options);
    expect({ numCells: recovered.length, layers: layers.length, isJoint }).toEqual({
      numCells: 1,
      layers: model.config.text.numHiddenLayers,
      isJoint: true,
    });
    const zero = { token: 17, joint: true, layers: [0], heads: [1, 2] };
    const joint = await model.ablate(clean, zero);
    const single = await model.ablate(clean, { ...zero, joint: false });
    expect(joint.values).toHaveLength(1);
    expect(single.values).toHaveLength(2);
    expect([...single.values]).not.toContain(joint.values[0]);
  });

  test("windows are those of the authors' code", async () => {
    const { windows } = await model.knockOut(clean, { token: 17, window: 3, layers: [0, 1] });
    expect(windows).toEqual([
      [0, 1],
      [0, Math.min(2, model.config.text.numHiddenLayers - 1)],
    ]);
  });
});

/** The prompt without its last token. */
function shortened(inputs: ModelInputs): ModelInputs {
  return { ...inputs, inputIds: inputs.inputIds.slice(0, -1) };
}

/** Another picture by far less than f32 sums can tell. */
function brighter(inputs: ModelInputs): ModelInputs {
  const images = inputs.images.map((image) => ({
    ...image,
    pixelValues: image.pixelValues.with(0, at(image.pixelValues, 0) + 1e-7),
  }));
  return { ...inputs, images };
}
