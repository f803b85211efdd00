// Rows as the kernels store them: each padded with zeros to a multiple of 4.

/** The values of [rows, columns] with every row padded by `filler` to `paddedColumns`. */
export function padRows(
  values: ArrayLike<number>,
  columns: number,
  paddedColumns: number,
  filler = 0,
): Float32Array<ArrayBuffer> {
  const numRows = values.length / columns;
  const padded = new Float32Array(numRows * paddedColumns).fill(filler);
  for (let row = 0; row < numRows; row++) {
    for (let column = 0; column < columns; column++) {
      padded[row * paddedColumns + column] = at(values, row * columns + column);
    }
  }
  return padded;
}

/** The first `columns` values of every row of [rows, paddedColumns]. */
export function unpadRows(values: ArrayLike<number>, paddedColumns: number, columns: number): Float64Array {
  const numRows = values.length / paddedColumns;
  const real = new Float64Array(numRows * columns);
  for (let row = 0; row < numRows; row++) {
    for (let column = 0; column < columns; column++) {
      real[row * columns + column] = at(values, row * paddedColumns + column);
    }
  }
  return real;
}

/** `values[index]`; an index outside is a mistake of the test's. */
export function at(values: ArrayLike<number>, index: number): number {
  const value = values[index];
  if (value === undefined) throw new RangeError(`at: expected an index in [0, ${values.length}), got ${index}`);
  return value;
}

/** Rows of `left` with the same rows of `right` behind them: [R, 2·columns]. */
export function besides(left: Float32Array, right: Float32Array, columns: number): Float32Array<ArrayBuffer> {
  const joined = new Float32Array(left.length + right.length);
  for (let row = 0; row * columns < left.length; row++) {
    joined.set(left.subarray(row * columns, (row + 1) * columns), row * 2 * columns);
    joined.set(right.subarray(row * columns, (row + 1) * columns), (row * 2 + 1) * columns);
  }
  return joined;
}
