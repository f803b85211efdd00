import { expect, test } from "vitest";
import {
  checkFactor,
  checkSettings,
  chooseFactor,
  DEFAULT_ADAPTVIS,
  optionConfidence,
  roundConfidence,
  scaledRowRange,
} from "../../src/adaptvis.ts";

// numpy 2.4.6: [float(np.round(x, 2)) for x in these]
test.each([
  [0.005, 0.0],
  [0.015, 0.02],
  [0.025, 0.02],
  [0.035, 0.04],
  [0.125, 0.12],
  [0.135, 0.14],
  [0.375, 0.38],
  [0.4, 0.4],
  [0.404999, 0.4],
  [0.395001, 0.4],
  [0.99999, 1.0],
  [1, 1],
  [0, 0],
])("roundConfidence(%f) = %f, as numpy.round to two decimals", (confidence, rounded) => {
  expect(roundConfidence(confidence)).toBe(rounded);
});

test("confidence below beta takes alpha1, beta itself and above alpha2", () => {
  const settings = { alpha1: 0.5, alpha2: 1.5, beta: 0.4 };
  expect(chooseFactor(0.39, settings)).toBe(0.5);
  expect(chooseFactor(0.4, settings)).toBe(1.5);
  expect(chooseFactor(1, settings)).toBe(1.5);
  expect(DEFAULT_ADAPTVIS).toEqual(settings);
});

test("option confidence is the softmax over the options alone", () => {
  const logits = [5, 1, 2, 100];
  expect(optionConfidence(logits, [1, 2])).toBeCloseTo(Math.E / (1 + Math.E), 12);
  expect(optionConfidence(logits, [3])).toBe(1);
  expect(optionConfidence([1e4, -1e4], [0, 1])).toBe(1);
});

test("scaled rows", () => {
  expect(scaledRowRange("last", 10)).toEqual([9, 10]);
  expect(scaledRowRange("generated", 10)).toEqual([9, 0xffffffff]);
  expect(scaledRowRange({ last: 3 }, 10)).toEqual([7, 10]);
  expect(() => scaledRowRange({ last: 0 }, 10)).toThrow("from 1 to the prompt's 10, got 0");
  expect(() => scaledRowRange({ last: 11 }, 10)).toThrow("got 11");
});

test("settings that cannot be used are refused by name", () => {
  expect(() => checkFactor("factor", Number.NaN)).toThrow("factor must be a number from 0 to 10000, got NaN");
  expect(() => checkFactor("factor", -1)).toThrow("got -1");
  expect(() => checkFactor("factor", Number.POSITIVE_INFINITY)).toThrow("Infinity");
  expect(() => checkFactor("factor", 1e38)).toThrow("1e+38");
  checkFactor("factor", 0);
  checkFactor("factor", 10_000);
  expect(() => checkSettings({ alpha1: -1, alpha2: 1, beta: 0.5 })).toThrow("alpha1");
  expect(() => checkSettings({ alpha1: 1, alpha2: -1, beta: 0.5 })).toThrow("alpha2");
  expect(() => checkSettings({ alpha1: 1, alpha2: 1, beta: 1.1 })).toThrow("beta must be a probability");
});
