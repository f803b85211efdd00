// A checkpoint in Hugging Face's layout: config.json, small text files, and tensors under canonical names, read in byte ranges.

import { CheckpointError, isObject } from "../errors.ts";
import { abortSignal, read } from "../options.ts";
import { type Dtype, isFileDtype } from "./dtypes.ts";
import type { SafetensorsHeader, TensorEntry } from "./safetensors.ts";
import {
  checkedSource,
  jsonKindOf,
  listNames,
  missingFile,
  parseJsonFile,
  quote,
  readTextFile,
  type Source,
} from "./source.ts";
import { canonicalName, isSavedBuffer } from "./tensor-names.ts";
import { readWeightHeaders } from "./weight-files.ts";

/** The location of a tensor. */
export interface CheckpointTensor {
  readonly file: string;
  readonly entry: TensorEntry;
  /** The canonical name of the tensor that this is an alias of: `__metadata__` lists tied weights. */
  readonly aliasOf?: string;
}

/** A part of a tensor: bytes `[start, end)` counted from its first byte; the whole tensor by default. */
export interface TensorRange {
  readonly start?: number;
  readonly end?: number;
  readonly signal?: AbortSignal | undefined;
}

/** An open checkpoint; no weights are in memory. */
export interface Checkpoint {
  readonly source: Source;
  /** config.json. */
  readonly config: Readonly<Record<string, unknown>>;
  /** By canonical name, including aliases. */
  readonly tensors: ReadonlyMap<string, CheckpointTensor>;
  /** The `__metadata__` of all weight files; where two shards disagree, the one whose name sorts later wins. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Bytes of all tensors, each counted once. */
  readonly totalBytes: number;
  /** Bytes of one tensor. @throws CheckpointError when there is no such tensor. */
  tensorBytes(name: string): number;
  /**
   * Little-endian bytes of a tensor.
   * @throws CheckpointError when there is no such tensor or the file cannot be read; RangeError when the range exceeds the tensor;
   * AbortError when the signal fires.
   */
  read(name: string, range?: TensorRange): Promise<Uint8Array<ArrayBuffer>>;
  /** A JSON file's value, or undefined when there is no such file. @throws CheckpointError when it is not JSON. */
  readJson(path: string, signal?: AbortSignal): Promise<unknown>;
  /** A UTF-8 file's text, or undefined when there is no such file. @throws CheckpointError when it is not UTF-8. */
  readText(path: string, signal?: AbortSignal): Promise<string | undefined>;
  /** Closes the source. */
  close(): Promise<void>;
}

/**
 * Opens the checkpoint in `source`: reads config.json and the headers of the weight files, and checks them.
 * @throws CheckpointError when a file is missing, breaks its format, or index and shards disagree; the source is closed then.
 * @throws AbortError when `signal` fires; the source is closed then.
 */
export async function openCheckpoint(given: Source, signal?: AbortSignal): Promise<Checkpoint> {
  const source = checkedSource(given);
  if (signal !== undefined) read("signal", signal, abortSignal);
  try {
    const config = await readConfig(source, signal);
    const headers = await readWeightHeaders(source, signal);
    return new OpenCheckpoint(source, config, headers);
  } catch (error) {
    await source.close?.();
    throw error;
  }
}

async function readConfig(source: Source, signal?: AbortSignal): Promise<Readonly<Record<string, unknown>>> {
  const path = "config.json";
  const text = await readTextFile(source, path, signal);
  if (text === undefined) throw missingFile(path, source.name);
  const config = parseJsonFile(text, path);
  if (isObject(config)) return config;
  throw new CheckpointError(`${path} must hold an object, got ${jsonKindOf(config)}; download the file again.`, {
    file: path,
  });
}

class OpenCheckpoint implements Checkpoint {
  readonly source: Source;
  readonly config: Readonly<Record<string, unknown>>;
  readonly tensors: ReadonlyMap<string, CheckpointTensor>;
  readonly metadata: Readonly<Record<string, string>>;
  readonly totalBytes: number;

  constructor(
    source: Source,
    config: Readonly<Record<string, unknown>>,
    headers: ReadonlyMap<string, SafetensorsHeader>,
  ) {
    this.source = source;
    this.config = config;
    this.tensors = collectTensors(headers);
    this.metadata = Object.fromEntries([...headers.values()].flatMap(({ metadata }) => Object.entries(metadata)));
    this.totalBytes = [...this.tensors.values()]
      .filter(({ aliasOf }) => aliasOf === undefined)
      .reduce((sum, { entry }) => sum + entry.end - entry.start, 0);
  }

  tensorBytes(name: string): number {
    const { entry } = this.find(name);
    return entry.end - entry.start;
  }

