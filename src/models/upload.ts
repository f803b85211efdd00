// From a tensor's bytes in a file to GPU buffers: whole rows in chunks, split where one binding is too small, padded
// with zeros where kernels want multiples of 4. No more than one chunk of a tensor is in memory at a time.

import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { convertWeights } from "../checkpoint/convert-weights.ts";
import type { Dtype } from "../checkpoint/dtypes.ts";
import { toF32 } from "../checkpoint/numeric.ts";
import { CheckpointError, GpuError, throwIfAborted } from "../errors.ts";
import { formatBytes, GPU_STORAGE, type Gpu } from "../gpu/device.ts";
import {
  type FloatDtype,
  floatBytes,
  isQuantized,
  type Matrix,
  type MatrixPiece,
  padTo4,
  storedRowBytes,
  type WeightDtype,
} from "../gpu/tensor.ts";
import type { Quantizer } from "./quantizer.ts";

/** Bytes read from the source and written to the GPU at once. */
const CHUNK_BYTES = 8 * 1024 * 1024;

/** Pieces a matrix may be split into; more would mean an adapter far too small for the model. */
const MAX_PIECES = 8;

/** A dimension made of `count` groups (heads) of `size`, each padded to a multiple of 4 on its own. */
export interface Grouping {
  readonly count: number;
  readonly size: number;
}

/** What uploads share: where from, where to, and who wants to know. */
export interface UploadContext {
  readonly checkpoint: Checkpoint;
  readonly gpu: Gpu;
  /** True where matrices and vectors are wanted without buffers of their own and without values. */
  readonly isPlan?: boolean;
  readonly signal: AbortSignal | undefined;
  /** Packs the rows of quantised matrices. */
  readonly quantizer: Quantizer;
  /** The dtype that a matrix of this name and dtype in the file gets on the GPU. */
  readonly dtypeOf: (name: string, fileDtype: FloatDtype) => WeightDtype;
  /** Called after each chunk with the bytes just uploaded. */
  readonly onBytes: (byteLength: number, tensor: string) => void;
}

/** Length of a dimension after each of its groups is padded. */
export function paddedLength(group: Grouping): number {
  return group.count * padTo4(group.size);
}

/** A tensor whose rows stand below one another's in one matrix. */
export interface StackedTensor {
  readonly name: string;
  /** Grouping of its first dimension. */
  readonly rows: Grouping;
}

/**
 * Uploads a matrix in the dtype that the context gives it; a tensor of more dimensions is read as [first, product of the others].
 * @param rows grouping of the first dimension; @param columns grouping of the second.
 * @throws CheckpointError when the bytes cannot be read or a weight does not fit the dtype; GpuError `limit` when 8
 * pieces would not hold it.
 */
export async function uploadMatrix(
  context: UploadContext,
  name: string,
  options: { readonly rows: Grouping; readonly columns: Grouping; readonly splittable?: boolean },
): Promise<Matrix> {
  return uploadStacked(context, [{ name, rows: options.rows }], options);
}

/**
 * Uploads tensors of equal columns as one matrix, the first one's rows first, so that one dispatch computes all of them.
 * Tensors of different dtypes in the file become f32 where the context would keep each as it is.
 * @throws as {@link uploadMatrix}.
 */
