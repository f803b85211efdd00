// From a tensor's bytes in a file to GPU buffers: whole rows in chunks, split where one binding is too small, padded with zeros
// where kernels want multiples of 4. Buffers are allocated first and filled afterwards, two tensors at once; no more than one
// chunk of each is in memory at a time.

import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { convertWeights, toF32 } from "../checkpoint/dtypes.ts";
import { CheckpointError, GpuError, throwIfAborted } from "../errors.ts";
import { formatBytes, type Gpu } from "../gpu/device.ts";
import {
  type FloatDtype,
  floatBytes,
  type Grouping,
  isQuantized,
  type Matrix,
  type MatrixPiece,
  matrixSizes,
  paddedLength,
  padTo4,
  storedRowBytes,
} from "../gpu/tensor.ts";
import type { Quantizer } from "./quantizer.ts";
import type { Staging } from "./staging.ts";
import { codesName, labelOf, type PlannedTensor, type PlannedWeight, scalesName } from "./weight-table.ts";

/** Bytes read from the source and written to the GPU at once. */
export const CHUNK_BYTES = 8 * 1024 * 1024;

/** Pieces a matrix may be split into; more would mean an adapter far too small for the model. */
const MAX_PIECES = 8;

/** What uploads share: where from, where to, and who wants to know. */
export interface UploadContext {
  readonly checkpoint: Checkpoint;
  readonly gpu: Gpu;
  readonly signal: AbortSignal | undefined;
  /** Writes the bytes. */
  readonly staging: Staging;
  /** Packs the rows of quantised matrices. */
  readonly quantizer: Quantizer;
  /** Whether the load has failed elsewhere: no further chunk is read. */
  readonly isStopped?: () => boolean;
  /** Called after each chunk with the bytes just uploaded. */
  readonly onBytes: (byteLength: number, tensor: string) => void;
}

/** Makes a zeroed storage buffer, once the GPU has the memory for it. @throws GpuError `limit` or `out-of-memory`. */
export type CreateBuffer = (label: string, byteLength: number) => Promise<GPUBuffer>;

/**
 * Allocates a matrix, zeroed, in as many pieces as the adapter's bindings need.
 * @param options.columns grouping of its columns
 * @throws GpuError `limit` when 8 pieces would not hold it, or `out-of-memory`.
 */
export async function allocateMatrix(
  gpu: Gpu,
  weight: PlannedWeight,
  options: { readonly columns: Grouping; readonly createBuffer: CreateBuffer },
): Promise<Matrix> {
  const { columns, createBuffer } = options;
  const name = labelOf(weight);
  const { dtype } = weight;
  const rowGroups = weight.tensors.map(({ rows }) => rows);
  const sizes = matrixSizes(rowGroups, columns);
  const row = storedRowBytes({ dtype, columns: sizes.columns });
  const maxRows = rowsPerPiece(gpu, name, {
    numRows: sizes.rows,
    rowBytes: row.weights,
    splittable: weight.isSplittable,
  });
  const pieces: MatrixPiece[] = [];
  for (let rowStart = 0; rowStart < sizes.rows; rowStart += maxRows) {
    const numRows = Math.min(maxRows, sizes.rows - rowStart);
    const label = `${name}[${rowStart}:${rowStart + numRows}]`;
    const piece = { buffer: await createBuffer(label, numRows * row.weights), rowStart, numRows };
    const scales = row.scales > 0 ? await createBuffer(`${label} scales`, numRows * row.scales) : undefined;
    pieces.push(scales === undefined ? piece : { ...piece, scales });
  }
  return { name, dtype, ...sizes, pieces };
}

/** Allocates a vector of f32, zeroed. @throws GpuError `limit` or `out-of-memory`. */
export function allocateVector(weight: PlannedWeight, createBuffer: CreateBuffer): Promise<GPUBuffer> {
  const length = weight.tensors.reduce((sum, { rows }) => sum + paddedLength(rows), 0);
  return createBuffer(labelOf(weight), length * 4);
}

/**
 * Reads a matrix's tensors into it; a tensor of more dimensions is read as [first, product of the others].
 * @throws CheckpointError when the bytes cannot be read or a weight does not fit the dtype; AbortError.
 */
export async function fillMatrix(context: UploadContext, weight: PlannedWeight, matrix: Matrix): Promise<void> {
  let firstRow = 0;
  for (const tensor of weight.tensors) {
    await fillRows(context, tensor, { matrix, firstRow });
    firstRow += paddedLength(tensor.rows);
  }
}

