// Statistics of measured values: medians, spreads and fitted cost models.

import { at } from "../errors.ts";

/** Summary of measured values. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** A quarter of the values lie below it. */
  readonly lowerQuartile: number;
  /** A quarter of the values lie above it. */
  readonly upperQuartile: number;
  readonly numSamples: number;
}

/**
 * The spread of some values; quantiles are interpolated between neighbours.
 * @throws RangeError without values.
 */
export function spreadOf(values: readonly number[]): Spread {
  if (values.length === 0) throw new RangeError("values: a spread needs at least one value.");
  const sorted = [...values].sort((a, b) => a - b);
  return {
    median: quantile(sorted, 0.5),
    min: quantile(sorted, 0),
    max: quantile(sorted, 1),
    lowerQuartile: quantile(sorted, 0.25),
    upperQuartile: quantile(sorted, 0.75),
    numSamples: values.length,
  };
}

/** The spread of `f(value)` for a monotonic `f`, such as from times to rates. */
export function mapSpread(spread: Spread, f: (value: number) => number): Spread {
  const [a, b] = [f(spread.min), f(spread.max)];
  const [c, d] = [f(spread.lowerQuartile), f(spread.upperQuartile)];
  return {
    median: f(spread.median),
    min: Math.min(a, b),
    max: Math.max(a, b),
    lowerQuartile: Math.min(c, d),
    upperQuartile: Math.max(c, d),
    numSamples: spread.numSamples,
  };
}

function quantile(sorted: readonly number[], share: number): number {
  const place = share * (sorted.length - 1);
  const below = at(sorted, Math.floor(place));
  const above = at(sorted, Math.ceil(place));
  return below + (above - below) * (place - Math.floor(place));
}

/** A fitted cost model. */
export interface CostFit {
  /** Fixed cost of every run, ms. */
  readonly constant: number;
  /** ms per unit of x. */
  readonly linear: number;
  /** ms per unit of x². */
  readonly quadratic: number;
}

/** The cost model at `x`, ms. */
export function costAt(fit: CostFit, x: number): number {
  return fit.constant + fit.linear * x + fit.quadratic * x * x;
}

/**
 * Fits by least squares of the relative errors for every subset of parts, and returns the best fit without negative parts.
 * @param maxDegree 1 omits the quadratic part
 */
export function fitCost(points: readonly { readonly x: number; readonly ms: number }[], maxDegree: 1 | 2): CostFit {
  const degrees = [0, 1, 2].slice(0, maxDegree + 1);
  let best: { readonly parts: readonly number[]; readonly error: number } | undefined;
  for (let mask = 1; mask < 2 ** degrees.length; mask++) {
    const used = degrees.filter((degree) => (mask >> degree) & 1);
    const solved = solveNormal(points, used);
    if (solved === undefined || solved.some((value) => value < 0)) continue;
    const parts = [0, 1, 2].map((degree) => solved[used.indexOf(degree)] ?? 0);
    const fit = { constant: at(parts, 0), linear: at(parts, 1), quadratic: at(parts, 2) };
    const error = points.reduce((sum, { x, ms }) => sum + (costAt(fit, x) / ms - 1) ** 2, 0);
    if (best === undefined || error < best.error - 1e-12) best = { parts, error };
  }
  const [constant = 0, linear = 0, quadratic = 0] = best?.parts ?? [];
  return { constant, linear, quadratic };
}

/** Solves the normal equations of Σ (Σ_d p_d · x^d / ms − 1)² by elimination; undefined where they are singular. */
function solveNormal(
  points: readonly { readonly x: number; readonly ms: number }[],
  degrees: readonly number[],
): readonly number[] | undefined {
  const rows = degrees.map((degree) => [
    ...degrees.map((other) => points.reduce((sum, { x, ms }) => sum + x ** (degree + other) / ms ** 2, 0)),
    points.reduce((sum, { x, ms }) => sum + x ** degree / ms, 0),
  ]);
  const size = degrees.length;
  for (let pivot = 0; pivot < size; pivot++) {
    const pivotRow = rows[pivot] ?? [];
    const head = at(pivotRow, pivot);
    if (Math.abs(head) < 1e-300) return undefined;
    for (const [index, row] of rows.entries()) {
      if (index === pivot) continue;
      const factor = at(row, pivot) / head;
      for (let column = pivot; column <= size; column++) {
        row[column] = at(row, column) - factor * at(pivotRow, column);
      }
    }
  }
  return rows.map((row, index) => at(row, size) / at(row, index));
}

/** Three significant digits without an exponent. */
export function digits(value: number): string {
  if (value === 0 || !Number.isFinite(value)) return String(value);
  const places = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(places, 6));
}
