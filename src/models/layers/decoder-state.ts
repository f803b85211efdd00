// The decoder's State: the key/value cache and the scratch buffers of a run.
import { type BufferMaker, GPU_READBACK, GPU_STORAGE, GPU_UNIFORM, type Gpu } from "../../gpu/device.ts";
import { type HeadLayout, NUM_DECODE_SPLITS } from "../../gpu/ops/ops.ts";
import { padTo4 } from "../../gpu/tensor.ts";
import type { TextConfig } from "../config.ts";
import { ropeTable } from "./rope.ts";
import { STEP_BYTES } from "./step.ts";

/** Cache slots are allocated in multiples of this. */
const CAPACITY_STEP = 256;

/** Keys and values of one layer, [Hkv, capacity, headDim] f32 each. */
export interface LayerCache {
  readonly keys: GPUBuffer;
  readonly values: GPUBuffer;
}

/** Sizes that a decoder state is allocated for. */
export interface StateSize {
  /** Cache slots: prompt, new tokens and the batch rows' tails. */
  readonly capacity: number;
  /** Rows of one forward call. */
  readonly numRows: number;
  /** Rows of the whole prompt. */
  readonly promptRows: number;
  /** Batch rows of a decode step. */
  readonly batchRows: number;
}

/** Buffers of a decoder run; f32 unless said. */
export interface LlamaState {
  readonly size: StateSize;
  readonly heads: HeadLayout;
  readonly layers: readonly LayerCache[];
  /** [capacity, headDim] */
  readonly ropeTable: GPUBuffer;
  /** [promptRows, D] */
  readonly inputsEmbeds: GPUBuffer;
  /** [promptRows] u32 */
  readonly promptIds: GPUBuffer;
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
  /** [B, H, splits, headDim] */
  readonly partials: GPUBuffer;
  /** [B, H, splits, 2] */
  readonly stats: GPUBuffer;
  /** `struct Step` with the intervention, for the layers it acts on. */
  readonly step: GPUBuffer;
  /** `struct Step` without it, for the other layers. */
  readonly plainStep: GPUBuffer;
  /** [B] u32: the tokens that the next decode step reads */
  readonly tokenIds: GPUBuffer;
  /** [B, D]: the rows that logits are computed for */
  readonly lastHidden: GPUBuffer;
  /** [B, V] */
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
export function llamaHeads(text: TextConfig): HeadLayout {
  return {
    numHeads: text.numAttentionHeads,
    numKeyValueHeads: text.numKeyValueHeads,
    headDim: text.headDim,
    paddedHeadDim: padTo4(text.headDim),
  };
}

/** Rounds a wanted size up so that later, slightly longer prompts fit without a new allocation. */
export function roundStateSize(size: StateSize): StateSize {
  const roundUp = (count: number) => Math.ceil(count / CAPACITY_STEP) * CAPACITY_STEP;
  return { ...size, capacity: roundUp(size.capacity), promptRows: roundUp(size.promptRows) };
}

/** Allocates the decoder's buffers. @throws GpuError `limit`. */
export function createLlamaState(gpu: BufferMaker, text: TextConfig, size: StateSize): LlamaState {
  const heads = llamaHeads(text);
  const { numHeads, numKeyValueHeads, paddedHeadDim } = heads;
  const d = padTo4(text.hiddenSize);
  const inner = padTo4(text.intermediateSize);
  const vocabulary = padTo4(text.vocabSize);
  const splits = NUM_DECODE_SPLITS;
  const words = (label: string, count: number) => gpu.createBuffer(`llama ${label}`, count * 4, GPU_STORAGE);
  const cacheWords = numKeyValueHeads * size.capacity * paddedHeadDim;
  const layers = Array.from({ length: text.numHiddenLayers }, (_, layer) => ({
    keys: words(`layers.${layer} keys`, cacheWords),
    values: words(`layers.${layer} values`, cacheWords),
  }));
  return {
    size,
    heads,
    layers,
    ropeTable: gpu.createBufferWith("rope table", ropeTable(text.rope, text.headDim, size.capacity), GPU_STORAGE),
    inputsEmbeds: words("inputsEmbeds", size.promptRows * d),
    promptIds: words("promptIds", size.promptRows),
    hiddenStates: words("hiddenStates", size.numRows * d),
    normed: words("normed", size.numRows * d),
    qkv: words("qkv", size.numRows * (numHeads + 2 * numKeyValueHeads) * paddedHeadDim),
    attention: words("attention", size.numRows * numHeads * paddedHeadDim),
    gateUp: words("gateUp", size.numRows * 2 * inner),
    inner: words("inner", size.numRows * inner),
    partials: words("partials", size.batchRows * numHeads * splits * paddedHeadDim),
    stats: words("stats", size.batchRows * numHeads * splits * 2),
    step: gpu.createBuffer("step", STEP_BYTES, GPU_UNIFORM),
    plainStep: gpu.createBuffer("plain step", STEP_BYTES, GPU_UNIFORM),
    tokenIds: words("tokenIds", size.batchRows),
    lastHidden: words("lastHidden", size.batchRows * d),
    logits: words("logits", size.batchRows * vocabulary),
    seen: words("seen", Math.ceil(text.vocabSize / 32)),
    choice: words("choice", size.batchRows * (CHOICE_BYTES / 4)),
    topK: words("topK", MAX_TOP_K * 2),
    readback: gpu.createBuffer(
      "readback",
      Math.max(TOP_K_OFFSET + MAX_TOP_K * 8, size.batchRows * CHOICE_BYTES),
      GPU_READBACK,
    ),
    choiceRing: Array.from({ length: MAX_LOOKAHEAD }, (_, slot) =>
      gpu.createBuffer(`choice ${slot}`, CHOICE_BYTES, GPU_READBACK),
    ),
  };
}

/** Frees the buffers of a state. */
export function destroyLlamaState(gpu: Gpu, state: LlamaState): void {
  const { layers, choiceRing, size: _size, heads: _heads, ...buffers } = state;
  for (const { keys, values } of layers) {
    gpu.destroyBuffer(keys);
    gpu.destroyBuffer(values);
  }
  for (const buffer of [...Object.values(buffers), ...choiceRing]) gpu.destroyBuffer(buffer);
}
