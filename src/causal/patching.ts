// Activation patching: what one run computed at a place is put into another, which shows how much of the difference between their
// answers passes through that place. Source: https://arxiv.org/abs/2202.05262 (causal tracing), https://arxiv.org/abs/2211.00593
import { InputError } from "../errors.ts";
import type { EditContext } from "../interventions/intervention.ts";
import type { TextConfig } from "../models/config.ts";
import type { ModelInputs } from "../models/inputs.ts";
import {
  type ExperimentHost,
  type MeasuredRun,
  measureRuns,
  type ReadRows,
  type RunOptions,
  readRun,
} from "./changed-runs.ts";
import {
  type CausalGrid,
  cellsOf,
  indicesOf,
  type Measure,
  type PositionGroup,
  type PositionGrouping,
  type PositionSelection,
  positionGroups,
  runsOf,
} from "./grid.ts";
import type { RowWrite } from "./row-writes.ts";

/**
 * What is patched: `hidden`, the residual stream after a layer; `attention`, what a layer's attention adds to it; `mlp`, what its MLP
 * adds; `head`, one head's output before o_proj.
 */
export type PatchedPart = "hidden" | "attention" | "mlp" | "head";

/** The names of {@link PatchedPart}. */
export const PATCHED_PARTS: readonly PatchedPart[] = ["hidden", "attention", "mlp", "head"];

/** What is patched, and where. */
export interface PatchGrid extends RunOptions {
  readonly part: PatchedPart;
  /** All unless given. */
  readonly layers?: readonly number[] | undefined;
  /** All unless given; only for `part` "head". */
  readonly heads?: readonly number[] | undefined;
  /** "last" unless given. */
  readonly positions?: PositionSelection | undefined;
  /** "single" unless given. */
  readonly grouping?: PositionGrouping | undefined;
  /** Patches all layers and heads together, as one cell per group of positions; false unless given. */
  readonly joint?: boolean | undefined;
}

/** How much of the clean run's answer each patch brings back. */
export interface PatchResult extends CausalGrid {
  readonly part: PatchedPart;
  readonly clean: MeasuredRun;
  readonly corrupted: MeasuredRun;
  /** [cells], (value − corrupted) / (clean − corrupted); 0 as corrupted, 1 as clean */
  readonly recovered: Float64Array<ArrayBuffer>;
}

/** Logits and probabilities of the same run differ by less than this: f32 sums in several orders. */
const NO_DIFFERENCE = 1e-5;

/** Where a part of a layer is computed, and the shape of a row there. */
interface PartPlace {
  readonly place: string;
  readonly groups: number;
  readonly groupSize: number;
}

/**
 * Patches each cell of a grid from the clean run into the corrupted one.
 * @throws InputError for prompts of different length, runs that measure the same, and a grid that does not fit; GpuError; AbortError.
 */
export async function patchGrid(
  host: ExperimentHost,
  runs: { readonly clean: ModelInputs; readonly corrupted: ModelInputs },
  of: { readonly grid: PatchGrid; readonly measure: Measure; readonly context: EditContext },
): Promise<PatchResult> {
  const { text } = host;
  const { clean, corrupted } = runs;
  const { grid, measure, context } = of;
  const { part, signal } = grid;
  checkRuns(clean, corrupted);
  if (grid.heads !== undefined && part !== "head") {
    throw new InputError(`heads can only be chosen where heads are patched, not for "${part}": leave them out.`);
  }
  const layers = indicesOf("layers", grid.layers, text.numHiddenLayers);
  const heads = part === "head" ? indicesOf("heads", grid.heads, text.numAttentionHeads) : undefined;
  const { positions: selection = "last", grouping = "single" } = grid;
  const positions = positionGroups("positions", { selection, grouping }, corrupted);
  const read = [...new Set(positions.flatMap((group) => group.positions))].sort((a, b) => a - b);
  const places = layers.map((layer) => partPlace(part, layer, text).place);
  const source = await readRun(host, clean, { reads: { places, positions: read }, measure: measure.of, signal });
  const axes = { layers, positions, heads, isJoint: grid.joint === true };
  const copies = cellsOf(axes, (own, group, ownHeads) => {
    const patched: readonly (number | undefined)[] = ownHeads ?? [undefined]; // the whole row
    const writes = own.flatMap((layer) => {
      const place = { ...partPlace(part, layer, text), source: { rows: source.rows, positions: read } };
      return patched.flatMap((head) => rowWrites(group, { ...place, head }));
    });
    return { writes, edits: [] };
  });
  const measured = await measureRuns(host, corrupted, { runs: copies, context, measure: measure.of, options: grid });
  const { unchanged: before, ...changed } = measured;
  const after: MeasuredRun = { value: source.value, answerId: source.answerId };
  const difference = after.value - before.value;
  if (Math.abs(difference) < NO_DIFFERENCE) {
    throw new InputError(
      `The clean and the corrupted run both measure ${after.value}: there is nothing to recover; give a picture or question that changes the answer.`,
    );
  }
  const { name, tokenId, againstId } = measure;
  const recovered = changed.values.map((value) => (value - before.value) / difference);
  const about = { part, measure: name, tokenId, againstId };
  return { ...about, ...axes, ...changed, clean: after, corrupted: before, recovered };
}

