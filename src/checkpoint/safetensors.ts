// The header of a safetensors file: the location of each tensor, checked against every rule of the format before use.
//
//   8 bytes   N, u64 little-endian
//   N bytes   JSON object: name → {dtype, shape, data_offsets: [begin, end)}, and "__metadata__": string → string
//   the rest  the data; offsets count from its start
//
// Source: https://github.com/huggingface/safetensors#format. What the reference leaves to its JSON library (duplicate keys, unknown
// fields, numbers written as 1.0) is refused here, so that two readers cannot read one file as two different models.

import { at, CheckpointError, isObject } from "../errors.ts";
import { abortSignal, checkedText, read } from "../options.ts";
import { type Dtype, isDtype, tensorSize } from "./dtypes.ts";
import { scanJson } from "./json-scan.ts";
import { checkedSource, jsonKindOf, missingFile, quote, type Source } from "./source.ts";

/** The location of one tensor in its file. */
export interface TensorEntry {
  /** The name as in the file. */
  readonly name: string;
  readonly dtype: Dtype;
  /** Row-major, outermost first; `[]` is a scalar. */
  readonly shape: readonly number[];
  /** First byte, counted from the start of the file. */
  readonly start: number;
  /** The byte after the last. */
  readonly end: number;
}

/** The header of one safetensors file. */
export interface SafetensorsHeader {
  /** The strings under `__metadata__`; may be empty. */
  readonly metadata: Readonly<Record<string, string>>;
  /** By name, in the order of the file's bytes. */
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  /** Where the data begins: 8 + N. */
  readonly dataStart: number;
}

/** Bytes of the length field. */
const LENGTH_BYTES = 8;
/** The format's bound on N, which prevents a wrong length from allocating all memory. */
export const MAX_HEADER_BYTES = 100_000_000;

/**
 * Reads and checks the header of `path`: 8 + N bytes, none of the data.
 * @throws CheckpointError when the file is missing or breaks a rule of the format; the error names the rule, and the
 *   tensor if there is one.
 * @throws AbortError when `signal` fires.
 */
export async function readSafetensorsHeader(
  given: Source,
  path: string,
  signal?: AbortSignal,
): Promise<SafetensorsHeader> {
  const source = checkedSource(given);
  checkedText("path", path);
  if (signal !== undefined) read("signal", signal, abortSignal);
  const fileBytes = await source.size(path, signal);
  if (fileBytes === undefined) throw missingFile(path, source.name);
  if (fileBytes < LENGTH_BYTES) {
    throw incomplete(
      path,
      `the file has ${fileBytes} bytes, expected at least the ${LENGTH_BYTES} of the header length`,
    );
  }
  const length = await source.read(path, 0, LENGTH_BYTES, signal);
  const headerBytes = new DataView(length.buffer, length.byteOffset, LENGTH_BYTES).getBigUint64(0, true);
  if (headerBytes > BigInt(MAX_HEADER_BYTES)) {
    throw damaged(path, `the header length is ${headerBytes}, expected at most ${MAX_HEADER_BYTES}`);
  }
  const dataStart = LENGTH_BYTES + Number(headerBytes);
  if (dataStart > fileBytes) {
    const got = fileBytes - LENGTH_BYTES;
    throw incomplete(path, `the header length is ${headerBytes}, but only ${got} bytes follow it`);
  }
  const header = await source.read(path, LENGTH_BYTES, dataStart, signal);
  return parseHeader(header, { path, dataStart, fileBytes });
}

/** What the checks need to know about the file. */
interface FileFacts {
  readonly path: string;
  readonly dataStart: number;
  readonly fileBytes: number;
}

function parseHeader(bytes: Uint8Array<ArrayBuffer>, file: FileFacts): SafetensorsHeader {
  const root = parseJson(bytes, file.path);
  let metadata: Readonly<Record<string, string>> = {};
  const entries: TensorEntry[] = [];
  for (const [name, value] of Object.entries(root)) {
    if (name === "__metadata__") metadata = checkMetadata(value, file.path);
    else entries.push(checkEntry(name, value, file));
  }
  // A tensor without elements sorts before the one that begins at the same byte.
  entries.sort((a, b) => a.start - b.start || a.end - b.end);
  checkLayout(entries, file);
  const tensors = new Map(entries.map((entry) => [entry.name, entry]));
  return { metadata, tensors, dataStart: file.dataStart };
}

function parseJson(bytes: Uint8Array<ArrayBuffer>, path: string): object {
  if (bytes[0] !== 0x7b) {
    const got = bytes[0] === undefined ? "nothing" : `byte 0x${bytes[0].toString(16).padStart(2, "0")}`;
    throw damaged(path, `the header must begin with "{", got ${got}`);
  }
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw damaged(path, "the header is not valid UTF-8", { cause });
  }
  let root: object;
  try {
    root = JSON.parse(text);
  } catch (cause) {
    throw damaged(path, "the header is not one valid JSON object", { cause });
  }
  if (text.charAt(lastNonSpace(text)) !== "}") {
    throw damaged(path, "only spaces (0x20) may follow the header's JSON, got other white space");
  }
  scanJson(text, {
    duplicateKey: (keysOf) => {
      const keys = keysOf();
      const where = keys.length > 1 ? `in ${quote(keys.slice(0, -1).join("."))}` : "in the header";
      throw damaged(path, `the key ${quote(at(keys, keys.length - 1))} appears twice ${where}`, tensorOf(keys));
    },
    number: (keysOf, literal) => {
      if (/^[0-9]+$/.test(literal)) return;
      const keys = keysOf();
      if (keys[0] === "__metadata__") return;
      const where = `tensor ${quote(at(keys, 0))}`;
      throw damaged(path, `${where} holds the number ${literal.slice(0, 40)}, expected digits only`, tensorOf(keys));
    },
  });
  return root;
}