  async read(name: string, range: TensorRange = {}): Promise<Uint8Array<ArrayBuffer>> {
    const { file, entry } = this.find(name);
    const tensorBytes = entry.end - entry.start;
    const { start = 0, end = tensorBytes } = range;
    if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || start < 0 || start > end || end > tensorBytes) {
      throw new RangeError(`${name}: expected a range inside its ${tensorBytes} bytes, got [${start}, ${end}).`);
    }
    return this.source.read(file, entry.start + start, entry.start + end, range.signal);
  }

  async readJson(path: string, signal?: AbortSignal): Promise<unknown> {
    const text = await readTextFile(this.source, path, signal);
    return text === undefined ? undefined : parseJsonFile(text, path);
  }

  readText(path: string, signal?: AbortSignal): Promise<string | undefined> {
    return readTextFile(this.source, path, signal);
  }

  async close(): Promise<void> {
    await this.source.close?.();
  }

  private find(name: string): CheckpointTensor {
    const tensor = this.tensors.get(name);
    if (tensor !== undefined) return tensor;
    throw new CheckpointError(
      `${this.source.name} has no tensor ${quote(name)}; check that the checkpoint is complete.`,
      {
        file: this.source.name,
        tensor: name,
      },
    );
  }
}

/** @throws CheckpointError when two tensors have the same canonical name. */
function collectTensors(headers: ReadonlyMap<string, SafetensorsHeader>): ReadonlyMap<string, CheckpointTensor> {
  const tensors = new Map<string, CheckpointTensor>();
  for (const [file, header] of headers) {
    for (const entry of header.tensors.values()) {
      const name = canonicalName(entry.name);
      const other = tensors.get(name);
      if (other !== undefined) {
        const pair = `${quote(other.entry.name)} of ${other.file} and ${quote(entry.name)} of ${file}`;
        throw new CheckpointError(`${pair} both stand for the tensor ${quote(name)}; keep one of them.`, {
          file,
          tensor: entry.name,
        });
      }
      tensors.set(name, { file, entry });
    }
  }
  // safetensors' save_model writes a tied pair once and records the other name: "removed name": "kept name".
  for (const [file, { metadata, tensors: entries }] of headers) {
    for (const [removed, kept] of Object.entries(metadata)) {
      const entry = entries.get(kept);
      const name = canonicalName(removed);
      if (entry === undefined || tensors.has(name)) continue;
      tensors.set(name, { file, entry, aliasOf: canonicalName(kept) });
    }
  }
  return tensors;
}

/** A tensor that a model needs, or may have (`optional`). */
export interface ExpectedTensor {
  /** Canonical name. */
  readonly name: string;
  readonly shape: readonly number[];
  readonly optional?: boolean;
  /** F32, F16 or BF16 unless given. */
  readonly dtype?: Dtype;
}

/**
 * Checks that the checkpoint holds every tensor that a model needs and no unknown ones. An expected alias counts as its tensor.
 * Saved buffers (see `isSavedBuffer`) and the canonical names in `unused` may be present with any shape and dtype.
 * @throws CheckpointError listing the tensors that are missing, unexpected, of the wrong shape, or not F32, F16 or BF16.
 */
export function requireTensors(
  checkpoint: Checkpoint,
  expected: readonly ExpectedTensor[],
  options: { readonly unused?: ReadonlySet<string> } = {},
): void {
  const { tensors, source } = checkpoint;
  const missing: string[] = [];
  const misshapen: string[] = [];
  const mistyped: string[] = [];
  const accounted = new Set<string>();
  for (const { name, shape, optional, dtype: wanted } of expected) {
    const tensor = tensors.get(name);
    if (tensor === undefined) {
      if (optional !== true) missing.push(name);
      continue;
    }
    accounted.add(name).add(tensor.aliasOf ?? name);
    const { dtype, shape: got } = tensor.entry;
    const [gotForm, form] = wanted === undefined ? ["", ""] : [`${dtype} `, `${wanted} `];
    if (gotForm !== form || got.length !== shape.length || got.some((size, index) => size !== shape[index])) {
      misshapen.push(`${name} ${gotForm}[${got.join(", ")}] instead of ${form}[${shape.join(", ")}]`);
    }
    if (wanted === undefined && !isFileDtype(dtype)) mistyped.push(`${name} ${dtype}`);
  }
  const unexpected = [...tensors].flatMap(([name, { aliasOf }]) => {
    const known =
      aliasOf !== undefined || accounted.has(name) || isSavedBuffer(name) || options.unused?.has(name) === true;
    return known ? [] : [quote(name)];
  });

  const problems = [
    ["lacks", missing],
    ["holds the unexpected", unexpected],
    ["has the wrong shape in", misshapen],
    ["holds other dtypes than F32, F16 and BF16 in", mistyped],
  ] as const;
  const found = problems.filter(([, names]) => names.length > 0);
  if (found.length === 0) return;
  const list = found.map(([problem, names]) => `${problem} ${listNames(names)}`).join(", and ");
  const wrong = [...missing, ...misshapen, ...mistyped][0]?.split(" ")[0];
  throw new CheckpointError(
    `${source.name} does not fit its config.json: it ${list}; check that both belong together.`,
    { file: source.name, tensor: wrong },
  );
}
