// Brings a model from the hub into the cache: lists its files, chooses those that are needed, downloads what the cache lacks.

import { statfs } from "node:fs/promises";
import { dirname, join } from "node:path";
import { AbortError, at, CheckpointError, InputError, throwIfAborted } from "../../errors.ts";
import { readFileText } from "../read-file.node.ts";
import { quote } from "../source.ts";
import { INDEX_FILE, SINGLE_FILE } from "../weight-files.ts";
import { allOrFirstFailure, type BlobOrigin, type Download, downloadBlob, Limit } from "./download-blob.node.ts";
import {
  blobPath,
  cacheError,
  fileSize,
  isPresent,
  placeFile,
  type RepoCache,
  readListing,
  removeLeftBehind,
  repoCache,
  snapshotFolder,
  writeAbsent,
  writeCacheTag,
  writeListing,
  writeRef,
} from "./hub-cache.node.ts";
import { isHubId } from "./hub-id.ts";
import { commitOf, type HubContext, type HubFile, isCommit, listFiles } from "./hub-listing.node.ts";
import { downloadOf } from "./hub-request.node.ts";
import { type HubSettings, readHubSettings } from "./hub-settings.node.ts";
import { neededFiles, SMALL_FILES, shardsOf } from "./needed-files.ts";
import { hashOf, partialBytes } from "./partial-file.node.ts";

/** The revision of a model unless another is named. */
export const DEFAULT_REVISION = "main";

/** How far a download is. */
export interface PullProgress {
  /** Bytes of the needed files that the cache has, those of earlier downloads included. */
  readonly loadedBytes: number;
  readonly totalBytes: number;
  /** Bytes that this download has fetched. */
  readonly downloadedBytes: number;
}

/** How a model is pulled. */
export interface PullOptions {
  /** Branch, tag, `refs/pr/1` or commit. Default: main. */
  readonly revision?: string | undefined;
  /** The commit that the revision is at, where the hub has been asked already. */
  readonly commit?: string | undefined;
  /** Patterns of files beyond the needed ones, with `*` for anything. */
  readonly include?: readonly string[] | undefined;
  /** Also compares the hash of files that are in the cache already; one that is wrong is fetched again. */
  readonly verify?: boolean;
  readonly settings?: HubSettings;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: PullProgress) => void) | undefined;
  /** Receives lines about what is out of the ordinary: waiting, a damaged file. */
  readonly onNote?: ((text: string) => void) | undefined;
  /** Called with the snapshot's folder once the small files are there, before any weights; what it throws ends the pull. */
  readonly onSmallFiles?: ((folder: string) => Promise<void>) | undefined;
}

/** A file of a pulled model. */
export interface PulledFile {
  readonly path: string;
  readonly size: number;
  /** The name of its blob: its sha256, or git's sha1. */
  readonly etag: string;
  readonly status: "cached" | BlobOrigin;
}

/** A model in the cache. */
export interface PulledModel {
  readonly id: string;
  readonly revision: string;
  readonly commit: string;
  /** The snapshot: a folder with the model's files. */
  readonly folder: string;
  readonly files: readonly PulledFile[];
}

const REQUESTS_AT_ONCE = 8;
const FILES_AT_ONCE = 4;

/**
 * Pulls a model: afterwards the cache has its configuration, tokenizer, processor and safetensors.
 * @param id such as "llava-hf/llava-1.5-7b-hf"
 * @throws InputError for an id or revision that cannot be; CheckpointError when the hub refuses or cannot be reached, the model has
 * no safetensors, or the disk is full; AbortError. What has come until then is kept for the next pull.
 */
export async function pullModel(id: string, options: PullOptions = {}): Promise<PulledModel> {
  const { settings = readHubSettings(), signal, onNote } = options;
  checkId(id);
  const revision = checkRevision(options.revision ?? DEFAULT_REVISION);
  if (settings.isOffline) {
    throw new CheckpointError(
      `${id} cannot be pulled offline: unset HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE, or give its folder.`,
      { file: id },
    );
  }
  const repo = repoCache(id, settings);
  try {
    return await pull(repo, revision, { ...options, context: { settings, signal, onNote } });
  } catch (error) {
    if (signal?.aborted) throw new AbortError(downloadOf({ id }));
    throw cacheError(error, settings.cacheFolder);
  }
}

