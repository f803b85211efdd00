// What the playground's engine needs of the place it runs in, so that the same code runs in a worker and in a test.
import type { RgbImage } from "../../preprocess/image.ts";
import type { DecodeOptions } from "../../preprocess/image-header.ts";

/** The surroundings of a {@link PlaygroundEngine}. */
export interface EngineHost {
  /** Milliseconds of a clock that only goes forward, as `performance.now()`. */
  now(): number;
  /**
   * Finds an adapter; a new one each time, since an adapter gives one device only.
   * @throws EngineError `no-webgpu` or `no-adapter`.
   */
  requestAdapter(): Promise<GPUAdapter>;
  /** Decodes a picture file, upright. @throws InputError when it cannot. */
  decodeImage(bytes: Uint8Array, options: DecodeOptions): Promise<RgbImage>;
}
