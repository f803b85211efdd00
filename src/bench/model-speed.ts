// How fast an adapter runs one model, before all of it is there: the model is loaded with a few of its layers, whole where it is
// small, answers the planned question, and the times of the other layers are added.
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { asRecord } from "../checkpoint/source.ts";
import { throwIfAborted } from "../errors.ts";
import { Sequence } from "../generate/sequence.ts";
import { SharedDecoder } from "../generate/shared-decoder.ts";
import { Gpu } from "../gpu/device.ts";
import { SubmitExecutor } from "../gpu/executor.ts";
import type { MemoryPlan, PlanOptions } from "../memory-plan.ts";
import type { Architecture, ModelWeights } from "../models/architecture.ts";
import type { TextConfig } from "../models/config.ts";
import { PictureEncoder } from "../models/layers/picture-encoder.ts";
import { readArchitecture } from "../models/registry.ts";
import { expectedTensors, planWeights } from "../models/weight-table.ts";
import { loadWeights } from "../models/weights.ts";
import { type PlannedQuestion, plannedQuestion } from "../planned-question.ts";
import type { PredictedSpeed } from "./machine-speed.ts";
import { spreadOf } from "./statistics.ts";
import { clocked, flush } from "./timing.ts";

/** Times of a load and a question, from the time that a few layers take. */
export interface ModelSpeed extends PredictedSpeed {
  /** From headers to weights on the GPU; without the time that the disk takes where `isRead` is false. */
  readonly loadMs: number;
  /** Whether the weights that were measured were read from the checkpoint; of one that is not on this machine they are zeros. */
  readonly isRead: boolean;
  /** Encoding of the question's pictures. */
  readonly pictureMs: number;
  /** Layers that were run, of how many. */
  readonly decoderLayers: LayerCount;
  /** As `decoderLayers`; undefined for a text-only model. */
  readonly visionLayers: LayerCount | undefined;
}

/** How many of a part's layers were measured. */
interface LayerCount {
  readonly measured: number;
  readonly all: number;
}

/** Bytes of a part's layers that are measured; a part that is not larger is measured whole. */
const SLICE_BYTES = 384 * 2 ** 20;

/** New tokens that are timed. */
const TIMED_TOKENS = 12;

/** A measurement is repeated for this time, ms, and its median counts. */
const TARGET_MS = 1500;

/** Most repetitions. */
const MAX_ROUNDS = 7;

/** What is measured. */
export interface MeasuredModel {
  readonly checkpoint: Checkpoint;
  readonly architecture: Architecture;
  readonly options: PlanOptions;
  /** The plan of `options`, whose sizes decide how many layers are measured. */
  readonly plan: Pick<MemoryPlan, "parts">;
  readonly isSoftware: boolean;
  /** Whether the weights can be read; zeros take their place otherwise. */
  readonly isRead: boolean;
  readonly signal: AbortSignal;
  /** Bytes of layers that are measured. Default: 384 MiB. */
  readonly sliceBytes?: number;
}

/**
 * Measures a model on its adapter. Where layers are left out, two numbers of them are measured: the difference is what one takes.
 * @throws CheckpointError; GpuError, such as for a slice that does not fit; AbortError.
 */
