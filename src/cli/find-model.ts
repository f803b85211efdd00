// Finds the model of the command line: a folder, the name of an embedded checkpoint, or an id on the hub, which is downloaded with progress on stderr.

import { readHubSettings } from "../checkpoint/hub/hub-settings.node.ts";
import type { PullProgress } from "../checkpoint/hub/pull.node.ts";
import { type ResolvedModel, resolveModel } from "../checkpoint/hub/resolve-model.node.ts";
import { readFileText } from "../checkpoint/read-file.node.ts";
import { parseJsonFile } from "../checkpoint/source.ts";
import { formatBytes } from "../gpu/device.ts";
import { readArchitecture } from "../models/registry.ts";
import { asUsage, modelPath } from "./checks.ts";
import type { ModelFlags } from "./flags.ts";
import { embeddedNamed } from "./package-files.ts";
import { type Session, UsageError } from "./session.ts";

/** Where a model's files are, and its name in reports. */
export type FoundModel = Pick<ResolvedModel, "folder" | "name">;

/** Shows a download. */
export interface DownloadReport {
  readonly onProgress: (progress: PullProgress) => void;
  readonly onNote: (text: string) => void;
  /** Refuses a model that this version cannot load, before its weights are fetched. @throws CheckpointError. */
  readonly onSmallFiles: (folder: string) => Promise<void>;
  /** Ends the bar. */
  stop(): void;
}

/** The download's speed is that of this time. */
const RATE_WINDOW_MS = 10_000;
/** Without a terminal, progress is a line after this long. */
const LINE_MS = 30_000;

/**
 * Finds the folder of `--model`, which is a folder, the name of a checkpoint that comes with the package, or an id on the hub; without
 * it, that of the embedded tiny-spatial.
 * @throws CheckpointError when there is no such model; UsageError for a revision of a folder; AbortError.
 */
export async function findModel(
  session: Session,
  flags: Pick<ModelFlags, "model" | "revision">,
  options: { readonly signal?: AbortSignal; readonly include?: readonly string[] } = {},
): Promise<ResolvedModel> {
  const { model, revision } = flags;
  const { signal = session.signal, include } = options;
  if (model === undefined || embeddedNamed(model) !== undefined) {
    if (revision !== undefined)
      throw new UsageError("--revision belongs to a model on the hub: give its id as --model.");
    const folder = modelPath({ model });
    return { folder, name: folder, commit: undefined };
  }
  const { onProgress, onNote, onSmallFiles, stop } = await reportDownload(session, model);
  try {
    return await asUsage(() => resolveModel(model, { revision, include, signal, onProgress, onNote, onSmallFiles }));
  } finally {
    stop();
  }
}

/** Reports a download of `name` on stderr: as a bar on a terminal, else in lines. */
export async function reportDownload(session: Session, name: string): Promise<DownloadReport> {
  const { hideProgress } = readHubSettings();
  const isBar = process.stderr.isTTY === true && !hideProgress;
  const show = isBar ? await bar(name) : lines(session, name);
  return {
    ...show,
    onNote: (text) => session.note(`adaptvis: ${text}`),
    onSmallFiles: async (folder) => {
      readArchitecture(parseJsonFile(await readFileText(`${folder}/config.json`), "config.json"));
    },
  };
}

async function bar(name: string): Promise<Pick<DownloadReport, "onProgress" | "stop">> {
  const { SingleBar } = await import("cli-progress");
  const shown = new SingleBar({
    format: `downloading ${name} {bar} {percentage} % of {size}, {speed}`,
    stream: process.stderr,
    clearOnComplete: true,
    hideCursor: true,
    barCompleteChar: "█",
    barIncompleteChar: "░",
  });
  const speed = new Speed();
  return {
    onProgress(progress) {
      const { loadedBytes, totalBytes } = progress;
      const payload = { size: formatBytes(totalBytes), speed: speed.text(progress) };
      if (!shown.isActive) shown.start(totalBytes, 0, payload);
      shown.setTotal(totalBytes);
      shown.update(loadedBytes, payload);
    },
    stop: () => shown.stop(),
  };
}

function lines(session: Session, name: string): Pick<DownloadReport, "onProgress" | "stop"> {
  const speed = new Speed();
  let last: PullProgress | undefined;
  let lineMs: number | undefined;
  return {
    onProgress(progress) {
      last = progress;
      const rate = speed.text(progress);
      const isFirst = lineMs === undefined;
      if (lineMs !== undefined && performance.now() - lineMs < LINE_MS) return;
      lineMs = performance.now();
      const { loadedBytes, totalBytes } = progress;
      const percentage = Math.floor((100 * loadedBytes) / Math.max(1, totalBytes));
      session.note(
        `adaptvis: downloading ${name}${isFirst ? "" : `: ${percentage} % of ${formatBytes(totalBytes)}, ${rate}`}`,
      );
    },
    stop() {
      if (last === undefined || last.downloadedBytes === 0) return;
      session.note(`adaptvis: downloaded ${formatBytes(last.downloadedBytes)} of ${name} in ${speed.elapsed()}`);
    },
  };
}

/** The rate of a download over the last seconds, and the time that is left. */
class Speed {
  private readonly startedMs = performance.now();
  private samples: { readonly ms: number; readonly bytes: number }[] = [];

  /** Such as "51.2 MB/s, 3 min left". */
  text({ loadedBytes, totalBytes, downloadedBytes }: PullProgress): string {
    const ms = performance.now();
    this.samples.push({ ms, bytes: downloadedBytes });
    if (this.samples.length > 1000 || ms - (this.samples[0]?.ms ?? ms) > RATE_WINDOW_MS) {
      this.samples = this.samples.filter((sample, index) => ms - sample.ms <= RATE_WINDOW_MS && index % 2 === 0);
    }
    const first = this.samples[0] ?? { ms, bytes: downloadedBytes };
    const perSecond = (1000 * (downloadedBytes - first.bytes)) / Math.max(1, ms - first.ms);
    if (perSecond <= 0) return "waiting";
    return `${formatBytes(perSecond)}/s, ${duration((totalBytes - loadedBytes) / perSecond)} left`;
  }

  elapsed(): string {
    return duration((performance.now() - this.startedMs) / 1000);
  }
}

function duration(seconds: number): string {
  if (seconds < 100) return `${Math.ceil(seconds)} s`;
  return seconds < 6000 ? `${Math.ceil(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
