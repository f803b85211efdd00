// What the ops' dispatches bind and write, as explanations show it. Loaded only for these, so that a page which never explains
// does not fetch it. Letters as in the ops.
import { cacheSlotBytes } from "../cache-format.ts";
import {
  type BoundTensor,
  type Description,
  denseView,
  type ReadBinding,
  reads,
  readsMatrix,
  realColumns,
  realRows,
  rowsView,
  type TensorView,
  writes,
} from "../describe.ts";
import { groupsPerRow, type MatrixPiece, padTo4 } from "../tensor.ts";
import type { AttentionCall, DecodeCall, PrefillCall } from "./attention.ts";
import type { AddRowsCall, CombineCall, EmbedCall, GatherCall } from "./embedding.ts";
import type { GatedActivationCall, GatedCall, LinearCall, QuantizeActivationsCall } from "./linear.ts";
import type { HeadNormCall, NormCall } from "./norm.ts";
import type { QkvRopeCall, RotationCall } from "./rope.ts";
import type { RowStrengthsCall, SinkActivationsCall } from "./row-strengths.ts";
import type { LogitsView } from "./sampling.ts";
import type { UnfoldCall, VisionEmbedCall } from "./vision.ts";

/** The input of a linear layer: f32, or what quantize-activations wrote. */
function readsInput(numRows: number, columns: number, quantizedInput: GPUBuffer | undefined): BoundTensor {
  return quantizedInput === undefined ? reads([numRows, columns]) : reads([numRows, groupsPerRow(columns), 12], "u32");
}

/** Activations in integers of 8 bits. */
export function quantizeActivations({ numRows, columns }: QuantizeActivationsCall): Description {
  const groups = groupsPerRow(columns);
  const view = { shape: [numRows, groups, 12], strides: [groups * 12, 12, 1], offset: 0, dtype: "u32" } as const;
  return { tensors: { input: reads([numRows, columns]), output: writes(view) } };
}

/** One piece of a linear layer. */
export function linear({ layer, numRows, ...call }: LinearCall, piece: MatrixPiece): Description {
  const { weight, bias } = layer;
  const { groups, size, total } = realRows(weight);
  const stride = call.outputStride ?? weight.rows;
  const offset = (call.outputColumn ?? 0) + piece.rowStart;
  let view: TensorView = { shape: [numRows, groups, size], strides: [stride, padTo4(size), 1], offset, dtype: "f32" };
  let label = "";
  if (groups === 1 || piece.numRows < weight.rows) {
    // One group, or a piece of a matrix that is split between rows.
    const first = piece.rowStart;
    const real = groups === 1 ? Math.min(piece.numRows, size - first) : piece.numRows;
    view = { shape: [numRows, real], strides: [stride, 1], offset, dtype: "f32" };
    if (real < total) label = `columns ${first} to ${first + real - 1}`;
  }
  return {
    tensors: {
      ...readsMatrix(weight),
      input: readsInput(numRows, realColumns(weight), call.quantizedInput),
      ...(bias && { bias: reads([total]) }),
      output: { ...writes(view, label), isUpdated: call.addToOutput === true },
    },
  };
}

/** The gated half of an MLP. */
export function gatedMatvec({ layer: { weight, bias }, numRows, quantizedInput }: GatedCall): Description {
  const { total } = realRows(weight);
  return {
    tensors: {
      ...readsMatrix(weight),
      input: readsInput(numRows, realColumns(weight), quantizedInput),
      ...(bias && { bias: reads([total]) }),
      output: writes(rowsView(numRows, total / 2)),
    },
  };
}

/** The activation of an MLP's gate. */
export function gatedActivation({ numRows, columns }: GatedActivationCall): Description {
  return { tensors: { gateUp: reads([numRows, 2, columns]), output: writes(rowsView(numRows, columns)) } };
}

/** Both normalisations. */
export function norm({ numRows, columns, bias }: NormCall): Description {
  return {
    tensors: {
      input: reads([numRows, columns]),
      weight: reads([columns]),
      ...(bias && { bias: reads([columns]) }),
      output: writes(rowsView(numRows, columns)),
    },
  };
}

