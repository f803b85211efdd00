// CPython's random.seed(int) and random.sample(range(n), k), bit for bit, and the validation and test halves made with them.
import { at } from "../errors.ts";

const STATE_SIZE = 624;
const SHIFT_SIZE = 397;
const VALIDATION_SHARE = 0.2;
const SPLIT_SEED = 1;

/** Ids of the two halves of a data set, ascending. */
export interface Split {
  readonly validation: readonly number[];
  readonly test: readonly number[];
}

/**
 * Splits the rows of a data set as the AdaptVis authors do: sorted(random.sample(range(n), int(0.2 * n))) after random.seed(1)
 * is the validation half, and the other rows are the test half.
 * @param numRows number of rows in the question file
 * @throws RangeError unless it is a whole number below 2³².
 */
export function split(numRows: number): Split {
  if (!Number.isInteger(numRows) || numRows < 0 || numRows >= 2 ** 32) {
    throw new RangeError(`numRows: expected a whole number below 2^32, got ${numRows}.`);
  }
  const sampled = new PythonRandom(SPLIT_SEED).sample(numRows, Math.trunc(VALIDATION_SHARE * numRows));
  const validation = [...sampled].sort((a, b) => a - b);
  const isValidation = new Set(validation);
  const test = Array.from({ length: numRows }, (_, id) => id).filter((id) => !isValidation.has(id));
  return { validation, test };
}

/**
 * The Mersenne Twister MT19937 as Python's `random` module seeds and reads it.
 * Source: Matsumoto and Nishimura, "Mersenne Twister" (1998); CPython 3.12, Modules/_randommodule.c and Lib/random.py.
 */
export class PythonRandom {
  private readonly state = new Uint32Array(STATE_SIZE);
  private next = STATE_SIZE;

  /** @param seed whole number; its absolute value counts. @throws RangeError for any other. */
  constructor(seed: number) {
    if (!Number.isSafeInteger(seed)) throw new RangeError(`seed: expected a whole number, got ${seed}.`);
    const low = Math.abs(seed) % 2 ** 32;
    const high = Math.floor(Math.abs(seed) / 2 ** 32);
    this.seedByArray(high === 0 ? [low] : [low, high]);
  }

  /**
   * `k` different numbers below `n`, in the order in which random.sample(range(n), k) returns them.
   * @throws RangeError unless 0 ≤ k ≤ n < 2³².
   */
  sample(n: number, k: number): readonly number[] {
    if (!(Number.isInteger(k) && Number.isInteger(n) && k >= 0 && k <= n && n < 2 ** 32)) {
      throw new RangeError(`sample: expected whole numbers with 0 <= k <= n < 2^32, got n = ${n}, k = ${k}.`);
    }
    // The size of a small set, or of the list of n items: Python takes whichever needs less memory.
    const setSize = 21 + (k > 5 ? 4 ** Math.ceil(Math.log(k * 3) / Math.log(4)) : 0);
    return n <= setSize ? this.sampleFromPool(n, k) : this.sampleIntoSet(n, k);
  }

  /** A number from 0 to 2^numBits − 1, as random.getrandbits; numBits is 1 to 32. */
  bits(numBits: number): number {
    return this.word() >>> (32 - numBits);
  }

  private sampleFromPool(n: number, k: number): readonly number[] {
    const pool = Array.from({ length: n }, (_, index) => index);
    return Array.from({ length: k }, (_, taken) => {
      const index = this.below(n - taken);
      const value = at(pool, index);
      pool[index] = at(pool, n - taken - 1);
      return value;
    });
  }

  private sampleIntoSet(n: number, k: number): readonly number[] {
    const selected = new Set<number>();
    while (selected.size < k) {
      let value = this.below(n);
      while (selected.has(value)) value = this.below(n);
      selected.add(value);
    }
    return [...selected];
  }

  /** A number below n, by rejection: random._randbelow_with_getrandbits. */
  private below(n: number): number {
    const numBits = 32 - Math.clz32(n);
    let value = this.bits(numBits);
    while (value >= n) value = this.bits(numBits);
    return value;
  }

  private seedByArray(key: readonly number[]): void {
    const { state } = this;
    state[0] = 19650218;
    for (let i = 1; i < STATE_SIZE; i++) state[i] = Math.imul(1812433253, mixed(at(state, i - 1))) + i;
    let i = 1;
    let j = 0;
    for (let step = Math.max(STATE_SIZE, key.length); step > 0; step--) {
      state[i] = (at(state, i) ^ Math.imul(mixed(at(state, i - 1)), 1664525)) + at(key, j) + j;
      i++;
      j = (j + 1) % key.length;
      if (i === STATE_SIZE) {
        state[0] = at(state, STATE_SIZE - 1);
        i = 1;
      }
    }
    for (let step = STATE_SIZE - 1; step > 0; step--) {
      state[i] = (at(state, i) ^ Math.imul(mixed(at(state, i - 1)), 1566083941)) - i;
      i++;
      if (i === STATE_SIZE) {
        state[0] = at(state, STATE_SIZE - 1);
        i = 1;
      }
    }
    state[0] = 0x80000000;
    this.next = STATE_SIZE;
  }

  /** The next 32 bits. */
  private word(): number {
    if (this.next === STATE_SIZE) this.twist();
    let y = at(this.state, this.next++);
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  private twist(): void {
    const { state } = this;
    for (let i = 0; i < STATE_SIZE; i++) {
      const y = (at(state, i) & 0x80000000) | (at(state, (i + 1) % STATE_SIZE) & 0x7fffffff);
      state[i] = at(state, (i + SHIFT_SIZE) % STATE_SIZE) ^ (y >>> 1) ^ ((y & 1) === 0 ? 0 : 0x9908b0df);
    }
    this.next = 0;
  }
}

function mixed(word: number): number {
  return word ^ (word >>> 30);
}
