// Compiles a model's pipelines while its weights load: records its programs against no buffers and throws them away.
import { DEFAULT_CHUNK_ROWS } from "./generate/decoder-run.ts";
import type { Gpu } from "./gpu/device.ts";
import * as ops from "./gpu/ops/ops.ts";
import { Program } from "./gpu/program.ts";
import { padTo4 } from "./gpu/tensor.ts";
import type { ModelConfig } from "./models/config.ts";
import { decoderLayers, rowLogits } from "./models/layers/decoder.ts";
import { createLlamaState } from "./models/layers/decoder-state.ts";
import { projectFeatures } from "./models/layers/projector.ts";
import { createVisionState, encodeImage } from "./models/layers/vision-encoder.ts";
import type { ModelWeights } from "./models/weights.ts";

/**
 * Starts compiling the pipelines that a question needs; whoever runs a program first waits for what is not ready.
 * @param weights shapes and dtypes are enough, as `loadWeights` gives them to `onPlan`
 */
export function precompile(gpu: Gpu, config: ModelConfig, weights: ModelWeights): void {
  const recording = gpu.forRecording();
  const program = new Program(recording, "precompile");
  recordVision(program, recording, { config, weights });
  recordDecoder(program, recording, { config, weights });
}

function recordVision(
  program: Program,
  gpu: Gpu,
  model: { readonly config: ModelConfig; readonly weights: ModelWeights },
): void {
  const { multimodal } = model.config;
  const { vision, projector } = model.weights;
  if (multimodal === undefined || vision === undefined || projector === undefined) return;
  const state = createVisionState(gpu, multimodal.vision);
  encodeImage(program, gpu, { config: multimodal, weights: vision, state, pixels: gpu.unused, imageIndex: 0 });
  projectFeatures(program, gpu, {
    config: model.config,
    multimodal,
    weights: projector,
    hiddenStates: gpu.unused,
    inner: gpu.unused,
    imageFeatures: gpu.unused,
    rowStart: 0,
  });
  ops.gatherRows(program, {
    index: gpu.unused,
    source: gpu.unused,
    filler: gpu.unused,
    output: gpu.unused,
    numRows: 1,
    outputRowStart: 0,
    columns: padTo4(model.config.text.hiddenSize),
  });
}

function recordDecoder(
  program: Program,
  gpu: Gpu,
  model: { readonly config: ModelConfig; readonly weights: ModelWeights },
): void {
  const { text } = model.config;
  const weights = model.weights.llama;
  const rows = DEFAULT_CHUNK_ROWS;
  const size = { capacity: rows, numRows: rows, promptRows: rows, batchRows: 1 };
  const decoder = { text, weights, state: createLlamaState(gpu, text, size) };
  ops.embedTokens(program, { table: weights.embedTokens, ids: gpu.unused, output: gpu.unused, numRows: 1 });
  for (const isDecode of [false, true]) {
    const numRows = isDecode ? 1 : rows;
    decoderLayers(program, gpu, { decoder, numRows, isDecode, scaledLayers: undefined, capture: undefined });
  }
  rowLogits(program, gpu, { decoder, row: 0, numRows: 1 });
  const view = { logits: gpu.unused, numRows: 1, vocabSize: text.vocabSize, stride: padTo4(text.vocabSize) };
  ops.chooseToken(program, view, { choice: gpu.unused });
}
