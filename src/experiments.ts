// The entry points of causal experiments, which run in a session: their options are checked and their tokens found.
import { ABLATION_MODES, type AblationGrid, type AblationResult, ablationGrid } from "./causal/ablation.ts";
import type { ExperimentHost, RunOptions } from "./causal/changed-runs.ts";
import { type AnswerMeasure, measureOf, POSITION_GROUPINGS, POSITION_SELECTIONS } from "./causal/grid.ts";
import { type KnockOutGrid, type KnockOutResult, knockOutGrid } from "./causal/knock-out-windows.ts";
import { PATCHED_PARTS, type PatchGrid, type PatchResult, patchGrid } from "./causal/patching.ts";
import type { Llava } from "./llava.ts";
import type { ModelInputs } from "./models/inputs.ts";
import { MAX_BATCH_ROWS } from "./models/layers/step.ts";
import {
  abortSignal,
  anything,
  callback,
  either,
  flag,
  listOf,
  oneOf,
  readOptions,
  required,
  type Schema,
  text,
  whole,
} from "./options.ts";

/** What {@link Llava.patch} patches, and how the answer is measured. */
export interface PatchOptions extends PatchGrid, AnswerMeasure {}

/** What {@link Llava.knockOut} cuts, and how the answer is measured. */
export interface KnockOutOptions extends KnockOutGrid, AnswerMeasure {}

/** What {@link Llava.ablate} ablates, and how the answer is measured. */
export interface AblationOptions extends AblationGrid, AnswerMeasure {}

const isText = (value: unknown) => typeof value === "string";
const token = either(isText, text, whole(0));
const indices = listOf(whole(0), "a list of whole numbers");
const selection = either(
  isText,
  oneOf(POSITION_SELECTIONS),
  listOf(whole(0), "a list of whole numbers, or one of these names"),
);

const SHARED: Schema<RunOptions & AnswerMeasure & Pick<PatchGrid, "layers" | "heads" | "grouping">> = {
  token: required(token),
  against: token,
  layers: indices,
  heads: indices,
  grouping: oneOf(POSITION_GROUPINGS),
  maxRows: whole(1, MAX_BATCH_ROWS),
  onProgress: callback,
  signal: abortSignal,
};
const PATCH: Schema<PatchOptions> = {
  ...SHARED,
  part: required(oneOf(PATCHED_PARTS)),
  positions: selection,
  joint: flag,
};
const KNOCK_OUT: Schema<KnockOutOptions> = { ...SHARED, rows: selection, columns: selection, window: whole(1) };
const ABLATION: Schema<AblationOptions> = {
  ...SHARED,
  mode: oneOf(ABLATION_MODES),
  positions: selection,
  joint: flag,
  over: listOf(anything, "a list of what model.prepare(question) returns", 1),
};

/** As {@link Llava.patch}. */
export async function patch(
  host: ExperimentHost,
  runs: { readonly clean: ModelInputs; readonly corrupted: ModelInputs },
  options: PatchOptions,
): Promise<PatchResult> {
  const grid = readOptions("patching", options, PATCH);
  const measure = measureOf(grid, host);
  const [clean, corrupted] = [host.checked(runs.clean), host.checked(runs.corrupted)];
  return patchGrid(host, { clean, corrupted }, { grid, measure, context: host.context(corrupted) });
}

/** As {@link Llava.knockOut}. */
export async function knockOut(
  host: ExperimentHost,
  given: ModelInputs,
  options: KnockOutOptions,
): Promise<KnockOutResult> {
  const grid = readOptions("knocking out", options, KNOCK_OUT);
  const measure = measureOf(grid, host);
  const inputs = host.checked(given);
  return knockOutGrid(host, inputs, { grid, measure, context: host.context(inputs) });
}

/** As {@link Llava.ablate}. */
export async function ablate(
  host: ExperimentHost,
  given: ModelInputs,
  options: AblationOptions,
): Promise<AblationResult> {
  const { over, ...asked } = readOptions("ablating", options, ABLATION);
  const measure = measureOf(asked, host);
  const inputs = host.checked(given);
  const grid = { ...asked, over: over?.map((each) => host.checked(each)) };
  return ablationGrid(host, inputs, { grid, measure, context: host.context(inputs) });
}
