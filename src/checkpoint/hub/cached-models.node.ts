// What the cache holds: snapshots and whether they are complete, sizes, removal. Works without the network.

import { readdir, readFile, realpath, rm, stat } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { CheckpointError } from "../../errors.ts";
import { readFileText } from "../read-file.node.ts";
import { listNames, quote } from "../source.ts";
import { INDEX_FILE, parseIndex, SINGLE_FILE } from "../weight-files.ts";
import {
  cachedCommit,
  cacheError,
  fileSize,
  idOfFolder,
  isPresent,
  type RepoCache,
  readListing,
  repoCache,
  snapshotFolder,
  snapshotsOf,
} from "./hub-cache.node.ts";
import { isCommit } from "./hub-listing.node.ts";
import type { HubSettings } from "./hub-settings.node.ts";
import { neededFiles, shardsOf } from "./needed-files.ts";
import { partialBytes } from "./partial-file.node.ts";

/** A commit of a model in the cache. */
export interface CachedRevision {
  readonly commit: string;
  /** Branches and tags that were at this commit when they were last looked up. */
  readonly refs: readonly string[];
  readonly folder: string;
  readonly numFiles: number;
  /** Bytes of its files; revisions may share them. */
  readonly bytes: number;
  /** Why the model cannot be loaded from it, or undefined when it can. */
  readonly problem: string | undefined;
}

/** A model in the cache. */
export interface CachedModel {
  readonly id: string;
  readonly folder: string;
  /** Bytes of all its revisions, each file counted once. */
  readonly bytes: number;
  /** Bytes of downloads that are not complete. */
  readonly partialBytes: number;
  readonly revisions: readonly CachedRevision[];
}

/** The models in the cache, by name. Data sets and spaces are left out. */
export async function cachedModels(settings: HubSettings): Promise<readonly CachedModel[]> {
  const entries = await readdir(settings.cacheFolder, { withFileTypes: true }).catch(() => []);
  const ids = entries.flatMap((entry) => {
    const id = entry.isDirectory() || entry.isSymbolicLink() ? idOfFolder(entry.name) : undefined;
    return id === undefined ? [] : [id];
  });
  return Promise.all(ids.sort().map((id) => cachedModel(id, settings)));
}

/**
 * Removes a model with all its revisions. Files that other repositories share stay.
 * @returns what was removed.
 * @throws CheckpointError when the cache does not have it, or it cannot be removed.
 */
export async function removeModel(id: string, settings: HubSettings): Promise<CachedModel> {
  const model = await findModel(id, settings);
  const name = relative(settings.cacheFolder, model.folder);
  try {
    await rm(model.folder, { recursive: true });
    await rm(join(settings.cacheFolder, ".locks", name), { recursive: true, force: true });
  } catch (error) {
    throw cacheError(error, settings.cacheFolder);
  }
  return model;
}

/** A model in the cache. @throws CheckpointError when the cache does not have it. */
export async function findModel(id: string, settings: HubSettings): Promise<CachedModel> {
  const models = await cachedModels(settings);
  const model = models.find((each) => each.id === id);
  if (model !== undefined) return model;
  const others = models.length === 0 ? "no models" : `only ${listNames(models.map((each) => each.id))}`;
  throw new CheckpointError(`${quote(id)} is not in the cache ${settings.cacheFolder}, which has ${others}.`, {
    file: id,
  });
}

/**
 * The snapshot of a revision, and what it lacks: an empty list when the model can be loaded from it; undefined without snapshot.
 * @param include patterns of files that are needed, too
 * @throws CheckpointError when the repository cannot have what is needed.
 */
export async function cachedSnapshot(
  repo: RepoCache,
  revision: string,
  include: readonly string[] = [],
): Promise<{ readonly commit: string; readonly folder: string; readonly lacks: readonly string[] } | undefined> {
  const commit = await cachedCommit(repo, revision);
  if (commit === undefined) return undefined;
  const folder = snapshotFolder(repo, commit);
  const stats = await stat(folder).catch(() => undefined);
  return stats?.isDirectory() ? { commit, folder, lacks: await lackingFiles(repo, commit, include) } : undefined;
}

