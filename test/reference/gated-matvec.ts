// Twin of shaders/gated-matvec.wgsl: a linear layer whose first half of columns gates the second.
import type { Activation } from "../../src/gpu/ops/activations.ts";
import { activate } from "./activation.ts";
import { type LinearCall, matmul, type Sums } from "./matmul.ts";
import { at } from "./rows.ts";

/** output[r, c] = activate(sum[r, c]) · sum[r, I + c] of the sums of a linear layer with 2·I columns. */
export function gatedMatvec(call: LinearCall, activation: Activation): Sums {
  const { numRows, columns } = call;
  const sums = matmul({ ...call, activation: "none", addTo: undefined });
  const half = columns / 2;
  const values = new Float64Array(numRows * half);
  const magnitudes = new Float64Array(numRows * half);
  for (let index = 0; index < values.length; index++) {
    const gateIndex = Math.floor(index / half) * columns + (index % half);
    const gate = activate(at(sums.values, gateIndex), activation);
    const up = at(sums.values, gateIndex + half);
    values[index] = gate * up;
    // An error of either sum comes out multiplied by the other factor.
    magnitudes[index] =
      at(sums.magnitudes, gateIndex) * Math.abs(up) + at(sums.magnitudes, gateIndex + half) * Math.abs(gate);
  }
  return { values, magnitudes };
}