export async function measureModelSpeed(device: GPUDevice, model: MeasuredModel): Promise<ModelSpeed> {
  const { architecture, plan, sliceBytes = SLICE_BYTES } = model;
  const { text, multimodal } = architecture.config;
  const question = plannedQuestion(architecture, model.options);
  const decoder = slices(text.numHiddenLayers, plan.parts["decoder layers"], sliceBytes);
  const vision = slices(multimodal?.numVisionLayers ?? 0, plan.parts["vision tower"], sliceBytes);
  const more = await measureSlice(device, model, { question, decoder: decoder.most, vision: vision.most });
  const isWhole = decoder.most === text.numHiddenLayers && vision.most === (multimodal?.numVisionLayers ?? 0);
  const fewer = isWhole
    ? more
    : await measureSlice(device, model, { question, decoder: decoder.least, vision: vision.least });
  const whole = (of: (times: SliceTimes) => number, { all, most, least }: Slices) =>
    of(more) + (most === all ? 0 : ((all - most) * Math.max(0, of(more) - of(fewer))) / (most - least));
  const promptMs = whole((times) => times.promptMs, decoder);
  const tokenMs = whole((times) => times.tokenMs, decoder);
  const bytes = usedBytes(model.checkpoint, architecture, model.options);
  const promptLength = question.prompt.inputIds.length;
  return {
    loadMs: (more.loadMs * bytes) / more.loadedBytes,
    isRead: model.isRead,
    pictureMs: question.prompt.images.length === 0 ? 0 : whole((times) => times.pictureMs, vision),
    promptMs,
    promptRate: (1000 * promptLength) / promptMs,
    tokenMs,
    tokenRate: 1000 / tokenMs,
    decoderLayers: { measured: decoder.most, all: decoder.all },
    visionLayers: multimodal && { measured: vision.most, all: vision.all },
  };
}

/** Numbers of layers that are measured. */
interface Slices {
  readonly all: number;
  readonly most: number;
  readonly least: number;
}

function slices(all: number, bytes: number, sliceBytes: number): Slices {
  if (bytes <= sliceBytes || all <= 2) return { all, most: all, least: all };
  const most = Math.min(all, Math.max(2, Math.floor((sliceBytes * all) / bytes)));
  return { all, most, least: Math.max(1, Math.floor(most / 3)) };
}

/** A question, and the numbers of layers that the model has for it. */
interface Slice {
  readonly question: PlannedQuestion;
  readonly decoder: number;
  readonly vision: number;
}

/** Milliseconds of a model with a few layers. */
interface SliceTimes {
  readonly loadMs: number;
  readonly loadedBytes: number;
  readonly pictureMs: number;
  readonly promptMs: number;
  readonly tokenMs: number;
}

async function measureSlice(
  device: GPUDevice,
  { checkpoint, architecture, options, isSoftware, isRead, signal }: MeasuredModel,
  slice: Slice,
): Promise<SliceTimes> {
  const gpu = new Gpu(device, { isSoftware });
  try {
    const sliced = slicedArchitecture(checkpoint, architecture, slice);
    const part = slicedCheckpoint(checkpoint, sliced, { options, isRead });
    const started = performance.now();
    const weights = await loadWeights(part, sliced, { gpu, dtype: options.dtype, signal });
    await flush(gpu);
    const loadMs = performance.now() - started;
    const run = { weights, text: sliced.config.text, question: slice.question, options, signal };
    const times = await gpu.guard("measuring the model", () => measureAnswer(gpu, run));
    return { loadMs, loadedBytes: usedBytes(part, sliced, options), ...times };
  } finally {
    gpu.dispose();
  }
}

/** Times of a greedy answer; what compiles for the first time is not counted. */
async function measureAnswer(
  gpu: Gpu,
  run: {
    readonly weights: ModelWeights;
    readonly text: TextConfig;
    readonly question: PlannedQuestion;
    readonly options: PlanOptions;
    readonly signal: AbortSignal;
  },
): Promise<Omit<SliceTimes, "loadMs" | "loadedBytes">> {
  const { weights, text, options, signal } = run;
  const { prompt } = run.question;
  const { length } = prompt.inputIds;
  const executor = new SubmitExecutor(gpu);
  const decoder = new SharedDecoder(gpu, text, { weights: weights.llama, ...options });
  const encoder = weights.pictures && new PictureEncoder(gpu, text, weights.pictures);
  const sequence = new Sequence(decoder);
  await sequence.begin(prompt, { maxNewTokens: TIMED_TOKENS + 1, keep: 0, executor });
  const encodeAll = async () => {
    for (const { pixelValues } of prompt.images) {
      const features = await encoder?.encode(pixelValues, { executor, signal });
      await flush(gpu);
      if (features !== undefined) gpu.destroyBuffer(features);
    }
  };
  const prefill = async (end: number) => {
    await sequence.embed(prompt, [], { executor, filler: weights.pictures?.filler }); // rows of pictures keep what they hold
    await sequence.prefill([0, end], { executor, signal });
    await flush(gpu);
  };
  const steps = async () => {
    let started = performance.now();
    let numTokens = 0;
    for await (const _ of sequence.greedyChoices(length, { executor, signal, maxNewTokens: TIMED_TOKENS + 1 })) {
      if (numTokens++ === 0) started = performance.now();
    }
    return (performance.now() - started) / TIMED_TOKENS;
  };
  // A first chunk compiles the kernels, so that the long prompt has to run only once.
  await prefill(Math.min(length, decoder.chunkRows));
  const pictureMs = prompt.images.length === 0 ? 0 : await median(() => clocked(encodeAll), signal);
  const promptMs = await median(() => clocked(() => prefill(length)), signal);
  const tokenMs = await median(steps, signal);
  return { pictureMs, promptMs, tokenMs };
}

