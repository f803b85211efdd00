// Twin of shaders/vision-embed.wgsl.
import { at } from "./rows.ts";

/** output = [classEmbedding | patches] + position, rows of classEmbedding.length. */
export function visionEmbed(
  patches: ArrayLike<number>,
  classEmbedding: ArrayLike<number>,
  position: ArrayLike<number>,
): Float64Array {
  const columns = classEmbedding.length;
  return Float64Array.from(
    { length: position.length },
    (_, index) => (index < columns ? at(classEmbedding, index) : at(patches, index - columns)) + at(position, index),
  );
}
