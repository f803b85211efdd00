// Which files hold the weights: one model.safetensors, or the shards that model.safetensors.index.json names.

import { at, CheckpointError, isObject } from "../errors.ts";
import { scanJson } from "./json-scan.ts";
import { readSafetensorsHeader, type SafetensorsHeader } from "./safetensors.ts";
import { jsonKindOf, listNames, parseJsonFile, quote, readTextFile, type Source } from "./source.ts";

/** All weights in one file. */
export const SINGLE_FILE = "model.safetensors";
/** Which shard holds which tensor. */
export const INDEX_FILE = "model.safetensors.index.json";
/** Weights pickled by Python: loading them would execute code. */
const PICKLED_FILES = ["pytorch_model.bin", "pytorch_model.bin.index.json"];

/**
 * The headers of all weight files, by file name; where both forms exist, the single file is used, as in transformers.
 * @throws CheckpointError when there are no weights, a header is bad, or the index and its shards disagree.
 * @throws AbortError when `signal` fires.
 */
export async function readWeightHeaders(
  source: Source,
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, SafetensorsHeader>> {
  if ((await source.size(SINGLE_FILE, signal)) !== undefined) {
    return new Map([[SINGLE_FILE, await readSafetensorsHeader(source, SINGLE_FILE, signal)]]);
  }
  const text = await readTextFile(source, INDEX_FILE, signal);
  if (text === undefined) throw await noWeights(source, signal);
  const weightMap = parseIndex(text);
  const files = [...new Set(weightMap.values())].sort();
  const settled = await Promise.allSettled(
    files.map(async (file) => [file, await readShardHeader(source, file, signal)] as const),
  );
  const headers = new Map(
    settled.map((result) => {
      if (result.status === "fulfilled") return result.value;
      throw result.reason;
    }),
  );
  checkIndex(weightMap, headers);
  return headers;
}

async function readShardHeader(source: Source, file: string, signal?: AbortSignal): Promise<SafetensorsHeader> {
  if ((await source.size(file, signal)) === undefined) {
    throw new CheckpointError(
      `${INDEX_FILE} names the shard ${quote(file)}, which is not in ${source.name}; download all shards.`,
      { file },
    );
  }
  return readSafetensorsHeader(source, file, signal);
}

async function noWeights(source: Source, signal: AbortSignal | undefined): Promise<CheckpointError> {
  for (const file of PICKLED_FILES) {
    if ((await source.size(file, signal)) === undefined) continue;
    return new CheckpointError(
      `${source.name} holds ${file}, but neither ${SINGLE_FILE} nor ${INDEX_FILE}; load it in transformers and save it with save_pretrained, which writes safetensors.`,
      { file },
    );
  }
  return new CheckpointError(
    `${source.name} holds neither ${SINGLE_FILE} nor ${INDEX_FILE}; check the folder or download the weights.`,
    { file: SINGLE_FILE },
  );
}

/**
 * The index's weight_map: tensor name (as in the shard) → shard.
 * @throws CheckpointError when `text` is not an index.
 */
export function parseIndex(text: string): ReadonlyMap<string, string> {
  const wrong = (problem: string, tensor?: string) =>
    new CheckpointError(`${INDEX_FILE} ${problem}; download or write the file again.`, { file: INDEX_FILE, tensor });
  const index = parseJsonFile(text, INDEX_FILE);
  scanJson(text, {
    duplicateKey: (path) => {
      const keys = path();
      const tensor = keys[0] === "weight_map" ? keys[1] : undefined;
      throw wrong(`holds the key ${quote(at(keys, keys.length - 1))} twice`, tensor);
    },
  });
  const weightMap = isObject(index) ? index.weight_map : undefined;
  if (!isObject(weightMap)) {
    throw wrong("must hold an object weight_map from tensor names to files");
  }
  const entries = Object.entries(weightMap).map(([name, file]): [string, string] => {
    if (typeof file === "string") return [name, file];
    throw wrong(`gives the tensor ${quote(name)} ${jsonKindOf(file)}, expected a file name`, name);
  });
  if (entries.length === 0) throw wrong("holds an empty weight_map");
  return new Map(entries);
}

/** Checks that index and shards name the same tensors, each in one shard. */
function checkIndex(weightMap: ReadonlyMap<string, string>, headers: ReadonlyMap<string, SafetensorsHeader>): void {
  const absent = new Map(weightMap);
  for (const [file, { tensors }] of headers) {
    for (const name of tensors.keys()) if (weightMap.get(name) === file) absent.delete(name);
  }
  const [first] = absent;
  if (first !== undefined) {
    const names = listNames([...absent.keys()].map(quote));
    const message = `${INDEX_FILE} names tensors that their shards lack: ${names}; download index and shards again.`;
    throw new CheckpointError(message, { file: first[1], tensor: first[0] });
  }
  for (const [file, { tensors }] of headers) {
    for (const name of tensors.keys()) {
      const home = weightMap.get(name);
      if (home === file) continue;
      const problem =
        home === undefined
          ? `${file} holds the tensor ${quote(name)}, which ${INDEX_FILE} does not name`
          : `The tensor ${quote(name)} is in two shards, ${home} and ${file}`;
      throw new CheckpointError(`${problem}; download index and shards again.`, { file, tensor: name });
    }
  }
}
