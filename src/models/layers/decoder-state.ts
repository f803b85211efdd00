// The decoder's buffers: scratch that all sequences of a model share, because one forward call runs after the other, and what
// each sequence keeps between two calls: keys and values, logits, choices.
import { type CacheDtype, cacheSlotBytes } from "../../gpu/cache-format.ts";
import { type BufferMaker, GPU_READBACK, GPU_STORAGE, GPU_UNIFORM, type Gpu } from "../../gpu/device.ts";
import { NUM_DECODE_SPLITS } from "../../gpu/ops/attention.ts";
import { quantizedRowBytes } from "../../gpu/ops/linear.ts";
import type { HeadLayout } from "../../gpu/ops/rope.ts";
import { type ActivationDtype, padTo4 } from "../../gpu/tensor.ts";
import type { TextConfig } from "../config.ts";
import { STEP_BYTES } from "./step.ts";

/** Keys and values of one layer, [Hkv, capacity, headDim] in the cache's dtype each. */
export interface LayerCache {
  readonly keys: GPUBuffer;
  readonly values: GPUBuffer;
}

/** Keys and values of one sequence. */
export interface KeyValueCache {
  /** Cache slots. */
  readonly capacity: number;
  readonly dtype: CacheDtype;
  readonly layers: readonly LayerCache[];
}

/** Sizes that scratch buffers are allocated for. */
export interface ScratchSize {
  /** Rows of one forward call. */
  readonly numRows: number;
  /** Rows of a whole prompt. */
  readonly promptRows: number;
  /** Batch rows of a decode step. */
  readonly batchRows: number;
  /** Bytes of score edits. */
  readonly editBytes: number;
}

/** Buffers that hold nothing from one forward call to the next; f32 unless said. */
export interface DecoderScratch {
  readonly size: ScratchSize;
  readonly heads: HeadLayout;
  /** [promptRows] u32 */
  readonly promptIds: GPUBuffer;
  /** [promptRows, D], and as many rows again for each layer that features are added behind */
  readonly inputsEmbeds: GPUBuffer;
  /** [R, D] */
  readonly hiddenStates: GPUBuffer;
  /** [R, D] */
  readonly normed: GPUBuffer;
  /** [R, (H + 2·Hkv)·headDim] */
  readonly qkv: GPUBuffer;
  /** [R, H·headDim] */
  readonly attention: GPUBuffer;
  /** [R, 2·I] */
  readonly gateUp: GPUBuffer;
  /** [R, I] */
  readonly inner: GPUBuffer;
  /** [B, quantizedRowBytes]: the input of a decode step's linear layer in 8 bits; undefined where it is read in f32 */
  readonly quantizedInput: GPUBuffer | undefined;
  /** [B, H, splits, headDim] */
  readonly partials: GPUBuffer;
  /** [B, H, splits, 2] */
  readonly stats: GPUBuffer;
  /** [B, D]: the rows that logits are computed for */
  readonly lastHidden: GPUBuffer;
  /** `struct Step` */
  readonly step: GPUBuffer;
  /** [R, headDim]: cosines and sines of each row's position */
  readonly rotary: GPUBuffer;
  /** Packed score edits, u32; see score-edits.ts */
  readonly edits: GPUBuffer;
}

/** Buffers of one sequence beside its cache. */
export interface SequenceBuffers {
  readonly batchRows: number;
  /** [B] u32: the tokens that the next decode step reads */
  readonly tokenIds: GPUBuffer;
  /** [B, V] f32 */
  readonly logits: GPUBuffer;
  /** [ceil(V / 32)] u32 */
  readonly seen: GPUBuffer;
  /** [B, 4] u32: what was chosen from each row of logits */
  readonly choice: GPUBuffer;
  /** [topK, 2] u32 */
  readonly topK: GPUBuffer;
  /** Mapped for reading: the choices (of all rows, or of the plain and the penalised logits), then the top k. */
  readonly readback: GPUBuffer;
  /** Mapped for reading, one choice each: those of the tokens on their way. */
  readonly choiceRing: readonly GPUBuffer[];
}

/** The largest k that log-probabilities can be asked for. */
export const MAX_TOP_K = 100;

/** Bytes of one choice. */
export const CHOICE_BYTES = 16;

/** Tokens that can be on their way at once. */
export const MAX_LOOKAHEAD = 4;

/** Where the top k begin in the readback buffer: after the choices from the plain and from the penalised logits. */
export const TOP_K_OFFSET = 2 * CHOICE_BYTES;

/** Head counts of the decoder as attention kernels take them. */
export function decoderHeads(text: TextConfig): HeadLayout {
  return {
    numHeads: text.numAttentionHeads,
    numKeyValueHeads: text.numKeyValueHeads,
    headDim: text.headDim,
    paddedHeadDim: padTo4(text.headDim),
  };
}

