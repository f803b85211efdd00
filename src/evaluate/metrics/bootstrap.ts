// Percentile bootstrap of a mean whose rows come in clusters, such as the questions about one pair of objects.
//
// Rows of one cluster resemble each other, so resampling single rows would make the interval too narrow: whole clusters are
// drawn with replacement. The random numbers come from a generator that ports to any language in a few lines, so that
// another implementation can reproduce every resample.
// Source: Davison and Hinkley, Bootstrap Methods and their Application (1997), sections 3.8 and 5.3.1.
import { at, InputError } from "../../errors.ts";
import { quantile } from "./quantile.ts";

/** Settings of a bootstrap interval. */
export interface BootstrapOptions {
  /** Number of resamples; 2,000 by default. */
  readonly numResamples?: number;
  /** Share of the resampled means that the interval contains, 0 to 1; 0.95 by default. */
  readonly level?: number;
  /** Seed of the random numbers, a whole number of at least 0; 0 by default. */
  readonly seed?: number;
  /** Most counts of draws that are in memory at once, 4 bytes each; 2²³ by default. Does not change the interval. */
  readonly maxTable?: number;
}

/** What intervals are computed with unless options say otherwise. */
export const BOOTSTRAP_DEFAULTS = { numResamples: 2000, level: 0.95, seed: 0 } as const;

/** A mean with its interval. */
export interface BootstrapInterval {
  /** Mean of all rows. */
  readonly mean: number;
  readonly lower: number;
  readonly upper: number;
  readonly numRows: number;
  readonly numClusters: number;
}

/**
 * The mean of some rows with its percentile bootstrap interval, clusters drawn with replacement; null without rows.
 *
 * Clusters are numbered in the order in which they first appear. Each resample draws as many clusters as there are, one
 * `RandomIndices.below` each, and its statistic is the sum over all drawn rows divided by their number.
 * @param values [n], such as 1 for a right answer and 0 for a wrong one, or the difference of two interventions' verdicts
 * @param clusters [n], the group of each row
 * @throws InputError when the lists differ in length, or a value or an option is out of range.
 */
export function clusteredBootstrap(
  values: readonly number[],
  clusters: readonly (string | number)[],
  options: BootstrapOptions = {},
): BootstrapInterval | null {
  const { numResamples, level, seed, maxTable = 2 ** 23 } = { ...BOOTSTRAP_DEFAULTS, ...options };
  checkOptions({ numResamples, level, seed });
  if (values.length !== clusters.length) {
    throw new InputError(`clusters: expected one for each of the ${values.length} values, got ${clusters.length}.`);
  }
  const bad = values.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) throw new InputError(`values[${bad}]: expected a finite number, got ${values[bad]}.`);
  if (values.length === 0) return null;

  const totals = totalsByCluster(values, clusters);
  const means = resampledMeans(totals, { numResamples, seed, maxTable }).sort();
  return {
    mean: values.reduce((sum, value) => sum + value, 0) / values.length,
    lower: quantile(means, (1 - level) / 2),
    upper: quantile(means, (1 + level) / 2),
    numRows: values.length,
    numClusters: totals.length,
  };
}

function checkOptions({ numResamples, level, seed }: Required<Omit<BootstrapOptions, "maxTable">>): void {
  if (!Number.isInteger(numResamples) || numResamples < 1) {
    throw new InputError(`numResamples must be a whole number of at least 1, got ${numResamples}.`);
  }
  if (!(level > 0 && level < 1)) throw new InputError(`level must be between 0 and 1, got ${level}.`);
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new InputError(`seed must be a whole number of at least 0, got ${seed}.`);
  }
}

/** The rows of one cluster. */
interface ClusterTotal {
  sum: number;
  count: number;
}

function totalsByCluster(
  values: readonly number[],
  clusters: readonly (string | number)[],
): readonly Readonly<ClusterTotal>[] {
  const totals = new Map<string | number, ClusterTotal>();
  for (const [row, value] of values.entries()) {
    const cluster = at(clusters, row);
    const total = totals.get(cluster) ?? { sum: 0, count: 0 };
    total.sum += value;
    total.count += 1;
    totals.set(cluster, total);
  }
  return [...totals.values()];
}

/** A table of draws, kept because a report asks for many intervals over the same clusters. */
let kept: { readonly key: string; readonly times: Uint32Array } | undefined;

