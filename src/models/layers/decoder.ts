// The LLaMA-type decoder: hiddenStates [R, D] through all layers, then logits of some rows.
// Source: https://arxiv.org/abs/2302.13971; modeling_llama.py LlamaModel.forward
import { at } from "../../errors.ts";
import { cacheSlotLength } from "../../gpu/cache-format.ts";
import type { Gpu } from "../../gpu/device.ts";
import { type AttentionEdits, attentionDecode, attentionPrefill } from "../../gpu/ops/attention.ts";
import { addRows } from "../../gpu/ops/embedding.ts";
import { gatedActivation, gatedMatvec, isWhole, linear, quantizeActivations } from "../../gpu/ops/linear.ts";
import { headNorm, rmsNorm } from "../../gpu/ops/norm.ts";
import { canFuseRope, qkvRope, ropeAppend } from "../../gpu/ops/rope.ts";
import type { Program } from "../../gpu/program.ts";
import { isQuantized, type Linear, padTo4 } from "../../gpu/tensor.ts";
import type { TextConfig } from "../config.ts";
import type { DecoderScratch, KeyValueCache, LayerCache } from "./decoder-state.ts";
import type { LlamaLayerWeights, LlamaWeights } from "./decoder-weights.ts";
import type { PlaceVisitor } from "./places.ts";
import type { RowEdits } from "./row-edits.ts";

/** One decoder: its sizes, weights and scratch buffers. */
export interface Decoder {
  readonly text: TextConfig;
  readonly weights: LlamaWeights;
  readonly scratch: DecoderScratch;
}

/** One forward call: R rows that follow each other in one sequence, or one new row for each sequence of a batch. */
export interface DecoderCall {
  readonly decoder: Decoder;
  readonly cache: KeyValueCache;
  readonly numRows: number;
  /** True for one new token per batch row over a cached prefix: attention then runs per row over all keys. */
  readonly isDecode: boolean;
  /** Of a decode step whose rows are at different slots: most keys that a row sees. All rows are at one slot unless given. */
  readonly raggedKeys?: number | undefined;
  /** Whether attention applies the score edits in `scratch.edits`; a call without edits reads none. */
  readonly isEdited: boolean;
  /** Records what edits with row strengths need; undefined where no edit has any. */
  readonly rowEdits?: RowEdits | undefined;
  /** Slot of row 0, of prompt rows. */
  readonly firstSlot?: number | undefined;
  readonly places?: PlaceVisitor | undefined;
  /** Features that are added behind the first layers; undefined where no row of the call is a picture's. */
  readonly deepstack?: Deepstack | undefined;
}

/** Features of pictures' positions for the hidden states behind the first layers. */
export interface Deepstack {
  /** [numLayers + 1, promptRows, D] f32: what the prompt begins with, then what is added behind each layer */
  readonly embeds: GPUBuffer;
  /** Rows of each of the layers' parts. */
  readonly promptRows: number;
  /** Slot of row 0. */
  readonly start: number;
  /** Rows [start, end) of the call that are pictures'. */
  readonly runs: readonly (readonly [start: number, end: number])[];
}

/** One layer's part of it. */
interface LayerCall extends DecoderCall {
  readonly layer: LlamaLayerWeights;
  readonly index: number;
}

/** Records all layers over R rows of `scratch.hiddenStates`, in place. */
export function decoderLayers(program: Program, gpu: Gpu, call: DecoderCall): void {
  const { text, scratch, weights } = call.decoder;
  const { hiddenStates } = scratch;
  const embeds = { place: "inputs_embeds", buffer: hiddenStates, groups: 1, groupSize: text.hiddenSize };
  call.places?.visit(program, { ...embeds, numRows: call.numRows });
  weights.layers.forEach((layer, index) => {
    decoderLayer(program, gpu, { ...call, layer, index });
    if (index < text.numDeepstackLayers) addFeatures(program, call, index);
  });
}

/** Behind layer `index`: x + the pictures' features of that layer. */
function addFeatures(program: Program, { deepstack, decoder }: DecoderCall, index: number): void {
  if (deepstack === undefined) return;
  const { embeds, promptRows, start, runs } = deepstack;
  for (const [first, end] of runs) {
    addRows(program.at(`layers.${index}.deepstack`, "the picture's features of an earlier vision layer, added"), {
      values: embeds,
      output: decoder.scratch.hiddenStates,
      numRows: end - first,
      valueRowStart: (index + 1) * promptRows + start + first,
      outputRowStart: first,
      columns: decoder.text.hiddenSize,
    });
  }
}

