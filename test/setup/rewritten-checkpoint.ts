// A golden's checkpoint with other tensor names or another config.json, in memory: the forms in which other programs save the same model.
import { readdir, readFile } from "node:fs/promises";
import { blobSource } from "../../src/checkpoint/blob-source.ts";
import type { Source } from "../../src/checkpoint/source.ts";
import { GOLDEN } from "./golden.ts";

type Json = Readonly<Record<string, unknown>>;

/** What is written anew; the rest stays. */
export interface Rewriting {
  readonly config?: (config: Json) => Json;
  readonly tensorName?: (name: string) => string;
}

/** The files of a golden's checkpoint, whose weights are one file. */
export async function rewrittenCheckpoint(name: string, { config, tensorName }: Rewriting): Promise<Source> {
  const folder = `${GOLDEN}/${name}`;
  const files = new Map<string, Blob>();
  for (const file of await readdir(folder)) {
    const bytes = new Uint8Array(await readFile(`${folder}/${file}`));
    if (file === "config.json" && config !== undefined) {
      const read: Json = JSON.parse(new TextDecoder().decode(bytes));
      files.set(file, new Blob([JSON.stringify(config(read))]));
    } else if (file === "model.safetensors" && tensorName !== undefined) {
      files.set(file, renamed(bytes, tensorName));
    } else files.set(file, new Blob([bytes]));
  }
  return blobSource(files, `${name}, rewritten`);
}

/** The file with a new header; offsets count from the header's end. */
function renamed(bytes: Uint8Array<ArrayBuffer>, tensorName: (name: string) => string): Blob {
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const header: Json = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  const entries = Object.entries(header).map(([name, entry]) => [
    name === "__metadata__" ? name : tensorName(name),
    entry,
  ]);
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)));
  const size = new DataView(new ArrayBuffer(8));
  size.setBigUint64(0, BigInt(json.length), true);
  return new Blob([size, json, bytes.subarray(8 + length)]);
}
