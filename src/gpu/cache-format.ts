// How keys and values are stored in a cache: the sizes of a slot, which shaders/shared/cache-*.wgsl read and write.
import { GROUP_SIZE } from "./tensor.ts";

/**
 * How keys and values are stored on the GPU: f32, f16, or whole numbers of 8 bits in groups of 32 along headDim, each group with
 * an f16 scale. Attention computes in f32 always.
 */
export type CacheDtype = "f32" | "f16" | "q8";

/** A {@link CacheDtype} of which a word holds several values. */
export type PackedCacheDtype = Exclude<CacheDtype, "f32">;

/** Every {@link CacheDtype}, the most exact first. */
export const CACHE_DTYPES: readonly CacheDtype[] = ["f32", "f16", "q8"];

/** Bytes of one value of a cache, without scales. */
const VALUE_BYTES: Readonly<Record<CacheDtype, number>> = { f32: 4, f16: 2, q8: 1 };

/**
 * Length of one slot of one key/value head, in values of the dtype: the padded headDim, and in q8 the bytes of its scales behind
 * it, which fill whole words.
 */
export function cacheSlotLength(paddedHeadDim: number, dtype: CacheDtype): number {
  return paddedHeadDim + (dtype === "q8" ? 4 * Math.ceil(paddedHeadDim / (2 * GROUP_SIZE)) : 0);
}

/** Bytes of one slot of one key/value head; a multiple of 4. */
export function cacheSlotBytes(paddedHeadDim: number, dtype: CacheDtype): number {
  return cacheSlotLength(paddedHeadDim, dtype) * VALUE_BYTES[dtype];
}
