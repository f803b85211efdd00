// Twin of shaders/quantize-activations.wgsl, in f32 arithmetic with an exactly rounded division.
// Source: the block format Q8_1 of ggml, with f32 instead of f16 scales.
import { GROUP_SIZE, groupsPerRow } from "../../src/gpu/tensor.ts";
import { at } from "./rows.ts";
import { roundToEven } from "./weight-formats.ts";

/** Words of a packed group: eight of steps, the scale, scale · Σ steps, and two of padding. */
const GROUP_WORDS = 12;

/** Activations in integers of 8 bits: the words, and the numbers that they mean. */
export interface QuantizedActivations {
  /** u32 [rows, groups, 12] */
  readonly packed: Uint32Array<ArrayBuffer>;
  /** [rows, columns], without what pads the last group */
  readonly values: Float64Array<ArrayBuffer>;
}

/** Quantises rows of `columns` values. */
export function quantizeActivations(input: ArrayLike<number>, columns: number): QuantizedActivations {
  const numRows = input.length / columns;
  const groups = groupsPerRow(columns);
  const packed = new Uint32Array(numRows * groups * GROUP_WORDS);
  const floats = new Float32Array(packed.buffer);
  const values = new Float64Array(input.length);
  for (let row = 0; row < numRows; row++) {
    for (let group = 0; group < groups; group++) {
      const first = row * columns + group * GROUP_SIZE;
      const count = Math.min(GROUP_SIZE, columns - group * GROUP_SIZE);
      const xs = Array.from({ length: count }, (_, i) => Math.fround(at(input, first + i)));
      const most = Math.max(...xs.map(Math.abs));
      const scale = Math.fround(most / 127);
      const inverse = most === 0 ? 0 : Math.fround(127 / most);
      const steps = xs.map((x) => Math.max(-127, Math.min(127, roundToEven(Math.fround(x * inverse)))));
      const start = (row * groups + group) * GROUP_WORDS;
      for (const [i, step] of steps.entries()) {
        packed[start + (i >> 2)] = at(packed, start + (i >> 2)) | ((step & 255) << ((i & 3) * 8));
        values[first + i] = step * scale;
      }
      floats[start + 8] = scale;
      floats[start + 9] = scale * steps.reduce((sum, step) => sum + step, 0);
    }
  }
  return { packed, values };
}

/** The numbers that packed rows mean, [rows, columns]. */
export function unpackActivations(packed: Uint32Array<ArrayBuffer>, columns: number): Float64Array<ArrayBuffer> {
  const groups = groupsPerRow(columns);
  const numRows = packed.length / (groups * GROUP_WORDS);
  const bytes = new Int8Array(packed.buffer, packed.byteOffset);
  const floats = new Float32Array(packed.buffer, packed.byteOffset);
  return Float64Array.from({ length: numRows * columns }, (_, index) => {
    const [row, column] = [Math.floor(index / columns), index % columns];
    const start = (row * groups + (column >> 5)) * GROUP_WORDS;
    return at(bytes, start * 4 + (column & 31)) * at(floats, start + 8);
  });
}