/** Where a layer computes a part. An MLP's output is linear in its inner values, and an attention's in its heads' outputs. */
export function partPlace(part: PatchedPart, layer: number, text: TextConfig): PartPlace {
  const { hiddenSize, intermediateSize, numAttentionHeads, headDim } = text;
  switch (part) {
    case "hidden":
      return { place: `layers.${layer}.mlp.down_proj`, groups: 1, groupSize: hiddenSize };
    case "mlp":
      return { place: `layers.${layer}.mlp.act_fn`, groups: 1, groupSize: intermediateSize };
    case "attention":
    case "head":
      return { place: `layers.${layer}.self_attn`, groups: numAttentionHeads, groupSize: headDim };
  }
}

/** The writes that put rows that were read into a group's positions. */
function rowWrites(
  { positions }: PositionGroup,
  of: PartPlace & {
    readonly head: number | undefined;
    readonly source: { readonly rows: ReadRows; readonly positions: readonly number[] };
  },
): readonly RowWrite[] {
  const { place, groups, groupSize, head, source } = of;
  const rows = source.rows.get(place);
  if (rows === undefined) throw new RangeError(`${place} was not read`);
  const columns = groups * groupSize;
  // Consecutive positions are one write: those that were read follow each other there too.
  return runsOf(positions).map(([start, end]) => {
    const numRows = end - start;
    const first = source.positions.indexOf(start) * columns;
    const whole = rows.subarray(first, first + numRows * columns);
    const values = head === undefined ? whole : headColumns(whole, { head, groupSize, columns });
    return { place, position: start, numRows, head, groupSize, values };
  });
}

/** One head's part of rows [rows, columns]. */
function headColumns(
  values: Float32Array,
  { head, groupSize, columns }: { readonly head: number; readonly groupSize: number; readonly columns: number },
): Float32Array {
  const numRows = values.length / columns;
  const own = new Float32Array(numRows * groupSize);
  for (let row = 0; row < numRows; row++) {
    const start = row * columns + head * groupSize;
    own.set(values.subarray(start, start + groupSize), row * groupSize);
  }
  return own;
}

function checkRuns(clean: ModelInputs, corrupted: ModelInputs): void {
  const [expected, got] = [clean.inputIds.length, corrupted.inputIds.length];
  if (expected !== got) {
    throw new InputError(
      `The clean prompt has ${expected} positions, the corrupted one ${got}: patching needs prompts of equal length, so word one of them otherwise.`,
    );
  }
  const isSame = (a: ArrayLike<number>, b: ArrayLike<number>) => {
    if (a.length !== b.length) return false;
    for (let index = 0; index < a.length; index++) if (a[index] !== b[index]) return false;
    return true;
  };
  const pixels = clean.images.map(({ pixelValues }, index) => [pixelValues, corrupted.images[index]?.pixelValues]);
  const samePictures =
    clean.images.length === corrupted.images.length && pixels.every(([a, b]) => a && b && isSame(a, b));
  if (isSame(clean.inputIds, corrupted.inputIds) && samePictures) {
    throw new InputError(
      "The clean and the corrupted run are the same: there is nothing to recover; give another picture or question for one of them.",
    );
  }
}
