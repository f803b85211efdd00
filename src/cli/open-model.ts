// Opens the model selected on the command line, with progress on stderr, and caches tuning tables in the user's cache folder.

import { createHash } from "node:crypto";
import { mkdir, readFile, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, dirname, join } from "node:path";
import type { ExpectedQuestion } from "../answer.ts";
import { fileSource } from "../checkpoint/file-source.node.ts";
import { writeFileWhole } from "../checkpoint/write-file.node.ts";
import { CheckpointError, InputError, throwIfAborted } from "../errors.ts";
import { formatBytes, Gpu, requestGpuDevice } from "../gpu/device.ts";
import { measureTuning } from "../gpu/ops/measure-tuning.ts";
import { checkTuningTable, parseTuningTable, tuningKey } from "../gpu/ops/tuning.ts";
import type { Profiler } from "../gpu/profile/profiler.ts";
import { choiceText, type TuningTable } from "../gpu/tunables.ts";
import { Llava } from "../llava.ts";
import { readImageFile } from "../preprocess/decode-image.node.ts";
import type { RgbImage } from "../preprocess/image.ts";
import { asUsage } from "./checks.ts";
import type { ModelFlags, PictureFlags } from "./flags.ts";
import { embeddedModel } from "./package-files.ts";
import type { Session } from "./session.ts";

/** A loaded model with its settings and the time that loading took. */
export interface OpenModel {
  readonly model: Llava;
  readonly loadMs: number;
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
 * Loads the folder of `--model`, by default the embedded checkpoint.
 * @throws CheckpointError when the folder does not exist or is not a usable checkpoint; UsageError for an invalid option of
 *   the first question; GpuError; AbortError.
 */
export async function openModel(session: Session, flags: ModelFlags, options: OpenOptions = {}): Promise<OpenModel> {
  const started = performance.now();
  const { profiler, firstQuestion, adapterClass, signal = session.signal, onReading } = options;
  const folder = flags.model ?? embeddedModel();
  await checkFolder(folder);
  const adapter = await session.openAdapter();
  session.note(`adaptvis: running on ${adapter.description}`);
  throwIfAborted(signal, "Loading the model");
  const device = await requestGpuDevice(adapter.adapter);
  session.reach("device");
  const bar = await progressBar(`loading ${basename(folder)}`);
  try {
    const { isSoftware: isCpu } = adapter;
    const note = (text: string) => session.note(text);
    const tuning = flags.tune === true ? await cachedTuning(device, { isSoftware: isCpu, note }) : undefined;
    const load = () =>
      Llava.load(fileSource(folder), {
        device,
        tuning,
        dtype: flags.dtype,
        kvDtype: flags.kv,
        activationDtype: flags.activations,
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
      return { adapter: { kind, isSoftware, description }, model: folder, dtype, kvDtype, activationDtype };
    };
    return { model, loadMs: elapsed(started), facts, close };
  } catch (error) {
    device.destroy();
    throw error;
  } finally {
    bar.stop();
  }
}

/**
 * As {@link openModel}, and decodes the picture of `--image`, if there is one, while kernels compile and the weights load; a
 * picture that cannot be decoded stops the load.
 * @throws as {@link openModel}; InputError for the picture.
 */
export async function openModelAndPicture(
  session: Session,
  flags: PictureFlags,
  options: Pick<OpenOptions, "profiler" | "firstQuestion" | "adapterClass"> = {},
): Promise<{ readonly open: OpenModel; readonly image: RgbImage | undefined }> {
  const { image: file, exif: applyExif } = flags;
  const stop = new AbortController();
  const signal = AbortSignal.any([session.signal, stop.signal]);
  let decoding: Promise<RgbImage | undefined> | undefined;
  const decode = () => {
    if (decoding !== undefined) return decoding;
    decoding = file === undefined ? Promise.resolve(undefined) : readImageFile(file, { applyExif });
    decoding.catch(() => stop.abort());
    return decoding;
  };
  let open: OpenModel | undefined;
  try {
    open = await openModel(session, flags, { ...options, signal, onReading: decode });
    return { open, image: await decode() };
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

/** @throws CheckpointError unless there is such a folder. */
export async function checkFolder(folder: string): Promise<void> {
  const stats = await stat(folder).catch(() => undefined);
  if (stats?.isDirectory()) return;
  const isHubId = /^[\w.-]+\/[\w.-]+$/.test(folder) && stats === undefined;
  const problem = isHubId
    ? `the folder ${folder} does not exist, and models are not downloaded from the hub: download ${folder} and give its folder`
    : `${folder} ${stats === undefined ? "does not exist" : "is not a folder"}: expected a folder with config.json and model.safetensors`;
  throw new CheckpointError(`--model: ${problem}.`, { file: folder });
}

/** A progress bar on stderr if that is a terminal; otherwise it does nothing. @param title what is shown before the bar */
export async function progressBar(
  title: string,
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
      if (!bar.isActive) bar.start(totalBytes, 0, { size: formatBytes(totalBytes) });
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
  const file = tuningFile(device);
  const cached = await readTable(file, device, options.note);
  if (cached !== undefined) return cached;
  const gpu = new Gpu(device, { isSoftware: options.isSoftware });
  try {
    const table = await measureTuning(gpu);
    await mkdir(dirname(file), { recursive: true });
    await writeFileWhole(file, `${JSON.stringify(table, undefined, 1)}\n`);
    options.note(`adaptvis: ${describe(table)}; kept in ${file}`);
    return table;
  } finally {
    gpu.dispose();
  }
}

/** The path of a device's table: one file per adapter, driver and version of the kernels. */
export function tuningFile(device: GPUDevice): string {
  const name = createHash("sha256").update(tuningKey(device)).digest("hex").slice(0, 16);
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), ".cache");
  return join(cache, "adaptvis", "tuning", `${name}.json`);
}

async function readTable(
  file: string,
  device: GPUDevice,
  note: (text: string) => void,
): Promise<TuningTable | undefined> {
  const text = await readFile(file, "utf8").catch(() => undefined);
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