/** Heads of queries and keys, normalised in place. */
export function headNorm({ heads, numRows }: HeadNormCall): Description {
  const { numHeads, numKeyValueHeads, headDim, paddedHeadDim } = heads;
  const allHeads = numHeads + 2 * numKeyValueHeads;
  const view = {
    shape: [numRows, numHeads + numKeyValueHeads, headDim],
    strides: [allHeads * paddedHeadDim, paddedHeadDim, 1],
    offset: 0,
    dtype: "f32",
  } as const;
  const qkv = { ...writes(view, "queries and keys"), shape: [numRows, allHeads, headDim], isUpdated: true };
  return { tensors: { qkv, queryWeight: reads([headDim]), keyWeight: reads([headDim]) } };
}

/** Rows out of one piece of the embedding table. */
export async function embedTokens(
  { table, numRows }: EmbedCall,
  { rowStart, numRows: pieceRows }: MatrixPiece,
  read: ReadBinding,
): Promise<Description> {
  const columns = realColumns(table);
  const ids = Array.from((await read("ids")).subarray(0, numRows));
  const rows = ids.flatMap((id, row) => (id >= rowStart && id < rowStart + pieceRows ? [row] : []));
  const label = rows.length < numRows ? "rows of text tokens" : "";
  const output = writes({ ...rowsView(rows.length, columns), rows }, label);
  return {
    tensors: {
      ...readsMatrix(table),
      ids: reads([numRows], "u32"),
      output: { ...output, shape: [numRows, columns] },
    },
  };
}

/** Rows put in their places. */
export function gatherRows({ numRows, outputRowStart: start, columns }: GatherCall): Description {
  return {
    tensors: {
      index: reads([numRows], "i32"),
      filler: reads([columns]),
      output: writes(rowsView(numRows, columns, start), `positions ${start} to ${start + numRows - 1}`),
    },
  };
}

/** Rows with others added. */
export function addRows({ numRows, outputRowStart: start, columns }: AddRowsCall): Description {
  const output = writes(rowsView(numRows, columns, start), `positions ${start} to ${start + numRows - 1}`);
  return { tensors: { values: reads([numRows, columns]), output: { ...output, isUpdated: true } } };
}

/** Rows to which weighted sums of others were added. */
export async function combineRows(
  { rowStart, numRows, columns }: CombineCall,
  read: ReadBinding,
): Promise<Description> {
  const rows = Array.from((await read("outputRow")).subarray(rowStart, rowStart + numRows));
  const output = writes({ ...rowsView(numRows, columns), rows });
  return {
    tensors: {
      outputRow: reads([numRows], "u32"),
      index: reads([numRows, 4], "u32"),
      weights: reads([numRows, 4]),
      output: { ...output, isUpdated: true },
    },
  };
}

/** A picture's patches. @param columns pixels of a patch */
export function unfoldPatches(
  { numChannels, imageSize }: UnfoldCall,
  numPatches: number,
  columns: number,
): Description {
  return {
    tensors: {
      pixels: reads([numChannels, imageSize, imageSize]),
      output: writes(rowsView(numPatches, columns)),
    },
  };
}

/** Patches with their positions. */
export function visionEmbed({ position, numPatches, classEmbedding }: VisionEmbedCall): Description {
  const columns = realColumns(position);
  return {
    tensors: {
      ...readsMatrix(position),
      patches: reads([numPatches, columns]),
      ...(classEmbedding && { classEmbedding: reads([columns]) }),
      output: writes(rowsView(numPatches + (classEmbedding === undefined ? 0 : 1), columns)),
    },
  };
}

/** The logits of tokens seen before. */
export async function repetitionPenalty({ numRows, vocabSize }: LogitsView, read: ReadBinding): Promise<Description> {
  const words = await read("seen");
  const isSeen = (token: number) => ((Number(words[token >>> 5]) >>> (token & 31)) & 1) === 1;
  const rows = Array.from({ length: vocabSize }, (_, token) => token).filter(isSeen);
  const logits = writes({ ...denseView([rows.length]), rows }, "tokens seen so far");
  return {
    tensors: {
      seen: reads([numRows, Math.ceil(vocabSize / 32)], "u32"),
      logits: { ...logits, shape: [numRows, vocabSize], isUpdated: true },
    },
  };
}

