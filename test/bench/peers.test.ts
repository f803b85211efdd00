// The encodings in which the bench gives other engines our weights.
import { expect, test } from "vitest";

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
interface Q4Blocks {
  packMatMulNBits(
    data: Float32Array,
    shape: readonly [number, number],
  ): { readonly packed: Uint8Array; readonly scales: Float32Array; readonly groups: number };
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
  const { packMatMulNBits }: Q4Blocks = await import(tool("q4-blocks"));
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
