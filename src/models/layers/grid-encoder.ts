// Vision transformers that take a picture of any shape, such as Qwen2-VL's: flattened patches [P, C·t·p²] → a feature [D] for each
// block of m × m patches. Heads are rotated by each patch's row and column, and layers attend to all of the picture or within
// windows; patches are then in the order of the windows until the features are put back. Qwen3-VL's towers add learned positions, and
// merge the patches behind some earlier layers too, into features for the decoder's first layers.
// Source: https://arxiv.org/abs/2409.12191 §2.1; https://arxiv.org/abs/2502.13923 §2.1.1; modeling_qwen2_vl.py
// Qwen2VisionTransformerPretrainedModel.forward, modeling_qwen2_5_vl.py Qwen2_5_VisionTransformerPretrainedModel.forward
import { at, GpuError } from "../../errors.ts";
import { type BufferMaker, GPU_STORAGE, GPU_UNIFORM, type Gpu } from "../../gpu/device.ts";
import { attentionPrefill } from "../../gpu/ops/attention.ts";
import { combineRows, embedTokens, gatherRows } from "../../gpu/ops/embedding.ts";
import { gatedActivation, linear } from "../../gpu/ops/linear.ts";
import { layerNorm, rmsNorm } from "../../gpu/ops/norm.ts";
import { type HeadLayout, ropeAppend } from "../../gpu/ops/rope.ts";
import type { Program } from "../../gpu/program.ts";
import { padTo4 } from "../../gpu/tensor.ts";
import type { GridLayerWeights, GridNorm, GridVisionConfig, MergerWeights } from "./grid-encoder-weights.ts";
import { type GridEncoder, type GridSize, patchLength } from "./grid-recipe.ts";
import { patchPlaces, rowOrder, stretched, windowOrder } from "./grid-windows.ts";
import type { PicturePass, PictureRun } from "./picture-encoder.ts";
import { type Rotation, rotaryRows, rotationOf } from "./rope.ts";
import { packStep, STEP_BYTES } from "./step.ts";

/** Scratch buffers for pictures of one grid, and what records their encoding. @throws GpuError `limit`. */
export function openGrid(gpu: Gpu, buffers: BufferMaker, call: GridEncoder & GridSize): PicturePass {
  const state = stateWithin(gpu, buffers, call);
  return (program, run) => encodeGrid(program, gpu, { ...call, state, run });
}

/** @throws GpuError `limit`, which says what can be done about the picture. */
function stateWithin(gpu: Gpu, buffers: BufferMaker, call: GridEncoder & GridSize): GridState {
  const { vision, grid } = call;
  const tooLarge = (why: string, cause?: unknown) => {
    const side = vision.patchSize * vision.mergeSize;
    const advice = "lower maxPicturePixels (--max-picture-pixels) or use an adapter with larger limits";
    const message = `A picture of ${grid.width * side}×${grid.height * side} pixels is too large: ${why}; ${advice}.`;
    return new GpuError("limit", message, { cause });
  };
  const numPatches = grid.width * grid.height * vision.mergeSize ** 2;
  const { maxComputeWorkgroupsPerDimension: most } = gpu.device.limits; // norms have a workgroup for each
  if (numPatches > most) throw tooLarge(`it has ${numPatches} patches but this adapter allows ${most} at once`);
  try {
    return createState(buffers, vision, call);
  } catch (error) {
    if (!(error instanceof GpuError && error.reason === "limit")) throw error;
    throw tooLarge(error.message.replace(/;.*$/, ""), error);
  }
}

/** What the heads are rotated by: the first half of the pairs by the row, the others by the column. */
function rotationOfPatches({ headDim, ropeTheta }: GridVisionConfig): Rotation {
  const { frequencies } = rotationOf({ type: "default", theta: ropeTheta }, { headDim: headDim / 2 });
  const axes = frequencies.map(() => 0);
  return { length: 0, frequencies: [...frequencies, ...frequencies], scale: 1, axes: [...axes, ...axes.map(() => 1)] };
}

