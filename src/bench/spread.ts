// Medians and spreads: a figure without them is no measurement.

/** Measured values in short. */
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

/** The spread of `f(value)` for a falling or rising `f`: times to rates, for one. */
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
  const at = share * (sorted.length - 1);
  const below = sorted[Math.floor(at)] ?? 0;
  const above = sorted[Math.ceil(at)] ?? 0;
  return below + (above - below) * (at - Math.floor(at));
}
