// Twin of shaders/vision-embed.wgsl.
import { at } from "./rows.ts";

/** output = [classEmbedding | patches] + position; without a class token, patches + position. */
export function visionEmbed(
  patches: ArrayLike<number>,
  classEmbedding: ArrayLike<number>,
  position: ArrayLike<number>,
): Float64Array {
  const start = classEmbedding.length;
  return Float64Array.from(
    { length: position.length },
    (_, index) => (index < start ? at(classEmbedding, index) : at(patches, index - start)) + at(position, index),
  );
}