/** Buffers for pictures of one grid: scratch, f32 unless said, and what depends on the grid alone. */
interface GridState {
  readonly numPatches: number;
  readonly numBlocks: number;
  /** M: patches that go through an MLP together. */
  readonly mlpRows: number;
  readonly heads: HeadLayout;
  /** [P] i32: the patch that is in each place; undefined where they are in their own order */
  readonly patchOrder: GPUBuffer | undefined;
  /** [N] i32: the place of each block */
  readonly blockPlaces: GPUBuffer | undefined;
  /** [P, 2] u32: the window of each patch */
  readonly windows: GPUBuffer | undefined;
  /** [P, headDim]: cosines and sines of each patch's place */
  readonly rotary: GPUBuffer;
  /** Undefined without learned positions. */
  readonly positions: StretchedPositions | undefined;
  readonly patches: GPUBuffer;
  readonly hiddenStates: GPUBuffer;
  readonly normed: GPUBuffer;
  /** [P, 3·H·headDim] */
  readonly qkv: GPUBuffer;
  /** [H, P, headDim] each */
  readonly keys: GPUBuffer;
  readonly values: GPUBuffer;
  /** [P, H·headDim] */
  readonly attention: GPUBuffer;
  /** [M, 2·I]; undefined without a gate */
  readonly gateUp: GPUBuffer | undefined;
  /** [M, I], or [N, m²·Dv] of the merger */
  readonly inner: GPUBuffer;
  /** [N, D] in the order of the windows; undefined where that is the blocks' own */
  readonly merged: GPUBuffer | undefined;
  /** `struct Step`: the patches are one sequence from slot 0 on */
  readonly step: GPUBuffer;
}

/** A square table of positions, and what of it each patch takes. */
interface StretchedPositions {
  /** [side²] u32: 0, 1, … */
  readonly ids: GPUBuffer;
  /** [side², Dv] */
  readonly table: GPUBuffer;
  /** [P] u32: 0, 1, … */
  readonly outputRow: GPUBuffer;
  /** [P, 4] u32: rows of the table */
  readonly index: GPUBuffer;
  /** [P, 4] */
  readonly weights: GPUBuffer;
}

