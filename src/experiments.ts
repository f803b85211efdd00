// The entry points of causal experiments: their options are checked, their tokens found, and the grid runs in a session.
import { ABLATION_MODES, type AblationGrid, type AblationResult, ablationGrid } from "./causal/ablation.ts";
import type { ExperimentHost, RunOptions } from "./causal/changed-runs.ts";
import { type AnswerMeasure, measureOf, POSITION_GROUPINGS, POSITION_SELECTIONS } from "./causal/grid.ts";
import { type KnockOutGrid, type KnockOutResult, knockOutGrid } from "./causal/knock-out-windows.ts";
import { PATCHED_PARTS, type PatchGrid, type PatchResult, patchGrid } from "./causal/patching.ts";
import { modelInputs } from "./check-arguments.ts";
import { editContext } from "./edits.ts";
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
import { settingsOf } from "./settings.ts";

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
  model: Llava,
  runs: { readonly clean: ModelInputs; readonly corrupted: ModelInputs },
  options: PatchOptions,
): Promise<PatchResult> {
  const grid = readOptions("patching", options, PATCH);
  const measure = measureOf(grid, { processor: model.processor, text: model.config.text });
  const clean = checkedInputs(model, runs.clean);
  const corrupted = checkedInputs(model, runs.corrupted);
  const context = editContext(corrupted, model.config);
  return inSession(model, (host) => patchGrid(host, { clean, corrupted }, { grid, measure, context }));
}

/** As {@link Llava.knockOut}. */
export async function knockOut(model: Llava, given: ModelInputs, options: KnockOutOptions): Promise<KnockOutResult> {
  const grid = readOptions("knocking out", options, KNOCK_OUT);
  const measure = measureOf(grid, { processor: model.processor, text: model.config.text });
  const inputs = checkedInputs(model, given);
  const context = editContext(inputs, model.config);
  return inSession(model, (host) => knockOutGrid(host, inputs, { grid, measure, context }));
}

/** As {@link Llava.ablate}. */
export async function ablate(model: Llava, given: ModelInputs, options: AblationOptions): Promise<AblationResult> {
  const { over, ...asked } = readOptions("ablating", options, ABLATION);
  const measure = measureOf(asked, { processor: model.processor, text: model.config.text });
  const inputs = checkedInputs(model, given);
  const context = editContext(inputs, model.config);
  const grid = { ...asked, over: over?.map((each) => checkedInputs(model, each)) };
  return inSession(model, (host) => ablationGrid(host, inputs, { grid, measure, context }));
}

/** @throws InputError for inputs that do not fit the model, or its context. */
function checkedInputs(model: Llava, given: ModelInputs): ModelInputs {
  const inputs = modelInputs(given, model);
  settingsOf({ maxNewTokens: 1 }, { text: model.config.text, defaults: {} }, inputs.inputIds.length);
  return inputs;
}

async function inSession<T>(model: Llava, work: (host: ExperimentHost) => Promise<T>): Promise<T> {
  const session = model.session();
  try {
    return await session.experiment(work);
  } finally {
    session.close();
  }
}
