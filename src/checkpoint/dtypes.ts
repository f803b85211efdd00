// The element types of the safetensors format, and conversions between those that weights may have: F16 and BF16 bits are
// widened to F32, which is exact, and rounded back to the nearest value, ties to even.
// Source: IEEE 754-2019, sections 3.4 (binary16) and 4.3.1 (roundTiesToEven). Bytes are little-endian, as the format and every
// WebGPU host are. NaNs are converted as bits, never as JavaScript numbers, which may change their payload.
import { at } from "../errors.ts";
import type { FloatDtype } from "../gpu/tensor.ts";

/**
 * Bits of one element, for every dtype of the format, in the reference implementation's order (increasing alignment).
 * Source: safetensors 0.8.0, `enum Dtype` in safetensors/src/tensor.rs.
 */
const DTYPE_BITS = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
} as const;

/** A dtype of the safetensors format; the engine computes with `F32`, `F16` and `BF16` only. */
export type Dtype = keyof typeof DTYPE_BITS;

/** The dtypes that weights may have. */
export type FileDtype = "F32" | "F16" | "BF16";

/** All dtypes of the format, by increasing alignment; the reference writer sorts by the reverse of this order. */
export const DTYPES: readonly Dtype[] = Object.keys(DTYPE_BITS) as Dtype[];

/** Bits per element of `dtype`; fewer than 8 for the packed F4 and F6 types. */
export function dtypeBits(dtype: Dtype): number {
  return DTYPE_BITS[dtype];
}

/** Whether `name` is a dtype of the format. */
export function isDtype(name: unknown): name is Dtype {
  return typeof name === "string" && Object.hasOwn(DTYPE_BITS, name);
}

/** Whether weights may have this dtype. */
export function isFileDtype(dtype: Dtype): dtype is FileDtype {
  return dtype === "F32" || dtype === "F16" || dtype === "BF16";
}

/** The GPU's name of a file's dtype; undefined without a dtype, and for one that weights cannot have. */
export function floatDtypeOf(dtype: Dtype | undefined): FloatDtype | undefined {
  if (dtype === "F32") return "f32";
  if (dtype === "F16") return "f16";
  return dtype === "BF16" ? "bf16" : undefined;
}

/**
 * Size of a tensor in bytes, or the reason why it has none.
 * Factors are multiplied in order and each product is checked, as in the reference; the bound here is 2^53 − 1.
 */
export function tensorSize(shape: readonly number[], dtype: Dtype): number | "overflow" | "partial-byte" {
  let bits = dtypeBits(dtype);
  for (const size of shape) {
    bits *= size;
    if (!Number.isSafeInteger(bits)) return "overflow";
  }
  return bits % 8 === 0 ? bits / 8 : "partial-byte";
}

/**
 * The F32 values of `bytes`, which hold `dtype` numbers, little-endian; always a copy. `dtype` is spelled as in the file (`F16`)
 * or as on the GPU (`f16`).
 * @throws RangeError when `bytes` is not a whole number of elements.
 */
export function toF32(bytes: Uint8Array, dtype: FileDtype | FloatDtype): Float32Array<ArrayBuffer> {
  const name = dtype.toUpperCase();
  const elementBytes = name === "F32" ? 4 : 2;
  if (bytes.length % elementBytes !== 0) {
    throw new RangeError(`bytes: expected a multiple of ${elementBytes} for ${name}, got ${bytes.length}.`);
  }
  if (name === "F32") return new Float32Array(bytes.slice().buffer);
  return new Float32Array(widened(bytes, name === "BF16" ? "bf16" : "f16").buffer);
}

/** The F32 bits of numbers of 16 bits. Loops by index, here and below: a model has billions of them. */
function widened(bytes: Uint8Array, dtype: "f16" | "bf16"): Uint32Array<ArrayBuffer> {
  const isAligned = bytes.byteOffset % 2 === 0;
  const { buffer, byteOffset, byteLength } = isAligned ? bytes : bytes.slice();
  const halves = new Uint16Array(buffer, byteOffset, byteLength / 2);
  const words = new Uint32Array(halves.length);
  if (dtype === "bf16") {
    for (let i = 0; i < halves.length; i++) words[i] = at(halves, i) << 16;
    return words;
  }
  wideF16 ??= Uint32Array.from({ length: 2 ** 16 }, (_, half) => widenF16(half));
  for (let i = 0; i < halves.length; i++) words[i] = at(wideF16, at(halves, i));
  return words;
}

/** The F32 bits of every F16. */
let wideF16: Uint32Array | undefined;

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

/** The F16 bits nearest to each of `values`, ties to even; ±Infinity from 65520 on; a NaN stays a (quiet) NaN. */
export function f32ToF16(values: Float32Array): Uint16Array<ArrayBuffer> {
  const words = new Uint32Array(values.slice().buffer);
  const halves = new Uint16Array(words.length);
  words.forEach((word, index) => {
    halves[index] = narrowToF16(word);
  });
  return halves;
}

function narrowToF16(word: number): number {
  const sign = (word >>> 16) & 0x8000;
  const magnitude = word & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00 | ((magnitude >> 13) & 0x3ff);
  const exponent = magnitude >> 23;
  if (exponent > 112) return sign | Math.min(roundShift(magnitude - 0x38000000, 13), 0x7c00);
  // Subnormal in F16: the full significand counts units of 2^-24 once shifted; below 2^-25 nothing is left.
  if (exponent < 102) return sign;
  return sign | roundShift((magnitude & 0x7fffff) | 0x800000, 126 - exponent);
}

/** The BF16 bits nearest to each of `values`, ties to even; a NaN stays a (quiet) NaN. */
export function f32ToBf16(values: Float32Array): Uint16Array<ArrayBuffer> {
  const words = new Uint32Array(values.slice().buffer);
  const halves = new Uint16Array(words.length);
  words.forEach((word, index) => {
    halves[index] = narrowToBf16(word);
  });
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
  const rest = value & ((1 << numBits) - 1);
  const half = 1 << (numBits - 1);
  return rest > half || (rest === half && (kept & 1) === 1) ? kept + 1 : kept;
}

/**
 * The bytes of weights in another dtype.
 * @returns undefined when a weight narrowed to f16 or bf16 is not finite. Weights that are only widened are not checked.
 */
export function convertWeights(
  bytes: Uint8Array<ArrayBuffer>,
  from: FloatDtype,
  to: FloatDtype,
): Uint8Array<ArrayBuffer> | undefined {
  if (from === to) return bytes;
  const words = from === "f32" ? wordsOf(bytes) : widened(bytes, from);
  if (to === "f32") return new Uint8Array(words.buffer);
  const narrow = to === "f16" ? narrowToF16 : narrowToBf16;
  const exponent = to === "f16" ? 0x7c00 : 0x7f80;
  const halves = new Uint16Array(words.length);
  for (let i = 0; i < words.length; i++) {
    const half = narrow(at(words, i));
    if ((half & exponent) === exponent) return undefined;
    halves[i] = half;
  }
  return new Uint8Array(halves.buffer);
}

function wordsOf(bytes: Uint8Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  const { buffer, byteOffset, byteLength } = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  return new Uint32Array(buffer, byteOffset, byteLength / 4);
}
