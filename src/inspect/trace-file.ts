// The trace points around the layers, and the metadata of a trace file.
import type { Gpu } from "../gpu/device.ts";
import type { ModelConfig } from "../models/config.ts";
import type { ModelInputs } from "../preprocess/processor.ts";
import { readRows, type TraceTensor } from "./trace.ts";

/** input_ids, pixel_values, image_features and inputs_embeds of a run. */
export async function inputTensors(
  gpu: Gpu,
  config: ModelConfig,
  run: {
    readonly inputs: ModelInputs;
    readonly inputsEmbeds: GPUBuffer;
  },
): Promise<TraceTensor[]> {
  const { inputs, inputsEmbeds } = run;
  const columns = config.text.hiddenSize;
  const numRows = inputs.inputIds.length;
  const tensors: TraceTensor[] = [{ name: "input_ids", dtype: "I32", shape: [numRows], data: inputs.inputIds }];
  const embeds = await readRows(gpu, inputsEmbeds, { numRows, columns });
  const vision = config.multimodal?.vision;
  if (inputs.pixelValues !== undefined && vision !== undefined) {
    const { numChannels, imageSize } = vision;
    const numTiles = inputs.pixelValues.length / (numChannels * imageSize ** 2);
    const shape = [numTiles, numChannels, imageSize, imageSize];
    tensors.push({ name: "pixel_values", dtype: "F32", shape, data: inputs.pixelValues });
    // The image's rows of inputs_embeds are the features: for LLaVA-NeXT packed, with the newline rows.
    const [start, end] = inputs.imageSpan;
    const data = embeds.slice(start * columns, end * columns);
    tensors.push({ name: "image_features", dtype: "F32", shape: [end - start, columns], data });
  }
  tensors.push({ name: "inputs_embeds", dtype: "F32", shape: [numRows, columns], data: embeds });
  return tensors;
}

/** What a trace file says about its run. */
export function traceMetadata(run: {
  readonly imageSpan: readonly [start: number, end: number];
  readonly factor: number;
  readonly confidence: number;
  readonly model: string;
  readonly adapter: GPUAdapterInfo | undefined;
  readonly dtype: string;
}): Record<string, string> {
  const { vendor = "", architecture = "", device = "", description = "" } = run.adapter ?? {};
  return {
    image_start: String(run.imageSpan[0]),
    image_end: String(run.imageSpan[1]),
    factor: String(run.factor),
    confidence: String(run.confidence),
    model: run.model,
    adapter: [vendor, architecture, device, description].filter((part) => part !== "").join(" "),
    dtype: run.dtype,
  };
}
