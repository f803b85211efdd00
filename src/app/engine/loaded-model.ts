// A loaded checkpoint with its own device, opened from an address or local files, and what the engine needs of its host
// (a worker or a test).

import { blobSource } from "../../checkpoint/blob-source.ts";
import { httpSource } from "../../checkpoint/http-source.ts";
import { parseJsonFile, readTextFile, type Source } from "../../checkpoint/source.ts";
import { CheckpointError } from "../../errors.ts";
import { isSoftwareAdapter, requestGpuDevice } from "../../gpu/device.ts";
import { type AdaptVisSettings, DEFAULT_ADAPTVIS } from "../../interventions/adaptvis.ts";
import { Llava } from "../../llava.ts";
import { readArchitecture } from "../../models/registry.ts";
import type { RgbImage } from "../../preprocess/image.ts";
import type { DecodeOptions } from "../../preprocess/image-header.ts";
import type { CheckpointSource, LoadStep, ModelView } from "../protocol.ts";
import { orAborted } from "./failure.ts";

/** What a {@link PlaygroundEngine} needs of its host, so that the same code runs in a worker and in a test. */
export interface EngineHost {
  /** Milliseconds of a monotonic clock, such as `performance.now()`. */
  now(): number;
  /**
   * Requests a new adapter: an adapter provides only one device.
   * @throws EngineError `no-webgpu` or `no-adapter`.
   */
  requestAdapter(): Promise<GPUAdapter>;
  /** Opens a model that is kept, by its key; without this, none is. */
  readonly openKept?: (key: string, name: string) => Source;
  /** Decodes a picture file, upright. @throws InputError when it cannot be decoded. */
  decodeImage(bytes: Uint8Array, options: DecodeOptions): Promise<RgbImage>;
}

/** A model with its device; {@link LoadedModel.close} frees both. */
export class LoadedModel {
  readonly source: CheckpointSource;
  readonly model: Llava;
  readonly view: ModelView;
  /** Resolves with the reason when the device is lost; never after {@link LoadedModel.close}. */
  readonly lost: Promise<string>;
  private isClosed = false;

  constructor(source: CheckpointSource, model: Llava, view: ModelView) {
    this.source = source;
    this.model = model;
    this.view = view;
    this.lost = new Promise((resolve) => {
      void model.gpu.device.lost.then(({ reason, message }) => {
        if (!this.isClosed) resolve(message === "" ? reason : message);
      });
    });
  }