/** @throws GpuError `limit`. */
function createState(gpu: BufferMaker, vision: GridVisionConfig, { grid, mlpRows: most }: GridSize): GridState {
  const { mergeSize, windowSide, numAttentionHeads: numHeads, headDim, hiddenSize, intermediateSize } = vision;
  const { blocks, windows } = windowSide === undefined ? rowOrder(grid) : windowOrder(grid, windowSide);
  const perBlock = mergeSize ** 2;
  const numBlocks = blocks.length;
  const numPatches = numBlocks * perBlock;
  const paddedHeadDim = padTo4(headDim);
  const heads = { numHeads, numKeyValueHeads: numHeads, headDim, paddedHeadDim };
  const isOrdered = windowSide === undefined;
  const f32 = (label: string, count: number) => gpu.createBuffer(`vision ${label}`, count * 4, GPU_STORAGE);
  const filled = (
    label: string,
    data: Int32Array<ArrayBuffer> | Uint32Array<ArrayBuffer> | Float32Array<ArrayBuffer>,
  ) => gpu.createBufferWith(`vision ${label}`, data, GPU_STORAGE);
  const step = new Uint32Array(STEP_BYTES / 4);
  packStep({ slotStart: 0 }, step);
  const mlpRows = Math.min(numPatches, most);
  const inner = mlpRows * padTo4(intermediateSize);
  const places = new Int32Array(numBlocks);
  for (const [place, block] of blocks.entries()) places[block] = place;
  const patchOrder = Int32Array.from({ length: numPatches }, (_, place) => {
    return (blocks[Math.floor(place / perBlock)] ?? 0) * perBlock + (place % perBlock);
  });
  const windowsOfPatches = Uint32Array.from({ length: 2 * numPatches }, (_, at) => {
    return (windows[Math.floor(at / (2 * perBlock))]?.[at % 2] ?? 0) * perBlock;
  });
  const { positionSide } = vision;
  const places2d = patchPlaces(blocks, { ...grid, mergeSize });
  const counted = (length: number) => Uint32Array.from({ length }, (_, index) => index);
  const stretchedPositions = (side: number): StretchedPositions => {
    const size = { width: grid.width * mergeSize, height: grid.height * mergeSize };
    const { index, weights } = stretched(places2d, size, side);
    return {
      ids: filled("position ids", counted(side ** 2)),
      table: f32("position table", side ** 2 * padTo4(hiddenSize)),
      outputRow: filled("position rows", counted(numPatches)),
      index: filled("position index", index),
      weights: filled("position weights", weights),
    };
  };
  return {
    numPatches,
    numBlocks,
    mlpRows,
    heads,
    patchOrder: isOrdered ? undefined : filled("patch order", patchOrder),
    blockPlaces: isOrdered ? undefined : filled("block places", places),
    windows: isOrdered ? undefined : filled("windows", windowsOfPatches),
    rotary: filled("rotary", rotaryRows(places2d, rotationOfPatches(vision))),
    positions: positionSide === undefined ? undefined : stretchedPositions(positionSide),
    patches: f32("patches", numPatches * patchLength(vision)),
    hiddenStates: f32("hiddenStates", numPatches * padTo4(hiddenSize)),
    normed: f32("normed", numPatches * padTo4(hiddenSize)),
    qkv: f32("qkv", numPatches * 3 * numHeads * paddedHeadDim),
    keys: f32("keys", numPatches * numHeads * paddedHeadDim),
    values: f32("values", numPatches * numHeads * paddedHeadDim),
    attention: f32("attention", numPatches * numHeads * paddedHeadDim),
    gateUp: vision.hasGate ? f32("gateUp", 2 * inner) : undefined,
    inner: f32("inner", Math.max(inner, numBlocks * padTo4(perBlock * hiddenSize))),
    merged: isOrdered ? undefined : f32("merged", numBlocks * padTo4(vision.outputSize)),
    step: gpu.createBufferWith("vision step", step, GPU_UNIFORM),
  };
}

interface GridCall extends GridEncoder {
  readonly state: GridState;
  readonly run: PictureRun;
}

/** Records the encoding of a picture into the first rows of imageFeatures. */
function encodeGrid(program: Program, gpu: Gpu, call: GridCall): void {
  const { vision, weights, state, run } = call;
  const { numPatches: numRows, hiddenStates, patchOrder, patches } = state;
  const at = (name: string, what: string) => program.at(`vision.${name}`, what);
  const visit = (index: number) =>
    run.places?.visit(program, {
      place: `vision.hidden_states.${index}`,
      buffer: hiddenStates,
      groups: 1,
      groupSize: vision.hiddenSize,
      numRows,
    });
  const columns = patchLength(vision);
  if (patchOrder !== undefined) {
    gatherRows(at("patch_embed", "the picture's patches, window by window"), {
      index: patchOrder,
      source: run.pixels,
      filler: gpu.unused,
      output: patches,
      numRows,
      outputRowStart: 0,
      columns,
    });
  }
  linear(at("patch_embed", "every patch's pixels as a hidden state"), gpu, {
    layer: weights.patchEmbed,
    input: patchOrder === undefined ? run.pixels : patches,
    output: hiddenStates,
    numRows,
  });
  addPositions(program, call);
  visit(0);
  for (const index of weights.blocks.keys()) {
    gridLayer(program, gpu, { ...call, index });
    visit(index + 1);
    const deepstack = vision.deepstackLayers.indexOf(index);
    if (deepstack >= 0) mergeBehindLayer(program, gpu, { ...call, deepstack });
  }
  const { normed } = state;
  const what = "hidden states after the last layer, normalised";
  norm(program.at(`merger.${vision.names.mergerNorm}`, what), call, { weights: weights.merger.norm });
  mergePatches(program, gpu, { ...call, merger: weights.merger, name: "merger", input: normed, level: 0 });
}

