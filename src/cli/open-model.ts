// Opens the model selected on the command line, with progress on stderr, and caches tuning tables in the user's cache folder.

import { basename } from "node:path";
import type { ExpectedQuestion } from "../answer.ts";
import { fileSource } from "../checkpoint/file-source.node.ts";
import { isHubId } from "../checkpoint/hub/hub-id.ts";
import { NoRangesError, viewModel } from "../checkpoint/hub/remote-source.node.ts";
import { readFileText } from "../checkpoint/read-file.node.ts";
import { InputError, throwIfAborted } from "../errors.ts";
import { formatBytes, Gpu, requestGpuDevice } from "../gpu/device.ts";
import type { OpenedAdapter } from "../gpu/hosts/adapter-choice.node.ts";
import { measureTuning } from "../gpu/ops/measure-tuning.ts";
import { checkTuningTable, parseTuningTable, tuningKey } from "../gpu/ops/tuning.ts";
import type { Profiler } from "../gpu/profile/profiler.ts";
import type { WeightDtype } from "../gpu/tensor.ts";
import { choiceText, type TuningTable } from "../gpu/tunables.ts";
import { Llava } from "../llava.ts";
import type { ChatTemplateSource } from "../preprocess/chat-template.ts";
import { readImageFile } from "../preprocess/decode-image.node.ts";
import type { RgbImage } from "../preprocess/image.ts";
import { chosenTemplate } from "./chat-template.ts";
import { asUsage } from "./checks.ts";
import { findModel } from "./find-model.ts";
import { formToLoad } from "./fit-memory.ts";
import { type ModelFlags, type PictureFlags, type PictureSettings, pictureSettings } from "./flags.ts";
import { type Session, UsageError } from "./session.ts";
import { cacheFile, keepJson } from "./user-cache.ts";

/** A loaded model with its settings and the time that loading took. */
export interface OpenModel {
  readonly model: Llava;
  /** The folder of its files. */
  readonly folder: string;
  /** Its folder as it was given, or its id on the hub. */
  readonly name: string;
  readonly loadMs: number;
  /** The chat template that replaces the checkpoint's, or its absence. */
  readonly chatTemplate: ChatTemplateSource | undefined;
  /** Picture settings that override the checkpoint's. */
  readonly pictures: PictureSettings;
  /** The fields of --json about the adapter and the model. */
  facts(): object;
  close(): void;
}

/** How a model is opened. */
interface OpenOptions {
  readonly profiler?: Profiler | undefined;
  /** The first question; only its kernels are compiled during the load. */
  readonly firstQuestion?: ExpectedQuestion | undefined;
  /** "gpu" runs the GPU kernels on a CPU adapter, too. */
  readonly adapterClass?: "gpu" | undefined;
  /** Aborts the load. Default: the session's signal. */
  readonly signal?: AbortSignal | undefined;
  /** Called once the kernels compile and the weights are being read. */
  readonly onReading?: (() => void) | undefined;
}

/**
 * Loads the folder or hub id of `--model`, by default the embedded checkpoint; a model on the hub is downloaded first.
 * @throws CheckpointError when there is no such model or it is not a usable checkpoint; UsageError for an invalid option of
 *   the first question; GpuError; AbortError.
 */
export async function openModel(session: Session, flags: ModelFlags, options: OpenOptions = {}): Promise<OpenModel> {
  const started = performance.now();
  const { profiler, firstQuestion, adapterClass, signal = session.signal, onReading } = options;
  const planned = await planDownload(session, flags, signal);
  const { folder, name, commit } = await findModel(session, flags, { signal });
  const source = fileSource(folder);
  const chatTemplate = await chosenTemplate(source, {
    written: flags.chatTemplate,
    note: (line) => session.note(line),
  });
  const adapter = planned?.adapter ?? (await session.openAdapter());
  session.note(`adaptvis: running on ${adapter.description}`);
  throwIfAborted(signal, "Loading the model");
  const device = await requestGpuDevice(adapter.adapter);
  session.reach("device");
  const bar = await progressBar(`loading ${basename(name)}`);
  try {
    const { isSoftware: isCpu } = adapter;
    const note = (text: string) => session.note(text);
    const tuning = flags.tune === true ? await cachedTuning(device, { isSoftware: isCpu, note }) : undefined;
    const dtype = planned === undefined ? await formToLoad(session, source, { flags, adapter, signal }) : planned.dtype;
    const pictures = pictureSettings(flags);
    const load = () =>
      Llava.load(source, {
        device,
        tuning,
        dtype,
        kvDtype: flags.kv,
        activationDtype: flags.activations,
        chatTemplate,
        ...pictures,
        adapterClass,
        signal,
        profiler,
        firstQuestion,
        onProgress: ({ loadedBytes, totalBytes }) => {
          onReading?.();
          bar.show(loadedBytes, totalBytes);
        },
      });
    const model = await asUsage(load);
    session.reach("loaded");
    void model.gpu.pipelines.compiled().then(
      () => session.reach("compiled"),
      () => undefined, // reported by the answer
    );
    const close = () => {
      model.dispose();
      device.destroy();
    };
    const { kind, isSoftware, description } = adapter;
    const facts = () => {
      const { dtype, kvDtype, activationDtype } = model;
      const ofHub = commit === undefined ? {} : { commit };
      const used = chatTemplate === undefined ? {} : { chatTemplate: chatTemplate.file };
      return {
        adapter: { kind, isSoftware, description },
        model: name,
        ...ofHub,
        dtype,
        kvDtype,
        activationDtype,
        ...used,
      };
    };
    return { model, folder, name, loadMs: elapsed(started), chatTemplate, pictures, facts, close };
  } catch (error) {
    device.destroy();
    throw error;
  } finally {
    bar.stop();
  }
}

