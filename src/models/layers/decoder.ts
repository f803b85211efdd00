// The LLaMA-type decoder: hiddenStates [R, D] through all layers, then logits of one row.
// Source: https://arxiv.org/abs/2302.13971; modeling_llama.py LlamaModel.forward
import type { Gpu } from "../../gpu/device.ts";
import * as ops from "../../gpu/ops/ops.ts";
import type { Program } from "../../gpu/program.ts";
import { padTo4 } from "../../gpu/tensor.ts";
import type { TextConfig } from "../config.ts";
import type { LlamaLayerWeights, LlamaWeights } from "../weights.ts";
import type { LayerCache, LlamaState } from "./decoder-state.ts";

/** One decoder: its sizes, weights and buffers. */
export interface Decoder {
  readonly text: TextConfig;
  readonly weights: LlamaWeights;
  readonly state: LlamaState;
}

/** Where a traced run leaves one row's attention and hidden states, layer by layer. */
export interface LayerCapture {
  /** Row of this call that is captured. */
  readonly row: number;
  /** Keys a captured row has room for. */
  readonly stride: number;
  /** Per layer [H, stride] f32 */
  readonly scores: readonly GPUBuffer[];
  /** Per layer [H, stride] f32 */
  readonly probs: readonly GPUBuffer[];
  /** Per layer [D] f32 */
  readonly hiddenStates: readonly GPUBuffer[];
}

/** What every layer of one forward call shares. */
interface LayersRun {
  readonly decoder: Decoder;
  readonly numRows: number;
  /** True for one new token a batch row over a cached prefix: attention is then split over the keys. */
  readonly isDecode: boolean;
  readonly capture: LayerCapture | undefined;
}

/** One layer's part of it. */
interface LayerRun extends LayersRun {
  readonly layer: LlamaLayerWeights;
  readonly index: number;
  /** `struct Step`, with the intervention where this layer takes it */
  readonly step: GPUBuffer;
}

/** Records all layers over R rows of `state.hiddenStates`, in place. */
export function decoderLayers(
  program: Program,
  gpu: Gpu,
  run: LayersRun & {
    /** Layers whose attention takes the intervention; all when undefined. */
    readonly scaledLayers: readonly number[] | undefined;
  },
): void {
  const { decoder, capture } = run;
  const { state } = decoder;
  const rowBytes = padTo4(decoder.text.hiddenSize) * 4;
  decoder.weights.layers.forEach((layer, index) => {
    const isScaled = run.scaledLayers === undefined || run.scaledLayers.includes(index);
    decoderLayer(program, gpu, {
      ...run,
      layer,
      index,
      step: isScaled ? state.step : state.plainStep,
    });
    const target = capture?.hiddenStates[index];
    if (capture !== undefined && target !== undefined) {
      program.copy(state.hiddenStates, target, { size: rowBytes, sourceOffset: capture.row * rowBytes });
    }
  });
}

