// From --model and --adapter to a loaded model, with a progress bar on a terminal.

import { stat } from "node:fs/promises";
import { basename } from "node:path";
import { SingleBar } from "cli-progress";
import { fileSource } from "../checkpoint/file-source.node.ts";
import { readCheckpointSettings } from "../checkpoint-settings.ts";
import { CheckpointError, throwIfAborted } from "../errors.ts";
import { formatBytes, requestGpuDevice } from "../gpu/device.ts";
import type { Profiler } from "../gpu/profile/profiler.ts";
import { Llava } from "../llava.ts";
import type { ModelSettings } from "./answer-flags.ts";
import { embeddedModel } from "./embedded-model.ts";
import type { ModelFlags } from "./model-flags.ts";
import type { Session } from "./session.ts";
import { cachedTuning } from "./tuning-cache.ts";

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
