// Twin of shaders/quantize-minimum.wgsl, in whole numbers of any size.
import { narrow } from "./weight-formats.ts";

/** A scale and a minimum in sixteenths of a group's unit, and the steps that they give its weights. */
interface Fit {
  readonly scale: bigint;
  readonly minimum: bigint;
  readonly steps: readonly bigint[];
}

/** The bits of the scale and the minimum of a group in q4_1, and its weights in steps. */
export function fitGroup(weights: readonly number[]): {
  readonly scaleBits: number;
  readonly minimumBits: number;
  readonly steps: readonly number[];
} {
  const normal = weights.map((weight) => (Math.abs(weight) < 2 ** -126 ? 0 : weight));
  const largest = Math.max(...normal.map(Math.abs));
  if (largest === 0) return { scaleBits: 0, minimumBits: 0, steps: weights.map(() => 0) };
  const unit = 2 ** (Math.floor(Math.log2(largest)) - 11);
  const units = normal.map((weight) => BigInt(Math.sign(weight) * Math.floor(Math.abs(weight) / unit + 0.5)));
  const smallest = units.reduce((least, each) => (each < least ? each : least));
  const x = units.map((each) => each - smallest);
  const range = x.reduce((most, each) => (each > most ? each : most));
  let best: Fit = { scale: 0n, minimum: 0n, steps: x.map(() => 0n) };
  if (range > 0n) {
    const fits = [28n, 29n, 30n, 31n].map((halves) => refit(x, stepsBy(x, (32n * range) / halves, 0n)));
    const errors = fits.map((fit) => squaredError(x, fit));
    const least = errors.reduce((a, b) => (b < a ? b : a));
    best = refit(x, fits[errors.indexOf(least)] ?? best);
  }
  const bitsOf = (sixteenths: bigint) => narrow((Number(sixteenths) * unit) / 16, "f16");
  const minimum = 16n * smallest + best.minimum;
  return { scaleBits: bitsOf(best.scale), minimumBits: bitsOf(minimum), steps: best.steps.map(Number) };
}

/** Steps by a line; dividing by way of the inverse is part of the formula. */
function stepsBy(x: readonly bigint[], wanted: bigint, minimum: bigint): Fit {
  const scale = wanted < 1n ? 1n : wanted;
  const inverse = 2n ** 26n / scale;
  const between = (value: bigint, most: bigint) => (value < 0n ? 0n : value > most ? most : value);
  const steps = x.map((each) =>
    between((between(16n * each - minimum + scale / 2n, 16n * scale) * inverse) / 2n ** 26n, 15n),
  );
  return { scale, minimum, steps };
}

/** The least-squares line through x over steps, and the steps by it. */
function refit(x: readonly bigint[], fit: Fit): Fit {
  const n = BigInt(x.length);
  const sum = (values: readonly bigint[]) => values.reduce((a, b) => a + b, 0n);
  const [sx, sl] = [sum(x), sum(fit.steps)];
  const sl2 = sum(fit.steps.map((step) => step * step));
  const sxl = sum(fit.steps.map((step, i) => step * (x[i] ?? 0n)));
  const divisor = n * sl2 - sl * sl;
  if (divisor === 0n) return fit;
  const sixteenths = (dividend: bigint) => (dividend / divisor) * 16n + ((dividend % divisor) * 16n) / divisor;
  return stepsBy(x, sixteenths(n * sxl - sx * sl), sixteenths(sl2 * sx - sl * sxl));
}

function squaredError(x: readonly bigint[], { scale, minimum, steps }: Fit): bigint {
  const errors = x.map((each, i) => {
    const error = 16n * each - ((steps[i] ?? 0n) * scale + minimum);
    const magnitude = error < 0n ? -error : error;
    return magnitude > 11_584n ? 11_584n : magnitude;
  });
  return errors.reduce((sum, error) => sum + error * error, 0n);
}
