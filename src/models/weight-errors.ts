// How far the weights that a dtype stores are from those in the file: per matrix of a checkpoint, on the CPU in f64, by the numbers
// that quantize-rows.ts and checkpoint/dtypes.ts store. Needs no GPU.

import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { f32ToBf16, f32ToF16, toF32 } from "../checkpoint/dtypes.ts";
import { at, throwIfAborted } from "../errors.ts";
import {
  type FloatDtype,
  floatBytes,
  GROUP_SIZE,
  type Grouping,
  isQuantized,
  paddedLength,
  QUANTIZED_DTYPES,
  type QuantizedDtype,
  type WeightDtype,
} from "../gpu/tensor.ts";
import type { Architecture } from "./architecture.ts";
import { quantizeGroup } from "./quantize-rows.ts";
import { padGroups } from "./upload.ts";
import { planWeights } from "./weight-table.ts";

/** Weights that are in memory at once. */
const CHUNK_WEIGHTS = 2 ** 21;

/** The error of one matrix. */
export interface MatrixError {
  readonly name: string;
  readonly dtype: WeightDtype;
  /** √(Σ error² / Σ weight²) */
  readonly relativeRms: number;
  /** Largest |stored − weight| */
  readonly maxError: number;
}

/**
 * The error of every matrix that changes its dtype when the model is loaded in `dtype`.
 * @throws CheckpointError when the file cannot be read; AbortError.
 */
export async function weightErrors(
  checkpoint: Checkpoint,
  architecture: Architecture,
  options: { readonly dtype: WeightDtype; readonly signal?: AbortSignal | undefined },
): Promise<MatrixError[]> {
  const errors: MatrixError[] = [];
  for (const { tensors, columns, dtype, isUsed } of planWeights(checkpoint, architecture, options.dtype)) {
    if (columns === undefined || !isUsed) continue;
    for (const { name, shape, fileDtype } of tensors) {
      if (fileDtype === undefined || fileDtype === dtype) continue;
      const tensor = { name, numWeights: numElements(shape), fileDtype, columns, dtypes: [dtype] };
      const sums = at(await errorsOf(checkpoint, tensor, options.signal), 0);
      errors.push({ name, dtype, relativeRms: relativeRms(sums), maxError: sums.largest });
    }
  }
  return errors;
}

/** The errors of one matrix in every quantised form. */
export interface QuantizedErrors {
  readonly name: string;
  /** The form that this matrix gets with `dtype` of the options. */
  readonly chosen: WeightDtype;
  /** √(Σ error² / Σ weight²) in each form. */
  readonly relativeRms: { readonly [dtype in QuantizedDtype]: number };
}

/**
 * The error of every matrix that is quantised, in each form, in the order of the model.
 * @throws CheckpointError when the file cannot be read; AbortError.
 */
export async function quantizedErrors(
  checkpoint: Checkpoint,
  architecture: Architecture,
  options: {
    readonly dtype: QuantizedDtype;
    readonly signal?: AbortSignal | undefined;
    readonly onMatrix?: (numDone: number, numMatrices: number) => void;
  },
): Promise<QuantizedErrors[]> {
  const matrices = planWeights(checkpoint, architecture, options.dtype).flatMap(
    ({ tensors, columns, dtype: chosen, isUsed, isQuantizable }) =>
      tensors.flatMap(({ name, shape, fileDtype }) => {
        if (columns === undefined || fileDtype === undefined || !isUsed || !isQuantizable) return [];
        return [{ name, numWeights: numElements(shape), fileDtype, columns, chosen }];
      }),
  );
  const errors: QuantizedErrors[] = [];
  for (const { chosen, ...tensor } of matrices) {
    const sums = await errorsOf(checkpoint, { ...tensor, dtypes: QUANTIZED_DTYPES }, options.signal);
    const errorIn = (dtype: QuantizedDtype) => relativeRms(at(sums, QUANTIZED_DTYPES.indexOf(dtype)));
    const relative = { q8: errorIn("q8"), q4_1: errorIn("q4_1"), q4: errorIn("q4") };
    errors.push({ name: tensor.name, chosen, relativeRms: relative });
    options.onMatrix?.(errors.length, matrices.length);
  }
  return errors;
}

