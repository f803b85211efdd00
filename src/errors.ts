// The typed errors of the engine. Every message is one sentence: where, what was expected, what was found, what to do.

/**
 * The base of the engine's errors. Messages name files, values and other libraries' errors, which come from strangers: they are cut to
 * one line of at most 500 characters, without control characters. `cause` is what the error was given, else the whole of a message
 * that was cut.
 */
export abstract class BoundedError extends Error {
  constructor(message: string, options: { readonly cause?: unknown } = {}) {
    const line = oneLine(message);
    const cause = options.cause ?? (line.length < message.length ? message : undefined);
    super(line, cause === undefined ? undefined : { cause });
  }
}

/** A checkpoint (config, tensors, tokenizer files) that cannot be read or does not fit the model it names. */
export class CheckpointError extends BoundedError {
  override readonly name = "CheckpointError";
  /** The file the problem is in, as the source names it. */
  readonly file: string;
  /** The tensor the problem is in, when it is in one. */
  readonly tensor: string | undefined;

  constructor(message: string, where: { readonly file: string; readonly tensor?: string; readonly cause?: unknown }) {
    super(message, where);
    this.file = where.file;
    this.tensor = where.tensor;
  }
}

/** A picture, prompt or option that the caller gave and that cannot be used. */
export class InputError extends BoundedError {
  override readonly name = "InputError";
}

/** Why the GPU could not do the work. */
export type GpuErrorReason = "no-adapter" | "limit" | "out-of-memory" | "device-lost" | "shader";

/** The GPU could not do the work; `reason` says why. */
export class GpuError extends BoundedError {
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
export class AbortError extends BoundedError {
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
  if (typeof value !== "object") return `a ${typeof value}`;
  try {
    if (Array.isArray(value) && value.length === 0) return "an empty list";
    const name: unknown = value.constructor?.name;
    if (typeof name === "string" && /^\w{1,40}$/.test(name)) return name;
  } catch {
    // a getter or a proxy that throws
  }
  return "an object";
}

/** A value for messages to callers: texts in quotes, numbers, the kind of anything else. */
export function described(value: unknown): string {
  if (typeof value === "string") return shown(value);
  return typeof value === "number" || typeof value === "boolean" ? String(value) : kindOf(value);
}

/** What an error, or whatever else was thrown, says. */
export function reasonOf(cause: unknown): string {
  try {
    return String(cause instanceof Error ? cause.message : cause);
  } catch {
    return kindOf(cause); // its message or toString throws
  }
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

/** Characters of a message: enough for three long values and a sentence around them. */
const MAX_MESSAGE_CHARACTERS = 500;
/** Of a longer message, the end keeps its advice. */
const MESSAGE_END_CHARACTERS = 160;

/** A message as one line of at most 500 characters, without control characters; the middle of a longer one is left out. */
export function oneLine(message: string): string {
  // What escapes make longer is cut again.
  const line = escapeControls(cut(message, 2 * MAX_MESSAGE_CHARACTERS).replace(/[\r\n]+\s*/g, " "));
  return cut(line, MAX_MESSAGE_CHARACTERS);
}

function cut(text: string, length: number): string {
  if (text.length <= length) return text;
  const start = text.slice(0, length - MESSAGE_END_CHARACTERS - 3);
  const whole = `${start} … ${text.slice(-MESSAGE_END_CHARACTERS)}`;
  return whole.replace(/\p{Cs}/gu, ""); // halves of pairs at the cuts
}

/** Text with the control characters that JSON leaves, and those that turn or hide text, as escapes. */
export function escapeControls(text: string): string {
  return text.replace(/[\p{Cc}\p{Cs}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/** Whether a value is an object as JSON has them: neither null nor an array. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Whether a value is an object that may hold options, instead of, say, a promise that was not awaited. */
export function isPlain(value: unknown): boolean {
  return Object.prototype.toString.call(value) === "[object Object]";
}

/** Whether `fits` accepts a value; not when reading it fails. */
export function accepts<T>(value: T, fits: (value: T) => unknown): boolean {
  try {
    return Boolean(fits(value));
  } catch {
    return false;
  }
}

/** The element at an index that is known to exist. @throws RangeError where there is none: an error of the engine. */
export function at<T>(values: { readonly [index: number]: T; readonly length: number }, index: number): T {
  const value = values[index];
  if (value === undefined) throw new RangeError(`index: expected below ${values.length}, got ${index}`);
  return value;
}
