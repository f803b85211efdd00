// Quantises rows of weights on the CPU, to the same bits as shaders/quantize.wgsl and quantize-minimum.wgsl: the kernel computes with integers, and f64 divides
// numbers of 24 by 11 bits finely enough never to round across a tie, so both give the nearest step, ties to even, on every adapter.
import { f32ToF16 } from "../checkpoint/dtypes.ts";
import {
  GROUP_SIZE,
  groupsPerRow,
  hasNibbles,
  type QuantizedDtype,
  scalesPerGroup,
  storedRowBytes,
} from "../gpu/tensor.ts";
import { fitGroup, type GroupLine } from "./quantize-minimum.ts";

/** Quantised rows as they lie on the GPU. */
export interface PackedRows {
  /** [rows, groups · 32] signed bytes in q8, else [rows, groups · 16] bytes in the order of shaders/shared/weight-q4.wgsl */
  readonly codes: Uint8Array<ArrayBuffer>;
  /** f16 [rows, groups], in q4_1 [rows, groups, 2] scales and minima */
  readonly scales: Uint16Array<ArrayBuffer>;
}

/**
 * Packs rows of `columns` weights, padded with zeros to whole groups of 32.
 * @param values [rows, columns], columns a multiple of 4
 * @returns undefined when a weight is not finite, or a scale or minimum is larger than an f16 can be
 */
export function packRows(
  values: Float32Array<ArrayBuffer>,
  columns: number,
  dtype: QuantizedDtype,
): PackedRows | undefined {
  const numRows = values.length / columns;
  const groups = groupsPerRow(columns);
  const codes = new Uint8Array(numRows * storedRowBytes({ dtype, columns }).weights);
  const numbers = scalesPerGroup(dtype);
  const scales = new Float32Array(numRows * groups * numbers);
  const steps = new Int8Array(GROUP_SIZE);
  const groupBytes = hasNibbles(dtype) ? GROUP_SIZE / 2 : GROUP_SIZE;
  for (let index = 0; index < numRows * groups; index++) {
    const row = Math.floor(index / groups) * columns;
    const first = row + (index % groups) * GROUP_SIZE;
    const weights = values.subarray(first, Math.min(first + GROUP_SIZE, row + columns));
    const { scale, minimum } = quantizeGroup(weights, dtype, steps);
    if (!Number.isFinite(scale) || !Number.isFinite(minimum)) return undefined;
    scales[index * numbers] = scale;
    if (numbers > 1) scales[index * numbers + 1] = minimum;
    steps.fill(0, weights.length);
    if (hasNibbles(dtype)) packNibbles(steps, codes, { start: index * groupBytes, offset: dtype === "q4" ? 8 : 0 });
    else codes.set(steps, index * groupBytes);
  }
  return { codes, scales: f32ToF16(scales) }; // exact: they are numbers of an f16
}

/** Byte b of every four holds step b in its low half and step 4 + b in its high half, each plus `offset`. */
function packNibbles(
  steps: Int8Array,
  codes: Uint8Array,
  { start, offset }: { readonly start: number; readonly offset: number },
): void {
  for (let word = 0; word < GROUP_SIZE / 8; word++) {
    for (let byte = 0; byte < 4; byte++) {
      const low = (steps[word * 8 + byte] ?? 0) + offset;
      const high = (steps[word * 8 + 4 + byte] ?? 0) + offset;
      codes[start + word * 4 + byte] = low | (high << 4);
    }
  }
}

/**
 * Writes the steps of up to 32 weights.
 * @returns their scale and minimum, numbers of an f16; NaN when there are none, or a weight is not finite. Only q4_1 has a minimum
 * other than 0.
 */
export function quantizeGroup(weights: Float32Array, dtype: QuantizedDtype, steps: Int8Array): GroupLine {
  let largest = 0;
  let taint = 0; // NaN once a weight is not finite
  for (let i = 0; i < weights.length; i++) {
    const weight = weights[i] ?? 0;
    if (Math.abs(weight) > Math.abs(largest)) largest = weight;
    taint += weight * 0;
  }
  if (Math.abs(largest) < SMALLEST_NORMAL) largest = 0;
  if (taint !== 0) return { scale: Number.NaN, minimum: Number.NaN };
  if (dtype === "q4_1") {
    const { scale, minimum } = fitGroup(weights, steps);
    return { scale: roundToF16(scale), minimum: roundToF16(minimum) };
  }
  const wanted = dtype === "q8" ? Math.abs(largest) / 127 : largest / -8;
  const scale = largest === 0 ? 0 : roundToF16(wanted); // not −0 for zeros alone
  const [least, most] = dtype === "q8" ? [-127, 127] : [-8, 7];
  for (let i = 0; i < weights.length; i++) {
    const step = scale === 0 ? 0 : roundToEven((weights[i] ?? 0) / scale);
    steps[i] = step < least ? least : step > most ? most : step;
  }
  return { scale, minimum: 0 };
}

/** The smallest f32 that is not subnormal; the kernel takes subnormals for zeros. */
const SMALLEST_NORMAL = 2 ** -126;

/** An f64 rounded once: by way of an f32 it would be rounded twice. */
function roundToF16(value: number): number {
  if (value === 0) return 0;
  const magnitude = Math.abs(value);
  // Just below a power of two the logarithm may be rounded up to its exponent: so close, either unit gives that power.
  const exponent = Math.floor(Math.log2(magnitude));
  const unit = 2 ** (Math.max(exponent, -14) - 10);
  const rounded = roundToEven(magnitude / unit) * unit;
  if (rounded > 65_504) return Number.NaN;
  return value < 0 ? -rounded : rounded; // −0 for a small negative one, as the kernel has it
}

/** 1.5 · 2^52: added to a number below 2^51, it leaves no bits for a fraction. */
const NO_FRACTION = 6_755_399_441_055_744;

/** The nearest whole number, ties to even; never −0. */
function roundToEven(value: number): number {
  return value + NO_FRACTION - NO_FRACTION;
}
