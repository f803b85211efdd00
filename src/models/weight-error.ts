// What rounding weights to a dtype costs, on the CPU in f64: the numbers that shaders/quantize.wgsl and convert-weights.ts
// store, compared with those before.

import { f32ToBf16, f32ToF16, toF32 } from "../checkpoint/numeric.ts";
import { type FloatDtype, GROUP_SIZE, isQuantized, type QuantizedDtype, type WeightDtype } from "../gpu/tensor.ts";

/** Sums over weights, so that chunks of a tensor add up. */
export interface ErrorSums {
  /** Σ weight² */
  readonly squares: number;
  /** Σ (stored − weight)² */
  readonly errorSquares: number;
  /** Largest |stored − weight| */
  readonly largest: number;
}

/** The sums of chunk after chunk. */
export function addErrors(a: ErrorSums, b: ErrorSums): ErrorSums {
  return {
    squares: a.squares + b.squares,
    errorSquares: a.errorSquares + b.errorSquares,
    largest: Math.max(a.largest, b.largest),
  };
}

/** The error of rows of `columns` weights stored as `dtype`; NaN or infinite where a weight does not fit it. */
export function weightError(values: Float32Array<ArrayBuffer>, columns: number, dtype: WeightDtype): ErrorSums {
  if (!isQuantized(dtype)) return between(values, narrowed(values, dtype));
  const stored = new Float32Array(values.length);
  for (let row = 0; row < values.length; row += columns) {
    for (let first = row; first < row + columns; first += GROUP_SIZE) {
      const end = Math.min(first + GROUP_SIZE, row + columns);
      storeGroup(values.subarray(first, end), stored.subarray(first, end), dtype);
    }
  }
  return between(values, stored);
}

function narrowed(values: Float32Array<ArrayBuffer>, dtype: FloatDtype): Float32Array {
  if (dtype === "f32") return values;
  const halves = dtype === "f16" ? f32ToF16(values) : f32ToBf16(values);
  return toF32(new Uint8Array(halves.buffer), dtype);
}

function storeGroup(weights: Float32Array, stored: Float32Array, dtype: QuantizedDtype): void {
  let largest = 0;
  for (const weight of weights) {
    if (!(Math.abs(weight) <= Math.abs(largest))) largest = weight;
  }
  const scale = roundToF16(dtype === "q8" ? Math.abs(largest) / 127 : largest / -8);
  const [least, most] = dtype === "q8" ? [-127, 127] : [-8, 7];
  for (let i = 0; i < weights.length; i++) {
    const step = scale === 0 ? 0 : roundToEven((weights[i] ?? 0) / scale);
    stored[i] = Math.max(least, Math.min(most, step)) * scale;
  }
}

/** An f64 rounded once: by way of an f32 it would be rounded twice. */
function roundToF16(value: number): number {
  if (value === 0) return 0;
  let exponent = Math.floor(Math.log2(Math.abs(value)));
  if (2 ** exponent > Math.abs(value)) exponent--; // the logarithm was rounded up
  const unit = 2 ** (Math.max(exponent, -14) - 10);
  const rounded = roundToEven(value / unit) * unit;
  return Math.abs(rounded) > 65_504 ? Number.NaN : rounded;
}

function roundToEven(value: number): number {
  return Math.abs(value % 1) === 0.5 ? 2 * Math.round(value / 2) : Math.round(value);
}

function between(values: Float32Array, stored: Float32Array): ErrorSums {
  let squares = 0;
  let errorSquares = 0;
  let largest = 0;
  for (let i = 0; i < values.length; i++) {
    const weight = values[i] ?? 0;
    const error = Math.abs((stored[i] ?? 0) - weight);
    squares += weight * weight;
    errorSquares += error * error;
    if (!(error <= largest)) largest = error;
  }
  return { squares, errorSquares, largest };
}
