// Activation patching, knock-out windows and head ablation against transformers with hooks (tools/goldens/causal.py), batched and one by
// one.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ablationGrid } from "../../src/causal/ablation.ts";
import type { ExperimentHost } from "../../src/causal/changed-runs.ts";
import type { Measure } from "../../src/causal/grid.ts";
import { knockOutGrid } from "../../src/causal/knock-out-windows.ts";
import { patchGrid } from "../../src/causal/patching.ts";
import { editContext } from "../../src/edits.ts";
import { at } from "../../src/errors.ts";
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
    const ends = [batched.clean, batched.corrupted];
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
