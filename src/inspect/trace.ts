// A trace: every named point of one run, collected at places, and the metadata of a trace file.
import { InputError } from "../errors.ts";
import type { TextConfig } from "../models/config.ts";
import type { ModelInputs } from "../models/inputs.ts";
import { type PlaceRead, type Places, VISION_ALL } from "./places.ts";

/** A captured tensor: row-major values with the shape that the guide's table of trace points gives. */
export interface TraceTensor {
  readonly name: string;
  readonly dtype: "F32" | "I32";
  readonly shape: readonly number[];
  readonly data: Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer>;
}

/** What has to be read for a trace of a prompt of `promptLength` positions. */
export function traceReads(text: TextConfig, promptLength: number): readonly PlaceRead[] {
  const every = Array.from({ length: promptLength }, (_, position) => position);
  return [
    { place: "inputs_embeds", positions: every },
    { place: VISION_ALL },
    ...attentionReads(text),
    ...hiddenReads(text),
  ];
}

/** Attention of the last prompt row in every layer. */
export function attentionReads(text: TextConfig): readonly PlaceRead[] {
  return layerNames(text).map((name) => ({ place: `${name}.attention_probs` }));
}

function hiddenReads(text: TextConfig): readonly PlaceRead[] {
  return layerNames(text).map((name) => ({ place: `${name}.hidden_states` }));
}

function layerNames(text: TextConfig): readonly string[] {
  return Array.from({ length: text.numHiddenLayers }, (_, layer) => `layers.${layer}`);
}

/** The trace points of a prompt's passes, in the order of the forward pass. */
export async function traceTensors(
  places: Places,
  run: {
    readonly inputs: ModelInputs;
    readonly text: TextConfig;
    /** [C, S, S] of a tile; undefined for a model without pictures. */
    readonly tileShape: readonly [number, number, number] | undefined;
    /** [V], of the last prompt row */
    readonly logits: Float32Array<ArrayBuffer>;
  },
): Promise<TraceTensor[]> {
  const { inputs, text, logits } = run;
  const f32 = (name: string, shape: readonly number[], data: Float32Array<ArrayBuffer>): TraceTensor => {
    return { name, dtype: "F32", shape, data };
  };
  const { inputIds, images } = inputs;
  const tensors: TraceTensor[] = [{ name: "input_ids", dtype: "I32", shape: [inputIds.length], data: inputIds }];
  const embeds = await places.values({ place: "inputs_embeds", positions: Array.from(inputIds, (_, index) => index) });
  if (images.length > 0) {
    if (run.tileShape === undefined) throw new InputError("There is a picture, but the model has no vision tower.");
    const tileLength = run.tileShape.reduce((product, size) => product * size, 1);
    const pixels = joined(images.map(({ pixelValues }) => pixelValues));
    tensors.push(f32("pixel_values", [pixels.length / tileLength, ...run.tileShape], pixels));
    // The image's rows of inputs_embeds are the features: for LLaVA-NeXT packed, with the newline rows.
    const width = text.hiddenSize;
    const runs = images.flatMap((image) => image.runs);
    const features = joined(runs.map(([start, end]) => embeds.data.slice(start * width, end * width)));
    tensors.push(f32("image_features", [features.length / width, width], features));
  }
  tensors.push(f32("inputs_embeds", embeds.shape, embeds.data));
  for (const place of places.visionPlaces) {
    const { shape, data } = await places.values({ place });
    tensors.push(f32(place, shape[0] === 1 ? shape.slice(1) : shape, data));
  }
  const last = inputIds.length - 1;
  for (const { layer, scores, probs } of await places.attentionRows(last)) {
    const name = `layers.${layer}`;
    const shape = [text.numAttentionHeads, inputIds.length];
    const hidden = await places.values({ place: `${name}.hidden_states`, positions: [last] });
    tensors.push(f32(`${name}.attention_scores`, shape, scores));
    tensors.push(f32(`${name}.attention_probs`, shape, probs));
    tensors.push(f32(`${name}.hidden_states`, [text.hiddenSize], hidden.data));
  }
  tensors.push(f32("logits", [logits.length], logits));
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
  readonly kvDtype: string;
  readonly activationDtype: string;
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
    kv_dtype: run.kvDtype,
    activation_dtype: run.activationDtype,
  };
}

function joined(parts: readonly Float32Array<ArrayBuffer>[]): Float32Array<ArrayBuffer> {
  const [only] = parts;
  if (parts.length === 1 && only !== undefined) return only;
  const whole = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
