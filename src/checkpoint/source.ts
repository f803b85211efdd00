// Where a checkpoint's bytes come from. A Source returns byte ranges of files; weight files are never read whole. Also here:
// what sources and their readers share, such as checks of paths and ranges, small text files, and names in messages.

import { CheckpointError, isObject } from "../errors.ts";

/** A folder of files that can be read by byte ranges: a local folder, an HTTP folder, a set of Blobs. */
export interface Source {
  /** The source's name in messages: a path, a URL, or "files". */
  readonly name: string;
  /** Size of `path` in bytes, or undefined when there is no such file. */
  size(path: string, signal?: AbortSignal): Promise<number | undefined>;
  /**
   * Bytes `[start, end)` of `path`.
   * @throws CheckpointError when the file is missing or ends before `end`.
   * @throws AbortError when `signal` fires.
   */
  read(path: string, start: number, end: number, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>>;
  /** Releases open handles; a later read opens them again. */
  close?(): Promise<void>;
}

/**
 * Refuses a file name that could point outside the source's folder. File names come from an index.json, which is not trusted.
 * @throws CheckpointError unless `path` is one or more plain segments joined by `/`.
 */
export function checkPath(path: string): void {
  const segments = path.split("/");
  const isPlain = segments.every((segment) => segment !== "" && segment !== "." && segment !== "..");
  // A colon would name a drive or an NTFS stream, a backslash a folder on Windows; control characters are never valid.
  if (isPlain && !/[\\:\p{Cc}]/u.test(path)) return;
  throw new CheckpointError(
    `The file name ${quote(path)} is not a plain path inside the checkpoint's folder; do not trust this checkpoint.`,
    { file: path },
  );
}

/**
 * Refuses an impossible range.
 * @throws RangeError unless 0 ≤ start ≤ end, in whole numbers.
 */
export function checkRange(path: string, start: number, end: number): void {
  if (Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0 && start <= end) return;
  throw new RangeError(`${path}: expected a byte range 0 ≤ start ≤ end, got [${start}, ${end}).`);
}

/** The error for a file that is not there. */
export function missingFile(path: string, sourceName: string): CheckpointError {
  return new CheckpointError(`${path} is not in ${sourceName}; check the folder or download the file.`, { file: path });
}

/** The error for a range that goes past the end of the file. */
export function shortFile(path: string, end: number, fileBytes: number): CheckpointError {
  return new CheckpointError(
    `${path} has ${fileBytes} bytes, but bytes up to ${end} are needed; the file is cut short, so download it again.`,
    { file: path },
  );
}

/**
 * `numBytes` zeroed bytes.
 * @throws CheckpointError when the host cannot allocate them in one piece.
 */
export function allocate(path: string, numBytes: number): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(numBytes);
  } catch (cause) {
    throw new CheckpointError(`${path}: cannot allocate ${numBytes} bytes in one piece; read smaller ranges.`, {
      file: path,
      cause,
    });
  }
}

/** Far above any text file of a checkpoint: a tokenizer with 250,000 entries takes about 35 MB. */
const MAX_TEXT_BYTES = 128 * 1024 * 1024;

/**
 * The text of `path`, or undefined when there is no such file.
 * @throws CheckpointError when it is longer than 128 MiB or not UTF-8.
 * @throws AbortError when `signal` fires.
 */
export async function readTextFile(source: Source, path: string, signal?: AbortSignal): Promise<string | undefined> {
  const fileBytes = await source.size(path, signal);
  if (fileBytes === undefined) return undefined;
  if (fileBytes > MAX_TEXT_BYTES) {
    throw new CheckpointError(`${path} has ${fileBytes} bytes, expected at most ${MAX_TEXT_BYTES}; check the file.`, {
      file: path,
    });
  }
  const bytes = await source.read(path, 0, fileBytes, signal);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new CheckpointError(`${path} is not valid UTF-8; download the file again.`, { file: path, cause });
  }
}

/** A JSON value's entries, to be checked one by one; none of a value that is not an object. */
export function asRecord(value: unknown): Readonly<Record<string, unknown>> {
  return isObject(value) ? value : {};
}

/**
 * The value of the JSON text `text`, which is the content of `path`.
 * @throws CheckpointError when it is not JSON.
 */
export function parseJsonFile(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const reason = (cause as Error).message.replace(/\s+/g, " "); // JSON.parse throws nothing else
    throw new CheckpointError(`${path} is not valid JSON (${reason}); download or write the file again.`, {
      file: path,
      cause,
    });
  }
}

/** Names from files are quoted, escaped and shortened in messages. */
const MAX_SHOWN_CHARACTERS = 120;
const MAX_LISTED_NAMES = 8;

/** `text` in double quotes with control characters escaped, cut to 120 characters. */
export function quote(text: string): string {
  const shown = text.length > MAX_SHOWN_CHARACTERS ? `${text.slice(0, MAX_SHOWN_CHARACTERS)}…` : text;
  return JSON.stringify(shown).replace(/[\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/** The first eight of `names`, and how many more there are: `a, b and 3 more`. */
export function listNames(names: readonly string[]): string {
  const shown = names.slice(0, MAX_LISTED_NAMES).join(", ");
  const numHidden = names.length - MAX_LISTED_NAMES;
  return numHidden > 0 ? `${shown} and ${numHidden} more` : shown;
}

/** A JSON value's kind, for "expected …, got …". */
export function jsonKindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}
