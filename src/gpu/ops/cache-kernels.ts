// Variants of a kernel for the forms in which keys and values are stored.
import cacheF16Wgsl from "../../../shaders/shared/cache-f16.wgsl";
import cacheF32Wgsl from "../../../shaders/shared/cache-f32.wgsl";
import cacheQ8Wgsl from "../../../shaders/shared/cache-q8.wgsl";
import cacheStoreF16Wgsl from "../../../shaders/shared/cache-store-f16.wgsl";
import cacheStoreQ8Wgsl from "../../../shaders/shared/cache-store-q8.wgsl";
import type { CacheDtype, PackedCacheDtype } from "../cache-format.ts";
import { defineKernel, type Kernel } from "../kernel.ts";

/** What the variant of a kernel that reads keys and values is chosen by. */
export interface CacheShape {
  /** f32 unless given. */
  readonly cacheDtype?: CacheDtype | undefined;
}

/** The parts of a list's entry that are variants of a kernel that reads keys and values. */
export function perCacheDtype(name: string, source: string, helpers: readonly string[]) {
  const variant = (cacheDtype: CacheDtype, cache: string) =>
    defineKernel(name, source, [cache, ...helpers], { cacheDtype });
  const kernels: Readonly<Record<CacheDtype, Kernel>> = {
    f32: variant("f32", cacheF32Wgsl),
    f16: variant("f16", cacheF16Wgsl),
    q8: variant("q8", cacheQ8Wgsl),
  };
  return {
    variants: Object.values(kernels),
    kernel: ({ cacheDtype = "f32" }: CacheShape): Kernel => kernels[cacheDtype],
  };
}

/** The variants of a kernel that writes keys and values in packed form. */
export function perPackedCache(
  name: string,
  source: string,
  helpers: readonly string[],
): Readonly<Record<PackedCacheDtype, Kernel>> {
  const variant = (cacheDtype: PackedCacheDtype, store: string) =>
    defineKernel(name, source, [store, ...helpers], { cacheDtype });
  return { f16: variant("f16", cacheStoreF16Wgsl), q8: variant("q8", cacheStoreQ8Wgsl) };
}