function decoderLayer(program: Program, gpu: Gpu, call: LayerCall): void {
  const { layer, index, numRows, isDecode, places } = call;
  const { text, scratch } = call.decoder;
  const { hiddenStates, normed, heads, step } = scratch;
  const cache = layerCache(call.cache, index);
  const norm = { numRows, columns: text.hiddenSize, eps: text.rmsNormEps };
  // A prompt row comes out the same, to the bit, in a chunk of any length: after a reused prefix few rows may be left.
  const rowStable = !isDecode;
  const at = (name: string, what: string) => program.at(`layers.${index}.${name}`, what);
  const visit = (name: string, buffer: GPUBuffer, groupSize: number, groups = 1) =>
    places?.visit(program, { place: `layers.${index}.${name}`, buffer, groups, groupSize, numRows });

  // A decode step may multiply integers: each linear layer's input is quantised before it.
  const quantizedInput = (name: string, { weight }: Linear, input: GPUBuffer) => {
    const output = scratch.quantizedInput;
    if (!isDecode || output === undefined || !isQuantized(weight.dtype)) return undefined;
    const { columns } = weight;
    quantizeActivations(at(name, "its input in 8 bits"), { input, output, numRows, columns });
    return output;
  };

  if (!isDecode)
    call.rowEdits?.layerInput(program, { hiddenStates, step, edits: scratch.edits, numRows, layer: index });

  // x + o_proj(attention(rmsNorm(x)))
  const inputNorm = { input: hiddenStates, weight: layer.inputLayernorm, output: normed, ...norm };
  rmsNorm(at("input_layernorm", "hidden states, normalised for the attention"), inputNorm);
  visit("input_layernorm", normed, text.hiddenSize);
  const { capacity, dtype: cacheDtype } = call.cache;
  const rotation = { heads, qkv: scratch.qkv, rotary: scratch.rotary, ...cache, step, numRows, capacity };
  const isSingle = isDecode && numRows === 1;
  const { qkvProj, oProj, headNorm: headWeights } = layer.selfAttn;
  const qkv = {
    layer: qkvProj,
    input: normed,
    quantizedInput: quantizedInput("self_attn.qkv_proj", qkvProj, normed),
  };
  if (isSingle && headWeights === undefined && canFuseRope(heads, qkvProj.weight, cacheDtype)) {
    const what = "q, k and v of all heads, rotated, put into the cache";
    qkvRope(at("self_attn.qkv_proj", what), gpu, { ...rotation, ...qkv });
  } else {
    const what = "q, k and v of all heads";
    linear(at("self_attn.qkv_proj", what), gpu, { ...qkv, output: scratch.qkv, numRows, rowStable });
    if (headWeights !== undefined) {
      const call = { heads, qkv: scratch.qkv, ...headWeights, numRows, eps: text.rmsNormEps };
      headNorm(at("self_attn.q_norm", "every head of q and k, normalised"), call);
    }
    const rotated = "q and k rotated by position, k and v put into the cache";
    ropeAppend(at("self_attn.rotary_emb", rotated), { ...rotation, cacheDtype });
  }
  const reader = isDecode ? "the last position" : "every position";
  const window = text.slidingWindows?.[index];
  const seen = window === undefined ? "itself and all before it" : `the last ${window} positions up to itself`;
  const mixed = `the values that ${reader} attends to, in ${seen}`;
  attention(program, gpu, { ...call, layerCache: cache, what: mixed });
  visit("self_attn", scratch.attention, heads.headDim, heads.numHeads);
  const quantizedAttention = quantizedInput("self_attn.o_proj", oProj, scratch.attention);
  linear(at("self_attn.o_proj", "the attention's result, added to the hidden states"), gpu, {
    layer: oProj,
    input: scratch.attention,
    quantizedInput: quantizedAttention,
    output: hiddenStates,
    numRows,
    rowStable,
    addToOutput: true,
  });
  visit("self_attn.o_proj", hiddenStates, text.hiddenSize);

  // x + down_proj(activation(gate_proj(rmsNorm(x))) · up_proj(rmsNorm(x)))
  const postNorm = { input: hiddenStates, weight: layer.postAttentionLayernorm, output: normed, ...norm };
  rmsNorm(at("post_attention_layernorm", "hidden states, normalised for the MLP"), postNorm);
  visit("post_attention_layernorm", normed, text.hiddenSize);
  const gated = { output: scratch.inner, numRows, activation: text.hiddenAct };
  const { gateUpProj, downProj } = layer.mlp;
  const gateUp = {
    layer: gateUpProj,
    input: normed,
    quantizedInput: quantizedInput("mlp.gate_up_proj", gateUpProj, normed),
  };
  const innerValues = `the MLP's inner values: ${text.hiddenAct}(gate) · up`;
  if (isSingle && isWhole(gateUpProj.weight)) {
    gatedMatvec(at("mlp.gate_up_proj", innerValues), gpu, { ...gated, ...gateUp });
  } else {
    const what = "gate and up projection of the MLP";
    linear(at("mlp.gate_up_proj", what), gpu, { ...gateUp, output: scratch.gateUp, numRows, rowStable });
    const columns = text.intermediateSize;
    gatedActivation(at("mlp.act_fn", innerValues), { ...gated, gateUp: scratch.gateUp, columns });
  }
  visit("mlp.act_fn", scratch.inner, text.intermediateSize);
  const quantizedInner = quantizedInput("mlp.down_proj", downProj, scratch.inner);
  linear(at("mlp.down_proj", "the MLP's result, added to the hidden states"), gpu, {
    layer: downProj,
    input: scratch.inner,
    quantizedInput: quantizedInner,
    output: hiddenStates,
    numRows,
    rowStable,
    addToOutput: true,
  });
  visit("mlp.down_proj", hiddenStates, text.hiddenSize);
}

