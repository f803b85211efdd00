// The programs of a decoder: recorded here without running anything, for the run itself and for compiling pipelines ahead.
import type { Gpu } from "../gpu/device.ts";
import { embedTokens, gatherRows } from "../gpu/ops/embedding.ts";
import {
  chooseToken,
  topK as chooseTopK,
  type LogitsView,
  maskTokens,
  repetitionPenalty as penalise,
} from "../gpu/ops/sampling.ts";
import { Program } from "../gpu/program.ts";
import { padTo4 } from "../gpu/tensor.ts";
import type { Run } from "../models/inputs.ts";
import { type Decoder, decoderLayers, rowLogits } from "../models/layers/decoder.ts";
import {
  CHOICE_BYTES,
  type KeyValueCache,
  type SequenceBuffers,
  TOP_K_OFFSET,
} from "../models/layers/decoder-state.ts";
import type { PlaceVisitor } from "../models/layers/places.ts";
import type { RowEdits } from "../models/layers/row-edits.ts";

/** A decoder with the buffers of one sequence. */
export interface DecoderRun {
  readonly decoder: Decoder;
  readonly cache: KeyValueCache;
  readonly own: SequenceBuffers;
  /** The prompt's embeddings, where they are not those in the scratch buffers. */
  readonly kept?: KeptEmbeddings | undefined;
}

/** Embeddings of a whole prompt. */
export interface KeptEmbeddings {
  /** [1 + deepstack layers, T, D] f32 */
  readonly inputsEmbeds: GPUBuffer;
  /** T */
  readonly promptRows: number;
}

/** Image features on their way into one run of a prompt's positions. */
export interface GatheredRows {
  /** [numFeatures, D] f32 */
  readonly features: GPUBuffer;
  /** [numRows] i32: feature row for each position, −1 for the filler */
  readonly index: GPUBuffer;
  /** [D] f32 */
  readonly filler: GPUBuffer;
  /** Row of the embeddings that the first one goes to: its position, in the part of the layer that the features are for. */
  readonly start: number;
  readonly numRows: number;
}

/** What a forward pass through the layers is recorded with. */
export interface LayersOptions {
  /** Whether attention applies the score edits in the scratch buffers. */
  readonly isEdited: boolean;
  /** Records what edits with row strengths need; undefined where no edit has any. */
  readonly rowEdits?: RowEdits | undefined;
  readonly places: PlaceVisitor | undefined;
}

/** What a decode step is recorded with beside that. */
export interface StepOptions extends LayersOptions {
  readonly label: string;
  readonly numRows: number;
  /** Of rows at different slots: most keys that one sees. All rows are at one slot unless given. */
  readonly raggedKeys?: number | undefined;
}

const EMBEDDED = "the embedding of every text token";
const CHOSEN = "the most probable token and its probability";

/** inputsEmbeds [T, D] of the T ids in `scratch.promptIds`, image features put in their places. */
export function embedPromptProgram(decoder: Decoder, numIds: number, images: readonly GatheredRows[]): Program {
  const { scratch, text, weights } = decoder;
  const program = new Program("embed prompt");
  embedTokens(program.at("embed_tokens", EMBEDDED), {
    table: weights.embedTokens,
    ids: scratch.promptIds,
    output: scratch.inputsEmbeds,
    numRows: numIds,
  });
  for (const { index, features, filler, numRows, start } of images) {
    gatherRows(program.at("image_features", "image features put in the picture's positions of the prompt"), {
      index,
      source: features,
      filler,
      output: scratch.inputsEmbeds,
      numRows,
      outputRowStart: start,
      columns: text.hiddenSize,
    });
  }
  return program;
}

/** Prompt positions [start, start + R) through all layers; their last row's logits where `hasLogits`. */
export function prefillProgram(
  run: DecoderRun,
  gpu: Gpu,
  options: LayersOptions & {
    readonly start: number;
    readonly numRows: number;
    readonly hasLogits: boolean;
    /** Positions of pictures, [start, end) each. */
    readonly imageRuns: readonly Run[];
  },
): Program {
  const { decoder, cache, own } = run;
  const { scratch, text } = decoder;
  const { start, numRows, isEdited, rowEdits, places, imageRuns } = options;
  const { inputsEmbeds, promptRows } = embeddingsOf(run);
  const rowBytes = padTo4(text.hiddenSize) * 4;
  const program = new Program("prefill");
  const place = { size: numRows * rowBytes, sourceOffset: start * rowBytes };
  program.copy(inputsEmbeds, scratch.hiddenStates, place);
  const runs = imageRuns
    .map(([first, end]): Run => [Math.max(first - start, 0), Math.min(end - start, numRows)])
    .filter(([first, end]) => end > first);
  decoderLayers(program, gpu, {
    decoder,
    cache,
    numRows,
    isDecode: false,
    isEdited,
    rowEdits,
    firstSlot: start,
    places,
    deepstack: runs.length === 0 ? undefined : { embeds: inputsEmbeds, promptRows, start, runs },
  });
  if (options.hasLogits) rowLogits(program, gpu, { decoder, logits: own.logits, row: numRows - 1, numRows: 1 });
  return program;
}

