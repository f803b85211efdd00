// Prepares a loaded model for questions: compiles their pipelines, then runs one workgroup of each, because drivers defer part of
// the work to the first run.
import type { ExpectedQuestion, WarmUpOptions, WarmUpProgress } from "./answer.ts";
import { contextOf } from "./edits.ts";
import { AbortError, throwIfAborted } from "./errors.ts";
import { chooseRowsProgram, embedTokensProgram } from "./generate/decoder-programs.ts";
import { earlyLogitsProgram, earlyRows } from "./generate/early-exits.ts";
import type { BufferMaker, Gpu } from "./gpu/device.ts";
import { runOnce, SubmitExecutor } from "./gpu/executor.ts";
import type { Pipeline } from "./gpu/kernel.ts";
import { requestPipelines } from "./gpu/prepared-program.ts";
import { type DispatchCommand, Program } from "./gpu/program.ts";
import type { TextConfig } from "./models/config.ts";
import { MAX_BATCH_ROWS, MAX_DECODE_ROWS } from "./models/layers/step.ts";
import { GREEDY_NEEDS, placeholders } from "./precompile.ts";
import {
  type MakeRowEdits,
  type PassKind,
  PLAIN,
  ProgramRecorder,
  type QuestionNeeds,
  type RecordedModel,
} from "./program-recorder.ts";
import type { Settings } from "./settings.ts";

/** The model as {@link warmUp} needs it. */
export interface WarmModel extends RecordedModel {
  readonly gpu: Gpu;
  /** Pipelines that a warm-up has run; this one adds its own. */
  readonly ran: Set<Pipeline>;
  /** Runs `work` when nothing else of the model runs, inside error scopes. */
  inTurn(work: () => Promise<void>): Promise<void>;
}

/** What to expect, and how to report progress. */
export interface Expected extends Pick<WarmUpOptions, "signal" | "onProgress"> {
  readonly questions: readonly QuestionNeeds[];
  readonly sweep: boolean;
  /** Whether answers will decode together. */
  readonly batched: boolean;
}

const WHAT = "Warming up";

/** Most keys of a row of a batch that is expected. */
const RAGGED_KEYS = 4096;

/** Confidences at which a method's edits are queried: it may edit different rows when it is unsure. */
const CONFIDENCES = [0, 0.5, 1];

/**
 * What a question will need.
 * @param settings its options, checked against the longest prompt that the model takes, `promptLength` positions
 */
export function needsOf(
  question: ExpectedQuestion,
  settings: Settings,
  { text, promptLength }: { readonly text: TextConfig; readonly promptLength: number },
): QuestionNeeds {
  const { hasImage = true, attention: isCaptured = false } = question;
  const { method, sampling, topLogProbs } = settings;
  // Which image tokens are chosen is checked against the prompt, and changes no kernel.
  const values = { ...settings.values, patches: undefined, box: undefined };
  const context = contextOf(text, { promptLength, imageRuns: hasImage ? [[0, 1]] : [], images: [] });
  const isGated = method.reads?.(values) !== undefined;
  const readings = isGated ? CONFIDENCES : [undefined];
  const edits = readings.map((confidence) => {
    return attempted(() => method.edits(values, context, { confidence }).scores) ?? [];
  });
  const rows = edits.flat().map((edit) => edit.rows);
  const edited = { isEdited: true, isCaptured };
  const prefills = isGated || rows.length === 0 ? [{ isEdited: false, isCaptured }] : [edited];
  const steps: PassKind[] = [];
  for (const scores of isGated ? edits : []) {
    if (scores.length === 0) continue;
    // Once the confidence is known, the last row alone runs again as a step, several rows as a prefill.
    const first = Math.min(...scores.map(({ rows: [start] }) => start));
    (first === promptLength - 1 ? steps : prefills).push(edited);
  }
  steps.push({ isEdited: rows.some(([, end]) => end > promptLength), isCaptured: false });
  const contrast = attempted(() => method.contrast?.(values, context));
  const numEarlyLayers = contrast?.against === "early-layers" ? contrast.layers.length : undefined;
  if (hasImage && contrast !== undefined && numEarlyLayers === undefined) {
    // A second stream is unmodified.
    prefills.push({ isEdited: false, isCaptured: false });
    steps.push({ isEdited: false, isCaptured: false });
  }
  const { repetitionPenalty } = sampling;
  const rowEdits = edits.flat().filter(({ operation }) => operation === "temperature" || operation === "redistribute");
  return {
    hasImage,
    prefills,
    steps,
    repetitionPenalty,
    topK: topLogProbs,
    numEarlyLayers,
    ...(rowEdits.length > 0 && { rowEdits: { hasSinks: rowEdits.some(({ sinks }) => sinks !== undefined) } }),
  };
}