/** The logits of tokens that are ruled out, of one row. */
export async function maskTokens(
  { vocabSize, stride }: LogitsView,
  firstRow: number,
  read: ReadBinding,
): Promise<Description> {
  const words = await read("allowed");
  const isExcluded = (token: number) => ((Number(words[token >>> 5]) >>> (token & 31)) & 1) === 0;
  const rows = Array.from({ length: vocabSize }, (_, token) => token).filter(isExcluded);
  const logits = writes({ ...denseView([rows.length], firstRow * stride), rows }, "tokens ruled out");
  return {
    tensors: {
      allowed: reads([1, Math.ceil(vocabSize / 32)], "u32"),
      logits: { ...logits, shape: [1, vocabSize], isUpdated: true },
    },
  };
}

/** The largest logit of each row. */
export function chooseToken({ numRows, vocabSize }: LogitsView): Description {
  return {
    tensors: {
      logits: reads([numRows, vocabSize]),
      choice: writesEntries(
        [numRows],
        [
          ["token", "u32"],
          ["logit", "f32"],
          ["log Σ exp of the logits", "f32"],
          ["logits that are not numbers", "u32"],
        ],
      ),
    },
  };
}

/** The k largest logits of each row. */
export function topK({ numRows, vocabSize }: LogitsView, k: number): Description {
  return {
    tensors: {
      logits: reads([numRows, vocabSize]),
      entries: writesEntries(
        [numRows, k],
        [
          ["tokens", "u32"],
          ["logits", "f32"],
        ],
      ),
    },
  };
}

/** Entries [.., fields] whose fields have different meanings. */
function writesEntries(
  shape: readonly number[],
  fields: readonly (readonly [label: string, dtype: "u32" | "f32"])[],
): BoundTensor {
  const { shape: all, strides } = denseView([...shape, fields.length]);
  const written = fields.map(([label, dtype], offset) => ({
    label,
    view: { shape, strides: strides.slice(0, -1), offset, dtype },
  }));
  return { shape: all, dtype: "u32", written };
}

/** Cache slots of a call's rows: the members of `struct Step` (shaders/shared/step.wgsl) that descriptions need. */
interface Slots {
  /** Slot of row 0. */
  readonly slotStart: number;
  /** True when all rows are at the same slot, of one sequence each. */
  readonly isBatch: boolean;
}

/** Reads a call's `struct Step`. */
async function readSlots(read: ReadBinding): Promise<Slots> {
  const [slotStart, isSequence] = await read("step");
  if (slotStart === undefined) throw new Error("struct Step is empty");
  return { slotStart, isBatch: isSequence === 0 };
}

/** A rotation in place. */
export async function ropeAppend(call: RotationCall, read: ReadBinding): Promise<Description> {
  const { queries, params, ...tensors } = await rotation(call, read);
  return { tensors: { qkv: { ...queries, isUpdated: true }, ...tensors }, params };
}

/** Projections that are rotated at once. */
export async function qkvRope(call: QkvRopeCall, read: ReadBinding): Promise<Description> {
  const { weight, bias } = call.layer;
  const { params, ...tensors } = await rotation(call, read);
  return {
    tensors: {
      ...readsMatrix(weight),
      input: reads([call.numRows, realColumns(weight)]),
      ...(bias && { bias: reads([realRows(weight).total]) }),
      ...tensors,
    },
    params,
  };
}

