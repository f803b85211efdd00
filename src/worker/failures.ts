// Errors between threads: structured cloning keeps neither the class of an error nor its fields.

import { AbortError, CheckpointError, GpuError, type GpuErrorReason, InputError } from "../errors.ts";
import { StoreError, type StoreErrorReason } from "../store/file-store.ts";

/** An error as plain data. */
export type Failure =
  | { readonly name: "AbortError" | "InputError" | "Error"; readonly message: string }
  | { readonly name: "CheckpointError"; readonly message: string; readonly file: string; readonly tensor?: string }
  | { readonly name: "GpuError"; readonly message: string; readonly reason: GpuErrorReason }
  | { readonly name: "StoreError"; readonly message: string; readonly reason: StoreErrorReason };

/** What became of a call. */
export type Outcome<T> = { readonly value: T } | { readonly failure: Failure };

/** Runs `work`; its error becomes data. */
export async function outcomeOf<T>(work: () => Promise<T>): Promise<Outcome<T>> {
  try {
    return { value: await work() };
  } catch (error) {
    return { failure: failureOf(error) };
  }
}

/** The value of an outcome. @throws the engine's error that the worker had, as an error of the same class. */
export function unwrapped<T>(outcome: Outcome<T>): T {
  if ("value" in outcome) return outcome.value;
  throw errorOf(outcome.failure);
}

function failureOf(error: unknown): Failure {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof CheckpointError) {
    const { file, tensor } = error;
    return { name: "CheckpointError", message, file, ...(tensor !== undefined && { tensor }) };
  }
  if (error instanceof GpuError) return { name: "GpuError", message, reason: error.reason };
  if (error instanceof StoreError) return { name: "StoreError", message, reason: error.reason };
  if (error instanceof InputError) return { name: "InputError", message };
  return { name: error instanceof AbortError ? "AbortError" : "Error", message };
}

function errorOf(failure: Failure): Error {
  const { message } = failure;
  switch (failure.name) {
    case "CheckpointError":
      return new CheckpointError(message, failure);
    case "GpuError":
      return new GpuError(failure.reason, message);
    case "StoreError":
      return new StoreError(failure.reason, message);
    case "InputError":
      return new InputError(message);
    case "AbortError":
      return new AbortError("The work");
    default:
      return new Error(message);
  }
}
