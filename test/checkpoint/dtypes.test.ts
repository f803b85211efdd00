// F16 and BF16 against formulas of their own: every one of the 65,536 bit patterns, and every border between two of them.
import { describe, expect, it } from "vitest";
import { f32ToBf16, f32ToF16, toF32 } from "../../src/checkpoint/dtypes.ts";

const NUM_PATTERNS = 65536;
const ALL = Uint16Array.from({ length: NUM_PATTERNS }, (_, pattern) => pattern);

/** The value of a float with `fractionBits` after a sign and `exponentBits`, by the definition: ±2^e · (1 + f), subnormals without the 1. */
function floatOf(pattern: number, exponentBits: number, fractionBits: number): number {
  const bias = 2 ** (exponentBits - 1) - 1;
  const sign = pattern >= 2 ** (exponentBits + fractionBits) ? -1 : 1;
  const exponent = Math.floor(pattern / 2 ** fractionBits) % 2 ** exponentBits;
  const fraction = (pattern % 2 ** fractionBits) / 2 ** fractionBits;
  if (exponent === 2 ** exponentBits - 1) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (exponent === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (exponent - bias));
}

const bytesOf = (array: Uint16Array | Uint32Array) => new Uint8Array(array.buffer);
const bitsOf = (values: Float32Array) => new Uint32Array(values.buffer, values.byteOffset, values.length);

/** The F32 next to the positive finite `value`, up or down. */
function nextF32(value: number, step: 1 | -1): number {
  const bits = bitsOf(new Float32Array([value]));
  return toF32(bytesOf(Uint32Array.of((bits[0] ?? 0) + step)), "F32")[0] ?? Number.NaN;
}

describe.each([
  { dtype: "F16", narrow: f32ToF16, exponentBits: 5, fractionBits: 10 },
  { dtype: "BF16", narrow: f32ToBf16, exponentBits: 8, fractionBits: 7 },
] as const)("$dtype", ({ dtype, narrow, exponentBits, fractionBits }) => {
  const infinity = (2 ** exponentBits - 1) * 2 ** fractionBits;
  const valueAt = (pattern: number) => floatOf(pattern, exponentBits, fractionBits);

  it("widens every pattern exactly, signed zeros, subnormals, infinities and NaNs included", () => {
    const values = toF32(bytesOf(ALL), dtype);
    const wrong = [...ALL].filter((pattern) => !Object.is(values[pattern], valueAt(pattern)));
    expect(wrong).toEqual([]);
  });

  it("keeps the sign and fraction bits of NaNs", () => {
    const bits = bitsOf(toF32(bytesOf(Uint16Array.of(infinity + 1, 32768 + infinity + 3)), dtype));
    const scale = 2 ** (23 - fractionBits);
    expect([...bits]).toEqual([0x7f800000 + scale, 0xff800000 + 3 * scale]);
  });

  it("narrows what it widened to the same bits; NaNs become quiet", () => {
    const quiet = 2 ** (fractionBits - 1);
    const again = narrow(toF32(bytesOf(ALL), dtype));
    const wrong = [...ALL].filter((pattern) => {
      const isNaNPattern = Number.isNaN(valueAt(pattern));
      return again[pattern] !== (isNaNPattern ? pattern | quiet : pattern);
    });
    expect(wrong).toEqual([]);
  });

  it("rounds to the nearest at every border, ties to even", () => {
    const wrong: number[] = [];
    for (let below = 0; below < infinity; below++) {
      // Above the largest finite number the border lies where the next one would be: half a step further.
      const above = below + 1 === infinity ? 2 * valueAt(below) - valueAt(below - 1) : valueAt(below + 1);
      const border = (valueAt(below) + above) / 2;
      const even = below % 2 === 0 ? below : below + 1;
      const values = [nextF32(border, -1), border, nextF32(border, 1)];
      const got = narrow(Float32Array.from([...values, ...values.map((value) => -value)]));
      const expected = [below, even, below + 1];
      if (![...expected, ...expected.map((pattern) => pattern + 32768)].every((pattern, i) => pattern === got[i])) {
        wrong.push(below);
      }
    }
    expect(wrong).toEqual([]);
  });

  it("narrows F32's smallest and largest", () => {
    const tiny = 2 ** -149;
    const huge = (2 - 2 ** -23) * 2 ** 127;
    expect([...narrow(Float32Array.of(tiny, -tiny, huge, -huge))]).toEqual([0, 32768, infinity, 32768 + infinity]);
  });
});

describe("toF32", () => {
  it("copies F32 bit by bit, from any offset", () => {
    const bytes = Uint8Array.from([99, 0, 0, 192, 63, 1, 0, 160, 127]);
    const values = toF32(bytes.subarray(1), "F32");
    expect([...bitsOf(values)]).toEqual([0x3fc00000, 0x7fa00001]);
    bytes.fill(0);
    expect(values[0]).toBe(1.5);
  });

  it("reads little-endian from odd offsets", () => {
    expect([...toF32(Uint8Array.of(7, 0x00, 0x3c).subarray(1), "f16")]).toEqual([1]);
    expect([...toF32(Uint8Array.of(7, 0x80, 0x3f).subarray(1), "bf16")]).toEqual([1]);
  });

  it("gives nothing for nothing", () => {
    expect(toF32(new Uint8Array(0), "F16").length).toBe(0);
  });

  it("refuses half an element", () => {
    expect(() => toF32(new Uint8Array(3), "F16")).toThrow("bytes: expected a multiple of 2 for F16, got 3.");
    expect(() => toF32(new Uint8Array(6), "F32")).toThrow(RangeError);
  });
});
