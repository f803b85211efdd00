// Compiles a model's pipelines while its weights load: records the programs of a question, as the run does, and asks for
// the pipelines of each. Nothing is submitted, so that the buffers need no contents.

import {
  chooseIntoSlotProgram,
  chooseProgram,
  embedPromptProgram,
  embedTokensProgram,
  prefillProgram,
  stepProgram,
} from "./generate/decoder-programs.ts";
import { DEFAULT_CHUNK_ROWS } from "./generate/decoder-run.ts";
import type { BufferMaker, Gpu } from "./gpu/device.ts";
import { requestPipelines } from "./gpu/prepared-program.ts";
import type { Program } from "./gpu/program.ts";
import type { ModelConfig } from "./models/config.ts";
import { createLlamaState } from "./models/layers/decoder-state.ts";
import { visionProgram } from "./models/layers/picture-encoder.ts";
import { createVisionState } from "./models/layers/vision-encoder.ts";
import type { ModelWeights } from "./models/weights.ts";

/**
 * Starts compiling the pipelines that a question needs; whoever runs a program first waits for what is not ready.
 * @param weights shapes and dtypes are enough, as `loadWeights` gives them to `onPlan`
 */
export function precompile(gpu: Gpu, config: ModelConfig, weights: ModelWeights): void {
  // Scratch buffers are a question's own; here one small buffer is in the place of each.
  const buffers: BufferMaker = { createBuffer: () => gpu.unused, createBufferWith: () => gpu.unused };
  for (const program of programs(gpu, buffers, { config, weights })) requestPipelines(gpu, program);
}

/** The programs of a question about a picture: one chunk of its prompt and one decode step. */
function programs(
  gpu: Gpu,
  buffers: BufferMaker,
  model: { readonly config: ModelConfig; readonly weights: ModelWeights },
): Program[] {
  const { unused } = gpu;
  const { text, multimodal } = model.config;
  const { vision, projector, llama } = model.weights;
  const numRows = DEFAULT_CHUNK_ROWS;
  const size = { capacity: numRows, numRows, promptRows: numRows, batchRows: 1 };
  const decoder = { text, weights: llama, state: createLlamaState(buffers, text, size) };
  const plain = { scaledLayers: undefined, capture: undefined };
  const image = { features: unused, index: unused, filler: unused, start: 0, numRows: 1 };
  const recorded = [
    embedPromptProgram(decoder, numRows, multimodal && image),
    prefillProgram(decoder, gpu, { ...plain, start: 0, numRows, hasLogits: true }),
    embedTokensProgram(decoder, 1),
    stepProgram(decoder, gpu, { ...plain, label: "step", numRows: 1 }),
    chooseProgram(decoder, { label: "choose", repetitionPenalty: 1, topK: 0 }),
    chooseIntoSlotProgram(decoder, unused),
  ];
  if (multimodal !== undefined && vision !== undefined && projector !== undefined) {
    const scratch = { pixels: unused, inner: unused, imageFeatures: unused };
    const state = createVisionState(buffers, multimodal.vision);
    const weights = { vision, projector };
    recorded.unshift(visionProgram(gpu, { ...model, multimodal, weights, state, tile: 0, ...scratch }));
  }
  return recorded;
}
