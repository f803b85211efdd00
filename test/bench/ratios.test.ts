import { describe, expect, test } from "vitest";
import { compareIds } from "../../src/bench/models.ts";
import { barsFor, costRatio, missingRatio, rateRatio } from "../../src/bench/ratios.ts";
import { fitCost, spreadOf } from "../../src/bench/statistics.ts";
import { verdicts } from "../../src/bench/verdicts.ts";

const bar = { name: "bar", wanted: 2 };

describe("ratios", () => {
  test("a rate is ours over theirs, round by round", () => {
    const compared = { ours: [10, 30, 20], theirs: [5, 10, 8], unit: "tokens/s", reason: "Decode." };
    expect(rateRatio(bar, compared)).toEqual({
      ...bar,
      ours: 20,
      theirs: 8,
      unit: "tokens/s",
      ratio: 2.5,
      spread: { min: 2, max: 3 },
      isMet: true,
      reason: "Decode.",
    });
  });

  test("a cost is inverted: half the time is a ratio of 2", () => {
    const ratio = costRatio(bar, { ours: [5], theirs: [9], unit: "ms", reason: "" });
    expect(ratio).toMatchObject({ ratio: 1.8, isMet: false, spread: { min: 1.8, max: 1.8 } });
  });

  test("what could not run has no ratio but a reason", () => {
    expect(missingRatio(bar, "Why.")).toMatchObject({ ratio: null, isMet: null, ours: null, reason: "Why." });
  });

  test.each([true, false])("every bar appears without any figure, software %s", (isSoftware) => {
    const missingPeers = [{ file: "onnxruntime.mjs", reason: "It is not installed." }];
    const ratios = verdicts(isSoftware, { shares: [], models: null, missingPeers });
    const { decodeShares, ...single } = barsFor(isSoftware);
    const wanted = [...Object.values(single), ...decodeShares.map((share) => share.bar)].map(({ name }) => name);
    expect(ratios.map(({ name }) => name).sort()).toEqual(wanted.sort());
    expect(ratios.every(({ ratio, reason }) => ratio === null && reason !== "")).toBe(true);
  });
});

test("spreads interpolate quantiles and refuse nothing at all", () => {
  expect(spreadOf([4, 1, 3, 2])).toMatchObject({
    median: 2.5,
    min: 1,
    max: 4,
    lowerQuartile: 1.75,
    upperQuartile: 3.25,
  });
  expect(() => spreadOf([])).toThrow(RangeError);
});

test("a cost model finds the parts that a curve was made of, and none that is negative", () => {
  const at = (f: (x: number) => number) => [1, 2, 4, 8, 16].map((x) => ({ x, ms: f(x) }));
  const fit = fitCost(
    at((x) => 3 + 2 * x + 0.5 * x * x),
    2,
  );
  expect(fit.constant).toBeCloseTo(3, 6);
  expect(fit.linear).toBeCloseTo(2, 6);
  expect(fit.quadratic).toBeCloseTo(0.5, 6);
  const falling = fitCost(
    at((x) => 20 - x),
    2,
  );
  expect(Math.min(falling.constant, falling.linear, falling.quadratic)).toBeGreaterThanOrEqual(0);
});

test("ids agree up to the first that differs", () => {
  expect(compareIds([1, 2, 3, 4], [1, 2, 9, 4])).toEqual({ numCompared: 4, numEqual: 2 });
  expect(compareIds([1, 2, 3], [1, 2])).toEqual({ numCompared: 2, numEqual: 2 });
});