/** The median of as many measurements as fit the time. Where there are several, the first, which compiles, does not count. */
async function median(measure: () => Promise<number>, signal: AbortSignal): Promise<number> {
  const samples: number[] = [];
  const started = performance.now();
  while (samples.length === 0 || (samples.length < MAX_ROUNDS && performance.now() - started < TARGET_MS)) {
    throwIfAborted(signal, "Measuring the speed");
    samples.push(await measure());
  }
  return spreadOf(samples.length > 1 ? samples.slice(1) : samples).median;
}

/** The architecture of a checkpoint with the first layers of its decoder and its vision tower alone. */
export function slicedArchitecture(
  { config }: Checkpoint,
  architecture: Architecture,
  { decoder, vision }: Pick<Slice, "decoder" | "vision">,
): Architecture {
  const { text, multimodal } = architecture.config;
  // As architectureOf found it.
  const tied = { tie_word_embeddings: text.tieWordEmbeddings };
  const layers = (json: Readonly<Record<string, unknown>>) => ({
    ...json,
    ...tied,
    num_hidden_layers: decoder,
    ...(Array.isArray(json.layer_types) ? { layer_types: json.layer_types.slice(0, decoder) } : {}),
  });
  if (multimodal === undefined) return readArchitecture(layers(config));
  return readArchitecture({
    ...config,
    ...tied,
    text_config: layers(asRecord(config.text_config)),
    vision_config: { ...asRecord(config.vision_config), num_hidden_layers: vision },
    vision_feature_layer: vision,
  });
}

/** The checkpoint with the tensors of an architecture alone. */
function slicedCheckpoint(
  checkpoint: Checkpoint,
  architecture: Architecture,
  { options, isRead }: Pick<MeasuredModel, "options" | "isRead">,
): Checkpoint {
  const names = new Set(expectedOf(checkpoint, architecture, options).map(({ name }) => name));
  return {
    ...checkpoint,
    tensors: new Map([...checkpoint.tensors].filter(([name]) => names.has(name))),
    tensorBytes: (name) => checkpoint.tensorBytes(name),
    read: async (name, range = {}) => {
      if (isRead) return checkpoint.read(name, range);
      const { start = 0, end = checkpoint.tensorBytes(name) } = range;
      return new Uint8Array(end - start);
    },
    readJson: (...args) => checkpoint.readJson(...args),
    readText: (...args) => checkpoint.readText(...args),
    close: async () => undefined,
  };
}

/** Bytes of those tensors in the file that a load reads. */
function usedBytes(checkpoint: Checkpoint, architecture: Architecture, options: PlanOptions): number {
  return expectedOf(checkpoint, architecture, options).reduce((sum, { name }) => sum + checkpoint.tensorBytes(name), 0);
}

function expectedOf(checkpoint: Checkpoint, architecture: Architecture, { dtype }: PlanOptions) {
  return expectedTensors(planWeights(checkpoint, architecture, dtype)).expected;
}
