import { describe, expect, test } from "vitest";
import { quantizeGroup, quantize as twin } from "../reference/quantize.ts";
import { widen } from "../reference/weight-formats.ts";
import { pack, testQuantize } from "./quantize-cases.ts";

testQuantize("q8");
testQuantize("q4");

describe.each(["q8", "q4"] as const)("quantize to %s, whose groups have a scale only", (dtype) => {
  test("ties go to the even step", async () => {
    // The first weight makes the scale 1.
    const values = [dtype === "q8" ? 127 : -8, ...Array.from({ length: 31 }, (_, index) => (index - 15) / 2)];
    expect(quantizeGroup([Number(values[0]), 0.5, 1.5, 2.5, -2.5], dtype).steps.slice(1)).toEqual([0, 2, 2, -2]);
    const rows = [...values, ...values, ...values, ...values];
    expect((await pack(rows, 32, { dtype })).stored).toEqual(twin(rows, 32, dtype).stored);
  });

  test("q's ends: clipped where the f16 scale came out too small, −8 only on the side of the largest", async () => {
    const largest = 3.0005;
    const values = Float32Array.from({ length: 32 }, (_, index) => (index % 2 === 0 ? largest : -largest));
    const actual = await pack(values, 32, { dtype });
    expect(actual.stored.slice(0, dtype === "q8" ? 8 : 4)).toEqual(twin(values, 32, dtype).stored);
  });

  test("a group of zeros, and one too small for an f16 scale, mean zero", async () => {
    const values = new Float32Array(64).fill(1e-9, 32);
    const actual = await pack(values, 64, { dtype });
    expect([...actual.scales.subarray(0, 2)].map((bits) => Math.abs(widen(bits, "f16")))).toEqual([0, 0]);
    const words = dtype === "q8" ? 16 : 8;
    expect([...new Set(actual.stored.subarray(0, words))]).toEqual([dtype === "q8" ? 0 : 0x88888888]);
    expect(actual.hasProblem).toBe(false);
  });

  test.each([Number.NaN, Infinity, -Infinity, 65_520 * (dtype === "q8" ? 127 : 8)])(
    "%d is a problem",
    async (value) => {
      const values = new Float32Array(64);
      values[40] = value;
      expect((await pack(values, 64, { dtype })).hasProblem).toBe(true);
    },
  );

  test("the largest weight with an f16 scale is no problem", async () => {
    const values = new Float32Array(32).fill(65_504 * (dtype === "q8" ? 127 : 8));
    const actual = await pack(values, 32, { dtype });
    expect(actual.hasProblem).toBe(false);
    expect(Number(actual.scales[0]) & 0x7fff).toBe(0x7bff);
  });
});