/** Checks a model's id. @throws InputError. */
export function checkId(id: string): void {
  if (isHubId(id)) return;
  throw new InputError(`${quote(id)} is not a model's id on the hub: expected the form org/name.`);
}

/** Checks a revision. @throws InputError unless it is one or more plain names joined by `/`. */
export function checkRevision(revision: string): string {
  const isPlain = revision
    .split("/")
    .every((part) => /^[^\s\\:~^?*[\p{Cc}]+$/u.test(part) && !/^\.|\.\.|\.lock$/.test(part));
  if (isPlain) return revision;
  throw new InputError(`The revision ${quote(revision)} is not one: give a branch, a tag, refs/pr/1 or a commit.`);
}

async function pull(
  repo: RepoCache,
  revision: string,
  options: PullOptions & { readonly context: HubContext },
): Promise<PulledModel> {
  const { context, include, onSmallFiles } = options;
  const { id } = repo;
  const { signal } = context;
  const known = isCommit(revision) ? revision : options.commit;
  const commit = known ?? (await commitOf(id, revision, context));
  const kept = await readListing(repo, commit);
  const listing = kept ?? (await listFiles(id, commit, context));
  const byPath = new Map(listing.map((file) => [file.path, file]));
  const paths = [...byPath.keys()];
  const entry = (path: string): HubFile => {
    const file = byPath.get(path);
    if (file === undefined) throw new RangeError(`${path} is not listed`);
    return file;
  };
  const needed = neededFiles(id, paths, include);
  await writeCacheTag(context.settings.cacheFolder);
  await writeListing(repo, commit, { files: listing, isComplete: false });

  const first = [...needed.small, ...(needed.weights === INDEX_FILE ? [INDEX_FILE] : [])];
  const job = new PullJob(repo, commit, options);
  await job.fetch(first.map(entry));
  const folder = snapshotFolder(repo, commit);
  await onSmallFiles?.(folder);
  throwIfAborted(signal, downloadOf(repo));
  const weights =
    needed.weights === SINGLE_FILE ? [SINGLE_FILE] : shardsOf(id, await readFileText(join(folder, INDEX_FILE)), paths);
  await job.fetch([...new Set([...weights, ...needed.included])].map(entry));

  await writeRef(repo, revision, commit);
  await writeAbsent(
    repo,
    commit,
    SMALL_FILES.filter((path) => !byPath.has(path)),
  );
  const areAllPresent = await Promise.all(listing.map((file) => isPresent(repo, commit, file)));
  if (!areAllPresent.includes(false)) await writeListing(repo, commit, { files: listing, isComplete: true });
  await removeLeftBehind(repo);
  return { id, revision, commit, folder, files: job.files };
}

type LackingFile = HubFile & { readonly isDamaged: boolean };

/** The files of one pull. */
class PullJob {
  readonly files: PulledFile[] = [];
  private readonly repo: RepoCache;
  private readonly commit: string;
  private readonly options: PullOptions;
  private readonly context: HubContext;
  private readonly limit = new Limit(REQUESTS_AT_ONCE);
  private loadedBytes = 0;
  private downloadedBytes = 0;
  private totalBytes = 0;

  constructor(repo: RepoCache, commit: string, options: PullOptions & { readonly context: HubContext }) {
    this.repo = repo;
    this.commit = commit;
    this.options = options;
    this.context = options.context;
  }

  /** Brings files into the snapshot. */
  async fetch(files: readonly HubFile[]): Promise<void> {
    this.totalBytes += files.reduce((sum, { size }) => sum + size, 0);
    const states = await Promise.all(files.map(async (file) => ({ file, state: await this.stateOf(file) })));
    const lacking = states.flatMap(({ file, state }) => {
      return state === "missing" || state === "damaged" ? [{ ...file, isDamaged: state === "damaged" }] : [];
    });
    await this.checkSpace(lacking);
    for (const { file, state } of states) {
      if (state === "missing" || state === "damaged") continue;
      if (state === "blob") await placeFile(this.repo, this.commit, { ...file, isNew: false });
      this.loadedBytes += file.size;
      this.files.push(pulled(file, "cached"));
    }
    if (lacking.length === 0) return;
    this.report();
    const stop = new AbortController();
    const { signal } = this.context;
    const either = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
    const limit = new Limit(FILES_AT_ONCE);
    const etags = [...new Set(lacking.map(({ etag }) => etag))];
    const tasks = etags.map((etag) => {
      const group = lacking.filter((file) => file.etag === etag);
      return limit.run(() => this.fetchBlob(group, either));
    });
    await allOrFirstFailure(tasks, stop);
  }

  /** Fetches the blob that all of `files` are, and puts it into the snapshot. */
  private async fetchBlob(files: readonly LackingFile[], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { repo, commit, limit } = this;
    const download: Download = {
      ...this.context,
      repo,
      commit,
      limit,
      signal,
      onBytes: (numBytes, kind) => {
        this.loadedBytes += numBytes;
        if (kind === "downloaded") this.downloadedBytes += numBytes;
        this.report();
      },
    };
    const file = at(files, 0);
    const origin = await downloadBlob(file, download);
    for (const other of files.slice(1)) {
      await placeFile(repo, commit, { ...other, isNew: false });
      download.onBytes(other.size, "resumed");
    }
    await placeFile(repo, commit, { ...file, isNew: origin === "downloaded" }); // may move the blob
    this.files.push(...files.map((each) => pulled(each, origin)));
  }

  /** Whether the snapshot or the blobs have a file. One of another size, or with `verify` of another hash, is reported. */
  private async stateOf(file: HubFile): Promise<"snapshot" | "blob" | "missing" | "damaged"> {
    const { repo, commit } = this;
    const places = [
      ["snapshot", join(snapshotFolder(repo, commit), file.path)],
      ["blob", blobPath(repo, file.etag)],
    ] as const;
    for (const [state, place] of places) {
      const size = await fileSize(place);
      if (size === undefined) continue;
      const problem =
        size === file.size ? await this.wrongHash(place, file) : `it has ${size} bytes, expected ${file.size}`;
      if (problem === undefined) return state;
      this.context.onNote?.(`${file.path} of ${repo.id} is damaged in the cache (${problem}): fetching it again`);
      return "damaged";
    }
    return "missing";
  }

  private async wrongHash(place: string, file: HubFile): Promise<string | undefined> {
    if (this.options.verify !== true) return undefined;
    const hash = await hashOf(place, file, this.context.signal);
    return hash === file.etag ? undefined : `its hash is ${hash}, expected ${file.etag}`;
  }

  /** Refuses a download that the disk has no room for. @throws CheckpointError. */
  private async checkSpace(files: readonly HubFile[]): Promise<void> {
    const wanted = files.reduce((sum, { size }) => sum + size, 0);
    const { cacheFolder } = this.context.settings;
    const free = await freeBytes(cacheFolder);
    if (wanted === 0 || free === undefined || free >= wanted - (await partialBytes(this.repo))) return;
    throw new CheckpointError(
      `${this.repo.id} needs ${wanted} more bytes, but the disk with ${cacheFolder} has ${free} free: free some space, or set HF_HUB_CACHE to a folder on another disk.`,
      { file: this.repo.id },
    );
  }

  private report(): void {
    const { loadedBytes, totalBytes, downloadedBytes } = this;
    this.options.onProgress?.({ loadedBytes, totalBytes, downloadedBytes });
  }
}

function pulled({ path, size, etag }: HubFile, status: PulledFile["status"]): PulledFile {
  return { path, size, etag, status };
}

/** Free bytes of the disk that a folder is on; undefined where that is not known. */
async function freeBytes(folder: string): Promise<number | undefined> {
  for (let place = folder; ; place = dirname(place)) {
    const stats = await statfs(place).catch(() => undefined);
    // Some network file systems say 0.
    if (stats !== undefined) return stats.bavail > 0 ? stats.bavail * stats.bsize : undefined;
    if (place === dirname(place)) return undefined;
  }
}
