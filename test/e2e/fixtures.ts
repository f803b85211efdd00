// Files that people hand to the page, good and bad, made as the tests need them.

import { readFileSync } from "node:fs";
import { copyFile, mkdir, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { crc32, deflateSync } from "node:zlib";
import { readSafetensorsHeader } from "../../src/checkpoint/safetensors.ts";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-writer.ts";
import { memorySource } from "../checkpoint/fixtures.ts";
import { repositoryRoot } from "../setup/bundle.ts";

/** The checkpoint that the page opens with. */
export const MODEL = join(repositoryRoot, "weights", "tiny-habit");

/** Its own settings of AdaptVis, which the page takes. */
export const SETTINGS = readSettings();

/** Pictures of its world that were drawn for the other embedded checkpoint. */
export const PICTURES = join(repositoryRoot, "weights", "tiny-spatial");

/** One with a mug on the left of a dog. */
export const MUG_LEFT_OF_DOG = join(PICTURES, "demo", "mug_left_of_dog.jpeg");

function readSettings(): { readonly alpha1: number; readonly alpha2: number; readonly beta: number } {
  const { alpha1, alpha2, beta } = JSON.parse(readFileSync(join(MODEL, "adaptvis.json"), "utf8"));
  return { alpha1, alpha2, beta };
}

/** A black PNG of that size; one bit a pixel, so that a hundred megapixels are a few kilobytes. */
export function blackPng(width: number, height: number): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header[8] = 1; // bit depth; colour type 0 (grey) and the rest stay 0
  const rows = Buffer.alloc(height * (1 + Math.ceil(width / 8))); // filter byte 0 and the row's bits
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    pngChunk("IHDR", header),
    pngChunk("IDAT", deflateSync(rows)),
    pngChunk("IEND", Buffer.alloc(0)),
  ]);
}

/** Copies the embedded checkpoint's files, without its benchmark and demo, into a new folder. @returns the folder. */
export async function copyCheckpoint(folder: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  for (const entry of await readdir(MODEL, { withFileTypes: true })) {
    const isPart = /\.(json|jinja|safetensors)$/.test(entry.name);
    if (entry.isFile() && isPart) await copyFile(join(MODEL, entry.name), join(folder, entry.name));
  }
  return folder;
}

/** The embedded checkpoint in two shards with an index, as large ones come. @returns the folder. */
export async function shardCheckpoint(folder: string): Promise<string> {
  await copyCheckpoint(folder);
  const file = join(folder, "model.safetensors");
  const bytes = new Uint8Array(await readFile(file));
  const { tensors, metadata } = await readSafetensorsHeader(
    memorySource({ "model.safetensors": bytes }),
    "model.safetensors",
  );
  const entries = [...tensors.values()];
  const weightMap: Record<string, string> = {};
  for (const shard of [1, 2]) {
    const name = `model-0000${shard}-of-00002.safetensors`;
    const part = entries.slice(...(shard === 1 ? [0, entries.length / 2] : [entries.length / 2]));
    for (const tensor of part) weightMap[tensor.name] = name;
    const written = part.map(({ start, end, ...tensor }) => ({ ...tensor, data: bytes.subarray(start, end) }));
    await writeFile(join(folder, name), encodeSafetensors(written, metadata));
  }
  const index = { metadata: { total_size: bytes.length }, weight_map: weightMap };
  await writeFile(join(folder, "model.safetensors.index.json"), JSON.stringify(index));
  await rm(file);
  return folder;
}

/** Cuts a kibibyte off the end of a checkpoint's second shard. */
export async function truncateShard(folder: string): Promise<void> {
  const shard = join(folder, "model-00002-of-00002.safetensors");
  await truncate(shard, (await stat(shard)).size - 1024);
}

function pngChunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(data.length);
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, sum]);
}
