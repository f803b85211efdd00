// Small checkpoints and bad headers, made as the tests need them.

import { expect } from "vitest";
import { blobSource } from "../../src/checkpoint/blob-source.ts";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.ts";
import { readSafetensorsHeader, type SafetensorsHeader } from "../../src/checkpoint/safetensors.ts";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-writer.ts";
import type { Source } from "../../src/checkpoint/source.ts";
import { CheckpointError } from "../../src/errors.ts";

/** What a test may say of a safetensors file; the header may be anything. */
export interface RawFile {
  /** The header's text, or its bytes, or a value to write as JSON. */
  readonly header: string | Uint8Array<ArrayBuffer> | object;
  /** Bytes of data after the header. */
  readonly dataBytes?: number;
  /** The length field, when it shall lie. */
  readonly headerLength?: bigint;
}

/** The bytes of a safetensors file, good or bad. The data counts up: 0, 1, 2 … 255, 0 … */
export function rawSafetensors({ header, dataBytes = 0, headerLength }: RawFile): Uint8Array<ArrayBuffer> {
  const text = typeof header === "string" || header instanceof Uint8Array ? header : JSON.stringify(header);
  const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
  const file = new Uint8Array(8 + bytes.length + dataBytes);
  new DataView(file.buffer).setBigUint64(0, headerLength ?? BigInt(bytes.length), true);
  file.set(bytes, 8);
  for (let i = 0; i < dataBytes; i++) file[8 + bytes.length + i] = i;
  return file;
}

/** A source over files in memory. */
export function memorySource(
  files: Readonly<Record<string, string | Uint8Array<ArrayBuffer>>>,
  name = "memory",
): Source {
  return blobSource(
    Object.entries(files).map(([path, content]) => [path, new Blob([content])] as const),
    name,
  );
}

/** The error that `work` rejects with. */
export async function rejection(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => {
      throw new Error("expected a rejection");
    },
    (error: unknown) => error,
  );
}

/** Numbers in [0, 1) that depend on `seed` alone. Source: mulberry32, Tommy Ettinger, public domain. */
export function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** A config.json. */
export const CONFIG = '{"model_type":"llava"}';

/** A file of F32 vectors; vector i of the file holds [i, i + 0.5]. */
export function weights(
  names: readonly string[],
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> {
  const tensors = names.map(
    (name, i) => ({ name, dtype: "F32", shape: [2], data: Float32Array.of(i, i + 0.5) }) as const,
  );
  return encodeSafetensors(tensors, metadata);
}

/** A checkpoint of one such file. */
export const single = (names: readonly string[], metadata?: Readonly<Record<string, string>>) =>
  openCheckpoint(memorySource({ "config.json": CONFIG, "model.safetensors": weights(names, metadata) }));

/** What the file under test is called. */
export const HEADER_PATH = "model.safetensors";

/** Reads the header of one file in memory. */
export function readHeader(file: RawFile | Uint8Array<ArrayBuffer>): Promise<SafetensorsHeader> {
  const bytes = file instanceof Uint8Array ? file : rawSafetensors(file);
  return readSafetensorsHeader(memorySource({ [HEADER_PATH]: bytes }), HEADER_PATH);
}

/** The CheckpointError that reading the header ends in. */
export async function refusal(file: RawFile | Uint8Array<ArrayBuffer>): Promise<CheckpointError> {
  const error = await rejection(readHeader(file));
  expect(error).toBeInstanceOf(CheckpointError);
  return error as CheckpointError;
}

/** A header with one F32 tensor of 2 × 3, changed by `fields`. */
export const oneTensor = (fields: object = {}) => ({
  a: { dtype: "F32", shape: [2, 3], data_offsets: [0, 24], ...fields },
});
