// Twin of shaders/rms-norm.wgsl.
import { at } from "./rows.ts";

/** output[r, c] = input[r, c] / √(mean_c(input[r, c]²) + eps) · weight[c] over rows of weight.length columns. */
export function rmsNorm(
  input: ArrayLike<number>,
  weight: ArrayLike<number>,
  { eps }: { readonly eps: number },
): Float64Array {
  const columns = weight.length;
  const output = new Float64Array(input.length);
  for (let start = 0; start < input.length; start += columns) {
    let squares = 0;
    for (let column = 0; column < columns; column++) squares += at(input, start + column) ** 2;
    const scale = 1 / Math.sqrt(squares / columns + eps);
    for (let column = 0; column < columns; column++) {
      output[start + column] = at(input, start + column) * scale * at(weight, column);
    }
  }
  return output;
}
