// Twin of shaders/unfold-patches.wgsl.
import { at } from "./rows.ts";

/** output[y·G + x, (c·p + i)·p + j] = pixels[image, c, y·p + i, x·p + j], G = floor(S / p). */
export function unfoldPatches(
  pixels: ArrayLike<number>,
  shape: {
    readonly imageIndex: number;
    readonly numChannels: number;
    readonly imageSize: number;
    readonly patchSize: number;
  },
): Float64Array {
  const { imageIndex, numChannels, imageSize, patchSize } = shape;
  const gridSize = Math.floor(imageSize / patchSize);
  const output: number[] = [];
  for (let y = 0; y < gridSize; y++) {
    for (let x = 0; x < gridSize; x++) {
      for (let channel = 0; channel < numChannels; channel++) {
        for (let i = 0; i < patchSize; i++) {
          for (let j = 0; j < patchSize; j++) {
            const plane = (imageIndex * numChannels + channel) * imageSize;
            output.push(at(pixels, (plane + y * patchSize + i) * imageSize + x * patchSize + j));
          }
        }
      }
    }
  }
  return Float64Array.from(output);
}