/** Allocates the scratch buffers. @throws GpuError `limit`. */
export function createScratch(
  gpu: BufferMaker,
  text: TextConfig,
  { activationDtype, ...size }: ScratchSize & { readonly activationDtype: ActivationDtype },
): DecoderScratch {
  const heads = decoderHeads(text);
  const { numHeads, numKeyValueHeads, paddedHeadDim } = heads;
  const d = padTo4(text.hiddenSize);
  const inner = padTo4(text.intermediateSize);
  const widest = Math.max(d, inner, numHeads * paddedHeadDim);
  const quantizedBytes = size.batchRows * quantizedRowBytes(widest);
  const slots = size.batchRows * numHeads * NUM_DECODE_SPLITS;
  const words = (label: string, count: number) => gpu.createBuffer(`decoder ${label}`, count * 4, GPU_STORAGE);
  return {
    size,
    heads,
    promptIds: words("promptIds", size.promptRows),
    inputsEmbeds: words("inputsEmbeds", (1 + text.numDeepstackLayers) * size.promptRows * d),
    hiddenStates: words("hiddenStates", size.numRows * d),
    normed: words("normed", size.numRows * d),
    qkv: words("qkv", size.numRows * (numHeads + 2 * numKeyValueHeads) * paddedHeadDim),
    attention: words("attention", size.numRows * numHeads * paddedHeadDim),
    gateUp: words("gateUp", size.numRows * 2 * inner),
    inner: words("inner", size.numRows * inner),
    quantizedInput:
      activationDtype === "f32" ? undefined : gpu.createBuffer("decoder quantizedInput", quantizedBytes, GPU_STORAGE),
    partials: words("partials", slots * paddedHeadDim),
    stats: words("stats", slots * 2),
    lastHidden: words("lastHidden", size.batchRows * d),
    step: gpu.createBuffer("step", STEP_BYTES, GPU_UNIFORM),
    rotary: words("rotary", size.numRows * text.headDim),
    edits: words("edits", size.editBytes / 4),
  };
}

/** Frees the scratch buffers. */
export function destroyScratch(gpu: Gpu, { size: _size, heads: _heads, ...buffers }: DecoderScratch): void {
  for (const buffer of Object.values(buffers)) {
    if (buffer !== undefined) gpu.destroyBuffer(buffer);
  }
}

/** Cache slots and how each is stored. */
export type CacheSize = Pick<KeyValueCache, "capacity" | "dtype">;

/** Allocates keys and values for `capacity` slots. @throws GpuError `limit`. */
export function createKeyValueCache(gpu: BufferMaker, text: TextConfig, { capacity, dtype }: CacheSize): KeyValueCache {
  const numBytes = layerBytes(text, { capacity, dtype });
  const layers = Array.from({ length: text.numHiddenLayers }, (_, layer) => ({
    keys: gpu.createBuffer(`layers.${layer} keys`, numBytes, GPU_STORAGE),
    values: gpu.createBuffer(`layers.${layer} values`, numBytes, GPU_STORAGE),
  }));
  return { capacity, dtype, layers };
}

/** Bytes of a cache of so many slots. */
export function keyValueBytes(text: TextConfig, size: CacheSize): number {
  return text.numHiddenLayers * 2 * layerBytes(text, size);
}

/** Bytes of the keys, or the values, of one layer. */
function layerBytes(text: TextConfig, { capacity, dtype }: CacheSize): number {
  const { numKeyValueHeads, paddedHeadDim } = decoderHeads(text);
  return numKeyValueHeads * capacity * cacheSlotBytes(paddedHeadDim, dtype);
}

/** Frees the keys and values. */
export function destroyKeyValueCache(gpu: Gpu, cache: KeyValueCache): void {
  for (const { keys, values } of cache.layers) {
    gpu.destroyBuffer(keys);
    gpu.destroyBuffer(values);
  }
}

/** Allocates a sequence's buffers. @throws GpuError `limit`. */
export function createSequenceBuffers(gpu: BufferMaker, text: TextConfig, batchRows: number): SequenceBuffers {
  const words = (label: string, count: number) => gpu.createBuffer(label, count * 4, GPU_STORAGE);
  const topBytes = TOP_K_OFFSET + MAX_TOP_K * 8;
  return {
    batchRows,
    tokenIds: words("tokenIds", batchRows),
    logits: words("logits", batchRows * padTo4(text.vocabSize)),
    seen: words("seen", Math.ceil(text.vocabSize / 32)),
    choice: words("choice", batchRows * (CHOICE_BYTES / 4)),
    topK: words("topK", MAX_TOP_K * 2),
    readback: gpu.createBuffer("readback", Math.max(topBytes, batchRows * CHOICE_BYTES), GPU_READBACK),
    choiceRing: Array.from({ length: MAX_LOOKAHEAD }, (_, slot) =>
      gpu.createBuffer(`choice ${slot}`, CHOICE_BYTES, GPU_READBACK),
    ),
  };
}

/** Frees a sequence's buffers. */
export function destroySequenceBuffers(gpu: Gpu, sequence: SequenceBuffers): void {
  const { choiceRing, batchRows: _batchRows, ...buffers } = sequence;
  for (const buffer of [...Object.values(buffers), ...choiceRing]) gpu.destroyBuffer(buffer);
}
