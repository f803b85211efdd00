// The encodings in which the bench gives other engines our weights.
import { expect, test } from "vitest";
import { f32ToF16, toF32 } from "../../src/checkpoint/dtypes.ts";
import { quantize } from "../reference/quantize.ts";

interface GgufFile {
  encodeHeader(
    metadata: readonly { readonly key: string; readonly type: string; readonly value: unknown }[],
    tensors: readonly {
      readonly name: string;
      readonly type: string;
      readonly shape: readonly number[];
      readonly byteLength: number;
    }[],
  ): Buffer;
}
interface QuantizedBlocks {
  packMatMulNBits(
    data: Float32Array,
    shape: readonly [number, number],
    bits?: number,
  ): { readonly packed: Uint8Array; readonly scales: Float32Array; readonly groups: number };
  roundedToSteps(data: Float32Array, shape: readonly [number, number], bits: number): Float32Array;
}
interface GgufBlocks {
  packBlocks(data: Float32Array, toF16: (values: Float32Array) => Uint16Array, bits: number): Uint8Array;
}

const tool = (name: string) => new URL(`../../tools/bench/${name}.mjs`, import.meta.url).href;

test("a GGUF header names its version, counts and aligned offsets", async () => {
  const { encodeHeader }: GgufFile = await import(tool("gguf-file"));
  const header = encodeHeader(
    [{ key: "k", type: "u32", value: 7 }],
    [
      { name: "a", type: "f32", shape: [3], byteLength: 12 },
      { name: "b", type: "f16", shape: [2, 5], byteLength: 20 },
    ],
  );
  expect(header.subarray(0, 4).toString()).toBe("GGUF");
  expect([header.readUInt32LE(4), header.readBigUInt64LE(8), header.readBigUInt64LE(16)]).toEqual([3, 2n, 1n]);
  const b = header.indexOf(Buffer.from([1, 0, 0, 0, 0, 0, 0, 0, 0x62]), 60) + 9;
  expect([header.readUInt32LE(b), header.readBigUInt64LE(b + 4), header.readBigUInt64LE(b + 12)]).toEqual([2, 5n, 2n]);
  expect(header.readBigUInt64LE(b + 24)).toBe(32n);
  expect(header.length % 32).toBe(0);
});

test("4-bit groups give values back within half a step", async () => {
  const { packMatMulNBits }: QuantizedBlocks = await import(tool("quantized-blocks"));
  const columns = 40; // one whole group and a part of one
  const data = Float32Array.from({ length: 2 * columns }, (_, i) => Math.sin(i * 1.7) - 0.25);
  const { packed, scales, groups } = packMatMulNBits(data, [2, columns]);
  expect([groups, packed.length, scales.length]).toEqual([2, 64, 4]);
  data.forEach((value, i) => {
    const group = Math.floor(i / columns) * groups + Math.floor((i % columns) / 32);
    const inGroup = (i % columns) % 32;
    const code = ((packed[group * 16 + (inGroup >> 1)] ?? 0) >> (4 * (inGroup % 2))) & 15;
    const scale = scales[group] ?? Number.NaN;
    // +8 steps cannot be written: there the error may be a whole step.
    expect(Math.abs((code - 8) * scale - value)).toBeLessThanOrEqual(Math.abs(scale) * (code === 15 ? 1 : 0.5) + 1e-6);
  });
});

/** Whole and partial groups, groups of zeros, of subnormal scales, and values that fall between two steps. */
function weightsWithTies(rows: number, columns: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: rows * columns }, (_, i) => {
    const group = Math.floor(i / 32);
    if (group % 5 === 4) return 0;
    const size = group % 5 === 3 ? 2 ** -20 : 1;
    return size * (i % 3 === 0 ? ((i % 31) - 15) / 2 : Math.sin(i * 1.7) - 0.25);
  });
}

test.each([
  ["q8", 8],
  ["q4", 4],
] as const)("%s weights of every peer are the engine's own", async (dtype, bits) => {
  const { packMatMulNBits, roundedToSteps }: QuantizedBlocks = await import(tool("quantized-blocks"));
  const { packBlocks }: GgufBlocks = await import(tool("export-gguf"));
  const [rows, columns] = [6, 96];
  const data = weightsWithTies(rows, columns);
  const expected = Array.from(quantize(data, columns, dtype).values, Math.fround);

  const rounded = roundedToSteps(data, [rows, columns], bits);
  expect(Array.from(rounded, (value) => value + 0)).toEqual(expected.map((value) => value + 0));

  const { packed, scales } = packMatMulNBits(data, [rows, columns], bits);
  const perByte = 8 / bits;
  const code = (i: number) => ((packed[Math.floor(i / perByte)] ?? 0) >> (bits * (i % perByte))) & (2 ** bits - 1);
  const unpacked = expected.map((_, i) => (code(i) - 2 ** (bits - 1)) * (scales[Math.floor(i / 32)] ?? Number.NaN));
  expect(unpacked.map((value) => Math.fround(value) + 0)).toEqual(expected.map((value) => value + 0));

  const blocks = packBlocks(data, f32ToF16, bits);
  const blockBytes = 2 + 4 * bits;
  const view = new DataView(blocks.buffer);
  const ggml = expected.map((_, i) => {
    const start = Math.floor(i / 32) * blockBytes;
    const scale = toF32(blocks.subarray(start, start + 2), "F16")[0] ?? Number.NaN;
    const inGroup = i % 32;
    if (bits === 8) return view.getInt8(start + 2 + inGroup) * scale;
    return (((view.getUint8(start + 2 + (inGroup % 16)) >> (inGroup < 16 ? 0 : 4)) & 15) - 8) * scale;
  });
  expect(blocks).toHaveLength((rows * columns * blockBytes) / 32);
  expect(ggml.map((value) => Math.fround(value) + 0)).toEqual(expected.map((value) => value + 0));
});