/** x + the learned positions, stretched over the picture. */
function addPositions(program: Program, { vision, weights, state }: GridCall): void {
  const { positions, hiddenStates: output, numPatches: numRows } = state;
  if (positions === undefined || weights.positions === undefined) return;
  const { ids, table, ...rows } = positions;
  const at = (what: string) => program.at("vision.pos_embed", what);
  const side = vision.positionSide ?? 0;
  embedTokens(at("the table of learned positions"), {
    table: weights.positions,
    ids,
    output: table,
    numRows: side ** 2,
  });
  const call = { ...rows, source: table, output, rowStart: 0, numRows, columns: vision.hiddenSize };
  combineRows(at("every patch plus its position, between those of the table"), call);
}

/** Features of an earlier layer, for a layer of the decoder: the patches of a block are normed side by side. */
function mergeBehindLayer(program: Program, gpu: Gpu, call: GridCall & { readonly deepstack: number }): void {
  const { vision, weights, state, deepstack } = call;
  const merger = at(weights.deepstack, deepstack);
  const name = `deepstack_merger_list.${deepstack}`;
  const columns = vision.mergeSize ** 2 * vision.hiddenSize;
  const what = "the patches of each block side by side, normalised";
  norm(program.at(`${name}.norm`, what), call, { weights: merger.norm, numRows: state.numBlocks, columns });
  mergePatches(program, gpu, { ...call, merger, name, input: state.normed, level: 1 + deepstack });
}

function gridLayer(program: Program, gpu: Gpu, call: GridCall & { readonly index: number }): void {
  const { vision, weights, state, index } = call;
  const { hiddenStates, normed, qkv, keys, values, attention, heads, step, numPatches: numRows } = state;
  const layer = weights.blocks[index];
  if (layer === undefined) return;
  const at = (name: string, what: string) => program.at(`vision.layers.${index}.${name}`, what);

  // x + proj(attention(norm1(x)))
  norm(at("norm1", "hidden states, normalised for the attention"), call, { weights: layer.norm1 });
  linear(at("attn.qkv", "q, k and v of all heads"), gpu, {
    layer: layer.attn.qkv,
    input: normed,
    output: qkv,
    numRows,
  });
  const rotated = "q and k rotated by row and column, k and v put aside";
  ropeAppend(at("attn.rotary_emb", rotated), {
    heads,
    qkv,
    rotary: state.rotary,
    keys,
    values,
    step,
    numRows,
    capacity: numRows,
  });
  const isFull = state.windows === undefined || vision.fullLayers.includes(index);
  attentionPrefill(
    at("attn", `the values that every patch attends to, in ${isFull ? "all patches" : "its window"}`),
    gpu,
    {
      heads,
      queries: qkv,
      keys,
      values,
      output: attention,
      step,
      numRows,
      causal: false,
      numKeys: numRows,
      blocks: isFull ? undefined : state.windows,
      queryRowStride: 3 * heads.numHeads * heads.paddedHeadDim,
      keyOffset: 0,
      valueOffset: 0,
      positionStride: heads.paddedHeadDim,
      headStride: numRows * heads.paddedHeadDim,
    },
  );
  linear(at("attn.proj", "the attention's result, added to the hidden states"), gpu, {
    layer: layer.attn.proj,
    input: attention,
    output: hiddenStates,
    numRows,
    addToOutput: true,
  });

  // x + outer(activation(inner(norm2(x))))
  norm(at("norm2", "hidden states, normalised for the MLP"), call, { weights: layer.norm2 });
  for (let first = 0; first < numRows; first += state.mlpRows) {
    mlpOfRows(program, gpu, { ...call, layer, first, numRows: Math.min(state.mlpRows, numRows - first) });
  }
}

