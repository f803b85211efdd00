// Twin of shaders/combine-rows.wgsl.
import { at } from "./rows.ts";

/** The lists of a call: per sum its row of the output, four rows of the source, and their weights. */
export interface Combination {
  readonly outputRow: ArrayLike<number>;
  /** [n, 4] */
  readonly index: ArrayLike<number>;
  /** [n, 4] */
  readonly weights: ArrayLike<number>;
}

/** `output` [.., columns] with the weighted sums of rows [rowStart, +numRows) of the lists added; `magnitudes` are Σ|terms|. */
export function combineRows(
  output: ArrayLike<number>,
  source: ArrayLike<number>,
  { outputRow, index, weights }: Combination,
  call: { readonly columns: number; readonly rowStart: number; readonly numRows: number },
): { readonly result: Float64Array; readonly magnitudes: Float64Array } {
  const { columns, rowStart, numRows } = call;
  const result = Float64Array.from(output);
  const magnitudes = result.map(Math.abs);
  for (let row = rowStart; row < rowStart + numRows; row++) {
    for (let tap = row * 4; tap < row * 4 + 4; tap++) {
      for (let column = 0; column < columns; column++) {
        const term = at(weights, tap) * at(source, at(index, tap) * columns + column);
        const to = at(outputRow, row) * columns + column;
        result[to] = at(result, to) + term;
        magnitudes[to] = at(magnitudes, to) + Math.abs(term);
      }
    }
  }
  return { result, magnitudes };
}
