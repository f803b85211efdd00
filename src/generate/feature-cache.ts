// Image features that stay on the GPU for the next question about the same picture.
import type { Gpu } from "../gpu/device.ts";
import type { LruBudget, LruItem } from "./lru-budget.ts";
import { isSame } from "./prompt.ts";

interface Features extends LruItem {
  readonly pixelValues: Float32Array<ArrayBuffer>;
  readonly buffer: GPUBuffer;
}

/** Features by the pixel values that they were made from. */
export class FeatureCache {
  private readonly gpu: Gpu;
  private readonly budget: LruBudget;
  /** By {@link digestOf}; pixel values are compared whole, so that a collision costs only time. */
  private readonly byDigest = new Map<number, Features[]>();

  constructor(gpu: Gpu, budget: LruBudget) {
    this.gpu = gpu;
    this.budget = budget;
  }

  /** The features [N·P, D] of these pixel values, marked as used; undefined when they are not held. */
  find(pixelValues: Float32Array<ArrayBuffer>): GPUBuffer | undefined {
    const features = this.held(pixelValues, digestOf(pixelValues));
    if (features !== undefined) this.budget.use(features);
    return features?.buffer;
  }

  /** Takes over a buffer of features, in place of one for the same pixel values; it may be freed as soon as another is added. */
  add(pixelValues: Float32Array<ArrayBuffer>, buffer: GPUBuffer): void {
    const digest = digestOf(pixelValues);
    const before = this.held(pixelValues, digest);
    if (before !== undefined) {
      this.budget.remove(before);
      before.evict();
    }
    const features: Features = {
      pixelValues: pixelValues.slice(), // callers may write their next picture into the same array
      buffer,
      numBytes: buffer.size,
      evict: () => {
        const others = this.byDigest.get(digest)?.filter((other) => other !== features) ?? [];
        if (others.length > 0) this.byDigest.set(digest, others);
        else this.byDigest.delete(digest);
        this.gpu.destroyBuffer(buffer);
      },
    };
    this.byDigest.set(digest, [...(this.byDigest.get(digest) ?? []), features]);
    this.budget.use(features);
  }

  private held(pixelValues: Float32Array<ArrayBuffer>, digest: number): Features | undefined {
    return this.byDigest.get(digest)?.find((features) => isSame(features.pixelValues, pixelValues));
  }
}

/** FNV-1a over the values' bits, 32 bits. */
function digestOf(values: Float32Array<ArrayBuffer>): number {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  let digest = 0x811c9dc5;
  for (const word of words) digest = Math.imul(digest ^ word, 0x01000193);
  return digest >>> 0;
}
