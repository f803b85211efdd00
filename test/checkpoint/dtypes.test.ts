// F16 and BF16 against formulas of their own: every one of the 65,536 bit patterns, and every border between two of them.
import { describe, expect, it } from "vitest";
import {
  convertWeights,
  DTYPES,
  dtypeBits,
  f32ToBf16,
  f32ToF16,
  floatDtypeOf,
  isDtype,
  isFileDtype,
  tensorSize,
  toF32,
} from "../../src/checkpoint/dtypes.ts";

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

  it("narrows a part of a larger array", () => {
    expect([...narrow(Float32Array.of(1, 2, 3).subarray(1, 2))]).toEqual([...narrow(Float32Array.of(2))]);
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
    expect(() => toF32(new Uint8Array(3), "bf16")).toThrow("bytes: expected a multiple of 2 for BF16, got 3.");
    expect(() => toF32(new Uint8Array(6), "F32")).toThrow(
      new RangeError("bytes: expected a multiple of 4 for F32, got 6."),
    );
  });
});

describe("f32ToF16", () => {
  it("leaves nothing of numbers far below its smallest, at any exponent", () => {
    const tiny = Float32Array.from({ length: 149 - 25 }, (_, i) => 1.75 * 2 ** (-26 - i));
    expect(new Set(f32ToF16(tiny))).toEqual(new Set([0]));
    expect(new Set(f32ToF16(tiny.map((value) => -value)))).toEqual(new Set([32768]));
  });

  it("makes infinities of numbers beyond its largest, at any exponent", () => {
    const huge = Float32Array.from({ length: 128 - 16 }, (_, i) => 1.75 * 2 ** (16 + i));
    expect(new Set(f32ToF16(huge))).toEqual(new Set([0x7c00]));
    expect([...f32ToF16(Float32Array.of(65504, 65519.99, 65520, -65520))]).toEqual([0x7bff, 0x7bff, 0x7c00, 0xfc00]);
  });
});

describe("dtypes", () => {
  it("are known by their names alone", () => {
    expect(DTYPES.every(isDtype)).toBe(true);
    expect([undefined, null, 3, ["F32"], "f32", "", "toString"].filter(isDtype)).toEqual([]);
  });

  it("of weights are F32, F16 and BF16, with names on the GPU", () => {
    const fileDtypes = DTYPES.filter(isFileDtype);
    expect(fileDtypes).toEqual(["F16", "BF16", "F32"]);
    expect(fileDtypes.map(floatDtypeOf)).toEqual(["f16", "bf16", "f32"]);
    const others = DTYPES.filter((dtype) => !isFileDtype(dtype));
    expect(others).toHaveLength(DTYPES.length - 3);
    expect([...others, undefined].map(floatDtypeOf)).toEqual([...others, undefined].map(() => undefined));
  });

  it("take from 4 to 64 bits", () => {
    expect((["F4", "F6_E3M2", "BOOL", "BF16", "F32", "U64"] as const).map(dtypeBits)).toEqual([4, 6, 8, 16, 32, 64]);
  });
});

describe("tensorSize", () => {
  it.each([
    [[], "F32", 4],
    [[2, 3], "F16", 12],
    [[3, 0, 5], "F64", 0],
    [[2], "F4", 1],
    [[4, 3], "F6_E2M3", 9],
    [[1], "F4", "partial-byte"],
    [[2], "F6_E2M3", "partial-byte"],
    // 8 bits each: 2^50 elements take 2^53 bits, one more than can be counted.
    [[2 ** 50 - 1], "U8", 2 ** 50 - 1],
    [[2 ** 50], "U8", "overflow"],
    [[2 ** 50, 0], "U8", "overflow"],
    [[0, 2 ** 50], "U8", 0],
  ] as const)("of %j %s is %s", (shape, dtype, size) => {
    expect(tensorSize(shape, dtype)).toBe(size);
  });
});

describe("convertWeights", () => {
  const f32 = (...values: number[]) => new Uint8Array(Float32Array.from(values).buffer);
  const halves = (...patterns: number[]) => new Uint8Array(Uint16Array.from(patterns).buffer);

  it("gives back the same bytes for the same dtype", () => {
    const bytes = f32(1, Number.POSITIVE_INFINITY);
    expect(convertWeights(bytes, "f32", "f32")).toBe(bytes);
    const bits = halves(0x7c01);
    expect(convertWeights(bits, "f16", "f16")).toBe(bits);
  });

  it("converts between all three", () => {
    const forms = { f32: f32(1, -2.5), f16: halves(0x3c00, 0xc100), bf16: halves(0x3f80, 0xc020) };
    for (const from of ["f32", "f16", "bf16"] as const) {
      for (const to of ["f32", "f16", "bf16"] as const) {
        expect(convertWeights(forms[from], from, to)).toEqual(forms[to]);
      }
    }
  });

  it("gives nothing when one weight is not finite in 16 bits", () => {
    expect(convertWeights(f32(1, 65519), "f32", "f16")).toEqual(halves(0x3c00, 0x7bff));
    expect(convertWeights(f32(1, 65520), "f32", "f16")).toBeUndefined();
    expect(convertWeights(f32(-65520, 1), "f32", "f16")).toBeUndefined();
    expect(convertWeights(f32(1, 65520), "f32", "bf16")).toEqual(halves(0x3f80, 0x4780));
    // BF16's largest number is 2^128 − 2^120; F32's largest rounds up.
    expect(convertWeights(f32(2 ** 128 - 2 ** 120), "f32", "bf16")).toEqual(halves(0x7f7f));
    expect(convertWeights(f32(1, 2 ** 128 - 2 ** 104), "f32", "bf16")).toBeUndefined();
    expect(convertWeights(halves(0x3f80, 0x7f80), "bf16", "f16")).toBeUndefined();
    expect(convertWeights(halves(0x7e00, 0x3c00), "f16", "bf16")).toBeUndefined();
  });
});
