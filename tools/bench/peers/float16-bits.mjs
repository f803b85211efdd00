// F16 values as the 16-bit integers that onnxruntime-node takes and gives where the runtime has no Float16Array.

import { loadEngine } from "../checkpoint.mjs";

const { f32ToF16, toF32 } = await loadEngine();

/** The F16 bits nearest to f32 `values`. */
export function toF16Bits(values) {
  return f32ToF16(values);
}

/** The f32 values of F16 bits, in whatever array of two-byte elements they lie. */
export function fromF16Bits(bits) {
  return toF32(new Uint8Array(bits.buffer, bits.byteOffset, bits.byteLength), "F16");
}
