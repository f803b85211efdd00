// Opens the model that the command line names, with progress on stderr, and keeps tuning tables in the user's cache folder.

import { createHash } from "node:crypto";
import { mkdir, readFile, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, dirname, join } from "node:path";
import { SingleBar } from "cli-progress";
import { fileSource } from "../checkpoint/file-source.node.ts";
import { writeFileWhole } from "../checkpoint/write-file.node.ts";
import { readCheckpointSettings } from "../checkpoint-settings.ts";
import { CheckpointError, InputError, throwIfAborted } from "../errors.ts";
import { formatBytes, Gpu, requestGpuDevice } from "../gpu/device.ts";
import { measureTuning } from "../gpu/ops/measure-tuning.ts";
import { choiceText } from "../gpu/ops/tunables.ts";
import { checkTuningTable, parseTuningTable, type TuningTable, tuningKey } from "../gpu/ops/tuning.ts";
import type { Profiler } from "../gpu/profile/profiler.ts";
import { Llava } from "../llava.ts";
import type { ModelFlags, ModelSettings } from "./flags.ts";
import { embeddedModel } from "./package-files.ts";
import type { Session } from "./session.ts";

/** A loaded model and what belongs to it. */
export interface OpenModel {
  readonly model: Llava;
  readonly settings: ModelSettings;
  readonly loadMs: number;
  /** Adapter and model as --json names them. */
  facts(): object;
  close(): void;
}

/**
 * Loads a model folder; without one the embedded checkpoint.
 * @throws CheckpointError when there is no such folder or it cannot be used; GpuError; AbortError.
 */
export async function openModel(
  session: Session,
  flags: ModelFlags,
  options: { readonly profiler?: Profiler | undefined } = {},
): Promise<OpenModel> {
  const started = performance.now();
  const folder = flags.model ?? embeddedModel();
  await checkFolder(folder);
  const settings = await readModelSettings(folder);
  const adapter = await session.openAdapter();
  session.note(`adaptvis: running on ${adapter.description}`);
  throwIfAborted(session.signal, "Loading the model");
  const device = await requestGpuDevice(adapter.adapter);
  const bar = progressBar(basename(folder));
  try {
    const { isSoftware: isCpu } = adapter;
    const note = (text: string) => session.note(text);
    const tuning = flags.tune === true ? await cachedTuning(device, { isSoftware: isCpu, note }) : undefined;
    const model = await Llava.load(fileSource(folder), {
      device,
      tuning,
      dtype: flags.dtype,
      signal: session.signal,
      profiler: options.profiler,
      onProgress: ({ loadedBytes, totalBytes }) => bar.show(loadedBytes, totalBytes),
    });
    const close = () => {
      model.dispose();
      device.destroy();
    };
    const { kind, isSoftware, description } = adapter;
    const facts = () => ({ adapter: { kind, isSoftware, description }, model: folder, dtype: model.dtype });
    return { model, settings, loadMs: elapsed(started), facts, close };
  } catch (error) {
    device.destroy();
    throw error;
  } finally {
    bar.stop();
  }
}

/**
 * The defaults that a model's folder brings in adaptvis.json; none without that file.
 * @throws CheckpointError when the file is not JSON or a value is out of range.
 */
export async function readModelSettings(folder: string): Promise<ModelSettings> {
  const source = fileSource(folder);
  try {
    return await readCheckpointSettings(source);
  } finally {
    await source.close?.();
  }
}

/** Milliseconds since `started`, to a tenth. */
export function elapsed(started: number): number {
  return Math.round((performance.now() - started) * 10) / 10;
}

async function checkFolder(folder: string): Promise<void> {
  const stats = await stat(folder).catch(() => undefined);
  if (stats?.isDirectory()) return;
  const isHubId = /^[\w.-]+\/[\w.-]+$/.test(folder) && stats === undefined;
  const problem = isHubId
    ? `no folder ${folder} is here, and models are not downloaded from the hub: download ${folder} and give its folder`
    : `${folder} is ${stats === undefined ? "not there" : "no folder"}: expected a folder with config.json and model.safetensors`;
  throw new CheckpointError(`--model: ${problem}.`, { file: folder });
}

/** A bar on stderr where that is a terminal; elsewhere nothing. */
function progressBar(name: string): { show(loadedBytes: number, totalBytes: number): void; stop(): void } {
  if (!process.stderr.isTTY) return { show: () => undefined, stop: () => undefined };
  const bar = new SingleBar({
    format: `loading ${name} {bar} {percentage} % of {size}`,
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
 * The tuning table of this device: the cached one, else one that is measured now and cached.
 * @param note gets a line for people about what was found or measured
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

/** Where a device's table is: one file an adapter, driver and version of the kernels. */
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
