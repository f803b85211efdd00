// Keys and values as a cache stores them (shaders/shared/cache-*.wgsl), and what is stored read back; both exact in f64.
import { type CacheDtype, cacheSlotBytes, type PackedCacheDtype } from "../../src/gpu/cache-format.ts";
import { GROUP_SIZE, padTo4 } from "../../src/gpu/tensor.ts";
import { quantizeGroup } from "./quantize.ts";
import { at, padRows } from "./rows.ts";
import { narrow, widen } from "./weight-formats.ts";

/** Slots as they are stored, and the numbers that these mean, without padding. */
export interface StoredSlots {
  readonly stored: Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>;
  readonly values: Float32Array<ArrayBuffer>;
}

/** Rounds slots of `headDim` values to a cache's dtype. */
export function storeSlots(values: Float32Array<ArrayBuffer>, headDim: number, dtype: CacheDtype): StoredSlots {
  const padded = padTo4(headDim);
  if (dtype === "f32") return { stored: padRows(values, headDim, padded), values };
  const slotBytes = cacheSlotBytes(padded, dtype);
  const numSlots = values.length / headDim;
  const bytes = new DataView(new ArrayBuffer(numSlots * slotBytes));
  for (let slot = 0; slot < numSlots; slot++) {
    const start = slot * slotBytes;
    const own = Array.from(values.subarray(slot * headDim, (slot + 1) * headDim));
    if (dtype === "f16") {
      for (const [index, value] of own.entries()) bytes.setUint16(start + 2 * index, narrow(value, "f16"), true);
      continue;
    }
    for (let first = 0; first < headDim; first += GROUP_SIZE) {
      const { scaleBits, steps } = quantizeGroup(own.slice(first, first + GROUP_SIZE), "q8");
      for (const [index, step] of steps.entries()) bytes.setInt8(start + first + index, step);
      bytes.setUint16(start + padded + (first / GROUP_SIZE) * 2, scaleBits, true);
    }
  }
  const stored = new Uint8Array(bytes.buffer);
  return { stored, values: Float32Array.from(readSlots(stored, headDim, dtype).values) };
}

/** Packed slots read back. */
export interface ReadSlots {
  /** [slots, headDim] */
  readonly values: Float64Array;
  /** Of every value the f16 scale of its group; 1 in f16. */
  readonly scales: Float64Array;
}

/** What packed slots mean. */
export function readSlots(stored: ArrayBufferView<ArrayBuffer>, headDim: number, dtype: PackedCacheDtype): ReadSlots {
  const padded = padTo4(headDim);
  const slotBytes = cacheSlotBytes(padded, dtype);
  const bytes = new DataView(stored.buffer, stored.byteOffset, stored.byteLength);
  const numValues = (stored.byteLength / slotBytes) * headDim;
  const half = (offset: number) => widen(bytes.getUint16(offset, true), "f16");
  const scales = new Float64Array(numValues).fill(1);
  const values = Float64Array.from({ length: numValues }, (_, index) => {
    const start = Math.floor(index / headDim) * slotBytes;
    const column = index % headDim;
    if (dtype === "f16") return half(start + 2 * column);
    scales[index] = half(start + padded + 2 * Math.floor(column / GROUP_SIZE));
    return bytes.getInt8(start + column) * at(scales, index);
  });
  return { values, scales };
}
