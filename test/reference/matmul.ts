// Twin of shaders/matmul.wgsl: a linear layer with everything the kernels do around it.
import type { Activation } from "../../src/gpu/ops/activations.ts";
import { activate } from "./activation.ts";
import { at } from "./rows.ts";

/** Operands of a linear layer as plain arrays. */
export interface LinearCall {
  /** [rows, K] */
  readonly input: ArrayLike<number>;
  /** [N, K] */
  readonly weight: ArrayLike<number>;
  readonly numRows: number;
  readonly inner: number;
  readonly columns: number;
  /** [N] */
  readonly bias?: ArrayLike<number> | undefined;
  readonly activation?: Activation | undefined;
  /** [rows, N], what the output held before. */
  readonly addTo?: ArrayLike<number> | undefined;
}

/** The result, and per value the sum of its terms' magnitudes, which rounding errors relate to. */
export interface Sums {
  readonly values: Float64Array;
  readonly magnitudes: Float64Array;
}

/** output[r, c] = activate(Σ_k input[r, k] · weight[c, k] + bias[c]) + addTo[r, c]. */
export function matmul(call: LinearCall): Sums {
  const { input, weight, numRows, inner, columns, bias, activation = "none", addTo } = call;
  const values = new Float64Array(numRows * columns);
  const magnitudes = new Float64Array(numRows * columns);
  for (let row = 0; row < numRows; row++) {
    for (let column = 0; column < columns; column++) {
      let sum = bias === undefined ? 0 : at(bias, column);
      let magnitude = Math.abs(sum);
      for (let k = 0; k < inner; k++) {
        const product = at(input, row * inner + k) * at(weight, column * inner + k);
        sum += product;
        magnitude += Math.abs(product);
      }
      const index = row * columns + column;
      const added = addTo === undefined ? 0 : at(addTo, index);
      values[index] = activate(sum, activation) + added;
      magnitudes[index] = magnitude + Math.abs(added);
    }
  }
  return { values, magnitudes };
}
