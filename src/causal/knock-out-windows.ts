// Attention knockout: edges from some rows to some columns are cut in a window of layers, which shows where information flows from
// these columns to those rows. Source: https://arxiv.org/abs/2304.14767, sections 4 and 5
import { InputError } from "../errors.ts";
import type { EditContext, ScoreEdit } from "../interventions/intervention.ts";
import type { ModelInputs, Run } from "../models/inputs.ts";
import { type ExperimentHost, measureRuns, type RunOptions } from "./changed-runs.ts";
import {
  cellsOf,
  type EffectGrid,
  effectsOf,
  indicesOf,
  type Measure,
  type PositionGroup,
  type PositionGrouping,
  type PositionSelection,
  positionGroups,
  runsOf,
  selectedPositions,
} from "./grid.ts";

/** Which edges are cut. */
export interface KnockOutGrid extends RunOptions {
  /** Rows whose attention is cut; "last" unless given. */
  readonly rows?: PositionSelection | undefined;
  /** Columns that they cannot attend to; "image" unless given. */
  readonly columns?: PositionSelection | undefined;
  /** Which columns are cut together; "together" unless given. */
  readonly grouping?: PositionGrouping | undefined;
  /** Centres of the windows; all layers unless given. */
  readonly layers?: readonly number[] | undefined;
  /** Layers of a window, those beyond the first or last layer left out; 1 unless given. */
  readonly window?: number | undefined;
  /** Heads that are cut; all unless given. */
  readonly heads?: readonly number[] | undefined;
}

/** How each window changes the answer: `layers` are the windows' centres, `positions` the columns that are cut. */
export interface KnockOutResult extends EffectGrid {
  /** Rows whose attention was cut, ascending. */
  readonly rows: readonly number[];
  /** For each centre, the layers [first, last] of its window. */
  readonly windows: readonly (readonly [first: number, last: number])[];
}

/**
 * Cuts the edges in each window.
 * @throws InputError for layers, heads and positions that do not exist, and rows that would be left without any column; GpuError;
 *   AbortError.
 */
export async function knockOutGrid(
  host: ExperimentHost,
  inputs: ModelInputs,
  of: { readonly grid: KnockOutGrid; readonly measure: Measure; readonly context: EditContext },
): Promise<KnockOutResult> {
  const { text } = host;
  const { grid, measure, context } = of;
  const { window = 1, grouping = "together" } = grid;
  const layers = indicesOf("layers", grid.layers, text.numHiddenLayers);
  const heads = grid.heads && indicesOf("heads", grid.heads, text.numAttentionHeads);
  const rows = selectedPositions("rows", grid.rows ?? "last", inputs);
  const positions = positionGroups("columns", { selection: grid.columns ?? "image", grouping }, inputs);
  for (const group of positions) checkColumns(rows, group);
  const windows = layers.map((centre) => windowOf(centre, window, text.numHiddenLayers));
  const axes = { layers, positions, heads: undefined, isJoint: false };
  const rowRuns = runsOf(rows);
  const copies = cellsOf(axes, ([centre = 0], group) => {
    const [first, last] = windowOf(centre, window, text.numHiddenLayers);
    const inWindow = Array.from({ length: last - first + 1 }, (_, offset) => first + offset);
    return { writes: [], edits: rowRuns.map((run) => cut(run, { group, layers: inWindow, heads })) };
  });
  const measured = await measureRuns(host, inputs, { runs: copies, context, measure: measure.of, options: grid });
  return { ...effectsOf(axes, measure, measured), rows, windows };
}

/** The window of k layers around the centre c: [c − ⌊k / 2⌋, c + ⌈k / 2⌉), as in the authors' code. */
function windowOf(centre: number, window: number, numLayers: number): readonly [first: number, last: number] {
  const first = centre - Math.floor(window / 2);
  return [Math.max(first, 0), Math.min(first + window, numLayers) - 1];
}

function cut(
  rows: Run,
  of: {
    readonly group: PositionGroup;
    readonly layers: readonly number[];
    readonly heads: readonly number[] | undefined;
  },
): ScoreEdit {
  const { group, layers, heads } = of;
  return { operation: "knock-out", strength: 1, rows, columns: runsOf(group.positions), layers, heads };
}

/** @throws InputError when a row would see no column at all. */
function checkColumns(rows: readonly number[], { positions }: PositionGroup): void {
  const isCut = new Set(positions);
  let numCut = 0;
  let next = 0;
  for (const row of rows) {
    for (; next <= row; next++) if (isCut.has(next)) numCut++;
    if (numCut <= row) continue;
    throw new InputError(`columns: all ${row + 1} positions that row ${row} sees are cut: leave one of them.`);
  }
}
