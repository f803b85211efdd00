// Twin of shaders/head-norm.wgsl.
import { rmsNorm } from "./rms-norm.ts";

/** Every head of the first `numHeads` normed with `queryWeight`, of the next `numKeyValueHeads` with `keyWeight`; the others stay. */
export function headNorm(
  qkv: ArrayLike<number>,
  weights: { readonly queryWeight: ArrayLike<number>; readonly keyWeight: ArrayLike<number> },
  heads: { readonly numHeads: number; readonly numKeyValueHeads: number; readonly eps: number },
): Float64Array {
  const headDim = weights.queryWeight.length;
  const { numHeads, numKeyValueHeads, eps } = heads;
  const perRow = numHeads + 2 * numKeyValueHeads;
  const output = Float64Array.from(qkv);
  for (let head = 0; head < output.length / headDim; head++) {
    const place = head % perRow;
    if (place >= numHeads + numKeyValueHeads) continue;
    const weight = place < numHeads ? weights.queryWeight : weights.keyWeight;
    const start = head * headDim;
    output.set(rmsNorm(output.slice(start, start + headDim), weight, { eps }), start);
  }
  return output;
}
