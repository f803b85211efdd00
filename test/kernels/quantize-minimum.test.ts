import { describe, expect, test } from "vitest";
import { widen } from "../reference/weight-formats.ts";
import { pack, testQuantize } from "./quantize-cases.ts";

testQuantize("q4_1");

describe("quantize to q4_1", () => {
  const dtype = "q4_1";

  test("weights in sixteen equal steps of an f16 come back, also those of one sign or one value", async () => {
    const rows = [
      Array.from({ length: 32 }, (_, i) => -3 + (i % 16) / 4),
      Array.from({ length: 32 }, (_, i) => 8 + (i % 16) / 2),
      Array.from({ length: 32 }, () => -0.75),
      Array.from({ length: 32 }, () => 0),
    ];
    const { stored, scales, hasProblem } = await pack(rows.flat(), 32, { dtype });
    expect([...scales].map((bits) => widen(bits, "f16"))).toEqual([0.25, -3, 0.5, 8, 0, -0.75, 0, 0]);
    const inOrder = [0x73625140, 0xfbead9c8, 0x73625140, 0xfbead9c8];
    expect([...stored]).toEqual([...inOrder, ...inOrder, 0, 0, 0, 0, 0, 0, 0, 0]);
    expect(hasProblem).toBe(false);
  });

  test.each([Number.NaN, Infinity, -Infinity, 65_520, -65_520])("%d is a problem", async (value) => {
    const values = new Float32Array(64).fill(value, 32); // alone it is the minimum
    expect((await pack(values, 64, { dtype })).hasProblem).toBe(true);
  });

  test("the largest f16 is no problem", async () => {
    const values = new Float32Array(32).fill(65_504);
    expect((await pack(values, 32, { dtype })).hasProblem).toBe(false);
  });
});
