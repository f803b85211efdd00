// Twin of shaders/rope-append.wgsl.
import type { HeadLayout } from "../../src/gpu/ops/rope.ts";
import type { Sums } from "./matmul.ts";
import { at } from "./rows.ts";
import { cacheSlot, rowSlot, type Step } from "./step.ts";

/** The rows that the kernel reads, [R, headDim] f32: headDim/2 cosines, then as many sines, rounded from f64. */
export function rotaryRows(positions: readonly number[], headDim: number, theta: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: positions.length * headDim }, (_, index) => {
    const column = index % headDim;
    const angle = angleOf(at(positions, Math.floor(index / headDim)), column % (headDim / 2), headDim, theta);
    return column < headDim / 2 ? Math.cos(angle) : Math.sin(angle);
  });
}

/** Arrays after the kernel ran; rows and slots that it does not touch keep what they held. */
export interface RopeResult {
  /** [rows, H, headDim] */
  readonly queries: Sums;
  /** [Hkv, capacity, headDim] */
  readonly keys: Sums;
  readonly values: Float64Array;
}

/**
 * Rotates the pairs (i, i + headDim/2) of every query and key by the row's position · theta^(−2i / headDim) and puts keys and
 * values into their cache slots; `qkv` is [rows, H + 2·Hkv, headDim].
 */
export function ropeAppend(
  qkv: ArrayLike<number>,
  heads: HeadLayout,
  call: {
    readonly step: Step;
    /** Of the rows; one each. */
    readonly positions: readonly number[];
    readonly capacity: number;
    readonly theta: number;
    readonly filler: number;
  },
): RopeResult {
  const { numHeads, numKeyValueHeads, headDim } = heads;
  const { step, positions, capacity, theta, filler } = call;
  const numRows = positions.length;
  const makeSums = (length: number, initial: number): Sums => ({
    values: new Float64Array(length).fill(initial),
    magnitudes: new Float64Array(length).fill(Math.abs(initial)),
  });
  const queries = makeSums(numRows * numHeads * headDim, 0);
  const keys = makeSums(numKeyValueHeads * capacity * headDim, filler);
  const values = new Float64Array(numKeyValueHeads * capacity * headDim).fill(filler);
  for (let row = 0; row < numRows; row++) {
    const slot = cacheSlot(step, row, rowSlot(step, row));
    for (let head = 0; head < numHeads + 2 * numKeyValueHeads; head++) {
      const start = (row * (numHeads + 2 * numKeyValueHeads) + head) * headDim;
      const keyHead = head - numHeads;
      const valueHead = keyHead - numKeyValueHeads;
      for (let index = 0; index < headDim; index++) {
        const own = at(qkv, start + index);
        if (valueHead >= 0) {
          values[(valueHead * capacity + slot) * headDim + index] = own;
          continue;
        }
        const isFirst = index < headDim / 2;
        const partner = isFirst ? -at(qkv, start + index + headDim / 2) : at(qkv, start + index - headDim / 2);
        const angle = angleOf(at(positions, row), index % (headDim / 2), headDim, theta);
        const target = keyHead < 0 ? queries : keys;
        const to = (keyHead < 0 ? row * numHeads + head : keyHead * capacity + slot) * headDim + index;
        target.values[to] = own * Math.cos(angle) + partner * Math.sin(angle);
        target.magnitudes[to] = Math.abs(own) + Math.abs(partner);
      }
    }
  }
  return { queries, keys, values };
}

function angleOf(position: number, pair: number, headDim: number, theta: number): number {
  return position * theta ** ((-2 * pair) / headDim);
}
