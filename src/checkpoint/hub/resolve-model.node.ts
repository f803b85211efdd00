// From what a user calls a model, a folder or an id on the hub, to a folder with its files.

import { realpath, stat } from "node:fs/promises";
import { basename, dirname, resolve } from "node:path";
import { CheckpointError, InputError } from "../../errors.ts";
import { callback, checkedText, readOptions, type Schema, text } from "../../options.ts";
import { fileSource } from "../file-source.node.ts";
import { lazySource } from "../lazy-source.ts";
import { listNames, quote, type Source } from "../source.ts";
import { cachedSnapshot, repoOfFolder } from "./cached-models.node.ts";
import {
  fileSize,
  idOfFolder,
  type RepoCache,
  readListing,
  repoCache,
  snapshotFolder,
  snapshotsOf,
} from "./hub-cache.node.ts";
import { isHubId } from "./hub-id.ts";
import { commitOf, isCommit } from "./hub-listing.node.ts";
import { HubUnavailableError } from "./hub-request.node.ts";
import { type HubSettings, readHubSettings } from "./hub-settings.node.ts";
import { checkRevision, DEFAULT_REVISION, type PullOptions, type PullProgress, pullModel } from "./pull.node.ts";

/** Where a model's files are. */
export interface ResolvedModel {
  /** A folder with config.json and the weights. */
  readonly folder: string;
  /** The id on the hub, or the folder's path as it was given. */
  readonly name: string;
  /** The commit, of a model in the hub's cache. */
  readonly commit: string | undefined;
}

/** Options of a source from the hub. */
export interface HubSourceOptions {
  /** Branch, tag, `refs/pr/1` or commit. Default: main. */
  readonly revision?: string;
  /** An access token. Default: that of HF_TOKEN or of `hf auth login`. */
  readonly token?: string;
  /** The cache's folder. Default: that of HF_HUB_CACHE or HF_HOME, else ~/.cache/huggingface/hub. */
  readonly cacheFolder?: string;
  readonly onProgress?: (progress: PullProgress) => void;
}

const HUB_SOURCE: Schema<HubSourceOptions> = { revision: text, token: text, cacheFolder: text, onProgress: callback };

/**
 * A source over a model on Hugging Face's hub. Its first use downloads what the cache lacks, in the layout that Python's
 * huggingface_hub shares; the signal of that use stops the download, which the next one continues.
 * @param id such as "llava-hf/llava-1.5-7b-hf"
 * @throws InputError for an id or revision that cannot be, at once; CheckpointError when the hub refuses or cannot be reached, when
 * it is used.
 */
export function hubSource(id: string, options: HubSourceOptions = {}): Source {
  const asked = readOptions("hubSource", options, HUB_SOURCE);
  if (!isHubId(checkedText("id", id)))
    throw new InputError(`hubSource: expected an id such as "llava-hf/llava-1.5-7b-hf", got ${quote(id)}.`);
  const { revision = DEFAULT_REVISION, token, cacheFolder, onProgress } = asked;
  checkRevision(revision);
  return lazySource(id, async (signal) => {
    const settings = readHubSettings(process.env, { token, cacheFolder });
    const { folder } = await resolveId(id, { revision, settings, signal, onProgress });
    return fileSource(folder);
  });
}

/**
 * A source over a folder, a repository's folder in a cache, or an id on the hub, as {@link resolveModel} finds it at the first use.
 * @throws CheckpointError, when it is used, for a name that is none of them.
 */
export function modelSource(name: string): Source {
  return lazySource(name, async (signal) => fileSource((await resolveModel(name, { signal })).folder));
}

/**
 * Finds a model's folder: an existing folder as it is, a repository's folder in a cache by its snapshot, an id on the hub in the
 * cache, into which it is downloaded first where needed. A path that exists is never taken for an id.
 * @throws InputError for a revision of a folder that has none; CheckpointError for what is neither, and as {@link pullModel};
 * AbortError.
 */
