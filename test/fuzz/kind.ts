// What a kind of fuzzing is: inputs made from a seed, the call that gets them, and what that call may end in.

import { AbortError, CheckpointError, GpuError, InputError } from "../../src/errors.ts";
import { createRandom, type Random } from "../reference/random.ts";

/** One input; with `sameAs`, the call has to end as with that one, because both mean the same. */
export interface FuzzCase<Input = unknown> {
  readonly input: Input;
  readonly sameAs?: Input | undefined;
}

/** A kind of fuzzing. Inputs are JSON values, so that each can be kept as a small file. */
export interface FuzzKind<Input = unknown> {
  readonly name: string;
  /** CPU time that one input may take, in milliseconds; 5,000 unless given. */
  readonly maxCpuMs?: number;
  /** An input that depends on the random numbers alone. */
  make(random: Random): FuzzCase<Input>;
  /** Calls what is fuzzed. @returns the answer as a text that can be compared. */
  run(input: Input): Promise<string>;
}

/** A kind whose inputs only it knows the type of. */
export function defineKind<Input>(kind: FuzzKind<Input>): FuzzKind {
  return {
    name: kind.name,
    ...(kind.maxCpuMs !== undefined && { maxCpuMs: kind.maxCpuMs }),
    make: (random) => kind.make(random),
    // A corpus file holds what `make` made, or what was written by hand in the same form.
    run: (input) => kind.run(input as Input),
  };
}

/** The input number `index` of a run with this seed. */
export function caseOf(kind: FuzzKind, seed: number, index: number): FuzzCase {
  return kind.make(createRandom(Math.imul(seed, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca6b)));
}

/** What a call ended in. `finding` is what must not happen: why, in a few words. */
export interface Ending {
  /** "ok", or the name of the error. */
  readonly outcome: string;
  /** The answer, or the error's message. */
  readonly text: string;
  readonly finding?: "untyped error" | "message" | undefined;
}

/** Characters of an error's message. */
export const MAX_MESSAGE_CHARACTERS = 500;

/** As the characters that `escapeControls` (src/errors.ts) replaces. */
const CONTROLS = /[\p{Cc}\u2028-\u202e\u2066-\u2069]/u;

/** Runs one input and says what it ended in. */
export async function endingOf(kind: FuzzKind, input: unknown): Promise<Ending> {
  try {
    return { outcome: "ok", text: await kind.run(input) };
  } catch (error) {
    const isTyped = [CheckpointError, InputError, GpuError, AbortError].some((kind) => error instanceof kind);
    if (!isTyped || !(error instanceof Error)) {
      const text = error instanceof Error ? (error.stack ?? String(error)) : `thrown: ${String(error)}`;
      return { outcome: error instanceof Error ? error.name : "no error", text, finding: "untyped error" };
    }
    const { name, message } = error;
    const isSentence = /[.?]$/.test(message) && message.length <= MAX_MESSAGE_CHARACTERS && !CONTROLS.test(message);
    return { outcome: name, text: message, finding: isSentence ? undefined : "message" };
  }
}