function relativeRms({ squares, errorSquares }: ErrorSums): number {
  return errorSquares === 0 ? 0 : Math.sqrt(errorSquares / squares);
}

function numElements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** The sums of a tensor in each of `dtypes`; it is read once. */
async function errorsOf(
  checkpoint: Checkpoint,
  tensor: {
    readonly name: string;
    readonly numWeights: number;
    readonly fileDtype: FloatDtype;
    readonly columns: Grouping;
    readonly dtypes: readonly WeightDtype[];
  },
  signal: AbortSignal | undefined,
): Promise<ErrorSums[]> {
  const { name, numWeights, fileDtype, columns, dtypes } = tensor;
  const width = columns.count * columns.size;
  const bytesPerWeight = floatBytes(fileDtype);
  const chunk = Math.max(1, Math.floor(CHUNK_WEIGHTS / width)) * width;
  let sums = dtypes.map(() => NO_ERRORS);
  for (let first = 0; first < numWeights; first += chunk) {
    throwIfAborted(signal, "Measuring the weights' errors");
    const end = Math.min(first + chunk, numWeights);
    const range = { start: first * bytesPerWeight, end: end * bytesPerWeight, signal };
    // Padded as on the GPU, where groups of 32 begin elsewhere for it.
    const values = padGroups(toF32(await checkpoint.read(name, range), fileDtype), columns.size);
    sums = dtypes.map((dtype, index) => {
      return addErrors(at(sums, index), weightError(values, paddedLength(columns), dtype));
    });
  }
  return sums;
}

/** Sums over weights, so that chunks of a tensor add up. */
export interface ErrorSums {
  /** Σ weight² */
  readonly squares: number;
  /** Σ (stored − weight)² */
  readonly errorSquares: number;
  /** Largest |stored − weight| */
  readonly largest: number;
}

const NO_ERRORS: ErrorSums = { squares: 0, errorSquares: 0, largest: 0 };

/** The sums of chunk after chunk. */
export function addErrors(a: ErrorSums, b: ErrorSums): ErrorSums {
  return {
    squares: a.squares + b.squares,
    errorSquares: a.errorSquares + b.errorSquares,
    largest: Math.max(a.largest, b.largest),
  };
}

/** The error of rows of `columns` weights stored as `dtype`; NaN or infinite where a weight does not fit it. */
export function weightError(values: Float32Array<ArrayBuffer>, columns: number, dtype: WeightDtype): ErrorSums {
  if (!isQuantized(dtype)) return between(values, narrowed(values, dtype));
  const stored = new Float32Array(values.length);
  const steps = new Int8Array(GROUP_SIZE);
  for (let row = 0; row < values.length; row += columns) {
    for (let first = row; first < row + columns; first += GROUP_SIZE) {
      const end = Math.min(first + GROUP_SIZE, row + columns);
      const { scale, minimum } = quantizeGroup(values.subarray(first, end), dtype, steps);
      for (let i = first; i < end; i++) stored[i] = (steps[i - first] ?? 0) * scale + minimum; // rounded as by the kernels
    }
  }
  return between(values, stored);
}

function narrowed(values: Float32Array<ArrayBuffer>, dtype: FloatDtype): Float32Array {
  if (dtype === "f32") return values;
  const halves = dtype === "f16" ? f32ToF16(values) : f32ToBf16(values);
  return toF32(new Uint8Array(halves.buffer), dtype);
}

function between(values: Float32Array, stored: Float32Array): ErrorSums {
  let squares = 0;
  let errorSquares = 0;
  let largest = 0;
  values.forEach((weight, index) => {
    const error = Math.abs((stored[index] ?? Number.NaN) - weight);
    squares += weight * weight;
    errorSquares += error * error;
    largest = Math.max(largest, error); // NaN stays
  });
  return { squares, errorSquares, largest };
}
