// A checkpoint as `adaptvis quantize` writes it, in memory.
import { readdir, readFile } from "node:fs/promises";
import { blobSource } from "../../src/checkpoint/blob-source.ts";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.ts";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import type { Source } from "../../src/checkpoint/source.ts";
import type { QuantizedDtype } from "../../src/gpu/tensor.ts";
import { quantizedConfig, quantizedFiles, quantizedIndex } from "../../src/models/quantized-checkpoint.ts";
import { readArchitecture } from "../../src/models/registry.ts";

/** Files by name. */
export type Files = ReadonlyMap<string, Blob>;

/** The weight files, index and config.json of a quantised checkpoint. */
export async function quantizedWeights(source: Source, dtype: QuantizedDtype): Promise<Files> {
  const checkpoint = await openCheckpoint(source);
  const files = quantizedFiles(checkpoint, readArchitecture(checkpoint.config), dtype);
  const written = new Map<string, Blob>();
  for (const { name, fileBytes, chunks } of files) {
    const bytes = new Uint8Array(fileBytes);
    for await (const chunk of chunks()) bytes.set(chunk.bytes, chunk.position);
    written.set(name, new Blob([bytes]));
  }
  if (files.length > 1) written.set("model.safetensors.index.json", json(quantizedIndex(files)));
  written.set("config.json", json(quantizedConfig(checkpoint, dtype)));
  await checkpoint.close();
  return written;
}

/** The folder's checkpoint, quantised, with its tokenizer and settings. */
export async function quantizedSource(folder: string, dtype: QuantizedDtype): Promise<Source> {
  const files = new Map(await quantizedWeights(fileSource(folder), dtype));
  for (const name of await readdir(folder)) {
    if (!/\.(json|jinja)$/.test(name) || name.endsWith(".index.json") || name === "config.json") continue;
    files.set(name, new Blob([new Uint8Array(await readFile(`${folder}/${name}`))]));
  }
  return blobSource(files, `${folder} in ${dtype}`);
}

function json(value: object): Blob {
  return new Blob([JSON.stringify(value)]);
}
