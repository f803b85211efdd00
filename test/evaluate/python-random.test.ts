// CPython's random.sample and the split into halves, compared with CPython (versions in test/golden/evaluate/split.json).
import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { PythonRandom, split } from "../../src/evaluate/python-random.ts";
import golden from "../golden/evaluate/split.json" with { type: "json" };

const described = (ids: readonly number[]) => ({
  count: ids.length,
  first: ids.slice(0, 6),
  last: ids.slice(-6),
  sha256: createHash("sha256").update(ids.join()).digest("hex"),
});

describe(`CPython ${golden.python}`, () => {
  test.each(golden.splits)("halves of $rows rows", ({ rows, validation, test: testHalf }) => {
    const halves = split(rows);
    expect(described(halves.validation)).toEqual(validation);
    expect(described(halves.test)).toEqual(testHalf);
  });

  test.each(golden.samples)("sample of $k of $n with seed $seed, in order", ({ seed, n, k, ids }) => {
    expect(new PythonRandom(seed).sample(n, k)).toEqual(ids);
  });
});

test("the first ids that the paper's data sets are known to have", () => {
  expect(split(412).validation.slice(0, 6)).toEqual([1, 4, 11, 13, 14, 15]);
  expect(split(2247).validation.slice(0, 6)).toEqual([6, 8, 20, 21, 23, 25]);
  expect(split(1160).validation.slice(0, 6)).toEqual([3, 4, 11, 17, 18, 25]);
});

test("impossible samples are refused", () => {
  expect(() => new PythonRandom(1.5)).toThrow(/seed: expected a whole number, got 1.5/);
  expect(() => new PythonRandom(1).sample(3, 4)).toThrow(/n = 3, k = 4/);
  for (const [n, k] of [
    [3, -1],
    [3.5, 1],
    [3, 1.5],
  ] as const) {
    expect(() => new PythonRandom(1).sample(n, k)).toThrow(`n = ${n}, k = ${k}`);
  }
  expect(() => new PythonRandom(1).sample(2 ** 32, 4)).toThrow(/n = 4294967296/);
  expect(() => split(-1)).toThrow(/got -1/);
  expect(() => split(2.5)).toThrow(/got 2.5/);
});
