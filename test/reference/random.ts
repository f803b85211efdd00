// Seeded random numbers, so that a failing test fails again with the same numbers.

/** A stream of numbers that depends on its seed alone. */
export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
  /** Uniform among the integers [0, end). */
  integer(end: number): number;
  /** `length` normally distributed numbers of standard deviation `scale`, rounded to f32. */
  normals(length: number, scale?: number): Float32Array<ArrayBuffer>;
}

/** The generator mulberry32 with this seed (32 bits of state: enough for test data). */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  // Box–Muller; 1 − next() is never 0.
  const normal = (): number => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
  return {
    next,
    integer: (end) => Math.floor(next() * end),
    normals: (length, scale = 1) => Float32Array.from({ length }, () => normal() * scale),
  };
}
