// The element types that a safetensors file may name, and how many bits one element takes.

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

/** A dtype that the safetensors format knows; the engine computes with `F32`, `F16` and `BF16` only. */
export type Dtype = keyof typeof DTYPE_BITS;

/** The dtypes that weights may have. */
export type WeightDtype = "F32" | "F16" | "BF16";

/** All dtypes of the format, by increasing alignment: the order in which the reference writer sorts (backwards). */
export const DTYPES: readonly Dtype[] = Object.keys(DTYPE_BITS) as Dtype[];

/** Bits of one element of `dtype`; below 8 for the packed F4 and F6 types. */
export function dtypeBits(dtype: Dtype): number {
  return DTYPE_BITS[dtype];
}

/** Whether `name` is a dtype of the format. */
export function isDtype(name: unknown): name is Dtype {
  return typeof name === "string" && Object.hasOwn(DTYPE_BITS, name);
}

/** Whether weights of `dtype` can be computed with. */
export function isWeightDtype(dtype: Dtype): dtype is WeightDtype {
  return dtype === "F32" || dtype === "F16" || dtype === "BF16";
}

/**
 * Bytes that a tensor takes, or why there is no such number.
 * Factors are multiplied in order and each product is checked, as the reference does; the bound here is 2^53 − 1.
 */
export function tensorSize(shape: readonly number[], dtype: Dtype): number | "overflow" | "partial-byte" {
  let bits = dtypeBits(dtype);
  for (const size of shape) {
    bits *= size;
    if (!Number.isSafeInteger(bits)) return "overflow";
  }
  return bits % 8 === 0 ? bits / 8 : "partial-byte";
}
