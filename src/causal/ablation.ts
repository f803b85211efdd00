// Head ablation: a head's output before o_proj is replaced by zeros, or by its mean over the positions of a run, which shows how much
// the answer needs what the head says here. Source: https://arxiv.org/abs/1905.09418 (zero), https://arxiv.org/abs/2211.00593 (mean)
import { at } from "../errors.ts";
import type { EditContext } from "../interventions/intervention.ts";
import type { ModelInputs } from "../models/inputs.ts";
import { type ExperimentHost, measureRuns, type RunOptions, readRun } from "./changed-runs.ts";
import {
  cellsOf,
  type EffectGrid,
  effectsOf,
  indicesOf,
  type Measure,
  type PositionGrouping,
  type PositionSelection,
  positionGroups,
} from "./grid.ts";
import { partPlace } from "./patching.ts";
import type { RowWrite } from "./row-writes.ts";

/** What replaces a head's output. */
export type AblationMode = "zero" | "mean";

/** The names of {@link AblationMode}. */
export const ABLATION_MODES: readonly AblationMode[] = ["zero", "mean"];

/** Which heads are ablated, and where. */
export interface AblationGrid extends RunOptions {
  /** "zero" unless given. */
  readonly mode?: AblationMode | undefined;
  /** All unless given. */
  readonly layers?: readonly number[] | undefined;
  /** All unless given. */
  readonly heads?: readonly number[] | undefined;
  /** "last" unless given. */
  readonly positions?: PositionSelection | undefined;
  /** "together" unless given. */
  readonly grouping?: PositionGrouping | undefined;
  /** Ablates all layers and heads together, as one cell per group of positions; false unless given. */
  readonly joint?: boolean | undefined;
  /** Prompts over whose positions the mean is taken, every position counting once; the prompt itself unless given. */
  readonly over?: readonly ModelInputs[] | undefined;
}

/** How ablating each head changes the answer. */
export interface AblationResult extends EffectGrid {
  readonly mode: AblationMode;
}

/**
 * Ablates each head of each layer at each group of positions.
 * @throws InputError for layers, heads and positions that do not exist; GpuError; AbortError.
 */
export async function ablationGrid(
  host: ExperimentHost,
  inputs: ModelInputs,
  of: { readonly grid: AblationGrid; readonly measure: Measure; readonly context: EditContext },
): Promise<AblationResult> {
  const { text } = host;
  const { headDim } = text;
  const { grid, measure, context } = of;
  const { mode = "zero", positions: selection = "last", grouping = "together", signal } = grid;
  const layers = indicesOf("layers", grid.layers, text.numHiddenLayers);
  const heads = indicesOf("heads", grid.heads, text.numAttentionHeads);
  const positions = positionGroups("positions", { selection, grouping }, inputs);
  const means = mode === "mean" ? await headMeans(host, grid.over ?? [inputs], { layers, signal }) : undefined;
  const zeros = new Float32Array(headDim);
  const axes = { layers, positions, heads, isJoint: grid.joint === true };
  const copies = cellsOf(axes, (own, group, ownHeads = []) => {
    const writes = own.flatMap((layer) => {
      const { place } = partPlace("head", layer, text);
      const all = means?.get(place);
      return ownHeads.flatMap((head) => {
        const values = all === undefined ? zeros : all.subarray(head * headDim, (head + 1) * headDim);
        return group.positions.map((position): RowWrite => {
          return { place, position, numRows: 1, head, groupSize: headDim, values };
        });
      });
    });
    return { writes, edits: [] };
  });
  const measured = await measureRuns(host, inputs, { runs: copies, context, measure: measure.of, options: grid });
  return { ...effectsOf(axes, measure, measured), mode };
}

/** By place, the mean [heads · headDim] of the heads' outputs over all positions of all prompts. */
async function headMeans(
  host: ExperimentHost,
  prompts: readonly ModelInputs[],
  of: { readonly layers: readonly number[]; readonly signal: AbortSignal | undefined },
): Promise<ReadonlyMap<string, Float32Array>> {
  const { text } = host;
  const columns = text.numAttentionHeads * text.headDim;
  const places = of.layers.map((layer) => partPlace("head", layer, text).place);
  const sums = new Map(places.map((place) => [place, new Float64Array(columns)]));
  let numRows = 0;
  for (const prompt of prompts) {
    const positions = Array.from(prompt.inputIds, (_, position) => position);
    const reads = { places, positions };
    const { rows } = await readRun(host, prompt, { reads, measure: () => 0, signal: of.signal });
    numRows += positions.length;
    for (const [place, sum] of sums) {
      for (const [index, value] of (rows.get(place) ?? []).entries()) {
        const column = index % columns;
        sum[column] = at(sum, column) + value;
      }
    }
  }
  return new Map([...sums].map(([place, sum]) => [place, Float32Array.from(sum, (value) => value / numRows)]));
}