/** The mean of each resample, with as many resamples at once as a table holds. */
function resampledMeans(
  totals: readonly Readonly<ClusterTotal>[],
  { numResamples, seed, maxTable }: { readonly numResamples: number; readonly seed: number; readonly maxTable: number },
): Float64Array {
  const means = new Float64Array(numResamples);
  const { count: firstCount } = at(totals, 0);
  const isEven = totals.every(({ count }) => count === firstCount); // then all resamples have as many rows
  const numAtOnce = Math.min(numResamples, Math.max(1, Math.floor(maxTable / totals.length)));
  const random = new RandomIndices(seed);
  for (let start = 0; start < numResamples; start += numAtOnce) {
    const size = Math.min(numAtOnce, numResamples - start);
    const key = `${totals.length} ${numResamples} ${seed}`;
    const isWhole = size === numResamples;
    const times = isWhole && kept?.key === key ? kept.times : drawTimes(random, totals.length, size);
    if (isWhole) kept = { key, times };
    const sums = new Float64Array(size);
    const counts = new Float64Array(size).fill(isEven ? firstCount * totals.length : 0);
    for (const [cluster, { sum, count }] of totals.entries()) {
      const own = times.subarray(cluster * size, (cluster + 1) * size);
      if (sum !== 0) addScaled(sums, own, sum); // most clusters of a difference are 0
      if (!isEven) addScaled(counts, own, count);
    }
    means.set(
      sums.map((sum, resample) => sum / at(counts, resample)),
      start,
    );
  }
  return means;
}

/** total += factor · values, element by element. */
function addScaled(total: Float64Array, values: Uint32Array, factor: number): void {
  for (let index = 0; index < total.length; index++) {
    total[index] = (total[index] ?? 0) + factor * (values[index] ?? 0);
  }
}

/** [numClusters][numResamples]: how often each resample draws each cluster. */
function drawTimes(random: RandomIndices, numClusters: number, numResamples: number): Uint32Array {
  const times = new Uint32Array(numClusters * numResamples);
  for (let resample = 0; resample < numResamples; resample++) {
    for (let draw = 0; draw < numClusters; draw++) {
      const place = random.below(numClusters) * numResamples + resample;
      times[place] = (times[place] ?? 0) + 1;
    }
  }
  return times;
}

const MASK_64 = 2n ** 64n - 1n;

/**
 * Random numbers of xoshiro128** 1.1, seeded with two outputs of SplitMix64 (low half first).
 * Source: Blackman and Vigna, Scrambled Linear Pseudorandom Number Generators (ACM TOMS 47, 2021); prng.di.unimi.it,
 * xoshiro128starstar.c and splitmix64.c.
 */
export class RandomIndices {
  private readonly state: Uint32Array<ArrayBuffer>;

  /** @param seed a whole number of at least 0, or the four words of the state */
  constructor(seed: number | readonly [number, number, number, number]) {
    this.state = typeof seed === "number" ? seededState(seed) : Uint32Array.from(seed);
  }

  /** The next 32 random bits, as a whole number from 0 to 2³² − 1. */
  next(): number {
    const [s0, s1, s2, s3] = [at(this.state, 0), at(this.state, 1), at(this.state, 2), at(this.state, 3)];
    const result = Math.imul(rotateLeft(Math.imul(s1, 5), 7), 9) >>> 0;
    const a = s2 ^ s0;
    const b = s3 ^ s1;
    this.state[1] = s1 ^ a;
    this.state[0] = s0 ^ b;
    this.state[2] = a ^ (s1 << 9);
    this.state[3] = rotateLeft(b, 11);
    return result;
  }

  /**
   * A random whole number from 0 to `count` − 1: floor(next() · count / 2³²), whose bias is at most count / 2³².
   * @param count at most 2²¹, so that the product is exact
   */
  below(count: number): number {
    return Math.floor((this.next() * count) / 2 ** 32);
  }
}

function rotateLeft(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}

function seededState(seed: number): Uint32Array<ArrayBuffer> {
  let counter = BigInt(seed);
  const words: number[] = [];
  for (let i = 0; i < 2; i++) {
    counter = (counter + 0x9e3779b97f4a7c15n) & MASK_64;
    let z = counter;
    z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK_64;
    z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & MASK_64;
    z ^= z >> 31n;
    words.push(Number(z & 0xffffffffn), Number(z >> 32n));
  }
  return Uint32Array.from(words);
}