/** Queries of a row of qkv, and the cache slots of the rows' keys and values. */
async function rotation({ heads, numRows, capacity, cacheDtype = "f32" }: RotationCall, read: ReadBinding) {
  const { slotStart } = await readSlots(read);
  const { numHeads, numKeyValueHeads, headDim, paddedHeadDim } = heads;
  const allHeads = numHeads + 2 * numKeyValueHeads;
  const queries = writes(
    {
      shape: [numRows, numHeads, headDim],
      strides: [allHeads * paddedHeadDim, paddedHeadDim, 1],
      offset: 0,
      dtype: "f32",
    },
    "queries",
  );
  const slotWords = cacheSlotBytes(paddedHeadDim, cacheDtype) / 4;
  const isPacked = cacheDtype !== "f32";
  const cache = writes(
    {
      shape: [numKeyValueHeads, numRows, isPacked ? slotWords : headDim],
      strides: [capacity * slotWords, slotWords, 1],
      offset: slotStart * slotWords,
      ...(isPacked ? { dtype: "u32", packed: { dtype: cacheDtype, headDim } } : { dtype: "f32" }),
    },
    numRows === 1 ? `slot ${slotStart}` : `slots ${slotStart} to ${slotStart + numRows - 1}`,
  );
  const whole: BoundTensor = { ...cache, shape: [numKeyValueHeads, capacity, headDim], dtype: cacheDtype };
  return {
    queries: { ...queries, shape: [numRows, allHeads, headDim] },
    keys: whole,
    values: whole,
    rotary: reads([numRows, headDim]),
    params: { "step.slotStart": slotStart },
  };
}

/** Attention of prompt rows, or of a picture's patches. */
export function attentionPrefill(call: PrefillCall, read: ReadBinding): Description | Promise<Description> {
  const { heads, numRows, numKeys, causal } = call;
  const { numHeads, numKeyValueHeads, headDim } = heads;
  const queries = reads([numRows, numHeads, headDim]);
  const output = writes(attended(call));
  if (causal) {
    return describeRows(call, read, (slots) => {
      const keys = reads([numKeyValueHeads, slots.slotStart + numRows, headDim], call.cacheDtype);
      return { queries, keys, values: keys, output, ...captured(call, slots) };
    });
  }
  const keys = reads([numKeys, numKeyValueHeads, headDim]);
  return { tensors: { queries, keys, values: keys, output } };
}

/** Attention of one slot's rows, of all keys or of each split of them. */
export async function attentionDecode(call: DecodeCall, read: ReadBinding, numSplits: number): Promise<Description> {
  const { numHeads, numKeyValueHeads, headDim } = call.heads;
  const description = await describeRows(call, read, (slots) => {
    const keys = reads([numKeyValueHeads, slots.slotStart + 1, headDim], call.cacheDtype);
    const queries = reads([call.numRows, numHeads, headDim]);
    const { scores, ...probs } = captured(call, slots);
    const left = numSplits > 1 ? splitTensors(call, numSplits) : { output: writes(attended(call)), ...probs };
    return { queries, keys, values: keys, ...left, ...(scores && { scores }) };
  });
  return { ...description, ...(numSplits > 1 && { what: "what the last position finds in each split of the keys" }) };
}

/** The splits' parts, merged. */
export async function attentionReduce(call: DecodeCall, read: ReadBinding, numSplits: number): Promise<Description> {
  const description = await describeRows(call, read, (slots) => {
    const { partials, stats } = splitTensors(call, numSplits);
    const { scores, ...probs } = captured(call, slots);
    return {
      partials: reads(partials.shape),
      stats: reads(stats.shape),
      output: writes(attended(call)),
      ...(scores && { scores: reads(scores.shape) }),
      ...probs,
    };
  });
  return { ...description, what: "what the splits found, merged into one softmax" };
}

/** Describes a call whose rows have slots in the cache. */
async function describeRows(
  call: AttentionCall,
  read: ReadBinding,
  tensorsOf: (slots: Slots) => Description["tensors"],
): Promise<Description> {
  const slots = await readSlots(read);
  const { slotStart } = slots;
  const tensors = tensorsOf(slots);
  const params = { "step.slotStart": slotStart };
  const { edits, numRows } = call;
  if (edits === undefined) return { tensors, params };
  const words = await read("edits");
  const rows = { layer: edits.layer, numHeads: call.heads.numHeads, slotStart, numRows };
  const described = await edits.describe?.(words, rows);
  return {
    tensors: { ...tensors, edits: reads([words.length], "u32") },
    ...described,
    params: { ...params, ...described?.params },
  };
}

