// Many changed copies of one prompt's run, each measured by its last row's logits. Rows before the first changed one are those of
// the unchanged run, so only the rows from there on are run: as rows of a batch over the shared prefix where there are more copies
// than rows, as sweeps do, and else copy by copy.
import { at, throwIfAborted } from "../errors.ts";
import type { Batch, Sequence } from "../generate/sequence.ts";
import type { Gpu } from "../gpu/device.ts";
import { type Executor, SubmitExecutor } from "../gpu/executor.ts";
import { Places } from "../inspect/places.ts";
import type { EditContext, ScoreEdit } from "../interventions/intervention.ts";
import type { TextConfig } from "../models/config.ts";
import type { ModelInputs } from "../models/inputs.ts";
import { MAX_BATCH_ROWS } from "../models/layers/step.ts";
import type { Processor } from "../models/processor.ts";
import { type RowWrite, RowWrites } from "./row-writes.ts";

/** The session that experiments run in. */
export interface ExperimentHost {
  readonly gpu: Gpu;
  readonly text: TextConfig;
  readonly processor: Pick<Processor, "continuationTokens">;
  /** The inputs, checked. @throws InputError when they do not fit the model or its context. */
  checked(inputs: ModelInputs): ModelInputs;
  /** As editContext. */
  context(inputs: ModelInputs): EditContext;
  /** As packedEdits: not imported here, so that bundles without experiments share no code with them. */
  pack(rows: readonly (readonly ScoreEdit[])[], context: EditContext): Uint32Array<ArrayBuffer> | undefined;
  /** A sequence with room for the prompt, its embeddings written, and the first position that has to run. */
  prepare(
    inputs: ModelInputs,
    run: {
      readonly settings: { readonly maxNewTokens: number };
      readonly executor: Executor;
      readonly reuse: boolean;
      /** Positions from here on run in any case. */
      readonly first: number;
      readonly places?: Places | undefined;
      readonly signal: AbortSignal | undefined;
      readonly batchRows?: number;
    },
  ): Promise<{ readonly sequence: Sequence; readonly start: number }>;
}

/** A changed copy of a run. */
export interface ChangedRun {
  readonly writes: readonly RowWrite[];
  readonly edits: readonly ScoreEdit[];
}

