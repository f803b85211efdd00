// Twin of shaders/sink-activations.wgsl.
import { at } from "./rows.ts";

/** For each row of `columns` values: max_d |x_d| / √(mean(x²) + 1e-6) over the dimensions. */
export function sinkActivations(
  input: ArrayLike<number>,
  { columns, dimensions }: { readonly columns: number; readonly dimensions: readonly number[] },
): readonly number[] {
  return Array.from({ length: input.length / columns }, (_, row) => {
    let squares = 0;
    for (let column = 0; column < columns; column++) squares += at(input, row * columns + column) ** 2;
    const scale = Math.sqrt(squares / columns + 1e-6);
    return Math.max(...dimensions.map((dimension) => Math.abs(at(input, row * columns + dimension)) / scale));
  });
}