interface AttentionPart extends LayerCall {
  readonly layerCache: LayerCache;
  /** What comes out of it. */
  readonly what: string;
}

function attention(program: Program, gpu: Gpu, call: AttentionPart): void {
  const { numRows, index, isEdited, rowEdits } = call;
  const { scratch, text } = call.decoder;
  const { heads } = scratch;
  const { capacity, dtype: cacheDtype } = call.cache;
  const rows = {
    heads,
    queries: scratch.qkv,
    ...call.layerCache,
    cacheDtype,
    output: scratch.attention,
    step: scratch.step,
    numRows,
    queryRowStride: (heads.numHeads + 2 * heads.numKeyValueHeads) * heads.paddedHeadDim,
    window: text.slidingWindows?.[index],
  };
  const edits = isEdited ? { words: scratch.edits, layer: index, describe: describeEdits } : undefined;
  const common = { ...rows, capture: call.places?.attention(index), edits };
  if (edits !== undefined) rowEdits?.attention(program, gpu, { ...rows, edits, capacity, firstSlot: call.firstSlot });
  program.at(`layers.${index}.self_attn`, call.what);
  if (call.isDecode) {
    const { partials, stats } = scratch;
    attentionDecode(program, gpu, { ...common, partials, stats, capacity, raggedKeys: call.raggedKeys });
    return;
  }
  const slotLength = cacheSlotLength(heads.paddedHeadDim, cacheDtype);
  attentionPrefill(program, gpu, {
    ...common,
    causal: true,
    numKeys: 0,
    keyOffset: 0,
    valueOffset: 0,
    positionStride: slotLength,
    headStride: capacity * slotLength,
  });
}

/** Records logits [R, V] of rows [row, row + R) of `scratch.hiddenStates`: final norm and lm_head. */
export function rowLogits(
  program: Program,
  gpu: Gpu,
  call: {
    readonly decoder: Decoder;
    /** [R, V] f32 */
    readonly logits: GPUBuffer;
    readonly row: number;
    readonly numRows: number;
  },
): void {
  const { text, weights, scratch } = call.decoder;
  const { row, numRows, logits } = call;
  const rowBytes = padTo4(text.hiddenSize) * 4;
  if (row > 0) {
    program.copy(scratch.hiddenStates, scratch.lastHidden, { size: numRows * rowBytes, sourceOffset: row * rowBytes });
  }
  rmsNorm(program.at("norm", "the last row, normalised for the vocabulary"), {
    input: row > 0 ? scratch.lastHidden : scratch.hiddenStates,
    weight: weights.norm,
    output: scratch.normed,
    numRows,
    columns: text.hiddenSize,
    eps: text.rmsNormEps,
  });
  const lmHead = { layer: weights.lmHead, input: scratch.normed, output: logits, numRows };
  linear(program.at("lm_head", "logits: a score for every token of the vocabulary"), gpu, lmHead);
}

function layerCache(cache: KeyValueCache, index: number): LayerCache {
  return at(cache.layers, index);
}

const describeEdits: AttentionEdits["describe"] = async (words, rows) =>
  (await import("./describe-edits.ts")).describeEdits(words, rows);
