// Entropy of attention; apart from attention-map.ts, which the package loads only when an answer has maps.
/** Shannon entropy of non-negative values normalised to 1, in bits; 0 when they are all 0. */
export function entropyBits(values: ArrayLike<number>): number {
  const list = Array.from(values);
  const total = list.reduce((sum, value) => sum + value, 0);
  return list.reduce((sum, value) => (value > 0 ? sum - (value / total) * Math.log2(value / total) : sum), 0);
}
