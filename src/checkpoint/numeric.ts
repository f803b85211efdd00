// F16 and BF16 numbers as bits: widening to F32, which is exact, and rounding back to the nearest, ties to even.
// Source: IEEE 754-2019, sections 3.4 (binary16) and 4.3.1 (roundTiesToEven). Bytes are little-endian, as the format and every WebGPU
// host are. NaNs pass as bits, never as JavaScript numbers, which may change their payload.

import type { WeightDtype } from "./dtypes.ts";

/**
 * The F32 values of `bytes`, which hold `dtype` numbers, little-endian; always a copy. `dtype` is spelt as in the file (`F16`) or as on
 * the GPU (`f16`).
 * @throws RangeError when `bytes` is not a whole number of elements.
 */
export function toF32(bytes: Uint8Array, dtype: WeightDtype | Lowercase<WeightDtype>): Float32Array<ArrayBuffer> {
  const name = dtype.toUpperCase();
  const elementBytes = name === "F32" ? 4 : 2;
  if (bytes.length % elementBytes !== 0) {
    throw new RangeError(`bytes: expected a multiple of ${elementBytes} for ${name}, got ${bytes.length}.`);
  }
  const copy = bytes.slice().buffer;
  if (name === "F32") return new Float32Array(copy);

  const halves = new Uint16Array(copy);
  const words = new Uint32Array(halves.length);
  // Loops by index: these run over millions of weights.
  if (name === "BF16") {
    for (let i = 0; i < halves.length; i++) words[i] = (halves[i] ?? 0) << 16;
  } else {
    for (let i = 0; i < halves.length; i++) words[i] = widenF16(halves[i] ?? 0);
  }
  return new Float32Array(words.buffer);
}

/** The F32 bits of the F16 bits `half`. */
function widenF16(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0x1f) return sign | 0x7f800000 | (fraction << 13);
  if (exponent !== 0) return sign | ((exponent + 112) << 23) | (fraction << 13);
  if (fraction === 0) return sign;
  // Subnormal: fraction · 2^-24, whose leading one becomes the implicit bit.
  const leadingIndex = 31 - Math.clz32(fraction);
  return sign | ((leadingIndex + 103) << 23) | ((fraction << (23 - leadingIndex)) & 0x7fffff);
}

/** The F16 bits nearest to each of `values`, ties to even; from 65520 on ±Infinity; a NaN stays a (quiet) NaN. */
export function f32ToF16(values: Float32Array): Uint16Array<ArrayBuffer> {
  const words = new Uint32Array(values.slice().buffer);
  const halves = new Uint16Array(words.length);
  for (let i = 0; i < words.length; i++) halves[i] = narrowToF16(words[i] ?? 0);
  return halves;
}

function narrowToF16(word: number): number {
  const sign = (word >>> 16) & 0x8000;
  const magnitude = word & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00 | ((magnitude >> 13) & 0x3ff);
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude >= 0x38800000) return sign | roundShift(magnitude - 0x38000000, 13);
  // Subnormal in F16: the full significand counts units of 2^-24 once shifted; below 2^-25 nothing is left.
  const exponent = magnitude >> 23;
  if (exponent < 102) return sign;
  return sign | roundShift((magnitude & 0x7fffff) | 0x800000, 126 - exponent);
}

/** The BF16 bits nearest to each of `values`, ties to even; a NaN stays a (quiet) NaN. */
export function f32ToBf16(values: Float32Array): Uint16Array<ArrayBuffer> {
  const words = new Uint32Array(values.slice().buffer);
  const halves = new Uint16Array(words.length);
  for (let i = 0; i < words.length; i++) halves[i] = narrowToBf16(words[i] ?? 0);
  return halves;
}

function narrowToBf16(word: number): number {
  const sign = (word >>> 16) & 0x8000;
  const magnitude = word & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | (magnitude >>> 16) | 0x40;
  return sign | roundShift(magnitude, 16);
}

/** `value / 2^numBits` rounded to the nearest whole number, ties to even. */
function roundShift(value: number, numBits: number): number {
  const kept = value >>> numBits;
  const rest = value & (2 ** numBits - 1);
  const half = 2 ** (numBits - 1);
  return rest > half || (rest === half && (kept & 1) === 1) ? kept + 1 : kept;
}
