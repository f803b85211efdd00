// Quantiles of a sample, as NumPy computes them by default.
import { at } from "../../errors.ts";

/**
 * The quantile of ascending values, interpolated linearly between neighbours.
 * Source: `numpy.quantile` with `method="linear"` (Hyndman and Fan 1996, type 7).
 * @param sorted at least one value, ascending
 * @param share 0 to 1
 * @throws RangeError without values.
 */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  const place = share * (sorted.length - 1);
  const below = at(sorted, Math.floor(place));
  const above = at(sorted, Math.ceil(place));
  return below + (above - below) * (place - Math.floor(place));
}
