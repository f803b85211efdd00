// Weights as they are stored, and what they mean: f16 and bf16 as in a checkpoint, rounded to the nearest (ties to even)
// and widened, both exact in f64; q8, q4_1 and q4 by ./quantize.ts.
// Source: IEEE 754-2019 §3.6 binary16; bf16 is the upper half of a binary32.
import { isQuantized, type WeightDtype } from "../../src/gpu/tensor.ts";
import { quantize } from "./quantize.ts";

/** Stored weights: the bytes for the GPU, and the numbers those bytes mean. */
export interface StoredWeights {
  readonly stored: Float32Array<ArrayBuffer> | Uint16Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;
  /** f16, of quantised dtypes only; with minima in q4_1 */
  readonly scales?: Uint16Array<ArrayBuffer>;
  /** [rows, columns], without what pads stored rows */
  readonly values: Float64Array;
}

/** Rounds `values` to `dtype`; `columns` is what quantised dtypes need to know: groups do not cross rows. */
export function storeWeights(
  values: ArrayLike<number>,
  dtype: WeightDtype,
  columns: number = values.length,
): StoredWeights {
  if (isQuantized(dtype)) return quantize(values, columns, dtype);
  if (dtype === "f32") {
    const stored = Float32Array.from(values);
    return { stored, values: Float64Array.from(stored) };
  }
  const format = FORMATS[dtype];
  const stored = Uint16Array.from(values, (value) => encode(value, format));
  return { stored, values: Float64Array.from(stored, (bits) => decode(bits, format)) };
}

/** The 16 bits of f16 or bf16 nearest to a number. */
export function narrow(value: number, dtype: "f16" | "bf16"): number {
  return encode(value, FORMATS[dtype]);
}

/** The number that 16 bits of f16 or bf16 mean. */
export function widen(bits: number, dtype: "f16" | "bf16"): number {
  return decode(bits, FORMATS[dtype]);
}

interface Format {
  readonly mantissaBits: number;
  readonly bias: number;
}

const FORMATS: Record<"f16" | "bf16", Format> = {
  f16: { mantissaBits: 10, bias: 15 },
  bf16: { mantissaBits: 7, bias: 127 },
};

function encode(value: number, { mantissaBits, bias }: Format): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  if (magnitude === 0) return sign;
  const exponent = Math.max(Math.floor(Math.log2(magnitude)), 1 - bias);
  // In units of the last place; a carry into the next exponent comes out right by itself.
  const units = roundToEven(magnitude * 2 ** (mantissaBits - exponent));
  const isSubnormal = units < 2 ** mantissaBits;
  const bits = isSubnormal ? units : (exponent + bias - 1) * 2 ** mantissaBits + units;
  const infinity = bias * 2 + 1;
  return sign | Math.min(bits, infinity * 2 ** mantissaBits);
}

function decode(bits: number, { mantissaBits, bias }: Format): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const field = (bits & 0x7fff) >> mantissaBits;
  const fraction = bits & (2 ** mantissaBits - 1);
  if (field === bias * 2 + 1) return fraction === 0 ? sign * Infinity : Number.NaN;
  if (field === 0) return sign * fraction * 2 ** (1 - bias - mantissaBits);
  return sign * (fraction + 2 ** mantissaBits) * 2 ** (field - bias - mantissaBits);
}

/** The nearest whole number, ties to the even one. */
export function roundToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** Rows [start, end) of stored weights with `columns` a row; `start` is a multiple of 4. */
export function storedRows(
  { stored, scales, values }: StoredWeights,
  columns: number,
  [start, end]: readonly [number, number],
): Pick<StoredWeights, "stored" | "scales"> {
  const numRows = values.length / columns;
  const slice = <T extends StoredWeights["stored"]>(all: T): T =>
    all.slice((start * all.length) / numRows, (end * all.length) / numRows) as T; // slice keeps the kind of array
  return { stored: slice(stored), ...(scales !== undefined && { scales: slice(scales) }) };
}
