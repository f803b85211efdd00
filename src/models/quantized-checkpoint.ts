// A checkpoint whose matrices are stored quantised, made from one whose matrices are not, chunk by chunk and without a GPU.
//
//   NAME          a matrix that a load in the dtype would quantise is two tensors instead:
//   NAME.codes    I8 [rows, 32 · G] in q8, U8 [rows, 16 · G] in q4 and q4_1, where G is the number of groups of 32 columns
//   NAME.scales   F16 [rows, G], in q4_1 [rows, G, 2]: scales and minima
//   the others    as they are
//
// There are as many files as the checkpoint has.
//
// Rows are those of the tensor; columns are as on the GPU, padded with zeros per head to multiples of 4, and then to whole groups.
// So a load copies these bytes. config.json has a quantization_config, and no tensor has a matrix's name, so that other programs do
// not take them for plain weights.
import { type Checkpoint, requireTensors } from "../checkpoint/checkpoint.ts";
import { toF32 } from "../checkpoint/dtypes.ts";
import { layOutSafetensors, type TensorHeader } from "../checkpoint/safetensors-writer.ts";
import { at, CheckpointError, throwIfAborted } from "../errors.ts";
import {
  type FloatDtype,
  floatBytes,
  GROUP_SIZE,
  type Grouping,
  isQuantized,
  paddedLength,
  type QuantizedDtype,
} from "../gpu/tensor.ts";
import type { Architecture } from "./architecture.ts";
import { packRows } from "./quantize-rows.ts";
import { QUANT_METHOD } from "./registry.ts";
import { padGroups } from "./upload.ts";
import { expectedTensors, type PlannedTensor, planWeights, storedTensors } from "./weight-table.ts";

/** Weights that are in memory at once. */
const CHUNK_WEIGHTS = 2 ** 21;

/** Bytes of a tensor that is copied in memory at once. */
const CHUNK_BYTES = 8 * 2 ** 20;

/** One weight file to write. */
export interface QuantizedFile {
  readonly name: string;
  /** The checkpoint's file that its tensors are read from. */
  readonly sourceFile: string;
  /** The names of its tensors. */
  readonly tensors: readonly string[];
  readonly fileBytes: number;
  /** Bytes of its tensors. */
  readonly dataBytes: number;
  /** Bytes that are read for it. */
  readonly sourceBytes: number;
  /** Its bytes in pieces, the header first; a piece of a quantised matrix is rows of codes or of scales. */
  chunks(signal?: AbortSignal): AsyncGenerator<FileChunk>;
}

/** Bytes at a position of a file. */
export interface FileChunk {
  readonly position: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Bytes that were read for it. */
  readonly readBytes: number;
}

/** A matrix's tensor to quantise. */
interface MatrixSource {
  readonly tensor: PlannedTensor;
  readonly columns: Grouping;
  readonly dtype: QuantizedDtype;
  readonly fileDtype: FloatDtype;
}

/** A tensor of the checkpoint, and what becomes of it. */
interface Item {
  /** Canonical. */
  readonly name: string;
  readonly bytes: number;
  /** Undefined for a tensor that is copied. */
  readonly matrix: MatrixSource | undefined;
  /** The tensor, or its codes and scales. */
  readonly headers: readonly TensorHeader[];
}

/**
 * The weight files of `checkpoint` with its matrices in `dtype`, by the same choice as a load in that dtype makes.
 * @throws CheckpointError when the tensors do not fit the model, or are quantised already.
 */
export function quantizedFiles(
  checkpoint: Checkpoint,
  architecture: Architecture,
  dtype: QuantizedDtype,
): readonly QuantizedFile[] {
  const weights = planWeights(checkpoint, architecture, dtype);
  const { expected, unused } = expectedTensors(weights);
  requireTensors(checkpoint, expected, { unused });
  const matrices = new Map<string, MatrixSource>();
  const copied = new Set<string>();
  for (const { tensors, columns, dtype, isUsed } of weights) {
    for (const tensor of tensors) {
      const { name, fileDtype, packed } = tensor;
      if (packed !== undefined) throw alreadyQuantized(checkpoint, tensor);
      const isPacked = isUsed && columns !== undefined && isQuantized(dtype) && fileDtype !== undefined;
      if (isPacked) matrices.set(name, { tensor, columns, dtype, fileDtype });
      else copied.add(name);
    }
  }
  const metadata = { ...checkpoint.metadata, ...formatMetadata(dtype) };
  const aliases = [...checkpoint.tensors].filter(([name]) => matrices.has(name)).map(([, { aliasOf }]) => aliasOf);
  const files = new Map<string, Item[]>();
  for (const [name, { file, entry, aliasOf }] of checkpoint.tensors) {
    const matrix = matrices.get(name);
    // An alias has no bytes in the file. A quantised one gets its own, and then nothing reads what it was the alias of, unless the
    // model has a weight of that name.
    const isReplaced = aliases.includes(name) && !copied.has(name);
    if (matrix === undefined && (aliasOf !== undefined || isReplaced)) continue;
    const base = aliasOf === undefined ? entry.name : name;
    const headers = matrix === undefined ? [entry] : packedHeaders(matrix, base);
    files.set(file, [...(files.get(file) ?? []), { name, bytes: entry.end - entry.start, matrix, headers }]);
  }
  return [...files].map(([sourceFile, items], index) => {
    return quantizedFile(checkpoint, shardName(index, files.size), { sourceFile, items, metadata });
  });
}