/** Needed files that a snapshot lacks. Without a listing of the repository, only those that every model needs are known. */
async function lackingFiles(
  repo: RepoCache,
  commit: string,
  include: readonly string[] = [],
): Promise<readonly string[]> {
  const listing = await readListing(repo, commit);
  const has = (path: string) => isPresent(repo, commit, { path });
  const readIndex = () => readFile(join(snapshotFolder(repo, commit), INDEX_FILE), "utf8");
  const missing = async (paths: readonly string[], isThere: (path: string) => Promise<boolean>) => {
    const found = await Promise.all(paths.map(isThere));
    return paths.filter((_, index) => found[index] !== true);
  };
  if (listing === undefined) {
    if (await has(SINGLE_FILE)) return missing(["config.json"], has);
    if (!(await has(INDEX_FILE))) return missing(["config.json", SINGLE_FILE], has);
    return missing(["config.json", ...new Set(parseIndex(await readIndex()).values())], has);
  }
  const paths = listing.map(({ path }) => path);
  const hasWhole = async (path: string) => {
    const file = listing.find((each) => each.path === path);
    return file !== undefined && (await isPresent(repo, commit, file));
  };
  const { small, weights, included } = neededFiles(repo.id, paths, include);
  const lacking = await missing([...small, ...included, weights], hasWhole);
  if (weights !== INDEX_FILE || lacking.includes(INDEX_FILE)) return lacking;
  return [...lacking, ...(await missing(shardsOf(repo.id, await readIndex(), paths), hasWhole))];
}

async function cachedModel(id: string, settings: HubSettings): Promise<CachedModel> {
  const repo = repoCache(id, settings);
  const refs = await readRefs(join(repo.folder, "refs"));
  const sizes = new Map<string, number>();
  const revisions = await Promise.all(
    (await snapshotsOf(repo.folder)).map((commit) => revisionOf(repo, commit, { refs, sizes })),
  );
  return {
    id,
    folder: repo.folder,
    bytes: [...sizes.values()].reduce((sum, bytes) => sum + bytes, 0),
    partialBytes: await partialBytes(repo),
    revisions: revisions.sort((a, b) => Number(b.refs.length > 0) - Number(a.refs.length > 0)),
  };
}

async function revisionOf(
  repo: RepoCache,
  commit: string,
  of: { readonly refs: ReadonlyMap<string, string>; readonly sizes: Map<string, number> },
): Promise<CachedRevision> {
  const folder = snapshotFolder(repo, commit);
  let bytes = 0;
  let numFiles = 0;
  for (const path of await filesUnder(folder)) {
    const size = await fileSize(path);
    if (size === undefined) continue; // a link to nowhere
    of.sizes.set(await realpath(path), size);
    bytes += size;
    numFiles++;
  }
  const problem = await problemOf(repo, commit);
  const refs = [...of.refs].filter(([, at]) => at === commit).map(([name]) => name);
  return { commit, refs: refs.sort(), folder, numFiles, bytes, problem };
}

async function problemOf(repo: RepoCache, commit: string): Promise<string | undefined> {
  try {
    const lacks = await lackingFiles(repo, commit);
    return lacks.length === 0 ? undefined : `lacks ${listNames(lacks)}`;
  } catch (error) {
    if (error instanceof CheckpointError) return error.message;
    throw error;
  }
}

/** Commits by the name of the branch or tag, also of nested ones such as refs/pr/1. */
async function readRefs(folder: string): Promise<ReadonlyMap<string, string>> {
  const refs = new Map<string, string>();
  for (const path of await filesUnder(folder)) {
    const commit = (await readFileText(path).catch(() => "")).trim();
    if (isCommit(commit)) refs.set(relative(folder, path).replaceAll("\\", "/"), commit);
  }
  return refs;
}

/** Files and links in a folder and its folders. */
async function filesUnder(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => !entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name));
}

/** The repository of a folder in a cache, by its name: `…/models--org--name`. */
export function repoOfFolder(folder: string, name: string): RepoCache | undefined {
  const id = idOfFolder(name);
  return id === undefined ? undefined : repoCache(id, { cacheFolder: dirname(folder), noSymlinks: false });
}