/** A form that was chosen for an adapter. */
interface PlannedLoad {
  readonly adapter: OpenedAdapter;
  readonly dtype: WeightDtype | undefined;
}

/**
 * Chooses the form of a model on the hub before it is downloaded, so that what does not fit is known before the wait; undefined where
 * nothing has to be downloaded or no memory is known.
 */
async function planDownload(
  session: Session,
  flags: ModelFlags,
  signal: AbortSignal,
): Promise<PlannedLoad | undefined> {
  const { model, revision } = flags;
  if (model === undefined || !isHubId(model)) return undefined;
  const onNote = (text: string) => session.note(`adaptvis: ${text}`);
  const { source, downloadBytes } = await asUsage(() => viewModel(model, { revision, signal, onNote }));
  try {
    if (downloadBytes === 0) return undefined;
    const adapter = await session.openAdapter();
    return { adapter, dtype: await formToLoad(session, source, { flags, adapter, signal }) };
  } catch (error) {
    if (error instanceof NoRangesError) return undefined;
    throw error;
  } finally {
    await source.close?.();
  }
}

/**
 * As {@link openModel}, and decodes the pictures of `--image` while kernels compile and the weights load; a picture that cannot be
 * decoded stops the load.
 * @throws as {@link openModel}; InputError for a picture.
 */
export async function openModelAndPictures(
  session: Session,
  flags: PictureFlags,
  options: Pick<OpenOptions, "profiler" | "firstQuestion" | "adapterClass"> = {},
): Promise<{ readonly open: OpenModel; readonly images: readonly RgbImage[] }> {
  const { image: files = [], exif: applyExif } = flags;
  if (flags.video === true && files.length === 0) {
    throw new UsageError("--video has no frames: give each as --image FILE, in order.");
  }
  const stop = new AbortController();
  const signal = AbortSignal.any([session.signal, stop.signal]);
  let decoding: Promise<readonly RgbImage[]> | undefined;
  const decode = () => {
    if (decoding !== undefined) return decoding;
    decoding = Promise.all(files.map((file) => readImageFile(file, { applyExif })));
    decoding.catch(() => stop.abort());
    return decoding;
  };
  let open: OpenModel | undefined;
  try {
    open = await openModel(session, flags, { ...options, signal, onReading: decode });
    return { open, images: await decode() };
  } catch (error) {
    open?.close();
    if (stop.signal.aborted) await decoding; // its error is why the load stopped
    throw error;
  }
}

/** Milliseconds since `started`, to a tenth. */
export function elapsed(started: number): number {
  return Math.round((performance.now() - started) * 10) / 10;
}

/**
 * A progress bar on stderr if that is a terminal; otherwise it does nothing.
 * @param title what is shown before the bar
 * @param sizeText the whole in words; bytes unless given
 */
export async function progressBar(
  title: string,
  sizeText: (total: number) => string = formatBytes,
): Promise<{ show(loadedBytes: number, totalBytes: number): void; stop(): void }> {
  if (!process.stderr.isTTY) return { show: () => undefined, stop: () => undefined };
  const { SingleBar } = await import("cli-progress");
  const bar = new SingleBar({
    format: `${title} {bar} {percentage} % of {size}`,
    stream: process.stderr,
    clearOnComplete: true,
    hideCursor: true,
    barCompleteChar: "█",
    barIncompleteChar: "░",
  });
  return {
    show(loadedBytes, totalBytes) {
      if (!bar.isActive) bar.start(totalBytes, 0, { size: sizeText(totalBytes) });
      bar.update(loadedBytes);
    },
    stop: () => bar.stop(),
  };
}

/**
 * The tuning table of this device: read from the cache, or measured now and cached.
 * @param note receives a line about the result
 */
export async function cachedTuning(
  device: GPUDevice,
  options: { readonly isSoftware: boolean; readonly note: (text: string) => void },
): Promise<TuningTable> {
  const file = cacheFile("tuning", tuningKey(device)); // one per adapter, driver and version of the kernels
  const cached = await readTable(file, device, options.note);
  if (cached !== undefined) return cached;
  const gpu = new Gpu(device, { isSoftware: options.isSoftware });
  try {
    const table = await measureTuning(gpu);
    options.note(`adaptvis: ${describe(table)}; ${await keepJson(file, table)}`);
    return table;
  } finally {
    gpu.dispose();
  }
}

async function readTable(
  file: string,
  device: GPUDevice,
  note: (text: string) => void,
): Promise<TuningTable | undefined> {
  const text = await readFileText(file).catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    const table = parseTuningTable(JSON.parse(text));
    checkTuningTable(table, device);
    return table;
  } catch (error) {
    if (!(error instanceof InputError || error instanceof SyntaxError)) throw error;
    note(`adaptvis: ${file} cannot be used (${error.message}): measuring again`);
    return undefined;
  }
}

function describe({ choices }: TuningTable): string {
  const entries = Object.entries(choices);
  if (entries.length === 0) return "tuned: CPU adapters have no constants to choose";
  return `tuned: ${entries.map(([name, choice]) => `${name} ${choiceText(choice)}`).join("; ")}`;
}