/** What a method does to a prompt that is made up; nothing where that fails, as answering the real one will say why. */
function attempted<T>(run: () => T): T | undefined {
  try {
    return run();
  } catch {
    return undefined;
  }
}

/** As `Llava.warmUp`. */
export async function warmUp(model: WarmModel, options: Expected): Promise<void> {
  const { gpu, ran } = model;
  const { signal } = options;
  throwIfAborted(signal, WHAT);
  gpu.throwIfDisposed();
  const missing = new Set<Pipeline>();
  const hasRowEdits = options.questions.some(({ rowEdits }) => rowEdits !== undefined);
  const makeRowEdits = hasRowEdits
    ? (await import("./models/layers/row-edits.ts")).placeholderRowEdits // a chunk of its own for bundlers
    : undefined;
  for (const program of programs(model, placeholders(gpu), { ...options, makeRowEdits })) {
    for (const pipeline of requestPipelines(gpu, program).values()) missing.add(pipeline);
  }
  await orAborted(compiled([...missing], gpu, options), signal);
  for (const pipeline of ran) missing.delete(pipeline);
  await runAll(model, missing, { ...options, makeRowEdits });
}

interface Recorded extends Expected {
  readonly makeRowEdits: MakeRowEdits | undefined;
}

/** Every program that the expected questions may run. */
function* programs(model: WarmModel, buffers: BufferMaker, options: Recorded): Generator<Program> {
  const { questions, sweep, batched, makeRowEdits } = options;
  const batchRows = sweep || batched ? MAX_BATCH_ROWS : 1;
  const recorder = new ProgramRecorder(model.gpu, buffers, { ...model, batchRows });
  const rowCounts = chunkLengths(model.chunkRows);
  for (const needs of questions) {
    yield* recorder.question(needs, rowCounts, makeRowEdits);
    const { numEarlyLayers } = needs;
    if (numEarlyLayers === undefined) continue;
    const { decoder } = recorder.run;
    yield earlyLogitsProgram(
      decoder,
      model.gpu,
      earlyRows(buffers, decoder.text, { numRows: numEarlyLayers, isNormalised: true }),
    );
  }
  if (sweep) {
    yield* recorder.question(GREEDY_NEEDS, rowCounts);
    yield* stepsOfRows(recorder, MAX_BATCH_ROWS, undefined);
  }
  if (batched) yield* stepsOfRows(recorder, MAX_DECODE_ROWS, RAGGED_KEYS);
}

/** Decode steps of every number of rows. */
function* stepsOfRows(recorder: ProgramRecorder, mostRows: number, raggedKeys: number | undefined): Generator<Program> {
  const { run } = recorder;
  const { vocabSize } = run.decoder.text;
  for (let numRows = 1; numRows <= mostRows; numRows++) {
    yield recorder.step({ isEdited: true, isCaptured: false }, numRows, { raggedKeys });
    yield chooseRowsProgram(run.own, { vocabSize, numRows });
    yield embedTokensProgram(run, numRows);
    yield recorder.step(PLAIN, numRows, { raggedKeys });
  }
}