function shardName(index: number, numShards: number): string {
  const pad = (count: number) => String(count).padStart(5, "0");
  return numShards === 1 ? "model.safetensors" : `model-${pad(index + 1)}-of-${pad(numShards)}.safetensors`;
}

/** config.json of the quantised checkpoint. */
export function quantizedConfig(checkpoint: Checkpoint, dtype: QuantizedDtype): Readonly<Record<string, unknown>> {
  const form = { quant_method: QUANT_METHOD, version: versionOf(dtype), dtype, group_size: GROUP_SIZE };
  return { ...checkpoint.config, quantization_config: form };
}

/** model.safetensors.index.json of sharded files. */
export function quantizedIndex(files: readonly QuantizedFile[]): object {
  const total = files.reduce((sum, { dataBytes }) => sum + dataBytes, 0);
  const entries = files.flatMap(({ name, tensors }) => tensors.map((tensor) => [tensor, name] as const));
  return { metadata: { total_size: total }, weight_map: Object.fromEntries(entries) };
}

/** The lowest version that has the form, so that an older adaptvis reads what it can. */
function versionOf(dtype: QuantizedDtype): number {
  return dtype === "q4_1" ? 2 : 1;
}

function formatMetadata(dtype: QuantizedDtype): Readonly<Record<string, string>> {
  return { adaptvis_format: "quantized", adaptvis_version: String(versionOf(dtype)), adaptvis_dtype: dtype };
}

function packedHeaders({ tensor, columns, dtype }: MatrixSource, name: string): readonly TensorHeader[] {
  return storedTensors({ ...tensor, name, packed: dtype }, columns).map(({ name, shape, dtype }) => {
    if (dtype === undefined) throw new RangeError(`${name}: a quantised tensor has no dtype`);
    return { name, dtype, shape };
  });
}

function quantizedFile(
  checkpoint: Checkpoint,
  name: string,
  content: {
    readonly sourceFile: string;
    readonly items: readonly Item[];
    readonly metadata: Readonly<Record<string, string>>;
  },
): QuantizedFile {
  const headers = content.items.flatMap((item) => item.headers);
  const { header, positions, fileBytes } = layOutSafetensors(headers, content.metadata);
  return {
    name,
    sourceFile: content.sourceFile,
    tensors: headers.map((tensor) => tensor.name),
    fileBytes,
    dataBytes: fileBytes - header.length,
    sourceBytes: content.items.reduce((sum, { bytes }) => sum + bytes, 0),
    async *chunks(signal) {
      yield { position: 0, bytes: header, readBytes: 0 };
      let first = 0;
      for (const item of content.items) {
        const places = positions.slice(first, first + item.headers.length);
        first += item.headers.length;
        if (item.matrix === undefined) yield* copiedChunks(checkpoint, item, { position: at(places, 0), signal });
        else yield* packedChunks(checkpoint, item.matrix, { codes: at(places, 0), scales: at(places, 1), signal });
      }
    },
  };
}

async function* copiedChunks(
  checkpoint: Checkpoint,
  { name, bytes: tensorBytes }: Item,
  to: { readonly position: number; readonly signal: AbortSignal | undefined },
): AsyncGenerator<FileChunk> {
  for (let start = 0; start < tensorBytes; start += CHUNK_BYTES) {
    throwIfAborted(to.signal, "Quantising the model");
    const end = Math.min(start + CHUNK_BYTES, tensorBytes);
    const bytes = await checkpoint.read(name, { start, end, signal: to.signal });
    yield { position: to.position + start, bytes, readBytes: bytes.byteLength };
  }
}

async function* packedChunks(
  checkpoint: Checkpoint,
  { tensor, columns, dtype, fileDtype }: MatrixSource,
  to: { readonly codes: number; readonly scales: number; readonly signal: AbortSignal | undefined },
): AsyncGenerator<FileChunk> {
  const { name, rows } = tensor;
  const numRows = rows.count * rows.size;
  const width = columns.count * columns.size;
  const rowBytes = width * floatBytes(fileDtype);
  const chunkRows = Math.max(1, Math.floor(CHUNK_WEIGHTS / width));
  let [codesAt, scalesAt] = [to.codes, to.scales];
  for (let row = 0; row < numRows; row += chunkRows) {
    throwIfAborted(to.signal, "Quantising the model");
    const end = Math.min(row + chunkRows, numRows);
    const read = await checkpoint.read(name, { start: row * rowBytes, end: end * rowBytes, signal: to.signal });
    const packed = packRows(padGroups(toF32(read, fileDtype), columns.size), paddedLength(columns), dtype);
    if (packed === undefined) throw doesNotFit(checkpoint, name, dtype);
    const scales = new Uint8Array(packed.scales.buffer);
    yield { position: codesAt, bytes: packed.codes, readBytes: read.byteLength };
    yield { position: scalesAt, bytes: scales, readBytes: 0 };
    codesAt += packed.codes.byteLength;
    scalesAt += scales.byteLength;
  }
}

function doesNotFit(checkpoint: Checkpoint, name: string, dtype: QuantizedDtype): CheckpointError {
  return new CheckpointError(
    `Tensor ${name}: expected weights that ${dtype} can hold, got one that is too large or not finite; quantise another checkpoint.`,
    { file: checkpoint.tensors.get(name)?.file ?? checkpoint.source.name, tensor: name },
  );
}

function alreadyQuantized(checkpoint: Checkpoint, { name, packed }: PlannedTensor): CheckpointError {
  return new CheckpointError(
    `${checkpoint.source.name} is quantised already (${name} is stored in ${packed}); quantise the checkpoint that it was made from.`,
    { file: checkpoint.source.name, tensor: name },
  );
}
