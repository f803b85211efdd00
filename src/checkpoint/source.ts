// Where a checkpoint's bytes come from. A Source returns byte ranges of files; weight files are never read whole. Also here:
// what sources and their readers share, such as checks of paths and ranges, small text files, and names in messages.

import { CheckpointError, escapeControls, isObject } from "../errors.ts";
import { callback, objectOf, read, required, rule, text, whole } from "../options.ts";

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

const SOURCE = objectOf<Source>("a source such as httpSource(url) or blobSource(files)", {
  name: required(text),
  size: required(callback),
  read: required(callback),
  close: callback,
});

/**
 * A source of a caller's that checks what it returns; errors that its functions throw are left as they are.
 * @throws InputError for what is not a source.
 */
export function checkedSource(given: Source): Source {
  const source = read("source", given, SOURCE) as Source; // checked by the rule
  return {
    name: source.name,
    async size(path, signal) {
      const fileBytes = await source.size.call(given, path, signal);
      if (fileBytes !== undefined) read(`source.size(${quote(path)})`, fileBytes, whole(0));
      return fileBytes;
    },
    async read(path, start, end, signal) {
      const bytes = await source.read.call(given, path, start, end, signal);
      const isWhole = ArrayBuffer.isView(bytes) && bytes.byteLength === end - start;
      const expected = rule(`a Uint8Array of ${end - start} bytes`, () => isWhole && bytes instanceof Uint8Array);
      read(`source.read(${quote(path)}, ${start}, ${end})`, bytes, expected);
      return bytes;
    },
    close: async () => source.close?.call(given),
  };
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

/** Far deeper than any file of a checkpoint, and shallow enough for whatever walks a value by recursion. */
const MAX_NESTING = 200;

/** What Python writes for numbers that JSON does not have. */
const PYTHON_NUMBERS = /-?\b(?:NaN|Infinity)\b/y;

/**
 * The value of the JSON text `text`, which is the content of `path`. NaN and Infinity, which Python writes and reads as numbers, are texts
 * here: what reads one where it expects a number refuses it by its name.
 * @throws CheckpointError when it is not JSON, or nested more than 200 levels deep.
 */
export function parseJsonFile(text: string, path: string): unknown {
  if (nesting(text) > MAX_NESTING) {
    const message = `${path} is nested more than ${MAX_NESTING} levels deep, which no file of a checkpoint is; do not trust it.`;
    throw new CheckpointError(message, { file: path });
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    const plain = withoutPythonNumbers(text);
    if (plain !== text) return parseJsonFile(plain, path);
    const reason = (cause as Error).message.replace(/\s+/g, " "); // JSON.parse throws nothing else
    throw new CheckpointError(`${path} is not valid JSON (${reason}); download or write the file again.`, {
      file: path,
      cause,
    });
  }
}

/** How deep the objects and arrays of a JSON text are nested; of a text that is not JSON, some number. */
function nesting(text: string): number {
  let depth = 0;
  let deepest = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = endOfString(text, at) - 1;
    else if (code === OPEN_BRACE || code === OPEN_BRACKET) deepest = Math.max(deepest, ++depth);
    else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) depth--;
  }
  return deepest;
}

const [QUOTE, OPEN_BRACE, CLOSE_BRACE, OPEN_BRACKET, CLOSE_BRACKET] = [0x22, 0x7b, 0x7d, 0x5b, 0x5d];

/** The index after the quote that closes the string that opens at `start`, or the end of a text that does not close it. */
export function endOfString(text: string, start: number): number {
  for (let at = text.indexOf('"', start + 1); at !== -1; at = text.indexOf('"', at + 1)) {
    let numBackslashes = 0;
    while (text[at - 1 - numBackslashes] === "\\") numBackslashes++;
    if (numBackslashes % 2 === 0) return at + 1;
  }
  return text.length;
}

/** `text` with Python's NaN, Infinity and -Infinity in quotes, outside of strings. */
function withoutPythonNumbers(text: string): string {
  let plain = "";
  let copied = 0;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '"') {
      at = endOfString(text, at) - 1;
      continue;
    }
    PYTHON_NUMBERS.lastIndex = at;
    const [found] = PYTHON_NUMBERS.exec(text) ?? [];
    if (found === undefined) continue;
    plain += `${text.slice(copied, at)}"${found}"`;
    copied = at + found.length;
    at = copied - 1;
  }
  return plain + text.slice(copied);
}

/** Names from files are quoted, escaped and shortened in messages. */
const MAX_SHOWN_CHARACTERS = 120;
const MAX_LISTED_NAMES = 8;

/** `text` in double quotes with control characters escaped, cut to 120 characters. */
export function quote(text: string): string {
  const cut = text.length > MAX_SHOWN_CHARACTERS ? `${text.slice(0, MAX_SHOWN_CHARACTERS)}…` : text;
  return escapeControls(JSON.stringify(cut));
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