function embeddingsOf({ decoder, kept }: DecoderRun): KeptEmbeddings {
  const { inputsEmbeds, size } = decoder.scratch;
  return kept ?? { inputsEmbeds, promptRows: size.promptRows };
}

/** One prompt position's embedding as the hidden states of R rows. */
export function repeatRowProgram(run: DecoderRun, position: number, numRows: number): Program {
  const { scratch, text } = run.decoder;
  const { inputsEmbeds } = embeddingsOf(run);
  const { hiddenStates } = scratch;
  const size = padTo4(text.hiddenSize) * 4;
  const program = new Program("repeat");
  for (let row = 0; row < numRows; row++) {
    program.copy(inputsEmbeds, hiddenStates, { size, sourceOffset: position * size, targetOffset: row * size });
  }
  return program;
}

/** The embeddings of R generated tokens, `own.tokenIds`, as hidden states. */
export function embedTokensProgram({ decoder, own }: DecoderRun, numRows: number): Program {
  const program = new Program(`embed ${numRows} tokens`);
  embedTokens(program.at("embed_tokens", EMBEDDED), {
    table: decoder.weights.embedTokens,
    ids: own.tokenIds,
    output: decoder.scratch.hiddenStates,
    numRows,
  });
  return program;
}

/** R batch rows of hidden states through all layers, to their logits. */
export function stepProgram({ decoder, cache, own }: DecoderRun, gpu: Gpu, options: StepOptions): Program {
  const { label, ...call } = options;
  const { numRows } = call;
  const program = new Program(label);
  decoderLayers(program, gpu, { decoder, cache, ...call, isDecode: true });
  rowLogits(program, gpu, { decoder, logits: own.logits, row: 0, numRows });
  return program;
}

/** What turns logits into tokens. */
export type ChoiceBuffers = Pick<SequenceBuffers, "logits" | "choice" | "readback" | "seen" | "topK" | "tokenIds">;

/**
 * The argmax of one row of logits, after a repetition penalty too where that is not 1, and its k largest logits, left in
 * `own.readback`.
 */
export function chooseProgram(
  own: ChoiceBuffers,
  options: { readonly vocabSize: number; readonly repetitionPenalty: number; readonly topK: number },
): Program {
  const { repetitionPenalty, topK, vocabSize } = options;
  const program = new Program("choose");
  const view = logitsView(own, { numRows: 1, vocabSize });
  chooseToken(program.at("argmax", CHOSEN), view, { choice: own.choice });
  program.copy(own.choice, own.readback, { size: CHOICE_BYTES });
  if (repetitionPenalty !== 1) {
    const penalised = program.at("repetition_penalty", "logits of the tokens seen so far made smaller");
    penalise(penalised, view, { seen: own.seen, penalty: repetitionPenalty });
    chooseToken(program.at("argmax", CHOSEN), view, { choice: own.choice });
    program.copy(own.choice, own.readback, { size: CHOICE_BYTES, targetOffset: CHOICE_BYTES });
  }
  if (topK > 0) {
    chooseTopK(program.at("top_k", "the most probable tokens in order"), view, { entries: own.topK, k: topK });
    program.copy(own.topK, own.readback, { size: topK * 8, targetOffset: TOP_K_OFFSET });
  }
  return program;
}

/** One row of logits without the tokens whose bit is not set in `own.seen`. */
export function maskProgram(
  own: ChoiceBuffers,
  { vocabSize, row }: { readonly vocabSize: number; readonly row: number },
): Program {
  const program = new Program("mask");
  const masked = program.at("token_mask", "tokens ruled out that the answer's grammar does not allow");
  maskTokens(masked, logitsView(own, { numRows: 1, vocabSize }), { allowed: own.seen, firstRow: row });
  return program;
}

/** The argmax of one row of logits, left in `slot` and as the next step's token. */
export function chooseIntoSlotProgram(
  own: ChoiceBuffers,
  options: { readonly vocabSize: number; readonly slot: GPUBuffer },
): Program {
  const { choice, tokenIds } = own;
  const program = new Program("choose");
  chooseToken(program.at("argmax", CHOSEN), logitsView(own, { ...options, numRows: 1 }), { choice });
  program.copy(choice, options.slot, { size: CHOICE_BYTES });
  program.copy(choice, tokenIds, { size: 4 });
  return program;
}

/** The argmax of each of R rows of logits, left in `own.readback`. */
export function chooseRowsProgram(
  own: ChoiceBuffers,
  options: { readonly vocabSize: number; readonly numRows: number },
): Program {
  const { numRows } = options;
  const program = new Program(`choose ${numRows} rows`);
  chooseToken(program.at("argmax", CHOSEN), logitsView(own, options), { choice: own.choice });
  program.copy(own.choice, own.readback, { size: numRows * CHOICE_BYTES });
  return program;
}

function logitsView(
  { logits }: ChoiceBuffers,
  { numRows, vocabSize }: { readonly numRows: number; readonly vocabSize: number },
): LogitsView {
  return { logits, numRows, vocabSize, stride: padTo4(vocabSize) };
}
