// How the engine fails: errors as the page receives them, lost devices, and waiting that a stop button ends.
import { AbortError, CheckpointError, GpuError, InputError } from "../../errors.ts";
import type { Failure, FailureKind } from "../protocol.ts";

/** A failure that has its kind already. */
export class EngineError extends Error {
  override readonly name = "EngineError";
  readonly failure: Failure;

  constructor(failure: Failure, options?: { readonly cause?: unknown }) {
    super(failure.message, options);
    this.failure = failure;
  }
}

/** A call's result as it travels from the worker to the page. */
export type Outcome<T> =
  | { readonly isOk: true; readonly value: T }
  | { readonly isOk: false; readonly failure: Failure };

/** The failure that an error of the engine stands for; an error of unknown kind is `internal`. */
export function failureOf(error: unknown): Failure {
  if (error instanceof EngineError) return error.failure;
  const message = error instanceof Error ? error.message : String(error);
  return { kind: kindOf(error), message };
}

/** Runs `work` and turns what it throws into data. */
export async function outcomeOf<T>(work: () => Promise<T>): Promise<Outcome<T>> {
  try {
    return { isOk: true, value: await work() };
  } catch (error) {
    return { isOk: false, failure: failureOf(error) };
  }
}

/** The value of an outcome. @throws EngineError for a failure. */
export function unwrap<T>(outcome: Outcome<T>): T {
  if (outcome.isOk) return outcome.value;
  throw new EngineError(outcome.failure);
}

function kindOf(error: unknown): FailureKind {
  if (error instanceof AbortError) return "stopped";
  if (error instanceof CheckpointError) return "checkpoint";
  if (error instanceof InputError) return "input";
  if (error instanceof GpuError) return error.reason === "shader" ? "internal" : error.reason;
  // The host's own words for memory that it does not give.
  if (error instanceof RangeError && /allocation|array length|buffer/i.test(error.message)) return "out-of-memory";
  return "internal";
}

/** Losses within this time count together, milliseconds. */
const WINDOW_MS = 60_000;
/** The loss at which nothing more is tried. */
const MOST_LOSSES = 3;

/** Counts lost devices. */
export class Losses {
  private times: number[] = [];

  /**
   * Counts one.
   * @param nowMs of a clock that only goes forward
   * @throws GpuError `device-lost` when it is the third within a minute.
   */
  count(reason: string, nowMs: number): void {
    this.times = [...this.times.filter((time) => nowMs - time < WINDOW_MS), nowMs];
    if (this.times.length < MOST_LOSSES) return;
    this.times = [];
    throw new GpuError(
      "device-lost",
      `The GPU device was lost ${MOST_LOSSES} times within a minute (${reason}); close other programs that use the GPU, or try a smaller model, and load again.`,
    );
  }
}

/** How long a device's `lost` may come behind the error that it caused, milliseconds. */
const GRACE_MS = 250;

/**
 * Whether an error came of a lost device: it says so, or the device turns out to be lost. An AbortError may come of one, too,
 * since the lost model is disposed of; whether it came of a stop, the caller knows.
 * @param lost resolves when the device is lost
 */
export async function isDeviceLoss(error: unknown, lost?: Promise<unknown>): Promise<boolean> {
  if (lost === undefined) return error instanceof GpuError && error.reason === "device-lost";
  if (error instanceof InputError || error instanceof CheckpointError) return false;
  const late = new Promise<false>((resolve) => setTimeout(() => resolve(false), GRACE_MS));
  return Promise.race([lost.then(() => true), late]);
}

/**
 * Waits for `work`, or until the signal fires; the work itself goes on.
 * @param what for the message, such as "Loading the model"
 * @throws AbortError when the signal fires; what `work` throws.
 */
export async function orAborted<T>(work: Promise<T>, signal: AbortSignal, what: string): Promise<T> {
  let stop: () => void = () => undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(new AbortError(what));
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
  work.catch(() => undefined); // it may fail when nobody waits any more
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
