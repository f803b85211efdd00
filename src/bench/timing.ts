// How long GPU work takes by the host's clock: submitted in batches long enough that submitting does not count, and compared
// work in turns, A B A B …, so that a change of the machine's speed affects all of it.
import { throwIfAborted } from "../errors.ts";
import type { Gpu } from "../gpu/device.ts";
import { PreparedProgram } from "../gpu/prepared-program.ts";
import type { Program } from "../gpu/program.ts";
import { type Spread, spreadOf } from "./statistics.ts";

/** How long to measure. */
export interface TimingOptions {
  /** Measuring continues until the samples sum to this time, ms. */
  readonly targetMs: number;
  /** Minimum number of samples. */
  readonly minSamples: number;
  readonly signal?: AbortSignal | undefined;
}

/** A sample is a batch of runs of at least this long, ms: far above the cost of a submit and of waiting for it. */
const SAMPLE_MS = 20;
/** Maximum runs per submit; a GPU's watchdog allows some hundred ms, and SAMPLE_MS stays far below. */
const MAX_REPEAT = 4096;

/** Waits until everything submitted so far has run. */
export async function flush(gpu: Gpu): Promise<void> {
  await gpu.device.queue.onSubmittedWorkDone();
  gpu.throwIfLost();
}

/** Milliseconds of `work`. */
export async function clocked(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

/** Milliseconds per call of `work`, including the GPU work it submits, after one call that is not counted. */
export async function timeWork(work: () => Promise<unknown>, options: TimingOptions): Promise<Spread> {
  await work();
  const samples: number[] = [];
  let total = 0;
  while (samples.length < options.minSamples || total < options.targetMs) {
    throwIfAborted(options.signal, "The bench");
    const ms = await clocked(work);
    samples.push(ms);
    total += ms;
  }
  return spreadOf(samples);
}

/**
 * Milliseconds of one run of a program.
 * @throws AbortError between samples; GpuError.
 */
export async function timeProgram(gpu: Gpu, program: Program, options: TimingOptions): Promise<Spread> {
  const prepared = await PreparedProgram.prepare(gpu, program);
  try {
    return await timePrepared(gpu, prepared, options);
  } finally {
    prepared.dispose();
  }
}

/**
 * As {@link timeProgram}, of a program that was prepared before.
 * @throws AbortError between samples.
 */
export async function timePrepared(gpu: Gpu, program: PreparedProgram, options: TimingOptions): Promise<Spread> {
  const run = async (repeat: number): Promise<number> =>
    clocked(async () => {
      const encoder = gpu.device.createCommandEncoder({ label: "bench" });
      for (let i = 0; i < repeat; i++) program.encode(encoder);
      gpu.device.queue.submit([encoder.finish()]);
      await flush(gpu);
    });
  await run(1); // the first run includes work that drivers defer until then
  let repeat = 1;
  let ms = await run(repeat);
  while (ms < SAMPLE_MS && repeat < MAX_REPEAT) {
    repeat = Math.min(MAX_REPEAT, Math.ceil(repeat * Math.min(16, Math.max(2, (1.2 * SAMPLE_MS) / ms))));
    ms = await run(repeat);
  }
  const samples = [ms / repeat];
  let total = ms;
  while (samples.length < options.minSamples || total < options.targetMs) {
    throwIfAborted(options.signal, "The bench");
    ms = await run(repeat);
    samples.push(ms / repeat);
    total += ms;
  }
  return spreadOf(samples);
}

/** Number and time limit of rounds. */
export interface RoundsOptions {
  readonly rounds: number;
  /** No round starts after this time, ms; the first always runs. */
  readonly budgetMs: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Runs each of `runs` once per round, in their order.
 * @returns the results of each, in the order of the rounds
 * @throws AbortError between runs.
 */
export async function interleave<Name extends string, T>(
  runs: Readonly<Record<Name, () => Promise<T>>>,
  options: RoundsOptions,
): Promise<Record<Name, T[]>> {
  const names = Object.keys(runs) as Name[]; // exactly the record's names
  const results = Object.fromEntries(names.map((name) => [name, [] as T[]])) as Record<Name, T[]>;
  const started = performance.now();
  for (let round = 0; round < options.rounds; round++) {
    if (round > 0 && performance.now() - started > options.budgetMs) break;
    for (const name of names) {
      throwIfAborted(options.signal, "The bench");
      results[name].push(await runs[name]());
    }
  }
  return results;
}