function lastNonSpace(text: string): number {
  let last = text.length - 1;
  while (text[last] === " ") last -= 1;
  return last;
}

function tensorOf(keys: readonly string[]): { readonly tensor?: string } {
  return keys[0] === "__metadata__" ? {} : { tensor: keys[0] };
}

function checkMetadata(value: unknown, path: string): Readonly<Record<string, string>> {
  if (value === null) return {}; // as safetensors reads it
  if (!isObject(value)) throw damaged(path, `"__metadata__" must be an object, got ${jsonKindOf(value)}`);
  const entries = Object.entries(value).map(([key, text]): [string, string] => {
    if (typeof text === "string") return [key, text];
    throw damaged(path, `"__metadata__" holds ${jsonKindOf(text)} under ${quote(key)}, expected a string`);
  });
  return Object.fromEntries(entries);
}

function checkEntry(name: string, value: unknown, file: FileFacts): TensorEntry {
  const wrong = (problem: string) => damaged(file.path, `tensor ${quote(name)} ${problem}`, { tensor: name });
  if (!isObject(value)) throw wrong(`is ${jsonKindOf(value)}, expected an object`);
  for (const key of ["dtype", "shape", "data_offsets"]) {
    if (!Object.hasOwn(value, key)) throw wrong(`has no ${key}`);
  }
  const extra = Object.keys(value).find((key) => key !== "dtype" && key !== "shape" && key !== "data_offsets");
  if (extra !== undefined) {
    throw wrong(`has the field ${quote(extra)}, expected only dtype, shape and data_offsets`);
  }

  const dtype = value.dtype;
  if (!isDtype(dtype)) {
    throw wrong(
      `has the dtype ${typeof dtype === "string" ? quote(dtype) : jsonKindOf(dtype)}, which the format lacks`,
    );
  }
  const shape = value.shape;
  if (!isSizes(shape)) throw wrong("has a shape that is not an array of whole numbers from 0 to 2^53 − 1");
  const offsets = value.data_offsets;
  if (!isSizes(offsets)) throw wrong("has data_offsets that are not whole numbers from 0 to 2^53 − 1");
  if (offsets.length !== 2) throw wrong(`has ${offsets.length} data_offsets, expected 2`);
  const [begin, end] = [at(offsets, 0), at(offsets, 1)];
  if (begin > end) throw wrong(`begins at byte ${begin} of the data and ends before it, at ${end}`);

  const bytes = tensorSize(shape, dtype);
  if (bytes === "overflow") throw wrong(`has a shape whose size in ${dtype} overflows 2^53 − 1`);
  if (bytes === "partial-byte") throw wrong(`does not fill whole bytes: shape [${shape.join(", ")}] in ${dtype}`);
  if (bytes !== end - begin) {
    throw wrong(`takes ${end - begin} bytes, expected ${bytes} for shape [${shape.join(", ")}] in ${dtype}`);
  }
  return { name, dtype, shape, start: file.dataStart + begin, end: file.dataStart + end };
}

/** The sorted entries must cover the data from its first byte to the file's last, each byte once. */
function checkLayout(entries: readonly TensorEntry[], file: FileFacts): void {
  let expected = file.dataStart;
  for (const { name, start, end } of entries) {
    const misplaced = (fault: string) => {
      const [got, want] = [start - file.dataStart, expected - file.dataStart];
      const problem = `tensor ${quote(name)} ${fault}: it begins at byte ${got} of the data, expected ${want}`;
      return damaged(file.path, problem, { tensor: name });
    };
    if (start < expected) throw misplaced("overlaps the tensor before it");
    if (start > expected) throw misplaced("leaves a hole before it");
    expected = end;
  }
  const cut = entries.find(({ end }) => end > file.fileBytes);
  if (cut !== undefined) {
    const problem = `the tensors need ${expected} bytes, got ${file.fileBytes}`;
    throw incomplete(file.path, problem, { tensor: cut.name });
  }
  if (expected < file.fileBytes) {
    throw damaged(file.path, `${file.fileBytes - expected} bytes follow the last tensor, expected none`);
  }
}

/** Whether an entry's value is an array of sizes; the scan has refused numbers with a sign. */
function isSizes(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every(Number.isSafeInteger);
}

function damaged(path: string, problem: string, where?: { tensor?: string; cause?: unknown }): CheckpointError {
  const advice = "the file is damaged or not safetensors, so download or write it again";
  return new CheckpointError(`${path}: ${problem}; ${advice}.`, { file: path, ...where });
}

function incomplete(path: string, problem: string, where?: { tensor?: string }): CheckpointError {
  return new CheckpointError(`${path}: ${problem}; the file is cut short, so download it again.`, {
    file: path,
    ...where,
  });
}