export async function resolveModel(given: string, options: PullOptions = {}): Promise<ResolvedModel> {
  const stats = await stat(given).catch(() => undefined);
  if (stats === undefined) {
    if (isHubId(given)) return resolveId(given, options);
    throw new CheckpointError(
      `${given} does not exist, and is not an id on the hub: expected a folder with config.json and model.safetensors, or an id such as llava-hf/llava-1.5-7b-hf.`,
      { file: given },
    );
  }
  if (!stats.isDirectory()) {
    throw new CheckpointError(`${given} is not a folder: expected a folder with config.json and model.safetensors.`, {
      file: given,
    });
  }
  const { revision } = options;
  const real = resolve(given);
  const repo = repoOfFolder(real, basename(real));
  if (repo !== undefined && (await fileSize(`${real}/config.json`)) === undefined)
    return resolveRepo(given, repo, revision);
  if (revision !== undefined) {
    throw new InputError(
      `A revision (${revision}) is given for the folder ${given}: only an id on the hub, or a repository's folder in its cache, has revisions.`,
    );
  }
  return { folder: given, ...(await ownerOf(given)) };
}

/** Of a snapshot in a cache, its repository's id and the commit. */
async function ownerOf(folder: string): Promise<Pick<ResolvedModel, "name" | "commit">> {
  const real = await realpath(folder);
  const snapshots = dirname(real);
  const id = basename(snapshots) === "snapshots" ? idOfFolder(basename(dirname(snapshots))) : undefined;
  return id === undefined ? { name: folder, commit: undefined } : { name: id, commit: basename(real) };
}

/** The snapshot of a repository's folder: of the revision, else of main, else the only one. */
async function resolveRepo(text: string, repo: RepoCache, revision: string | undefined): Promise<ResolvedModel> {
  const named = await cachedSnapshot(repo, revision ?? DEFAULT_REVISION);
  if (named !== undefined) return { folder: named.folder, name: repo.id, commit: named.commit };
  const commits = await snapshotsOf(repo.folder);
  const [only] = commits;
  if (revision === undefined && commits.length === 1 && only !== undefined) {
    return { folder: snapshotFolder(repo, only), name: repo.id, commit: only };
  }
  const has = commits.length === 0 ? "no snapshots" : `the snapshots ${listNames(commits)}`;
  throw new CheckpointError(
    `${text} has no snapshot of ${revision ?? DEFAULT_REVISION}, but ${has}: pull ${repo.id}, or name one with --revision.`,
    { file: text },
  );
}

async function resolveId(id: string, options: PullOptions): Promise<ResolvedModel> {
  const { settings = readHubSettings(), signal, onNote, include } = options;
  const revision = checkRevision(options.revision ?? DEFAULT_REVISION);
  const repo = repoCache(id, settings);
  const cached = await cachedSnapshot(repo, revision, include);
  const isComplete = cached !== undefined && cached.lacks.length === 0;
  const found = isComplete ? { folder: cached.folder, name: id, commit: cached.commit } : undefined;
  // A commit does not change, so that nothing has to be asked.
  if (found !== undefined && (settings.isOffline || isCommit(revision))) return found;
  if (settings.isOffline) throw notCached(id, { revision, settings, lacks: cached?.lacks });
  try {
    let commit: string | undefined;
    if (found !== undefined) {
      // With a copy at hand, an answer is not worth waiting for.
      commit = await commitOf(id, revision, { settings: { ...settings, retryDelaysMs: [] }, signal, onNote });
      if (commit === found.commit && (await readListing(repo, commit)) !== undefined) return found;
    }
    const pulled = await pullModel(id, { ...options, settings, commit });
    return { folder: pulled.folder, name: id, commit: pulled.commit };
  } catch (error) {
    if (found === undefined || !(error instanceof HubUnavailableError)) throw error;
    onNote?.(`the hub cannot be asked for changes of ${id}: using the copy in the cache`);
    return found;
  }
}

function notCached(
  id: string,
  of: { readonly revision: string; readonly settings: HubSettings; readonly lacks: readonly string[] | undefined },
): CheckpointError {
  const { revision, settings, lacks } = of;
  const problem =
    lacks === undefined
      ? `${id} at ${revision} is not in the cache ${settings.cacheFolder}`
      : `The cache ${settings.cacheFolder} lacks ${listNames(lacks)} of ${id} at ${revision}`;
  return new CheckpointError(
    `${problem}, and offline mode is on: unset HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE once.`,
    {
      file: id,
    },
  );
}
