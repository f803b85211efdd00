// Errors as the page hears of them: the engine's typed errors become plain data, since structured cloning strips an Error
// of its fields.
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