  /** Frees the model and its device; a second call does nothing. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.model.dispose();
    this.model.gpu.device.destroy();
  }
}

/** The options of the page's questions that decide which kernels they need. */
const FIRST_QUESTION = { attention: true, topLogProbs: 1 } as const;
const UNDER_FACTOR = { ...FIRST_QUESTION, method: "scaling" } as const;

/**
 * Loads a checkpoint on a new device.
 * @param onStep called for every phase
 * @throws EngineError, CheckpointError, GpuError or AbortError; a failed load frees everything.
 */
export async function loadModel(
  host: EngineHost,
  source: CheckpointSource,
  options: { readonly onStep: (step: LoadStep) => void; readonly signal: AbortSignal },
): Promise<LoadedModel> {
  const startMs = performance.now();
  const { signal } = options;
  // Kernels continue to compile after a stopped load; their result is ignored.
  const step = stepReporter((news) => signal.aborted || options.onStep(news));
  step({ phase: "adapter" });
  const adapter = await orAborted(host.requestAdapter(), signal, "Loading the model"); // drivers may start slowly
  const device = await requestGpuDevice(adapter);
  try {
    step({ phase: "config" });
    const files = openSource(host, source);
    const model = await Llava.load(files, {
      device,
      signal,
      firstQuestion: FIRST_QUESTION,
      ...((await isTooSlowToSplit(device, files)) && { imageSplitting: false }),
      onProgress: ({ loadedBytes, totalBytes }) => step({ phase: "weights", loadedBytes, totalBytes }),
    });
    try {
      checkWords(model);
      const compiled = model.compiled((numCompiled, numKernels) => step({ phase: "kernels", numCompiled, numKernels }));
      await orAborted(compiled, signal, "Loading the model");
    } catch (error) {
      model.dispose();
      throw error;
    }
    const view = viewOf(model, {
      name: nameOf(source),
      settings: settingsOf(model),
      loadMs: performance.now() - startMs,
    });
    // The answer under a factor runs the last row of the prompt alone, with other kernels than the whole of it. They compile while
    // the page is looked at; a question that comes first waits for what it needs, and a closed model has none to wait for. On a CPU
    // adapter, they would take from the first answer the cores that it is computed on.
    if (!model.gpu.isSoftware) model.warmUp({ questions: [UNDER_FACTOR], sweep: false }).catch(() => undefined);
    return new LoadedModel(source, model, view);
  } catch (error) {
    device.destroy();
    throw error;
  }
}

/** Whether pictures are shown to the model in one tile: an adapter that computes on the CPU takes minutes for the tiles of one. */
async function isTooSlowToSplit({ adapterInfo }: GPUDevice, files: Source): Promise<boolean> {
  if (!isSoftwareAdapter(adapterInfo)) return false;
  const config = await readTextFile(files, "config.json");
  if (config === undefined) return false; // the load says so
  return readArchitecture(parseJsonFile(config, "config.json")).pictures?.isTiledByProcessor === true;
}

/** The engine's source for a checkpoint; local files are read by ranges. @throws InputError for an invalid URL. */
function openSource({ openKept }: EngineHost, source: CheckpointSource): Source {
  if (source.kind === "url") return httpSource(source.url);
  if (source.kind === "kept") {
    if (openKept !== undefined) return openKept(source.key, source.name);
    throw new CheckpointError(`${source.name} is not kept here: download it again.`, { file: source.name });
  }
  return blobSource(
    source.files.map(({ path, file }) => [path, file] as const),
    source.name,
  );
}

/** The page asks questions as text, so a checkpoint without a tokenizer or chat template is refused. @throws CheckpointError. */
function checkWords({ processor, config }: Llava): void {
  processor.tokenizer.encode(processor.chatPrompt("?", { hasImage: config.multimodal !== undefined }));
}

/** AdaptVis' settings: the checkpoint's own, else the paper's. */
function settingsOf({ defaults }: Llava): AdaptVisSettings {
  const own: Readonly<Record<string, unknown>> = defaults.adaptvis ?? {};
  const { alpha1, alpha2, beta } = { ...DEFAULT_ADAPTVIS, ...own };
  return { alpha1: Number(alpha1), alpha2: Number(alpha2), beta: Number(beta) };
}

/** The last segment of a path or URL. */
function nameOf(source: CheckpointSource): string {
  if (source.kind !== "url") return source.name;
  return new URL(source.url).pathname.split("/").findLast((part) => part !== "") ?? source.url;
}

function viewOf(
  model: Llava,
  facts: { readonly name: string; readonly settings: AdaptVisSettings; readonly loadMs: number },
): ModelView {
  const { text, multimodal } = model.config;
  const { device, isSoftware } = model.gpu;
  const { vendor, architecture, description } = device.adapterInfo;
  const words = description === "" ? `${vendor} ${architecture}`.trim() : description;
  return {
    ...facts,
    methodDefaults: model.defaults,
    adapter: words === "" ? "an unnamed adapter" : words,
    isSoftware: isSoftware || isSoftwareAdapter(device.adapterInfo),
    hasTimestamps: device.features.has("timestamp-query"),
    dtype: model.dtype,
    weightBytes: model.gpu.allocatedBytes,
    numLayers: text.numHiddenLayers,
    numHeads: text.numAttentionHeads,
    vocabSize: text.vocabSize,
    imageSide: multimodal?.vision.imageSize,
    pictureForm: model.processor.imageProcessor?.tiling?.splits === false ? "square" : multimodal?.pictureForm,
  };
}

/** Start of each phase as a share of the whole load, measured on tiny-spatial; an estimate for other models. */
const PHASE_STARTS = { adapter: 0, config: 0.04, weights: 0.08, kernels: 0.4 } as const;
const PHASE_ENDS = { adapter: 0.04, config: 0.08, weights: 0.4, kernels: 1 } as const;

/** Completes a phase's fields with those of the phases before it. */
function stepReporter(onStep: (step: LoadStep) => unknown) {
  let last: LoadStep = {
    phase: "adapter",
    loadedBytes: 0,
    totalBytes: 0,
    numCompiled: 0,
    numKernels: 0,
    share: 0,
  };
  return (news: Partial<LoadStep> & Pick<LoadStep, "phase">) => {
    const { phase, loadedBytes, totalBytes, numCompiled, numKernels } = { ...last, ...news };
    const counted = phase === "weights" ? loadedBytes / (totalBytes || 1) : numCompiled / (numKernels || 1);
    const within = phase === "weights" || phase === "kernels" ? counted : 0;
    const share = PHASE_STARTS[phase] + (PHASE_ENDS[phase] - PHASE_STARTS[phase]) * within;
    last = { phase, loadedBytes, totalBytes, numCompiled, numKernels, share: Math.max(last.share, share) };
    onStep(last);
  };
}
