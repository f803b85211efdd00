// Image features that stay on the GPU for the next question about the same picture.
import type { Gpu } from "../gpu/device.ts";
import type { ImageInput } from "../models/inputs.ts";
import type { LruBudget, LruItem } from "./lru-budget.ts";
import { isSame, isSameGrids, type PromptImage } from "./prompt.ts";

/** What features are made from: of a picture of any shape, its grid too. */
type FeatureSource = Pick<PromptImage, "pixelValues" | "featureGrids"> & Partial<Pick<ImageInput, "grid">>;

interface Features extends LruItem, FeatureSource {
  readonly buffer: GPUBuffer;
}

/** Features by the pixel values that they were made from, and the grids that they were made into. */
export class FeatureCache {
  private readonly gpu: Gpu;
  private readonly budget: LruBudget;
  /** By {@link digestOf}; pixel values are compared whole, so that a collision costs only time. */
  private readonly byDigest = new Map<number, Features[]>();

  constructor(gpu: Gpu, budget: LruBudget) {
    this.gpu = gpu;
    this.budget = budget;
  }

  /** The features of a picture, marked as used; undefined when they are not held. */
  find(source: FeatureSource): GPUBuffer | undefined {
    const features = this.held(source, digestOf(source.pixelValues));
    if (features !== undefined) this.budget.use(features);
    return features?.buffer;
  }

  /** Takes over a buffer of features, in place of one for the same picture; it may be freed as soon as another is added. */
  add(source: FeatureSource, buffer: GPUBuffer): void {
    const { pixelValues, featureGrids, grid } = source;
    const digest = digestOf(pixelValues);
    const before = this.held(source, digest);
    if (before !== undefined) {
      this.budget.remove(before);
      before.evict();
    }
    const features: Features = {
      pixelValues: pixelValues.slice(), // callers may write their next picture into the same array
      grid,
      featureGrids,
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

  private held({ pixelValues, featureGrids, grid }: FeatureSource, digest: number): Features | undefined {
    const isHeld = (features: Features) =>
      features.grid?.width === grid?.width &&
      features.grid?.height === grid?.height &&
      isSameGrids(features.featureGrids, featureGrids) &&
      isSame(features.pixelValues, pixelValues);
    return this.byDigest.get(digest)?.find(isHeld);
  }
}

/** FNV-1a over the values' bits, 32 bits. */
function digestOf(values: Float32Array<ArrayBuffer>): number {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  let digest = 0x811c9dc5;
  for (const word of words) digest = Math.imul(digest ^ word, 0x01000193);
  return digest >>> 0;
}
