// Compiles a model's pipelines while its weights load: records the programs of a question, as the run does, and asks for
// the pipelines of each. Nothing is submitted, so that the buffers need no contents.
import {
  chooseIntoSlotProgram,
  chooseProgram,
  type DecoderRun,
  embedPromptProgram,
  embedTokensProgram,
  prefillProgram,
  stepProgram,
} from "./generate/decoder-programs.ts";
import { DEFAULT_CHUNK_ROWS } from "./generate/shared-decoder.ts";
import type { BufferMaker, Gpu } from "./gpu/device.ts";
import { requestPipelines } from "./gpu/prepared-program.ts";
import type { Program } from "./gpu/program.ts";
import type { Architecture, ModelWeights } from "./models/architecture.ts";
import { createKeyValueCache, createScratch, createSequenceBuffers } from "./models/layers/decoder-state.ts";
import { visionProgram } from "./models/layers/picture-encoder.ts";

/**
 * Starts compiling the pipelines that a question needs; a program that runs first waits for its own.
 * @param weights allocated; their values are not read
 */
export function precompile(gpu: Gpu, architecture: Architecture, weights: ModelWeights): void {
  // Scratch buffers belong to a question; here one small buffer takes the place of each.
  const buffers: BufferMaker = { createBuffer: () => gpu.unused, createBufferWith: () => gpu.unused };
  for (const program of questionPrograms(gpu, buffers, { architecture, weights })) requestPipelines(gpu, program);
}

/** The programs of a question about a picture: one chunk of its prompt and one decode step, unmodified and edited. */
export function* questionPrograms(
  gpu: Gpu,
  buffers: BufferMaker,
  model: { readonly architecture: Architecture; readonly weights: ModelWeights },
): Generator<Program> {
  const { unused } = gpu;
  const { text } = model.architecture.config;
  const { llama, pictures } = model.weights;
  const numRows = DEFAULT_CHUNK_ROWS;
  const scratch = createScratch(buffers, text, { numRows, promptRows: numRows, batchRows: 1, editBytes: 16 });
  const decoder = { text, weights: llama, scratch };
  const cache = createKeyValueCache(buffers, text, numRows);
  const run: DecoderRun = { decoder, cache, own: createSequenceBuffers(buffers, text, 1) };
  const image = { features: unused, index: unused, filler: unused, start: 0, numRows: 1 };
  const { vocabSize } = text;
  if (pictures !== undefined) {
    yield visionProgram(pictures.open(gpu, buffers), { pixels: unused, tile: 0, imageFeatures: unused });
  }
  const plain = { isEdited: false, places: undefined };
  yield embedPromptProgram(decoder, numRows, pictures === undefined ? [] : [image]);
  yield prefillProgram(run, gpu, { ...plain, start: 0, numRows, hasLogits: true });
  yield embedTokensProgram(run, 1);
  yield stepProgram(run, gpu, { ...plain, label: "step", numRows: 1 });
  yield chooseProgram(run.own, { vocabSize, repetitionPenalty: 1, topK: 0 });
  yield chooseIntoSlotProgram(run.own, { vocabSize, slot: unused });
  // AdaptVis' extra step has to be ready for the first question too; edited chunks of a prompt compile when they are asked for.
  yield stepProgram(run, gpu, { ...plain, isEdited: true, label: "edited step", numRows: 1 });
}