/** How strongly rows are attention sinks, in one layer. */
export async function sinkActivations(call: SinkActivationsCall, read: ReadBinding): Promise<Description> {
  const { numRows, columns, layer, capacity } = call;
  const { slotStart } = await readSlots(read);
  const view: TensorView = { shape: [numRows], strides: [1], offset: layer * capacity + slotStart, dtype: "f32" };
  const edits = await read("edits");
  return {
    tensors: { input: reads([numRows, columns]), edits: reads([edits.length], "u32"), output: writes(view) },
    params: { "step.slotStart": slotStart },
  };
}

/** Strengths of score edits, by rows. */
export async function rowStrengths(call: RowStrengthsCall, read: ReadBinding): Promise<Description> {
  const { heads, numRows, cacheDtype, capacity, sinkActivations: activations, edits } = call;
  const { numHeads, numKeyValueHeads, headDim } = heads;
  const { slotStart } = await readSlots(read);
  const words = await read("edits");
  const place = { layer: edits.layer, numHeads, slotStart, numRows };
  const described = await edits.describe?.(words, place);
  return {
    tensors: {
      queries: reads([numRows, numHeads, headDim]),
      keys: reads([numKeyValueHeads, slotStart + numRows, headDim], cacheDtype),
      ...(activations && { sinkActivations: reads([capacity]) }),
      edits: { shape: [words.length], dtype: "u32", written: [], isUpdated: true },
    },
    ...described,
    params: { "step.slotStart": slotStart, ...described?.params },
  };
}

function attended({ heads, numRows }: AttentionCall): TensorView {
  const { numHeads, headDim, paddedHeadDim } = heads;
  const strides = [numHeads * paddedHeadDim, paddedHeadDim, 1];
  return { shape: [numRows, numHeads, headDim], strides, offset: 0, dtype: "f32" };
}

/** Captured rows' scores and probabilities, [H, S] each of the keys that the row sees. */
function captured(call: AttentionCall, { slotStart, isBatch }: Slots): Readonly<Record<string, BoundTensor>> {
  const { capture, heads, window = Number.POSITIVE_INFINITY } = call;
  if (capture === undefined) return {};
  const { rows, stride, targetRow = 0 } = capture;
  const { numHeads } = heads;
  const numRows = rows[1] - rows[0];
  const of = (label: string): BoundTensor => {
    const written = Array.from({ length: numRows }, (_, index) => {
      const row = rows[0] + index;
      const end = Math.min(stride, slotStart + (isBatch ? 0 : row) + 1);
      const first = Math.max(0, end - window);
      const offset = (targetRow + index) * numHeads * stride + first;
      const view: TensorView = { shape: [numHeads, end - first], strides: [stride, 1], offset, dtype: "f32" };
      return { label: `${label}, row ${row}${first === 0 ? "" : `, keys from ${first} on`}`, view };
    });
    const [one] = written;
    return { shape: numRows === 1 && one ? one.view.shape : [numRows, numHeads, stride], dtype: "f32", written };
  };
  return { scores: of("before the edits"), probs: of("after the edits") };
}

/** What the splits of the keys leave to be merged. */
function splitTensors(
  { heads, numRows }: AttentionCall,
  numSplits: number,
): {
  readonly partials: BoundTensor;
  readonly stats: BoundTensor;
} {
  const { numHeads, headDim, paddedHeadDim } = heads;
  const slots = [numRows, numHeads, numSplits];
  const strides = [numHeads * numSplits, numSplits, 1];
  const partials: TensorView = {
    shape: [...slots, headDim],
    strides: [...strides.map((stride) => stride * paddedHeadDim), 1],
    offset: 0,
    dtype: "f32",
  };
  const half = (label: string, offset: number) => {
    const view: TensorView = { shape: slots, strides: strides.map((stride) => stride * 2), offset, dtype: "f32" };
    return { label, view };
  };
  const written = [half("largest score, -3e38 of a split without keys", 0), half("sum of exp(score − largest)", 1)];
  return { partials: writes(partials), stats: { shape: [...slots, 2], dtype: "f32", written } };
}
