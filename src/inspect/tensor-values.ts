// The values of a tensor that a pass wrote: where they lie in their buffer, what they are like, and a small picture.
import { toF32 } from "../checkpoint/dtypes.ts";
import { at } from "../errors.ts";
import type { TensorView } from "../gpu/describe.ts";
import { GROUP_SIZE, padTo4 } from "../gpu/tensor.ts";

/** A tensor averaged down. */
export interface ValuePicture {
  readonly width: number;
  readonly height: number;
  /** [height, width], row by row */
  readonly values: Float32Array<ArrayBuffer>;
}

/** What a tensor's values are like: min, max, mean and rms are those of the finite ones, NaN when there are none. */
export interface ValueStatistics {
  readonly min: number;
  readonly max: number;
  readonly mean: number;
  /** √ of the mean of the squares. */
  readonly rms: number;
  readonly numZeros: number;
  readonly numNonFinite: number;
}

/** Most cells along a side of a picture. */
export const PICTURE_SIDE = 64;

/** Ranges of a buffer that hold a view: one of all of it, or one an index of the first dimension where these lie apart. */
export function rangesOf(view: TensorView): readonly { readonly start: number; readonly length: number }[] {
  const [numRows = 1, ...inner] = view.shape;
  const [stride = 1, ...innerStrides] = view.strides;
  const length = inner.reduce((extent, size, axis) => extent + (size - 1) * at(innerStrides, axis), 1);
  const { rows } = view;
  if (rows === undefined && stride < 2 * length) {
    return [{ start: view.offset, length: (numRows - 1) * stride + length }];
  }
  const indices = rows ?? Array.from({ length: numRows }, (_, row) => row);
  return indices.map((row) => ({ start: view.offset + row * stride, length }));
}

/** The values of a view, dense and row by row, from `packed`, which holds {@link rangesOf} one behind the other. */
export function gather(view: TensorView, packed: Float32Array<ArrayBuffer>): Float32Array<ArrayBuffer>;
export function gather(view: TensorView, packed: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer>;
export function gather(
  view: TensorView,
  packed: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>,
): Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer> {
  const ranges = rangesOf(view);
  const { shape } = view;
  // Ranges lie closer together in `packed` than in the buffer.
  const rowStride = ranges.length > 1 ? at(ranges, 0).length : at(view.strides, 0);
  const strides = [rowStride, ...view.strides.slice(1)];
  const count = shape.reduce((product, size) => product * size, 1);
  const result = view.dtype === "f32" ? new Float32Array(count) : new Uint32Array(count);
  const last = shape.length - 1;
  let to = 0;
  const walk = (axis: number, from: number) => {
    const size = at(shape, axis);
    const stride = at(strides, axis);
    if (axis === last && stride === 1) {
      result.set(packed.subarray(from, from + size), to);
      to += size;
      return;
    }
    for (let index = 0; index < size; index++) {
      if (axis < last) walk(axis + 1, from + index * stride);
      else result[to++] = at(packed, from + index * stride);
    }
  };
  walk(0, 0);
  return result;
}

/**
 * Unpacks keys or values: [.., words per slot] u32 to [.., headDim] f32.
 * @param words of a view that is packed, as {@link gather} returns them
 */
export function unpackSlots(
  words: Uint32Array<ArrayBuffer>,
  { shape, packed }: TensorView & { readonly packed: NonNullable<TensorView["packed"]> },
): { readonly values: Float32Array<ArrayBuffer>; readonly shape: readonly number[] } {
  const { dtype, headDim } = packed;
  const slotWords = at(shape, shape.length - 1);
  const numSlots = words.length / slotWords;
  const values = new Float32Array(numSlots * headDim);
  const bytes = new Int8Array(words.buffer, words.byteOffset, words.byteLength);
  const halves = toF32(new Uint8Array(words.buffer, words.byteOffset, words.byteLength), "f16");
  const scalesStart = padTo4(headDim) / 2; // in halves
  for (let slot = 0; slot < numSlots; slot++) {
    for (let index = 0; index < headDim; index++) {
      const half = slot * slotWords * 2;
      values[slot * headDim + index] =
        dtype === "f16"
          ? at(halves, half + index)
          : at(bytes, 2 * half + index) * at(halves, half + scalesStart + Math.floor(index / GROUP_SIZE));
    }
  }
  return { values, shape: [...shape.slice(0, -1), headDim] };
}

/** Statistics in f64. */
export function statisticsOf(values: ArrayLike<number>): ValueStatistics {
  let min = Number.POSITIVE_INFINITY;
  let max = Number.NEGATIVE_INFINITY;
  let sum = 0;
  let squares = 0;
  let numZeros = 0;
  let numNonFinite = 0;
  for (let i = 0; i < values.length; i++) {
    const value = at(values, i);
    if (!Number.isFinite(value)) {
      numNonFinite++;
      continue;
    }
    if (value === 0) numZeros++;
    if (value < min) min = value;
    if (value > max) max = value;
    sum += value;
    squares += value * value;
  }
  const count = values.length - numNonFinite;
  if (count === 0)
    return { min: Number.NaN, max: Number.NaN, mean: Number.NaN, rms: Number.NaN, numZeros, numNonFinite };
  return { min, max, mean: sum / count, rms: Math.sqrt(squares / count), numZeros, numNonFinite };
}

/** Leading dimensions down, the others across, so that it is nearest to a square; cells over several values have their mean. */
export function pictureOf(values: ArrayLike<number>, shape: readonly number[]): ValuePicture {
  const columns = columnsOf(shape);
  const rows = Math.max(1, Math.floor(values.length / columns));
  const width = Math.min(PICTURE_SIDE, columns);
  const height = Math.min(PICTURE_SIDE, rows);
  const sums = new Float64Array(width * height);
  const counts = new Uint32Array(width * height);
  for (let row = 0; row < rows; row++) {
    const y = Math.floor((row * height) / rows);
    for (let column = 0; column < columns; column++) {
      const cell = y * width + Math.floor((column * width) / columns);
      sums[cell] = at(sums, cell) + at(values, row * columns + column);
      counts[cell] = at(counts, cell) + 1;
    }
  }
  return { width, height, values: Float32Array.from(sums, (sum, cell) => sum / at(counts, cell)) };
}

function columnsOf(shape: readonly number[]): number {
  let best = 1;
  let bestRatio = Number.POSITIVE_INFINITY;
  for (let axis = Math.min(1, shape.length - 1); axis < shape.length; axis++) {
    const rows = shape.slice(0, axis).reduce((product, size) => product * size, 1);
    const columns = shape.slice(axis).reduce((product, size) => product * size, 1);
    const ratio = Math.max(rows / columns, columns / rows);
    if (ratio < bestRatio) {
      best = columns;
      bestRatio = ratio;
    }
  }
  return best;
}
