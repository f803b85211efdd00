// Fuzzing of safetensors files: the length field, the header's text and values, and its place in a file that is cut or padded.

import { blobSource } from "../../src/checkpoint/blob-source.ts";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.ts";
import type { Random } from "../reference/random.ts";
import { defineKind } from "./kind.ts";
import { brokenJson, chance, joined, mutateJson, pick, rewriteJson, writeJson } from "./mutate.ts";

/** A file: a length field, a header and zeros. */
interface SafetensorsFile {
  readonly header: string;
  /** The length field, in decimal digits, where it is wrong. */
  readonly length?: string;
  readonly dataBytes: number;
  /** Positions and values of bytes that are changed at the end. */
  readonly bytes?: readonly (readonly [position: number, value: number])[];
  /** Where the file ends early. */
  readonly end?: number;
}

const HEADER = {
  __metadata__: { format: "pt", "lm_head.weight": "a" },
  a: { dtype: "F32", shape: [2, 3], data_offsets: [0, 24] },
  "b.weight": { dtype: "F16", shape: [5], data_offsets: [24, 34] },
  ü: { dtype: "I64", shape: [], data_offsets: [34, 42] },
  none: { dtype: "BF16", shape: [0, 7], data_offsets: [42, 42] },
  "b.q8": { dtype: "U8", shape: [2, 2, 2], data_offsets: [42, 50] },
};
const WHOLE: SafetensorsFile = { header: JSON.stringify(HEADER), dataBytes: 50 };
const KEYS = ["dtype", "shape", "data_offsets", "__metadata__", "a", "b.weight", "model.a", "language_model.a"];
const LENGTHS = ["0", "1", "7", "8", "100000000", "100000001", "9007199254740993", "18446744073709551615"];

export const safetensorsFiles = defineKind<SafetensorsFile>({
  name: "safetensors",
  make(random) {
    const kind = random.integer(10);
    if (kind === 0) {
      const header = rewriteJson(HEADER, random) + " ".repeat(random.integer(9));
      return { input: { header, dataBytes: WHOLE.dataBytes }, sameAs: WHOLE };
    }
    const header = kind <= 6 ? writeJson(mutateJson(HEADER, random, KEYS)) : brokenJson(WHOLE.header, random);
    const dataBytes = chance(random, 1, 6) ? random.integer(60) : WHOLE.dataBytes;
    return { input: { header, dataBytes, ...(chance(random, 1, 4) && damage(random, header.length)) } };
  },
  async run(file) {
    const source = blobSource([
      ["config.json", new Blob(["{}"])],
      ["model.safetensors", new Blob([bytesOf(file)])],
    ]);
    const checkpoint = await openCheckpoint(source);
    const entries = [];
    for (const [name, { entry, aliasOf }] of checkpoint.tensors) {
      const bytes = await checkpoint.read(name);
      if (bytes.length !== entry.end - entry.start) throw new Error(`${name}: ${bytes.length} bytes`);
      entries.push([name, aliasOf, entry.dtype, entry.shape.join("×"), bytes.length].join(" "));
    }
    const metadata = Object.entries(checkpoint.metadata).map((pair) => pair.join("="));
    return [...entries, ...metadata, checkpoint.totalBytes].sort().join("\n");
  },
});

function damage(random: Random, headerLength: number): Partial<SafetensorsFile> {
  const kind = random.integer(3);
  if (kind === 0) {
    const near = String(Math.max(0, headerLength + random.integer(9) - 4));
    return { length: chance(random, 1, 2) ? near : pick(random, LENGTHS) };
  }
  if (kind === 1) return { end: random.integer(headerLength + 60) };
  return { bytes: [[random.integer(8 + headerLength), random.integer(256)]] };
}

function bytesOf({ header, length, dataBytes, bytes, end }: SafetensorsFile): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(header);
  const lengthField = new Uint8Array(8);
  new DataView(lengthField.buffer).setBigUint64(0, BigInt(length ?? text.length), true);
  const file = joined([lengthField, text, new Uint8Array(dataBytes)]);
  for (const [position, value] of bytes ?? []) file[position] = value;
  return file.slice(0, end);
}
