// Pictures under the noise of a diffusion process, from a generator small enough to write again in any language: a counter
// through MurmurHash3's 32-bit finaliser, and the Box–Muller transform.

/** Steps of the process. */
export const NUM_NOISE_STEPS = 1000;

/** Betas at the sigmoid's two ends. */
const [LEAST_BETA, MOST_BETA] = [1e-5, 0.5e-2];

/** 2³² divided by the golden ratio, odd: what the counter grows by. */
const STRIDE = 0x9e3779b9;

/**
 * The share of the picture's variance that is left after `step`, 0 to 999: the product of 1 − beta over steps 0 to `step`,
 * beta being 1e-5 + (0.005 − 1e-5) · sigmoid(−6 + 12 · step / 999).
 * Source: DAMO-NLP-SG/VCD at 039af55, vcd_utils/vcd_add_noise.py
 */
export function remainingVariance(step: number): number {
  let remaining = 1;
  for (let index = 0; index <= step; index++) {
    const sigmoid = 1 / (1 + Math.exp(6 - (12 * index) / (NUM_NOISE_STEPS - 1)));
    remaining *= 1 - (LEAST_BETA + (MOST_BETA - LEAST_BETA) * sigmoid);
  }
  return remaining;
}

/**
 * Pixel values after `step` steps of noise: √a · x + √(1 − a) · n, a being {@link remainingVariance} and n standard normal.
 * @param values f32, of any shape; each gets its own number n, in order
 */
export function noised(
  values: Float32Array<ArrayBuffer>,
  { step, seed }: { readonly step: number; readonly seed: number },
): Float32Array<ArrayBuffer> {
  const remaining = remainingVariance(step);
  const [kept, added] = [Math.sqrt(remaining), Math.sqrt(1 - remaining)];
  const noise = normals(values.length, seed);
  return values.map((value, index) => kept * value + added * (noise[index] ?? 0));
}

/**
 * `count` standard normal numbers. Words a and b of {@link wordsOf} make a pair:
 * √(−2 ln((a + 1) / 2³²)) times the cosine, then the sine, of 2π · b / 2³².
 * @param seed taken modulo 2³²
 */
export function normals(count: number, seed: number): Float64Array<ArrayBuffer> {
  const numbers = new Float64Array(count);
  const word = wordsOf(seed);
  for (let index = 0; index < count; index += 2) {
    const radius = Math.sqrt(-2 * Math.log((word() + 1) / 2 ** 32));
    const angle = 2 * Math.PI * (word() / 2 ** 32);
    numbers[index] = radius * Math.cos(angle);
    if (index + 1 < count) numbers[index + 1] = radius * Math.sin(angle);
  }
  return numbers;
}

/** A generator of 32-bit words: word w, from 1 on, is finalise(finalise(seed) + w · 0x9e3779b9). @param seed taken modulo 2³² */
export function wordsOf(seed: number): () => number {
  let counter = finalise(seed >>> 0);
  return () => {
    counter = (counter + STRIDE) >>> 0;
    return finalise(counter);
  };
}

/** MurmurHash3's finaliser: a bijection of 32-bit numbers. */
function finalise(word: number): number {
  let hash = word;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
