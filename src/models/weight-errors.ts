// Per matrix of a checkpoint: how far the weights that another dtype stores are from those in the file. Needs no GPU.

import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { toF32 } from "../checkpoint/numeric.ts";
import { throwIfAborted } from "../errors.ts";
import { padTo4, type WeightDtype } from "../gpu/tensor.ts";
import type { ModelConfig } from "./config.ts";
import { paddedLength } from "./upload.ts";
import { addErrors, type ErrorSums, weightError } from "./weight-error.ts";
import { groupingsOf } from "./weight-storage.ts";
import { type StoredMatrix, storedMatrices } from "./weights.ts";

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
  config: ModelConfig,
  options: { readonly dtype: WeightDtype; readonly signal?: AbortSignal | undefined },
): Promise<MatrixError[]> {
  const errors: MatrixError[] = [];
  for (const matrix of storedMatrices(checkpoint, config, options.dtype)) {
    if (matrix.dtype === matrix.fileDtype) continue;
    const { squares, errorSquares, largest } = await errorOf(checkpoint, matrix, { config, signal: options.signal });
    const relativeRms = errorSquares === 0 ? 0 : Math.sqrt(errorSquares / squares);
    errors.push({ name: matrix.name, dtype: matrix.dtype, relativeRms, maxError: largest });
  }
  return errors;
}

async function errorOf(
  checkpoint: Checkpoint,
  matrix: StoredMatrix,
  options: { readonly config: ModelConfig; readonly signal: AbortSignal | undefined },
): Promise<ErrorSums> {
  const { name, dtype, fileDtype } = matrix;
  const { columns } = groupingsOf(matrix, options.config);
  const width = columns.count * columns.size;
  const numWeights = matrix.shape.reduce((product, size) => product * size, 1);
  const bytesPerWeight = checkpoint.tensorBytes(name) / numWeights;
  const chunk = Math.max(1, Math.floor(CHUNK_WEIGHTS / width)) * width;
  let sums: ErrorSums = { squares: 0, errorSquares: 0, largest: 0 };
  for (let first = 0; first < numWeights; first += chunk) {
    throwIfAborted(options.signal, "Measuring the weights' errors");
    const range = {
      start: first * bytesPerWeight,
      end: Math.min(first + chunk, numWeights) * bytesPerWeight,
      signal: options.signal,
    };
    const values = toF32(await checkpoint.read(name, range), fileDtype);
    const paddedWidth = paddedLength(columns);
    const padded = paddedWidth === width ? values : padHeads(values, columns.size);
    sums = addErrors(sums, weightError(padded, paddedWidth, dtype));
  }
  return sums;
}

/** Zeros behind every head, as on the GPU, where groups of 32 begin elsewhere for them. */
function padHeads(values: Float32Array<ArrayBuffer>, headDim: number): Float32Array<ArrayBuffer> {
  const numHeads = values.length / headDim;
  const padded = new Float32Array(numHeads * padTo4(headDim));
  for (let head = 0; head < numHeads; head++) {
    padded.set(values.subarray(head * headDim, (head + 1) * headDim), head * padTo4(headDim));
  }
  return padded;
}
