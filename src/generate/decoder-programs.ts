// The programs of a decoder: recorded here without running anything, for the run itself and for compiling pipelines ahead.
import type { Gpu } from "../gpu/device.ts";
import * as ops from "../gpu/ops/ops.ts";
import { Program } from "../gpu/program.ts";
import { padTo4 } from "../gpu/tensor.ts";
import { type Decoder, decoderLayers, type LayerCapture, rowLogits } from "../models/layers/decoder.ts";
import { CHOICE_BYTES, TOP_K_OFFSET } from "../models/layers/decoder-state.ts";

/** Image features on their way into a prompt's positions. */
export interface GatheredRows {
  /** [numFeatures, D] f32 */
  readonly features: GPUBuffer;
  /** [numRows] i32: feature row for each position, −1 for the filler */
  readonly index: GPUBuffer;
  /** [D] f32 */
  readonly filler: GPUBuffer;
  /** Position of the first row. */
  readonly start: number;
  readonly numRows: number;
}

/** What a forward pass through the layers is recorded with. */
export interface LayersOptions {
  /** Layers whose attention takes the intervention; all when undefined. */
  readonly scaledLayers: readonly number[] | undefined;
  readonly capture: LayerCapture | undefined;
}

/** inputsEmbeds [T, D] of the T ids in `state.promptIds`, image features put in their places. */
export function embedPromptProgram(decoder: Decoder, numIds: number, image: GatheredRows | undefined): Program {
  const { state, text, weights } = decoder;
  const program = new Program("embed prompt");
  ops.embedTokens(program.at("embed_tokens"), {
    table: weights.embedTokens,
    ids: state.promptIds,
    output: state.inputsEmbeds,
    numRows: numIds,
  });
  if (image !== undefined) {
    ops.gatherRows(program.at("image_features"), {
      index: image.index,
      source: image.features,
      filler: image.filler,
      output: state.inputsEmbeds,
      numRows: image.numRows,
      outputRowStart: image.start,
      columns: padTo4(text.hiddenSize),
    });
  }
  return program;
}

/** Prompt positions [start, start + R) through all layers; their last row's logits where `hasLogits`. */
export function prefillProgram(
  decoder: Decoder,
  gpu: Gpu,
  options: LayersOptions & { readonly start: number; readonly numRows: number; readonly hasLogits: boolean },
): Program {
  const { state } = decoder;
  const { start, numRows, scaledLayers, capture } = options;
  const rowBytes = padTo4(decoder.text.hiddenSize) * 4;
  const program = new Program("prefill");
  const place = { size: numRows * rowBytes, sourceOffset: start * rowBytes };
  program.copy(state.inputsEmbeds, state.hiddenStates, place);
  decoderLayers(program, gpu, { decoder, numRows, isDecode: false, scaledLayers, capture });
  if (options.hasLogits) rowLogits(program, gpu, { decoder, row: numRows - 1, numRows: 1 });
  return program;
}

/** One prompt position's embedding as the hidden states of R rows. */
export function repeatRowProgram(decoder: Decoder, position: number, numRows: number): Program {
  const { inputsEmbeds, hiddenStates } = decoder.state;
  const size = padTo4(decoder.text.hiddenSize) * 4;
  const program = new Program("repeat");
  for (let row = 0; row < numRows; row++) {
    program.copy(inputsEmbeds, hiddenStates, { size, sourceOffset: position * size, targetOffset: row * size });
  }
  return program;
}

/** The embeddings of R generated tokens, `state.tokenIds`, as hidden states. */
export function embedTokensProgram(decoder: Decoder, numRows: number): Program {
  const { state, weights } = decoder;
  const program = new Program(`embed ${numRows} tokens`);
  ops.embedTokens(program.at("embed_tokens"), {
    table: weights.embedTokens,
    ids: state.tokenIds,
    output: state.hiddenStates,
    numRows,
  });
  return program;
}

/** R batch rows of hidden states at one position through all layers, to their logits. */
export function stepProgram(
  decoder: Decoder,
  gpu: Gpu,
  options: LayersOptions & { readonly label: string; readonly numRows: number },
): Program {
  const { numRows, scaledLayers, capture } = options;
  const program = new Program(options.label);
  decoderLayers(program, gpu, { decoder, numRows, isDecode: true, scaledLayers, capture });
  rowLogits(program, gpu, { decoder, row: 0, numRows });
  return program;
}

/**
 * The argmax of one row of logits, after a repetition penalty too where that is not 1, and its k largest logits, left in
 * `state.readback`.
 */
export function chooseProgram(
  decoder: Decoder,
  options: { readonly label: string; readonly repetitionPenalty: number; readonly topK: number },
): Program {
  const { state } = decoder;
  const { label, repetitionPenalty, topK } = options;
  const program = new Program(label);
  const view = logitsView(decoder, 1);
  ops.chooseToken(program.at("argmax"), view, { choice: state.choice });
  program.copy(state.choice, state.readback, { size: CHOICE_BYTES });
  if (repetitionPenalty !== 1) {
    ops.repetitionPenalty(program.at("repetition_penalty"), view, { seen: state.seen, penalty: repetitionPenalty });
    ops.chooseToken(program.at("argmax"), view, { choice: state.choice });
    program.copy(state.choice, state.readback, { size: CHOICE_BYTES, targetOffset: CHOICE_BYTES });
  }
  if (topK > 0) {
    ops.topK(program.at("top_k"), view, { entries: state.topK, k: topK });
    program.copy(state.topK, state.readback, { size: topK * 8, targetOffset: TOP_K_OFFSET });
  }
  return program;
}

/** The argmax of one row of logits, left in `slot` and as the next step's token. */
export function chooseIntoSlotProgram(decoder: Decoder, slot: GPUBuffer): Program {
  const { choice, tokenIds } = decoder.state;
  const program = new Program("choose");
  ops.chooseToken(program.at("argmax"), logitsView(decoder, 1), { choice });
  program.copy(choice, slot, { size: CHOICE_BYTES });
  program.copy(choice, tokenIds, { size: 4 });
  return program;
}

/** The argmax of each of R rows of logits, left in `state.readback`. */
export function chooseRowsProgram(decoder: Decoder, numRows: number): Program {
  const { choice, readback } = decoder.state;
  const program = new Program(`choose ${numRows} rows`);
  ops.chooseToken(program.at("argmax"), logitsView(decoder, numRows), { choice });
  program.copy(choice, readback, { size: numRows * CHOICE_BYTES });
  return program;
}

function logitsView({ state, text }: Decoder, numRows: number): ops.LogitsView {
  return { logits: state.logits, numRows, vocabSize: text.vocabSize, stride: padTo4(text.vocabSize) };
}
