// How keys and values are stored in a cache: the sizes of a slot, which shaders/shared/cache-*.wgsl read and write.
import { GROUP_SIZE } from "./tensor.ts";

/**
 * Storage format of cached keys and values: f32, f16, or 8-bit integers with one f16 scale per group of 32 values along headDim.
 * Attention always computes in f32.
 */
export type CacheDtype = "f32" | "f16" | "q8";

/** A {@link CacheDtype} that packs several values into a 32-bit word. */
export type PackedCacheDtype = Exclude<CacheDtype, "f32">;

/** Every {@link CacheDtype}, most exact first. */
export const CACHE_DTYPES: readonly CacheDtype[] = ["f32", "f16", "q8"];

/** Bytes of one value of a cache, without scales. */
const VALUE_BYTES: Readonly<Record<CacheDtype, number>> = { f32: 4, f16: 2, q8: 1 };

/**
 * Length of one slot of one key/value head, in values of the dtype: the padded headDim, for q8 followed by the bytes of its
 * scales, padded to whole words.
 */
export function cacheSlotLength(paddedHeadDim: number, dtype: CacheDtype): number {
  return paddedHeadDim + (dtype === "q8" ? 4 * Math.ceil(paddedHeadDim / (2 * GROUP_SIZE)) : 0);
}

/** Bytes of one slot of one key/value head; a multiple of 4. */
export function cacheSlotBytes(paddedHeadDim: number, dtype: CacheDtype): number {
  return cacheSlotLength(paddedHeadDim, dtype) * VALUE_BYTES[dtype];
}
