// Twin of shaders/add-rows.wgsl.
import { at } from "./rows.ts";

/** `output` [.., columns] with rows of `values` added from `outputRowStart` on. */
export function addRows(
  output: ArrayLike<number>,
  values: ArrayLike<number>,
  call: {
    readonly columns: number;
    readonly numRows: number;
    readonly valueRowStart: number;
    readonly outputRowStart: number;
  },
): Float64Array {
  const { columns, numRows, valueRowStart, outputRowStart } = call;
  const result = Float64Array.from(output);
  for (let index = 0; index < numRows * columns; index++) {
    const to = outputRowStart * columns + index;
    result[to] = at(output, to) + at(values, valueRowStart * columns + index);
  }
  return result;
}
