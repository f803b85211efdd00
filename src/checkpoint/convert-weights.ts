// Weights from one floating-point dtype to another, rounded to the nearest, ties to even.
import type { FloatDtype } from "../gpu/tensor.ts";
import { f32ToBf16, f32ToF16, toF32 } from "./numeric.ts";

/**
 * The bytes of weights in another dtype.
 * @returns undefined when a weight is not finite in an f16 or bf16: beyond 65504 in f16, or not a finite number before.
 */
export function convertWeights(
  bytes: Uint8Array<ArrayBuffer>,
  from: FloatDtype,
  to: FloatDtype,
): Uint8Array<ArrayBuffer> | undefined {
  if (from === to) return bytes;
  const values = toF32(bytes, from);
  if (to === "f32") return new Uint8Array(values.buffer);
  const halves = to === "f16" ? f32ToF16(values) : f32ToBf16(values);
  const exponent = to === "f16" ? 0x7c00 : 0x7f80;
  if (halves.some((bits) => (bits & exponent) === exponent)) return undefined;
  return new Uint8Array(halves.buffer);
}