export async function uploadStacked(
  context: UploadContext,
  tensors: readonly StackedTensor[],
  options: { readonly columns: Grouping; readonly splittable?: boolean },
): Promise<Matrix> {
  const { gpu, checkpoint } = context;
  const { columns } = options;
  const make = (label: string, byteLength: number) =>
    context.isPlan === true ? gpu.unused : gpu.createBuffer(label, byteLength, GPU_STORAGE);
  const name = tensors.map((tensor) => tensor.name).join(" + ");
  const dtypes = new Set(tensors.map((tensor) => context.dtypeOf(tensor.name, fileDtypeOf(checkpoint, tensor.name))));
  const [only] = dtypes;
  const dtype = dtypes.size === 1 && only !== undefined ? only : "f32";
  const paddedRows = tensors.reduce((sum, { rows }) => sum + paddedLength(rows), 0);
  const paddedColumns = paddedLength(columns);
  const row = storedRowBytes({ dtype, columns: paddedColumns });
  const maxRows = rowsPerPiece(gpu, name, {
    numRows: paddedRows,
    rowBytes: row.weights,
    splittable: options.splittable ?? true,
  });
  const pieces: MatrixPiece[] = [];
  for (let rowStart = 0; rowStart < paddedRows; rowStart += maxRows) {
    const numRows = Math.min(maxRows, paddedRows - rowStart);
    const label = `${name}[${rowStart}:${rowStart + numRows}]`;
    const piece = { buffer: make(label, numRows * row.weights), rowStart, numRows };
    const scales = row.scales > 0 ? make(`${label} scales`, numRows * row.scales) : undefined;
    pieces.push(scales === undefined ? piece : { ...piece, scales });
  }
  let firstRow = 0;
  for (const { name: tensor, rows } of tensors) {
    const fileDtype = fileDtypeOf(checkpoint, tensor);
    if (context.isPlan !== true) await fillRows(context, tensor, { dtype, fileDtype, rows, columns, pieces, firstRow });
    firstRow += paddedLength(rows);
  }
  return { name, dtype, rows: paddedRows, columns: paddedColumns, pieces };
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

/** Uploads a vector as f32, its groups padded with zeros. @throws as {@link uploadMatrix}. */
export async function uploadVector(context: UploadContext, name: string, group: Grouping): Promise<GPUBuffer> {
  return uploadJoined(context, [{ name, rows: group }]);
}

/** Uploads vectors as one, each in f32 with its groups padded with zeros. @throws as {@link uploadMatrix}. */
export async function uploadJoined(context: UploadContext, tensors: readonly StackedTensor[]): Promise<GPUBuffer> {
  if (context.isPlan === true) return context.gpu.unused;
  const joined = new Float32Array(tensors.reduce((sum, { rows }) => sum + paddedLength(rows), 0));
  let first = 0;
  for (const { name, rows } of tensors) {
    joined.set(await readVector(context, name, rows), first);
    first += paddedLength(rows);
  }
  return context.gpu.createBufferWith(tensors.map(({ name }) => name).join(" + "), joined, GPU_STORAGE);
}

async function readVector(context: UploadContext, name: string, group: Grouping): Promise<Float32Array<ArrayBuffer>> {
  const dtype = fileDtypeOf(context.checkpoint, name);
  const length = group.count * group.size;
  const bytes = await context.checkpoint.read(name, {
    start: 0,
    end: length * floatBytes(dtype),
    signal: context.signal,
  });
  const values = toF32(bytes, dtype);
  const padded = new Float32Array(paddedLength(group));
  for (let g = 0; g < group.count; g++) {
    padded.set(values.subarray(g * group.size, (g + 1) * group.size), g * padTo4(group.size));
  }
  context.onBytes(bytes.byteLength, name);
  return padded;
}

/** How a file's dtype is called on the GPU, undefined when weights cannot have it. */
export function floatDtypeOf(dtype: Dtype | undefined): FloatDtype | undefined {
  if (dtype === "F32") return "f32";
  if (dtype === "F16") return "f16";
  return dtype === "BF16" ? "bf16" : undefined;
}

function fileDtypeOf(checkpoint: Checkpoint, name: string): FloatDtype {
  const tensor = checkpoint.tensors.get(name);
  const dtype = floatDtypeOf(tensor?.entry.dtype);
  if (dtype !== undefined) return dtype;
  const got = tensor?.entry.dtype ?? "no such tensor";
  throw new CheckpointError(`Tensor ${name}: expected F32, F16 or BF16, got ${got}.`, {
    file: tensor?.file ?? checkpoint.source.name,
    tensor: name,
  });
}

interface Rows {
  readonly dtype: WeightDtype;
  readonly fileDtype: FloatDtype;
  readonly rows: Grouping;
  readonly columns: Grouping;
  readonly pieces: readonly MatrixPiece[];
  /** Row of the matrix that the tensor begins at. */
  readonly firstRow: number;
}

async function fillRows(context: UploadContext, name: string, matrix: Rows): Promise<void> {
  const { dtype, fileDtype, rows, columns, pieces, firstRow } = matrix;
  const elementBytes = floatBytes(fileDtype);
  const sourceRowBytes = columns.count * columns.size * elementBytes;
  const numSourceRows = rows.count * rows.size;
  // A multiple of 4, so that a chunk of quantised rows begins with a whole word of scales.
  const chunkRows = Math.max(4, Math.floor(CHUNK_BYTES / (paddedLength(columns) * elementBytes) / 4) * 4);
  for (let first = 0; first < numSourceRows; ) {
    throwIfAborted(context.signal, "Loading the model");
    // Padded rows of one group and one piece are contiguous: a chunk never crosses either border.
    const target = firstRow + paddedIndex(rows, first);
    const piece = pieces.find(({ rowStart, numRows }) => target >= rowStart && target < rowStart + numRows);
    if (piece === undefined) return;
    const groupRest = isAligned(rows) ? numSourceRows - first : rows.size - (first % rows.size);
    const numRows = Math.min(chunkRows, groupRest, piece.rowStart + piece.numRows - target);
    const start = first * sourceRowBytes;
    const bytes = await context.checkpoint.read(name, {
      start,
      end: start + numRows * sourceRowBytes,
      signal: context.signal,
    });
    const padded = isAligned(columns) ? bytes : padRows(bytes, columns, { numRows, elementBytes });
    await storeRows(context, name, { matrix, bytes: padded, numRows, piece, rowStart: target - piece.rowStart });
    context.onBytes(bytes.byteLength, name);
    first += numRows;
  }
  if (isQuantized(dtype) && (await context.quantizer.hasProblem())) throw doesNotFit(context, name, matrix);
}

/** Writes padded rows in the file's dtype into a piece that holds them in the matrix's. */
async function storeRows(
  context: UploadContext,
  name: string,
  chunk: {
    readonly matrix: Rows;
    readonly bytes: Uint8Array<ArrayBuffer>;
    readonly numRows: number;
    readonly piece: MatrixPiece;
    readonly rowStart: number;
  },
): Promise<void> {
  const { matrix, bytes, numRows, piece, rowStart } = chunk;
  const { dtype, fileDtype } = matrix;
  const columns = paddedLength(matrix.columns);
  if (isQuantized(dtype)) {
    const rows = { sourceDtype: fileDtype, dtype, numRows, columns, piece, rowStart };
    await context.quantizer.pack(bytes, rows);
    return;
  }
  const converted = convertWeights(bytes, fileDtype, dtype);
  if (converted === undefined) throw doesNotFit(context, name, matrix);
  context.gpu.write(piece.buffer, converted, rowStart * columns * floatBytes(dtype));
}

function doesNotFit({ checkpoint }: UploadContext, name: string, { dtype, fileDtype }: Rows): CheckpointError {
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
