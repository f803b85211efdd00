// A trace: every named point of one run, collected at places, and the metadata of a trace file.
import { at, InputError } from "../errors.ts";
import type { LogitsChange } from "../generate/token-picker.ts";
import type { TextConfig } from "../models/config.ts";
import type { ImageInput, ModelInputs } from "../models/inputs.ts";
import type { Processor } from "../models/processor.ts";
import { cellsOf, type MappedImage, type PictureCell, placementOf } from "./picture-placement.ts";
import { type PlaceRead, type Places, VISION_ALL } from "./places.ts";
import { TokenTexts } from "./token-texts.ts";

/** A captured tensor: row-major values with the shape that the guide's table of trace points gives. */
export interface TraceTensor {
  readonly name: string;
  readonly dtype: "F32" | "I32";
  readonly shape: readonly number[];
  readonly data: Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer>;
}

/**
 * What has to be read for a trace of a prompt of `promptLength` positions.
 * @param numGenerated rows behind the prompt that are read too
 */
export function traceReads(text: TextConfig, promptLength: number, numGenerated: number): readonly PlaceRead[] {
  const positions = range(promptLength - 1, numGenerated + 1);
  return [
    { place: "inputs_embeds", positions: range(0, promptLength) },
    { place: VISION_ALL },
    ...[...attentionReads(text), ...hiddenReads(text)].map(({ place }) => ({ place, positions })),
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
    /** [C, S, S] of a tile, or [patches, values] of a position; undefined for a model without pictures. */
    readonly tileShape: readonly number[] | undefined;
    /** [V], of the last prompt row */
    readonly logits: Float32Array<ArrayBuffer>;
  },
): Promise<TraceTensor[]> {
  const { inputs, text, logits } = run;
  const { inputIds, images } = inputs;
  const tensors: TraceTensor[] = [{ name: "input_ids", dtype: "I32", shape: [inputIds.length], data: inputIds }];
  const embeds = await places.values({ place: "inputs_embeds", positions: Array.from(inputIds, (_, index) => index) });
  if (images.length > 0) {
    if (run.tileShape === undefined) throw new InputError("There is a picture, but the model has no vision tower.");
    // Patches are listed one by one, as transformers has them.
    const itemShape = run.tileShape.length === 2 ? run.tileShape.slice(1) : run.tileShape;
    const itemLength = itemShape.reduce((product, size) => product * size, 1);
    const pictures = images.filter(({ video }) => video === undefined);
    if (pictures.length > 0) {
      const pixels = joined(pictures.map(({ pixelValues }) => pixelValues));
      tensors.push(f32("pixel_values", [pixels.length / itemLength, ...itemShape], pixels));
    }
    tensors.push(...videoTensors(images, itemShape));
    // The image's rows of inputs_embeds are the features: for LLaVA-NeXT packed, with the newline rows.
    const width = text.hiddenSize;
    const runs = images.flatMap((image) => image.runs);
    const features = joined(runs.map(([start, end]) => embeds.data.slice(start * width, end * width)));
    tensors.push(f32("image_features", [features.length / width, width], features));
    const cells = images.flatMap((image) => pictureCells(image).flatMap(cellNumbers));
    if (cells.length * width === features.length * 4) {
      tensors.push(f32("image_cells", [cells.length / 4, 4], Float32Array.from(cells)));
    }
    if (run.tileShape.length === 2) {
      const side = Math.sqrt(run.tileShape[0] ?? 1);
      const grids = images.flatMap(({ grid }) => (grid ? [1, grid.height * side, grid.width * side] : []));
      const data = Int32Array.from(grids);
      tensors.push({ name: "image_grid_thw", dtype: "I32", shape: [grids.length / 3, 3], data });
    }
    const sizes = pictures.flatMap(({ tiles }) => tiles?.imageSize ?? []);
    if (sizes.length > 0) {
      tensors.push({
        name: "image_sizes",
        dtype: "I32",
        shape: [sizes.length / 2, 2],
        data: Int32Array.from(sizes),
      });
    }
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

function f32(name: string, shape: readonly number[], data: Float32Array<ArrayBuffer>): TraceTensor {
  return { name, dtype: "F32", shape, data };
}

/**
 * The frames of all videos, [V, F, …], as a transformers processor returns them. Empty if the videos differ in their number of frames,
 * which one tensor cannot hold.
 */
function videoTensors(images: readonly ImageInput[], itemShape: readonly number[]): readonly TraceTensor[] {
  const frames = images.filter(({ video }) => video !== undefined);
  const numVideos = new Set(frames.map(({ video }) => video)).size;
  const numFrames = frames.length / numVideos;
  const haveSameLength = frames.every(({ video }, index) => video === Math.floor(index / numFrames));
  if (numVideos === 0 || !haveSameLength) return [];
  const pixels = joined(frames.map(({ pixelValues }) => pixelValues));
  const data = Int32Array.from(frames.flatMap(({ tiles }) => tiles?.imageSize ?? []));
  return [
    f32("pixel_values_videos", [numVideos, numFrames, ...itemShape], pixels),
    { name: "image_sizes_videos", dtype: "I32", shape: [numVideos, numFrames, 2], data },
  ];
}

/** A change of logits that keeps those of every token. */
export interface RecordedLogits extends LogitsChange {
  /** By token, [V] as the token was chosen from them. */
  readonly logits: readonly Float32Array<ArrayBuffer>[];
}

/** Keeps the logits that tokens are chosen from. @param change what a method makes of them */
export function recordLogits(change: LogitsChange | undefined): RecordedLogits {
  const logits: Float32Array<ArrayBuffer>[] = [];
  return {
    logits,
    async apply(row, index) {
      await change?.apply(row, index);
      logits.push(row.slice());
    },
    async step(tokenId, index) {
      await change?.step(tokenId, index);
    },
  };
}

/**
 * The trace points of the decode steps: row i belongs to the step that ran generated token i, and chose token i + 1. The last token
 * was not run.
 * @param run.logits of every token; the first is the prompt's
 */
export async function generatedTensors(
  places: Places,
  run: {
    readonly text: TextConfig;
    readonly promptLength: number;
    readonly numTokens: number;
    readonly logits: readonly Float32Array<ArrayBuffer>[];
  },
): Promise<TraceTensor[]> {
  const { text, promptLength, numTokens } = run;
  const numRows = numTokens - 1;
  if (numRows < 1) return [];
  const positions = range(promptLength, numRows);
  const tensors: TraceTensor[] = [];
  for (const name of layerNames(text)) {
    for (const part of ["attention_scores", "attention_probs", "hidden_states"]) {
      const { shape, data } = await places.values({ place: `${name}.${part}`, positions });
      tensors.push({ name: `generated.${name}.${part}`, dtype: "F32", shape, data });
    }
  }
  const logits = run.logits.slice(1, numTokens);
  const shape = [numRows, at(logits, 0).length];
  tensors.push({ name: "generated.logits", dtype: "F32", shape, data: joined(logits) });
  return tensors;
}

/**
 * The points of the last prompt row in the unmodified pass, as `unmodified.…`; none where they are those of the method's pass.
 * @param used trace points of the pass that gave the answer
 * @param plain those of an unmodified pass
 */
export function unmodifiedTensors(used: readonly TraceTensor[], plain: readonly TraceTensor[]): TraceTensor[] {
  const points = plain.filter(({ name }) => name.startsWith("layers.") || name === "logits");
  const isSame = points.every(({ name, data }) => {
    const other = used.find((tensor) => tensor.name === name)?.data;
    return data.every((value, index) => value === other?.[index]);
  });
  return isSame ? [] : points.map((tensor) => ({ ...tensor, name: `unmodified.${tensor.name}` }));
}

/** What each position of a prompt is: "text", "image 0" of a picture, or "newline 0" of LLaVA-NeXT's rows of it. */
export function tokenKinds({ inputIds, images }: ModelInputs): readonly string[] {
  const kinds: string[] = Array.from(inputIds, () => "text");
  for (const [picture, { runs, rowIndex }] of images.entries()) {
    const positions = runs.flatMap(([start, end]) => range(start, end - start));
    for (const [index, position] of positions.entries()) {
      kinds[position] = `${Number(rowIndex[index]) < 0 ? "newline" : "image"} ${picture}`;
    }
  }
  return kinds;
}

/** The model of a trace. */
export interface TracedModel {
  readonly name: string;
  readonly dtype: string;
  readonly kvDtype: string;
  readonly activationDtype: string;
  readonly processor: Processor;
  readonly gpu: { readonly device: Pick<GPUDevice, "adapterInfo"> };
}

/** What a trace says about the answer of its run. */
export interface TracedAnswer {
  readonly tokens: readonly { readonly tokenId: number }[];
  readonly imageSpan: readonly [start: number, end: number];
  readonly factor: number;
  readonly confidence: number;
}

/** The tokens and pictures of a run, as JSON in a trace file's metadata. */
function promptMetadata(
  inputs: ModelInputs,
  { processor, generatedIds }: { readonly processor: Processor; readonly generatedIds: readonly number[] },
): Record<string, string> {
  const ids = [...inputs.inputIds, ...generatedIds];
  const kinds = [...tokenKinds(inputs), ...Array.from(generatedIds, () => "generated")];
  const texts = processor.hasTokenizer ? new TokenTexts(processor.tokenizer) : undefined;
  const pictures = inputs.images.map((image) => {
    return { runs: image.runs, map: mapSize(image), cells: pictureCells(image).map(shortCell) };
  });
  return {
    token_kinds: JSON.stringify(kinds),
    ...(texts && { token_texts: JSON.stringify(ids.map((id) => texts.of(id))) }),
    ...(pictures.length > 0 && { pictures: JSON.stringify(pictures) }),
  };
}

/** What a trace file says about its run, its tokens and its pictures. */
export function traceMetadata(
  model: TracedModel,
  { inputs, answer }: { readonly inputs: ModelInputs; readonly answer: TracedAnswer },
): Record<string, string> {
  const { name, dtype, kvDtype, activationDtype, processor } = model;
  const { vendor = "", architecture = "", device = "", description = "" } = model.gpu.device.adapterInfo ?? {};
  const generatedIds = answer.tokens.map(({ tokenId }) => tokenId);
  return {
    image_start: String(answer.imageSpan[0]),
    image_end: String(answer.imageSpan[1]),
    factor: String(answer.factor),
    confidence: String(answer.confidence),
    model: name,
    adapter: [vendor, architecture, device, description].filter((part) => part !== "").join(" "),
    dtype,
    kv_dtype: kvDtype,
    activation_dtype: activationDtype,
    ...promptMetadata(inputs, { processor, generatedIds }),
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

function range(start: number, length: number): readonly number[] {
  return Array.from({ length }, (_, index) => start + index);
}

/** [height, width] of a picture's maps; null where nothing says where its positions lie. */
function mapSize(image: MappedImage): readonly [number, number] | null {
  if (image.tiles === undefined && image.grid === undefined) return null;
  const { width, height } = placementOf(image);
  return [height, width];
}

/** The part of the picture that each position shows; none of them where nothing says so. */
function pictureCells(image: ImageInput): readonly (PictureCell | undefined)[] {
  const { grid, tiles, rowIndex } = image;
  if (tiles !== undefined) return cellsOf(rowIndex, tiles);
  if (grid === undefined) return [];
  const { width, height, starts, cells } = placementOf(image);
  return Array.from({ length: starts.length - 1 }, (_, index) => {
    if (starts[index] === starts[index + 1]) return undefined; // a class token
    const cell = at(cells, at(starts, index));
    const [x, y] = [cell % width, Math.floor(cell / width)];
    return { left: x / width, top: y / height, right: (x + 1) / width, bottom: (y + 1) / height };
  });
}

/** [left, top, right, bottom] to a millionth of the picture's sides; null for a position without a place. */
function shortCell(cell: PictureCell | undefined): readonly number[] | null {
  return cell === undefined ? null : cellNumbers(cell).map((side) => Math.round(side * 1e6) / 1e6);
}

/** Four zeros for a position without a place. */
function cellNumbers(cell: PictureCell | undefined): readonly number[] {
  return cell === undefined ? [0, 0, 0, 0] : [cell.left, cell.top, cell.right, cell.bottom];
}