function decoderLayer(program: Program, gpu: Gpu, run: LayerRun): void {
  const { layer, numRows, step } = run;
  const { text, state } = run.decoder;
  const { hiddenStates, normed, heads } = state;
  const norm = { numRows, columns: text.hiddenSize, eps: text.rmsNormEps };
  // A prompt row comes out the same, to the bit, in a chunk of any length: after a reused prefix few rows may be left.
  const kernel = run.isDecode ? "auto" : "rows";
  const at = (name: string) => program.at(`layers.${run.index}.${name}`);

  // x + o_proj(attention(rmsNorm(x)))
  ops.rmsNorm(at("input_layernorm"), { input: hiddenStates, weight: layer.inputLayernorm, output: normed, ...norm });
  const cache = state.layers[run.index];
  if (cache === undefined) return;
  const { capacity } = state.size;
  const rotation = { heads, qkv: state.qkv, table: state.ropeTable, ...cache, step, numRows, capacity };
  const isSingle = run.isDecode && numRows === 1;
  if (isSingle && ops.canFuseRope(heads, layer.selfAttn.qkvProj.weight)) {
    ops.qkvRope(at("self_attn.qkv_proj"), gpu, { ...rotation, layer: layer.selfAttn.qkvProj, input: normed });
  } else {
    const qkvProj = { layer: layer.selfAttn.qkvProj, input: normed, output: state.qkv };
    ops.linear(at("self_attn.qkv_proj"), gpu, { ...qkvProj, numRows, kernel });
    ops.ropeAppend(at("self_attn.rotary_emb"), rotation);
  }
  attention(at("self_attn"), gpu, {
    ...run,
    cache,
    queryRowStride: (heads.numHeads + 2 * heads.numKeyValueHeads) * heads.paddedHeadDim,
  });
  ops.linear(at("self_attn.o_proj"), gpu, {
    layer: layer.selfAttn.oProj,
    input: state.attention,
    output: hiddenStates,
    numRows,
    kernel,
    addToOutput: true,
  });

  // x + down_proj(activation(gate_proj(rmsNorm(x))) · up_proj(rmsNorm(x)))
  const postNorm = { input: hiddenStates, weight: layer.postAttentionLayernorm, output: normed, ...norm };
  ops.rmsNorm(at("post_attention_layernorm"), postNorm);
  const gated = { output: state.inner, numRows, activation: text.hiddenAct };
  if (isSingle && ops.isWhole(layer.mlp.gateUpProj.weight)) {
    ops.gatedMatvec(at("mlp.gate_up_proj"), gpu, { ...gated, layer: layer.mlp.gateUpProj, input: normed });
  } else {
    const gateUpProj = { layer: layer.mlp.gateUpProj, input: normed, output: state.gateUp };
    ops.linear(at("mlp.gate_up_proj"), gpu, { ...gateUpProj, numRows, kernel });
    ops.gatedActivation(at("mlp.act_fn"), { ...gated, gateUp: state.gateUp, columns: padTo4(text.intermediateSize) });
  }
  ops.linear(at("mlp.down_proj"), gpu, {
    layer: layer.mlp.downProj,
    input: state.inner,
    output: hiddenStates,
    numRows,
    kernel,
    addToOutput: true,
  });
}

function attention(
  program: Program,
  gpu: Gpu,
  run: LayerRun & { readonly cache: LayerCache; readonly queryRowStride: number },
): void {
  const { numRows, step, cache, queryRowStride } = run;
  const { state } = run.decoder;
  const { heads, size } = state;
  const scores = run.capture?.scores[run.index];
  const probs = run.capture?.probs[run.index];
  const capture =
    run.capture !== undefined && scores !== undefined && probs !== undefined
      ? { scores, probs, row: run.capture.row, stride: run.capture.stride }
      : undefined;
  const common = {
    heads,
    queries: state.qkv,
    ...cache,
    output: state.attention,
    step,
    numRows,
    queryRowStride,
    capture,
  };
  if (run.isDecode) {
    const { partials, stats } = state;
    ops.attentionDecode(program, gpu, { ...common, partials, stats, capacity: size.capacity });
    return;
  }
  ops.attentionPrefill(program, gpu, {
    ...common,
    causal: true,
    numKeys: 0,
    keyOffset: 0,
    valueOffset: 0,
    positionStride: heads.paddedHeadDim,
    headStride: size.capacity * heads.paddedHeadDim,
  });
}

/** Records logits [R, V] of rows [row, row + R) of `state.hiddenStates`: final norm and lm_head. */
export function rowLogits(
  program: Program,
  gpu: Gpu,
  run: { readonly decoder: Decoder; readonly row: number; readonly numRows: number },
): void {
  const { text, weights, state } = run.decoder;
  const { row, numRows } = run;
  const rowBytes = padTo4(text.hiddenSize) * 4;
  if (row > 0) {
    program.copy(state.hiddenStates, state.lastHidden, { size: numRows * rowBytes, sourceOffset: row * rowBytes });
  }
  ops.rmsNorm(program.at("norm"), {
    input: row > 0 ? state.lastHidden : state.hiddenStates,
    weight: weights.norm,
    output: state.normed,
    numRows,
    columns: text.hiddenSize,
    eps: text.rmsNormEps,
  });
  ops.linear(program.at("lm_head"), gpu, { layer: weights.lmHead, input: state.normed, output: state.logits, numRows });
}
