// How far the weights that a dtype stores are from those in the file: per matrix of a checkpoint, on the CPU in f64, by the numbers
// that quantize-rows.ts and checkpoint/dtypes.ts store. Needs no GPU.

import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { f32ToBf16, f32ToF16, toF32 } from "../checkpoint/dtypes.ts";
import { throwIfAborted } from "../errors.ts";
import {
  type FloatDtype,
  floatBytes,
  GROUP_SIZE,
  type Grouping,
  isQuantized,
  paddedLength,
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
      const numWeights = shape.reduce((product, size) => product * size, 1);
      const tensor = { name, numWeights, fileDtype, columns, dtype };
      const { squares, errorSquares, largest } = await errorOf(checkpoint, tensor, options.signal);
      const relativeRms = errorSquares === 0 ? 0 : Math.sqrt(errorSquares / squares);
      errors.push({ name, dtype, relativeRms, maxError: largest });
    }
  }
  return errors;
}

async function errorOf(
  checkpoint: Checkpoint,
  tensor: {
    readonly name: string;
    readonly numWeights: number;
    readonly fileDtype: FloatDtype;
    readonly columns: Grouping;
    readonly dtype: WeightDtype;
  },
  signal: AbortSignal | undefined,
): Promise<ErrorSums> {
  const { name, numWeights, fileDtype, columns, dtype } = tensor;
  const width = columns.count * columns.size;
  const bytesPerWeight = floatBytes(fileDtype);
  const chunk = Math.max(1, Math.floor(CHUNK_WEIGHTS / width)) * width;
  let sums: ErrorSums = { squares: 0, errorSquares: 0, largest: 0 };
  for (let first = 0; first < numWeights; first += chunk) {
    throwIfAborted(signal, "Measuring the weights' errors");
    const end = Math.min(first + chunk, numWeights);
    const range = { start: first * bytesPerWeight, end: end * bytesPerWeight, signal };
    // Padded as on the GPU, where groups of 32 begin elsewhere for it.
    const values = padGroups(toF32(await checkpoint.read(name, range), fileDtype), columns.size);
    sums = addErrors(sums, weightError(values, paddedLength(columns), dtype));
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
      const scale = quantizeGroup(values.subarray(first, end), dtype, steps);
      for (let i = first; i < end; i++) stored[i] = (steps[i - first] ?? 0) * scale;
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
