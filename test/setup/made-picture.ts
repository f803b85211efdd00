// The picture that generators of goldens make by a formula instead of storing it.
import type { RgbImage } from "../../src/preprocess/image.ts";

/** The picture of a size, as `picture` of tools/goldens/smolvlm.py makes it: byte i is (7·i + ⌊i² / 1000⌋) mod 256. */
export function madePicture([width, height]: readonly [number, number]): RgbImage {
  const data = Uint8Array.from(
    { length: width * height * 3 },
    (_, index) => (7 * index + Math.floor((index * index) / 1000)) % 256,
  );
  return { width, height, data };
}
