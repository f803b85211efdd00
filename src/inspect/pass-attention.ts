// What the bindings of the kernels of rotation and attention hold.
import { type BoundTensor, type BoundTensors, type CallReader, read, written } from "./pass-call.ts";
import type { TensorView } from "./pass-values.ts";

/** Queries of a row of qkv, and the cache slots of the rows' keys and values. */
function rotation(reader: CallReader, numRows: number) {
  const { numAttentionHeads, numKeyValueHeads, headDim } = reader.sizes;
  const { allHeads, paddedHeadDim, positionStart } = reader;
  const queries: TensorView = {
    shape: [numRows, numAttentionHeads, headDim],
    strides: [allHeads * paddedHeadDim, paddedHeadDim, 1],
    offset: 0,
    dtype: "f32",
  };
  const appended: TensorView = {
    shape: [numKeyValueHeads, numRows, headDim],
    strides: [reader.param("capacity") * paddedHeadDim, paddedHeadDim, 1],
    offset: positionStart * paddedHeadDim,
    dtype: "f32",
  };
  const label =
    numRows === 1 ? `position ${positionStart}` : `positions ${positionStart} to ${positionStart + numRows - 1}`;
  const cache: BoundTensor = {
    shape: [numKeyValueHeads, reader.param("capacity"), headDim],
    dtype: "f32",
    written: [{ label, view: appended }],
  };
  const table = read([reader.param("capacity"), headDim]);
  return { queries: { label: "queries", view: queries }, keys: cache, values: cache, table };
}

export function ropeAppend(reader: CallReader): BoundTensors {
  const numRows = reader.call.grid[2];
  const { queries, ...others } = rotation(reader, numRows);
  const shape = [numRows, reader.allHeads, reader.sizes.headDim];
  return { qkv: { shape, dtype: "f32", written: [queries], isUpdated: true }, ...others };
}

export function qkvRope(reader: CallReader): BoundTensors {
  const { grid, kernel, constants } = reader.call;
  const { hiddenSize, headDim } = reader.sizes;
  const numRows = kernel.name === "qkv-rope-reduce" ? grid[2] : grid[1];
  const { queries, ...others } = rotation(reader, numRows);
  const columns = reader.allHeads * headDim;
  return {
    ...reader.weight(columns, hiddenSize),
    input: read([numRows, hiddenSize]),
    ...(constants.HAS_BIAS === true && { bias: read([columns]) }),
    queries: { shape: [numRows, reader.allHeads, headDim], dtype: "f32", written: [queries] },
    ...others,
  };
}

/** One row's scores or probabilities, [H, S] of the keys that the row sees. */
function captured(reader: CallReader, row: number, label: string): BoundTensor {
  const { numAttentionHeads } = reader.sizes;
  const stride = reader.param("captureStride");
  const numKeys = Math.min(stride, reader.positionStart + row + 1);
  return written({ shape: [numAttentionHeads, numKeys], strides: [stride, 1], offset: 0, dtype: "f32" }, label);
}

const SCORES = "last row, before the factor";
const PROBS = "last row";

export function attentionPrefill(reader: CallReader): BoundTensors {
  const { numAttentionHeads, numKeyValueHeads, headDim } = reader.sizes;
  const { constants } = reader.call;
  const numRows = reader.param("numRows");
  const isCausal = constants.CAUSAL === true;
  const numKeys = isCausal ? reader.positionStart + numRows : reader.param("numKeys");
  const keys = read(isCausal ? [numKeyValueHeads, numKeys, headDim] : [numKeys, numKeyValueHeads, headDim]);
  const row = reader.param("captureRow");
  return {
    queries: read([numRows, numAttentionHeads, headDim]),
    keys,
    values: keys,
    output: written(attended(reader, numRows)),
    ...(constants.CAPTURE === true && { scores: captured(reader, row, SCORES), probs: captured(reader, row, PROBS) }),
  };
}

function attended(reader: CallReader, numRows: number): TensorView {
  const { numAttentionHeads, headDim } = reader.sizes;
  const { paddedHeadDim } = reader;
  const strides = [numAttentionHeads * paddedHeadDim, paddedHeadDim, 1];
  return { shape: [numRows, numAttentionHeads, headDim], strides, offset: 0, dtype: "f32" };
}

/** The queries of a decode step's rows and the cache up to their position. */
function decodeInputs(reader: CallReader, numRows: number): BoundTensors {
  const { numAttentionHeads, numKeyValueHeads, headDim } = reader.sizes;
  const keys = read([numKeyValueHeads, reader.positionStart + 1, headDim]);
  return { queries: read([numRows, numAttentionHeads, headDim]), keys, values: keys };
}

export function attentionDecodeQuad(reader: CallReader): BoundTensors {
  const numRows = reader.call.grid[1];
  const isCaptured = reader.call.constants.CAPTURE === true;
  return {
    ...decodeInputs(reader, numRows),
    output: written(attended(reader, numRows)),
    ...(isCaptured && { scores: captured(reader, 0, SCORES), probs: captured(reader, 0, PROBS) }),
  };
}

function splitShapes(
  reader: CallReader,
  numRows: number,
): { readonly partials: TensorView; readonly stats: BoundTensor } {
  const { numAttentionHeads, headDim } = reader.sizes;
  const { paddedHeadDim } = reader;
  const numSplits = reader.param("numSplits");
  const slots = [numRows, numAttentionHeads, numSplits];
  const slotStrides = [numAttentionHeads * numSplits, numSplits, 1];
  const partials: TensorView = {
    shape: [...slots, headDim],
    strides: [...slotStrides.map((stride) => stride * paddedHeadDim), 1],
    offset: 0,
    dtype: "f32",
  };
  const half = (offset: number): TensorView => {
    return { shape: slots, strides: slotStrides.map((stride) => stride * 2), offset, dtype: "f32" };
  };
  const halves = [
    { label: "largest score, -3e38 of a split without keys", view: half(0) },
    { label: "sum of exp(score − largest)", view: half(1) },
  ];
  return { partials, stats: { shape: [...slots, 2], dtype: "f32", written: halves } };
}

export function attentionDecodeSplit(reader: CallReader): BoundTensors {
  const numRows = reader.call.grid[2];
  const { partials, stats } = splitShapes(reader, numRows);
  const isCaptured = reader.call.constants.CAPTURE === true;
  return {
    ...decodeInputs(reader, numRows),
    partials: written(partials),
    stats,
    ...(isCaptured && { scores: captured(reader, 0, SCORES) }),
  };
}

export function attentionDecodeReduce(reader: CallReader): BoundTensors {
  const numRows = reader.call.grid[1];
  const { partials, stats } = splitShapes(reader, numRows);
  const isCaptured = reader.call.constants.CAPTURE === true;
  return {
    partials: read(partials.shape),
    stats: read(stats.shape),
    output: written(attended(reader, numRows)),
    ...(isCaptured && {
      scores: read(captured(reader, 0, SCORES).shape),
      probs: captured(reader, 0, PROBS),
    }),
  };
}
