// Writes a GGUF file, version 3: metadata, a table of tensors, their bytes.
// Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md

import { closeSync, openSync, writeSync } from "node:fs";

/** ggml's numbers of the tensor types used here. */
export const tensorTypes = { f32: 0, f16: 1, q4_0: 2, q8_0: 8 };

const alignment = 32;
const version = 3;
const valueTypes = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9 };

/** Header bytes of a file with this metadata and these tensors ({ name, type, shape, byteLength }), up to where data starts. */
export function encodeHeader(metadata, tensors) {
  const parts = [Buffer.from("GGUF"), u32(version), u64(tensors.length), u64(metadata.length)];
  for (const { key, type, value } of metadata) parts.push(text(key), u32(valueTypes[type]), encodeValue(type, value));
  let offset = 0;
  for (const { name, type, shape, byteLength } of tensors) {
    // ggml counts dimensions from the fastest one.
    const sizes = [...shape].reverse();
    parts.push(text(name), u32(sizes.length), ...sizes.map(u64), u32(tensorTypes[type]), u64(offset));
    offset = align(offset + byteLength);
  }
  const header = Buffer.concat(parts);
  return Buffer.concat([header, Buffer.alloc(align(header.length) - header.length)]);
}

/** Writes the file; each tensor's `make()` gives its bytes, one after the other, so that only one is in memory. */
export async function writeGguf(path, metadata, tensors) {
  const file = openSync(path, "w");
  try {
    let position = append(file, encodeHeader(metadata, tensors), 0);
    for (const { name, byteLength, make } of tensors) {
      const bytes = await make();
      if (bytes.length !== byteLength) throw new Error(`${name}: expected ${byteLength} bytes, got ${bytes.length}.`);
      position = append(file, bytes, position);
      position = append(file, Buffer.alloc(align(position) - position), position);
    }
  } finally {
    closeSync(file);
  }
}

function append(file, bytes, position) {
  let written = 0;
  while (written < bytes.length) written += writeSync(file, bytes, written, bytes.length - written, position + written);
  return position + bytes.length;
}

function encodeValue(type, value) {
  switch (type) {
    case "u32":
      return u32(value);
    case "f32": {
      const bytes = Buffer.alloc(4);
      bytes.writeFloatLE(value);
      return bytes;
    }
    case "bool":
      return Uint8Array.of(value ? 1 : 0);
    case "string":
      return text(value);
    case "array":
      return Buffer.concat([
        u32(valueTypes[value.type]),
        u64(value.items.length),
        ...value.items.map((item) => encodeValue(value.type, item)),
      ]);
    case "i32":
      return u32(value >>> 0);
    default:
      throw new Error(`No GGUF encoding is written for ${type}.`);
  }
}

function text(value) {
  const bytes = Buffer.from(value, "utf8");
  return Buffer.concat([u64(bytes.length), bytes]);
}

function u32(value) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function u64(value) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function align(length) {
  return Math.ceil(length / alignment) * alignment;
}
