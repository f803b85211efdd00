// Twin of shaders/gather-rows.wgsl.
import { at } from "./rows.ts";

/** output[r] = source[index[r]] where index[r] >= 0, else filler; rows of filler.length. */
export function gatherRows(
  source: ArrayLike<number>,
  index: ArrayLike<number>,
  filler: ArrayLike<number>,
): Float64Array {
  const columns = filler.length;
  const rows = Array.from({ length: index.length }, (_, row) => at(index, row));
  return Float64Array.from(
    rows.flatMap((row) =>
      Array.from({ length: columns }, (_, column) =>
        row >= 0 ? at(source, row * columns + column) : at(filler, column),
      ),
    ),
  );
}