/**
 * Lengths of a chunk that between them take every kernel: kernels are chosen by thresholds that are powers of two, or by the
 * number of tiles, whose sides are multiples of 32. The usual one is the first.
 */
export function chunkLengths(chunkRows: number): readonly number[] {
  const lengths = new Set([chunkRows]);
  for (let power = 1; power < chunkRows; power *= 2) {
    lengths.add(power);
    if (power + 1 < chunkRows) lengths.add(power + 1);
  }
  for (let multiple = 32; multiple < chunkRows; multiple += 32) lengths.add(multiple);
  return [...lengths];
}

async function compiled(
  pipelines: readonly Pipeline[],
  gpu: Gpu,
  { onProgress, signal }: Pick<WarmUpOptions, "onProgress" | "signal">,
): Promise<void> {
  let done = pipelines.filter(({ handle }) => handle !== undefined).length;
  const tell = counter("compile", pipelines.length, onProgress);
  tell(done);
  const waits = pipelines.filter(({ handle }) => handle === undefined);
  await Promise.all(
    waits.map(async ({ ready }) => {
      await ready;
      if (signal?.aborted) return; // nobody is told any more
      gpu.throwIfDisposed();
      tell(++done);
    }),
  );
}

/** Runs one workgroup of each pipeline, each in a separate turn so that questions can run in between; frees its buffers at the end. */
async function runAll(model: WarmModel, missing: Set<Pipeline>, options: Recorded): Promise<void> {
  const { gpu, ran } = model;
  const { signal, onProgress } = options;
  const total = missing.size;
  const tell = counter("run", total, onProgress);
  tell(0);
  if (total === 0) return;
  const executor = new SubmitExecutor(gpu);
  const buffers = new OwnBuffers(gpu);
  try {
    for (const program of programs(model, buffers, options)) {
      for (const [command, pipeline] of requestPipelines(gpu, program)) {
        if (!missing.delete(pipeline)) continue;
        await model.inTurn(async () => {
          throwIfAborted(signal, WHAT);
          await runOnce(executor, oneWorkgroup(command), "warm-up");
          await gpu.device.queue.onSubmittedWorkDone();
        });
        gpu.throwIfDisposed();
        ran.add(pipeline);
        tell(total - missing.size);
      }
      if (missing.size === 0) return;
    }
  } finally {
    buffers.destroy();
  }
}

function oneWorkgroup(command: DispatchCommand): Program {
  const program = new Program("warm-up");
  program.commands.push({ ...command, grid: [1, 1, 1] });
  return program;
}

function counter(phase: WarmUpProgress["phase"], total: number, onProgress: WarmUpOptions["onProgress"]) {
  return (done: number) => onProgress?.({ phase, done, total });
}

/** Makes buffers and frees them all. */
class OwnBuffers implements BufferMaker {
  private readonly gpu: Gpu;
  private readonly made: GPUBuffer[] = [];

  constructor(gpu: Gpu) {
    this.gpu = gpu;
  }

  createBuffer(...args: Parameters<Gpu["createBuffer"]>): GPUBuffer {
    return this.kept(this.gpu.createBuffer(...args));
  }

  createBufferWith(...args: Parameters<Gpu["createBufferWith"]>): GPUBuffer {
    return this.kept(this.gpu.createBufferWith(...args));
  }

  destroy(): void {
    for (const buffer of this.made) this.gpu.destroyBuffer(buffer);
  }

  private kept(buffer: GPUBuffer): GPUBuffer {
    this.made.push(buffer);
    return buffer;
  }
}

/** The result of `work`, or an AbortError as soon as `signal` says so: a compilation cannot be stopped, but waiting can. */
async function orAborted(work: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return work;
  let stop: (() => void) | undefined;
  const stopped = new Promise<never>((_, reject) => {
    stop = () => reject(new AbortError(WHAT));
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
  try {
    await Promise.race([work, stopped]);
  } finally {
    if (stop !== undefined) signal.removeEventListener("abort", stop);
    work.catch(() => undefined); // its failure, if it comes later, is nobody's
  }
}