/** Reads a vector's tensors into it as f32, padded with zeros. @throws as {@link fillMatrix}. */
export async function fillVector(context: UploadContext, weight: PlannedWeight, buffer: GPUBuffer): Promise<void> {
  let first = 0;
  for (const tensor of weight.tensors) {
    const values = await readVector(context, tensor);
    await context.staging.write(buffer, bytesOf(values), first * 4);
    first += values.length;
  }
}

/**
 * Rows of a matrix that fit one binding of this adapter, a multiple of 4.
 * @throws GpuError `limit` when the matrix would need more than 8 pieces, or more than one and is not splittable.
 */
export function rowsPerPiece(
  gpu: Gpu,
  name: string,
  matrix: { readonly numRows: number; readonly rowBytes: number; readonly splittable: boolean },
): number {
  const { maxStorageBufferBindingSize, maxBufferSize } = gpu.device.limits;
  const limit = Math.min(maxStorageBufferBindingSize, maxBufferSize);
  const maxRows = Math.floor(limit / matrix.rowBytes / 4) * 4;
  const maxPieces = matrix.splittable ? MAX_PIECES : 1;
  if (maxRows * maxPieces < matrix.numRows) {
    const allowed = maxPieces === 1 ? "one binding" : `${maxPieces} bindings`;
    throw new GpuError(
      "limit",
      `Tensor ${name} is ${formatBytes(matrix.numRows * matrix.rowBytes)}, more than ${allowed} of ${formatBytes(limit)} on this adapter; use an adapter with a larger maxStorageBufferBindingSize.`,
    );
  }
  return maxRows;
}

async function readVector(context: UploadContext, tensor: PlannedTensor): Promise<Float32Array<ArrayBuffer>> {
  const { name, rows } = tensor;
  const dtype = fileDtypeOf(context.checkpoint, tensor);
  const end = rows.count * rows.size * floatBytes(dtype);
  const bytes = await context.checkpoint.read(name, { start: 0, end, signal: context.signal });
  context.onBytes(bytes.byteLength, name);
  return padGroups(toF32(bytes, dtype), rows.size);
}

