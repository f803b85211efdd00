// Twin of shaders/embed-tokens.wgsl.
import { at } from "./rows.ts";

/** output[r] = table[ids[r]] over rows of `columns`. */
export function embedTokens(table: ArrayLike<number>, ids: ArrayLike<number>, columns: number): Float64Array {
  return Float64Array.from({ length: ids.length * columns }, (_, index) =>
    at(table, at(ids, Math.floor(index / columns)) * columns + (index % columns)),
  );
}
