// McNemar's exact test on two runs over the same questions.

/** Hexadecimal digits that are kept of a sum: 60 bits, more than an f64 holds. */
const KEPT_DIGITS = 15;

/**
 * The two-sided exact p-value of McNemar's test: min(1, 2 · P(X ≤ min(onlyA, onlyB))) with X ~ Binomial(onlyA + onlyB, 1/2).
 * Computed with whole numbers of any size, so that it is exact up to the last rounding; a value below 2⁻¹⁰⁷⁴ becomes 0.
 * Source: McNemar, Psychometrika 12 (1947); the doubling is that of scipy.stats.binomtest for p = 1/2.
 * @param onlyA number of questions that only the first run answers rightly
 * @param onlyB number of questions that only the second run answers rightly
 * @throws RangeError unless both are whole numbers of at least 0.
 */
export function exactMcNemar(onlyA: number, onlyB: number): number {
  for (const [name, count] of [
    ["onlyA", onlyA],
    ["onlyB", onlyB],
  ] as const) {
    if (!Number.isSafeInteger(count) || count < 0) {
      throw new RangeError(`${name}: expected a whole number of at least 0, got ${count}.`);
    }
  }
  const n = onlyA + onlyB;
  const smaller = Math.min(onlyA, onlyB);
  if (smaller * 2 >= n - 1) return 1; // the two tails cover everything: the doubled sum is at least 2^n
  let term = 1n;
  let sum = 1n;
  for (let k = 1; k <= smaller; k++) {
    term = (term * BigInt(n - k + 1)) / BigInt(k);
    sum += term;
  }
  return scaled(sum, 1 - n);
}

/** value · 2^exponent. */
function scaled(value: bigint, exponent: number): number {
  const dropped = Math.max(0, value.toString(16).length - KEPT_DIGITS) * 4;
  let result = Number(value >> BigInt(dropped));
  let rest = exponent + dropped;
  while (rest < -1000) {
    result *= 2 ** -1000;
    rest += 1000;
  }
  return result * 2 ** rest;
}
