// Pictures that the goldens' generators make in the same way, so that they need not be stored.
import type { RgbImage } from "../../src/preprocess/image.ts";

/** The bytes 0, 7, 14, … modulo 256 as rows of RGB. */
export function rampPicture(height: number, width: number): RgbImage {
  return { width, height, data: Uint8Array.from({ length: height * width * 3 }, (_, at) => (at * 7) % 256) };
}
