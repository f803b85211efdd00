// The typed errors of the engine. Every message is one sentence: where, what was expected, what was found, what to do.

/** A checkpoint (config, tensors, tokenizer files) that cannot be read or does not fit the model it names. */
export class CheckpointError extends Error {
  override readonly name = "CheckpointError";
  /** The file the problem is in, as the source names it. */
  readonly file: string;
  /** The tensor the problem is in, when it is in one. */
  readonly tensor: string | undefined;

  constructor(message: string, where: { readonly file: string; readonly tensor?: string; readonly cause?: unknown }) {
    super(asSentence(message), where.cause === undefined ? undefined : { cause: where.cause });
    this.file = where.file;
    this.tensor = where.tensor;
  }
}

/** A picture, prompt or option that the caller gave and that cannot be used. */
export class InputError extends Error {
  override readonly name = "InputError";

  constructor(message: string, options?: { readonly cause?: unknown }) {
    super(asSentence(message), options);
  }
}

/** Why the GPU could not do the work. */
export type GpuErrorReason = "no-adapter" | "limit" | "out-of-memory" | "device-lost" | "shader";

/** The GPU could not do the work; `reason` says why. */
export class GpuError extends Error {
  override readonly name = "GpuError";
  readonly reason: GpuErrorReason;

  constructor(reason: GpuErrorReason, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.reason = reason;
  }
}

/**
 * The caller stopped the work: by its AbortSignal, after which it may be started again, or by disposing the model.
 */
export class AbortError extends Error {
  override readonly name = "AbortError";

  constructor(what: string, how = "by its AbortSignal") {
    super(`${what} was stopped ${how}.`);
  }
}

/**
 * Stops the current work when the caller asked for it.
 * @throws AbortError when `signal` is aborted.
 */
export function throwIfAborted(signal: AbortSignal | undefined, what: string): void {
  if (signal?.aborted) throw new AbortError(what);
}

/** What a value is, for messages to callers without a type checker: "null", "a string", "Uint8Array". */
export function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  return typeof value === "object" ? (value.constructor?.name ?? "an object") : `a ${typeof value}`;
}

/** Characters that a value from a file may have in a message. */
const MAX_SHOWN_CHARACTERS = 80;

/** A value from a file or a caller, for messages: as JSON, cut to 80 characters, without control characters. */
export function shown(value: unknown): string {
  if (value === undefined) return "nothing";
  if (typeof value === "number") return String(value); // JSON has no Infinity
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch {
    // cyclic, or with a toJSON that fails
  }
  text ??= kindOf(value);
  return escapeControls(text.length > MAX_SHOWN_CHARACTERS ? `${text.slice(0, MAX_SHOWN_CHARACTERS)}…` : text);
}

/** Characters of a message, which may hold names and reasons that come from files and servers. */
const MAX_MESSAGE_CHARACTERS = 500;
/** Of these, what a message ends in: what to do. */
const END_CHARACTERS = 120;

/** A message without control characters, cut in the middle where it is too long. */
function asSentence(message: string): string {
  const plain = escapeControls(message);
  if (plain.length <= MAX_MESSAGE_CHARACTERS) return plain;
  return `${plain.slice(0, MAX_MESSAGE_CHARACTERS - END_CHARACTERS - 1)}…${plain.slice(-END_CHARACTERS)}`;
}

/** Text with the control characters that JSON leaves, and those that turn or hide text, as escapes. */
export function escapeControls(text: string): string {
  return text.replace(/[\p{Cc}\u2028-\u202e\u2066-\u2069]/gu, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/** Whether a value is an object as JSON has them: neither null nor an array. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The element at an index that is known to exist. @throws RangeError where there is none: an error of the engine. */
export function at<T>(values: { readonly [index: number]: T; readonly length: number }, index: number): T {
  const value = values[index];
  if (value === undefined) throw new RangeError(`index: expected below ${values.length}, got ${index}`);
  return value;
}