/** outer(activation(inner(x))) of the normalised rows [first, first + R), added to the hidden states. */
function mlpOfRows(
  program: Program,
  gpu: Gpu,
  call: GridCall & {
    readonly index: number;
    readonly layer: GridLayerWeights;
    readonly first: number;
    readonly numRows: number;
  },
): void {
  const { vision, state, layer, first, numRows } = call;
  const { hiddenAct: activation, hasGate } = vision;
  const at = (name: string, what: string) => program.at(`vision.layers.${call.index}.${name}`, what);
  const innerCall = { layer: layer.mlp.inner, input: state.normed, inputRowStart: first, numRows };
  const innerValues = hasGate ? `${activation}(gate) · up` : `through ${activation}`;
  const what = `the MLP's inner values, ${innerValues}`;
  if (state.gateUp === undefined) {
    linear(at("mlp.fc1", what), gpu, { ...innerCall, output: state.inner, activation });
  } else {
    const { gateUp, inner: output } = state;
    linear(at("mlp.gate_up_proj", "gate and up projection of the MLP"), gpu, { ...innerCall, output: gateUp });
    const columns = vision.intermediateSize;
    gatedActivation(at("mlp.act_fn", what), { gateUp, output, numRows, activation, columns });
  }
  const stride = padTo4(vision.hiddenSize);
  linear(at(hasGate ? "mlp.down_proj" : "mlp.fc2", "the MLP's result, added to the hidden states"), gpu, {
    layer: layer.mlp.outer,
    input: state.inner,
    output: state.hiddenStates,
    outputColumn: first * stride,
    outputStride: stride,
    numRows,
    addToOutput: true,
  });
}

interface MergeCall extends GridCall {
  readonly merger: MergerWeights;
  readonly name: string;
  /** [N, m²·Dv], normed */
  readonly input: GPUBuffer;
  /** Which features come of it: 0 those of the last layer. */
  readonly level: number;
}

/** second(activation(first(the patches of a block side by side))), back in the blocks' own order. */
function mergePatches(program: Program, gpu: Gpu, call: MergeCall): void {
  const { vision, state, run, merger, name, input, level } = call;
  const { numBlocks: numRows, blockPlaces, merged, inner } = state;
  const [first, second] = vision.names.merger;
  const at = (layer: string, what: string) => program.at(`${name}.${layer}`, what);
  linear(at(first, `the patches of each block side by side, through ${vision.mergerAct}`), gpu, {
    layer: merger.first,
    input,
    output: inner,
    numRows,
    activation: vision.mergerAct,
  });
  const features =
    level === 0
      ? "image features: a row for each position of the picture"
      : `features that are added behind layer ${level - 1} of the decoder`;
  const outputStride = padTo4(vision.outputSize);
  const isOrdered = merged === undefined || blockPlaces === undefined;
  linear(at(second, features), gpu, {
    layer: merger.second,
    input: inner,
    output: isOrdered ? run.imageFeatures : merged,
    numRows,
    outputStride,
    outputColumn: isOrdered ? level * numRows * outputStride : 0,
  });
  if (isOrdered) return;
  gatherRows(at(second, "image features, from the order of the windows back to rows"), {
    index: blockPlaces,
    source: merged,
    filler: gpu.unused,
    output: run.imageFeatures,
    numRows,
    outputRowStart: level * numRows,
    columns: vision.outputSize,
  });
}

/** Into `state.normed`: every patch, unless other rows are given. */
function norm(
  program: Program,
  { vision, state }: GridCall,
  rows: { readonly weights: GridNorm; readonly numRows?: number; readonly columns?: number },
): void {
  const { hiddenStates: input, normed: output } = state;
  const { weights, numRows = state.numPatches, columns = vision.hiddenSize } = rows;
  const { weight, bias } = weights;
  const call = { input, weight, output, numRows, columns, eps: vision.layerNormEps };
  if (bias === undefined) rmsNorm(program, call);
  else layerNorm(program, { ...call, bias });
}
