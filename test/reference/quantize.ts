// Twin of shaders/quantize.wgsl; that of quantize-minimum.wgsl is called for q4_1. f64 divides these numbers of 24 by 11 bits finely enough never to round across a tie.
// Source: the block formats Q8_0 and Q4_0 of ggml, with the scale rounded to f16 before the weights are divided by it.
import { GROUP_SIZE, groupsPerRow, type QuantizedDtype } from "../../src/gpu/tensor.ts";
import { fitGroup } from "./quantize-minimum.ts";
import { at } from "./rows.ts";
import { narrow, roundToEven, type StoredWeights, widen } from "./weight-formats.ts";

/** Quantises rows of `columns`; each row is padded with zeros to whole groups of 32. */
export function quantize(values: ArrayLike<number>, columns: number, dtype: QuantizedDtype): Required<StoredWeights> {
  const numRows = values.length / columns;
  const groups = groupsPerRow(columns);
  const bits = dtype === "q8" ? 8 : 4;
  const numbers = dtype === "q4_1" ? 2 : 1;
  const stored = new Uint32Array((numRows * groups * GROUP_SIZE * bits) / 32);
  const scales = new Uint16Array(numRows * groups * numbers);
  const meant = new Float64Array(values.length);
  for (let row = 0; row < numRows; row++) {
    for (let group = 0; group < groups; group++) {
      const index = row * groups + group;
      const first = group * GROUP_SIZE;
      const count = Math.min(GROUP_SIZE, columns - first);
      const weights = Array.from({ length: count }, (_, i) => at(values, row * columns + first + i));
      const { scaleBits, minimumBits, steps } =
        dtype === "q4_1" ? fitGroup(weights) : { ...quantizeGroup(weights, dtype), minimumBits: 0 };
      const [scale, minimum] = [widen(scaleBits, "f16"), widen(minimumBits, "f16")];
      scales[index * numbers] = scaleBits;
      if (numbers === 2) scales[index * 2 + 1] = minimumBits;
      for (let i = 0; i < GROUP_SIZE; i++) {
        const step = steps[i] ?? 0;
        // Exact but for the addition, which an f32 rounds.
        if (i < count) meant[row * columns + first + i] = Math.fround(step * scale + minimum);
        const [word, shift] = dtype === "q8" ? [i >> 2, (i & 3) * 8] : [i >> 3, (i & 3) * 8 + ((i >> 2) & 1) * 4];
        const field = dtype === "q8" ? step & 255 : step + (dtype === "q4" ? 8 : 0);
        stored[index * bits + word] = at(stored, index * bits + word) | (field << shift);
      }
    }
  }
  return { stored, scales, values: meant };
}

/** The bits of a group's f16 scale, and its weights in steps of that scale. */
export function quantizeGroup(
  weights: readonly number[],
  dtype: "q8" | "q4",
): { readonly scaleBits: number; readonly steps: readonly number[] } {
  // The first of the largest magnitude, which q4 puts at its longer, negative end.
  const largest = weights.reduce((best, weight) => (Math.abs(weight) > Math.abs(best) ? weight : best), 0);
  const wanted = dtype === "q8" ? Math.abs(largest) / 127 : largest / -8;
  const scaleBits = narrow(largest === 0 ? 0 : wanted, "f16"); // not −0
  const scale = widen(scaleBits, "f16");
  const [least, most] = dtype === "q8" ? [-127, 127] : [-8, 7];
  const steps = weights.map((weight) =>
    scale === 0 ? 0 : Math.max(least, Math.min(most, roundToEven(weight / scale))),
  );
  return { scaleBits, steps };
}
