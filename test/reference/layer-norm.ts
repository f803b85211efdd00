// Twin of shaders/layer-norm.wgsl.
import type { Sums } from "./matmul.ts";
import { at } from "./rows.ts";

/** output[r, c] = (input[r, c] − μ_r) / √(σ²_r + eps) · weight[c] + bias[c] over rows of weight.length columns. */
export function layerNorm(
  input: ArrayLike<number>,
  weight: ArrayLike<number>,
  { bias, eps }: { readonly bias: ArrayLike<number>; readonly eps: number },
): Sums {
  const columns = weight.length;
  const values = new Float64Array(input.length);
  const magnitudes = new Float64Array(input.length);
  for (let start = 0; start < input.length; start += columns) {
    const row = Array.from({ length: columns }, (_, column) => at(input, start + column));
    const mean = row.reduce((sum, x) => sum + x, 0) / columns;
    const variance = row.reduce((sum, x) => sum + (x - mean) ** 2, 0) / columns;
    const scale = 1 / Math.sqrt(variance + eps);
    const largest = Math.max(...row.map(Math.abs));
    for (const [column, x] of row.entries()) {
      values[start + column] = (x - mean) * scale * at(weight, column) + at(bias, column);
      magnitudes[start + column] = largest * scale * Math.abs(at(weight, column)) + Math.abs(at(bias, column));
    }
  }
  return { values, magnitudes };
}