/** Zeros behind every group of `size` values, up to a multiple of 4. */
export function padGroups(values: Float32Array<ArrayBuffer>, size: number): Float32Array<ArrayBuffer> {
  if (size % 4 === 0) return values;
  const numGroups = values.length / size;
  const padded = new Float32Array(numGroups * padTo4(size));
  for (let group = 0; group < numGroups; group++) {
    padded.set(values.subarray(group * size, (group + 1) * size), group * padTo4(size));
  }
  return padded;
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function fileDtypeOf(checkpoint: Checkpoint, { name, fileDtype }: PlannedTensor): FloatDtype {
  if (fileDtype !== undefined) return fileDtype;
  const tensor = checkpoint.tensors.get(name);
  const got = tensor?.entry.dtype ?? "no such tensor";
  throw new CheckpointError(`Tensor ${name}: expected F32, F16 or BF16, got ${got}.`, {
    file: tensor?.file ?? checkpoint.source.name,
    tensor: name,
  });
}

/** Where a tensor goes in its matrix. */
interface Target {
  readonly matrix: Matrix;
  /** Row of the matrix that the tensor begins at. */
  readonly firstRow: number;
}

/** Rows that are contiguous in the file and in one piece. */
interface Chunk {
  /** First row of the tensor. */
  readonly first: number;
  readonly numRows: number;
  readonly piece: MatrixPiece;
  /** Row of the piece that they go to. */
  readonly rowStart: number;
}

async function fillRows(context: UploadContext, tensor: PlannedTensor, target: Target): Promise<void> {
  const { rows, packed } = tensor;
  const { matrix, firstRow } = target;
  const numSourceRows = rows.count * rows.size;
  const rowBytes =
    packed === undefined
      ? matrix.columns * floatBytes(fileDtypeOf(context.checkpoint, tensor))
      : storedRowBytes(matrix).weights;
  // A multiple of 4, so that a chunk of quantised rows begins with a whole word of scales.
  const chunkRows = Math.max(4, Math.floor(CHUNK_BYTES / rowBytes / 4) * 4);
  for (let first = 0; first < numSourceRows; ) {
    throwIfAborted(context.signal, "Loading the model");
    if (context.isStopped?.() === true) return;
    // Padded rows of one group and one piece are contiguous: a chunk never crosses either border.
    const row = firstRow + paddedIndex(rows, first);
    const piece = pieceOf(matrix, row);
    const groupRest = isAligned(rows) ? numSourceRows - first : rows.size - (first % rows.size);
    const numRows = Math.min(chunkRows, groupRest, piece.rowStart + piece.numRows - row);
    const chunk = { first, numRows, piece, rowStart: row - piece.rowStart };
    await (packed === undefined ? storeRows : copyPackedRows)(context, tensor, { ...chunk, matrix });
    first += numRows;
  }
  if (packed !== undefined || !isQuantized(matrix.dtype)) return;
  if (await context.quantizer.hasProblem()) throw doesNotFit(context, tensor, matrix);
}

/** Copies rows of a quantised checkpoint, which are stored as on the GPU. */
async function copyPackedRows(
  { checkpoint, gpu, staging, signal, onBytes }: UploadContext,
  { name }: PlannedTensor,
  { matrix, first, numRows, piece, rowStart }: Chunk & { readonly matrix: Matrix },
): Promise<void> {
  const copy = async (tensor: string, rowBytes: number, buffer: GPUBuffer) => {
    const bytes = await checkpoint.read(tensor, { start: first * rowBytes, end: (first + numRows) * rowBytes, signal });
    await staging.write(buffer, bytes, rowStart * rowBytes);
    onBytes(bytes.byteLength, name);
  };
  const { weights, scales } = storedRowBytes(matrix);
  await copy(codesName(name), weights, piece.buffer);
  await copy(scalesName(name), scales, piece.scales ?? gpu.unused);
}

function pieceOf({ name, pieces }: Matrix, row: number): MatrixPiece {
  const piece = pieces.find(({ rowStart, numRows }) => row >= rowStart && row < rowStart + numRows);
  if (piece === undefined) throw new RangeError(`${name}: no piece holds row ${row}.`);
  return piece;
}

/** Reads rows in the file's dtype, and writes them, padded, into a piece that holds them in the matrix's. */
async function storeRows(
  context: UploadContext,
  tensor: PlannedTensor,
  { matrix, first, numRows, piece, rowStart }: Chunk & { readonly matrix: Matrix },
): Promise<void> {
  const { name } = tensor;
  const { dtype, columns, columnGroup } = matrix;
  const sourceDtype = fileDtypeOf(context.checkpoint, tensor);
  const elementBytes = floatBytes(sourceDtype);
  const rowBytes = columnGroup.count * columnGroup.size * elementBytes;
  const range = { start: first * rowBytes, end: (first + numRows) * rowBytes, signal: context.signal };
  const read = await context.checkpoint.read(name, range);
  const bytes = isAligned(columnGroup) ? read : padRows(read, columnGroup, { numRows, elementBytes });
  if (isQuantized(dtype)) {
    await context.quantizer.pack(bytes, { sourceDtype, dtype, numRows, columns, piece, rowStart });
  } else {
    const converted = convertWeights(bytes, sourceDtype, dtype);
    if (converted === undefined) throw doesNotFit(context, tensor, matrix);
    await context.staging.write(piece.buffer, converted, rowStart * columns * floatBytes(dtype));
  }
  context.onBytes(read.byteLength, name);
}

function doesNotFit(
  { checkpoint }: UploadContext,
  { name, fileDtype }: PlannedTensor,
  { dtype }: Matrix,
): CheckpointError {
  return new CheckpointError(
    `Tensor ${name}: expected weights that ${dtype} can hold, got one that is too large or not finite; load it as ${fileDtype}.`,
    { file: checkpoint.tensors.get(name)?.file ?? checkpoint.source.name, tensor: name },
  );
}

function isAligned(group: Grouping): boolean {
  return group.size % 4 === 0;
}

function paddedIndex(group: Grouping, index: number): number {
  return Math.floor(index / group.size) * padTo4(group.size) + (index % group.size);
}

function padRows(
  bytes: Uint8Array<ArrayBuffer>,
  columns: Grouping,
  options: { readonly numRows: number; readonly elementBytes: number },
): Uint8Array<ArrayBuffer> {
  const groupBytes = columns.size * options.elementBytes;
  const paddedBytes = padTo4(columns.size) * options.elementBytes;
  const numGroups = options.numRows * columns.count;
  const padded = new Uint8Array(numGroups * paddedBytes);
  for (let g = 0; g < numGroups; g++) {
    padded.set(bytes.subarray(g * groupBytes, (g + 1) * groupBytes), g * paddedBytes);
  }
  return padded;
}
