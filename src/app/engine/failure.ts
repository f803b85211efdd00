// How the engine fails: errors as the page receives them, lost devices, and waiting that a stop button ends.
import { AbortError, CheckpointError, GpuError, InputError } from "../../errors.ts";
import { StoreError } from "../../store/file-store.ts";
import type { Failure, FailureKind } from "../protocol.ts";

/** An error that carries a failure with its kind. */
export class EngineError extends Error {
  override readonly name = "EngineError";
  readonly failure: Failure;

  constructor(failure: Failure, options?: { readonly cause?: unknown }) {
    super(failure.message, options);
    this.failure = failure;
  }
}

/** A call's result or failure as plain data, since structured cloning strips the fields of an Error. */
export type Outcome<T> =
  | { readonly isOk: true; readonly value: T }
  | { readonly isOk: false; readonly failure: Failure };

/** The failure that corresponds to an error of the engine; `internal` for unknown errors. */
export function failureOf(error: unknown): Failure {
  if (error instanceof EngineError) return error.failure;
  const message = error instanceof Error ? error.message : String(error);
  return { kind: kindOf(error), message };
}

/** Runs `work` and converts errors into data. */
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
  if (error instanceof StoreError) return "storage";
  if (error instanceof GpuError) return error.reason === "shader" ? "internal" : error.reason;
  // The host's message for a failed allocation.
  if (error instanceof RangeError && /allocation|array length|buffer/i.test(error.message)) return "out-of-memory";
  return "internal";
}

/** Time window in which losses are counted, milliseconds. */
const WINDOW_MS = 60_000;
/** Number of losses within the window after which recovery stops. */
const MOST_LOSSES = 3;

/** Counts lost devices, so that a device that is lost again and again is not recovered forever. */
export class Losses {
  private times: number[] = [];

  /**
   * Counts a loss.
   * @param nowMs time of a monotonic clock
   * @throws GpuError `device-lost` at the third loss within a minute.
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

/** Maximum delay of a device's `lost` promise after the error that the loss caused, milliseconds. */
const GRACE_MS = 250;

/**
 * Whether a lost device caused an error: the error states it, or `lost` resolves. An AbortError can also be caused by a
 * loss, since the lost model is disposed; the caller has to exclude its own stops.
 * @param lost resolves when the device is lost
 */
export async function isDeviceLoss(error: unknown, lost?: Promise<unknown>): Promise<boolean> {
  if (lost === undefined) return error instanceof GpuError && error.reason === "device-lost";
  if (error instanceof InputError || error instanceof CheckpointError) return false;
  const late = new Promise<false>((resolve) => setTimeout(() => resolve(false), GRACE_MS));
  return Promise.race([lost.then(() => true), late]);
}

/**
 * Waits for `work` or until the signal fires; the work itself continues.
 * @param what subject of the message, such as "Loading the model"
 * @throws AbortError when the signal fires; otherwise the error of `work`.
 */
export async function orAborted<T>(work: Promise<T>, signal: AbortSignal, what: string): Promise<T> {
  let stop: () => void = () => undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(new AbortError(what));
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
  work.catch(() => undefined); // it may fail after the wait has ended
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