/** How experiments run. */
export interface RunOptions {
  /** Most copies in one batch, 1 to 32; 1 runs them one by one. 32 unless given. */
  readonly maxRows?: number | undefined;
  /** Called after each copy that has been measured. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What was measured of one run. */
export interface MeasuredRun {
  readonly value: number;
  /** The most probable first token. */
  readonly answerId: number;
}

/** What the unchanged run and its copies measured. */
export interface MeasuredRuns {
  readonly unchanged: MeasuredRun;
  /** In the order of the copies. */
  readonly values: Float64Array<ArrayBuffer>;
  readonly answerIds: Int32Array<ArrayBuffer>;
}

/** Rows that are read of an unchanged run, by position, at some places. */
export interface RowReads {
  readonly places: readonly string[];
  /** Ascending. */
  readonly positions: readonly number[];
}

/** Rows that were read: by place, [positions, columns]. */
export type ReadRows = ReadonlyMap<string, Float32Array<ArrayBuffer>>;

/** Copies whose first changed row is the same. */
interface RunGroup {
  readonly first: number;
  readonly indices: readonly number[];
}

/**
 * Runs a prompt, and reads rows of it on the way.
 * @param measure of the last row's logits [V]
 * @throws InputError for a place or position that does not exist; GpuError; AbortError.
 */
export async function readRun(
  host: ExperimentHost,
  inputs: ModelInputs,
  run: {
    readonly reads: RowReads;
    readonly measure: (logits: Float32Array) => number;
    readonly signal: AbortSignal | undefined;
  },
): Promise<MeasuredRun & { readonly rows: ReadRows }> {
  const { gpu, text } = host;
  const { reads, measure, signal } = run;
  const promptLength = inputs.inputIds.length;
  const { positions } = reads;
  const requests = reads.places.map((place) => ({ place, positions }));
  const places = new Places(gpu, text, { reads: requests, promptLength, maxPositions: promptLength });
  try {
    const executor = new SubmitExecutor(gpu);
    const first = Math.min(places.firstPosition, promptLength - 1);
    const prepared = { settings: { maxNewTokens: 1 }, executor, reuse: true, first, places, signal };
    const { sequence, start } = await host.prepare(inputs, prepared);
    await sequence.prefill([start, promptLength], { executor, places, signal });
    sequence.hold(inputs, promptLength);
    const logits = await sequence.chooser.readLogits();
    const rows = new Map<string, Float32Array<ArrayBuffer>>();
    for (const read of requests) rows.set(read.place, (await places.values(read)).data);
    return { value: measure(logits), answerId: argmax(logits), rows };
  } finally {
    places.dispose();
  }
}

/**
 * Measures the unchanged run of a prompt and its changed copies.
 * @param measure of the last row's logits [V]
 * @throws GpuError; AbortError between two calls.
 */
export async function measureRuns(
  host: ExperimentHost,
  inputs: ModelInputs,
  of: {
    readonly runs: readonly ChangedRun[];
    readonly context: EditContext;
    readonly measure: (logits: Float32Array) => number;
    readonly options: RunOptions;
  },
): Promise<MeasuredRuns> {
  const { runs, context, measure, options } = of;
  const { maxRows = MAX_BATCH_ROWS, signal, onProgress } = options;
  const promptLength = inputs.inputIds.length;
  const groups = groupsOf(runs, promptLength);
  const batches = groups.flatMap((group) => batchesOf(group, { promptLength, maxRows }));
  const executor = new SubmitExecutor(host.gpu);
  const tails = batches.map(({ first, indices }) => (indices.length > 1 ? promptLength - first : 1));
  const { sequence, start } = await host.prepare(inputs, {
    settings: { maxNewTokens: Math.max(1, ...tails) },
    executor,
    reuse: true,
    first: Math.min(promptLength - 1, ...groups.map(({ first }) => first)),
    signal,
    batchRows: Math.max(1, ...batches.map(({ indices }) => indices.length)),
  });
  await sequence.prefill([start, promptLength], { executor, signal });
  sequence.hold(inputs, Math.min(promptLength, ...groups.map(({ first }) => first)));
  const plain = await sequence.chooser.readLogits();
  const unchanged = { value: measure(plain), answerId: argmax(plain) };
  const values = new Float64Array(runs.length);
  const answerIds = new Int32Array(runs.length);
  let done = 0;
  // The last rows first: what a copy leaves in the cache begins at its first changed row, and later ones share only rows before it.
  for (const { first, indices } of batches) {
    throwIfAborted(signal, "The experiment");
    const copies = indices.map((index) => at(runs, index));
    const edits = host.pack(
      copies.map((copy) => copy.edits),
      context,
    );
    const logits = await runCopies(sequence, copies, { first, promptLength, edits, executor, signal });
    for (const [row, index] of indices.entries()) {
      values[index] = measure(at(logits, row));
      answerIds[index] = argmax(at(logits, row));
    }
    done += indices.length;
    onProgress?.(done, runs.length);
  }
  return { unchanged, values, answerIds };
}

function argmax(logits: Float32Array): number {
  return logits.reduce((best, value, index) => (value > at(logits, best) ? index : best), 0);
}

/** The last row's logits of copies whose first changed row is the same. */
async function runCopies(
  sequence: Sequence,
  copies: readonly ChangedRun[],
  run: {
    readonly first: number;
    readonly promptLength: number;
    readonly edits: Uint32Array<ArrayBuffer> | undefined;
    readonly executor: Executor;
    readonly signal: AbortSignal | undefined;
  },
): Promise<readonly Float32Array<ArrayBuffer>[]> {
  const { first, promptLength, edits, executor, signal } = run;
  const numRows = copies.length;
  const isStepped = numRows > 1 || first === promptLength - 1;
  const hasWrites = copies.some(({ writes }) => writes.length > 0);
  const writes = copies.map((copy) => copy.writes);
  const places = hasWrites ? new RowWrites(sequence.gpu, writes, isStepped) : undefined;
  try {
    if (!isStepped) {
      await sequence.prefill([first, promptLength], { executor, edits, places, signal, stage: "changed rows" });
      return [await sequence.chooser.readLogits()];
    }
    const batch: Batch = { numRows, prefixLength: first, tailLength: promptLength - first };
    for (let position = first; position < promptLength; position++) {
      throwIfAborted(signal, "The experiment");
      const stage = `position ${position} of ${numRows} changed copies`;
      await sequence.repeatPromptRow(position, { executor, edits, places, batch, stage });
    }
    return await sequence.chooser.readLogitsRows(numRows);
  } finally {
    places?.dispose();
  }
}

/** Copies by their first changed row, the last rows first. */
function groupsOf(runs: readonly ChangedRun[], promptLength: number): readonly RunGroup[] {
  const groups = new Map<number, number[]>();
  for (const [index, { writes, edits }] of runs.entries()) {
    const starts = [...writes.map(({ position }) => position), ...edits.map(({ rows: [start] }) => start)];
    const first = Math.min(promptLength - 1, ...starts);
    const group = groups.get(first);
    if (group === undefined) groups.set(first, [index]);
    else group.push(index);
  }
  return [...groups].sort(([a], [b]) => b - a).map(([first, indices]) => ({ first, indices }));
}

/**
 * The batches of a group. A batch of N copies takes one step of N rows for each of the rows to run; copies one by one take a prefill of
 * those rows each. The work is the same, and the larger number is the better one to have in one call.
 */
function batchesOf(
  { first, indices }: RunGroup,
  { promptLength, maxRows }: { readonly promptLength: number; readonly maxRows: number },
): readonly RunGroup[] {
  const size = Math.min(indices.length, maxRows);
  const isBatched = size > promptLength - first;
  const length = isBatched ? size : 1;
  return Array.from({ length: Math.ceil(indices.length / length) }, (_, part) => ({
    first,
    indices: indices.slice(part * length, (part + 1) * length),
  }));
}
