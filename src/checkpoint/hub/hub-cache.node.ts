// Hugging Face's cache on disk, as Python's huggingface_hub lays it out:
//
//   models--org--name/blobs/ETAG            the bytes, or a link into a store that repositories share
//                     refs/main             the commit that a branch or tag was at
//                     snapshots/COMMIT/…    relative links to the blobs
//                     .no_exist/COMMIT/…    empty files: the repository has no such file
//                     trees/COMMIT.json     all files of a commit; written only where all of them are there
//                     .adaptvis/            ours: listings of commits, and downloads that are not complete
//
// Source: huggingface_hub 2.4.0, file_download.py and _tree_cache.py.

import { copyFile, readdir, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { CheckpointError, isObject } from "../../errors.ts";
import { isLeftBehind, ownMark } from "../../gpu/hosts/process-mark.node.ts";
import { makeFolder } from "../../gpu/hosts/user-folders.node.ts";
import { readFileText } from "../read-file.node.ts";
import { asRecord, checkPath } from "../source.ts";
import { type HubFile, isCommit, isEtag } from "./hub-listing.node.ts";
import type { HubSettings } from "./hub-settings.node.ts";

/** The folder of one repository in the cache. */
export interface RepoCache {
  readonly id: string;
  readonly folder: string;
  readonly noSymlinks: boolean;
}

const PREFIX = "models--";
const LISTING_VERSION = 1;
const CACHE_TAG = `Signature: 8a477f597d28d172789f06886806bc55
# This file is a cache directory tag: backups may leave this folder out.
# For information about cache directory tags see https://bford.info/cachedir/
`;

/** The cache's folder of a model; it need not exist. */
export function repoCache(id: string, settings: Pick<HubSettings, "cacheFolder" | "noSymlinks">): RepoCache {
  const folder = join(settings.cacheFolder, PREFIX + id.replaceAll("/", "--"));
  return { id, folder, noSymlinks: settings.noSymlinks };
}

/** The id of a model's folder in a cache, or undefined for any other name: `models--org--name` is `org/name`. */
export function idOfFolder(name: string): string | undefined {
  if (!name.startsWith(PREFIX)) return undefined;
  const id = name.slice(PREFIX.length).replaceAll("--", "/");
  return id === "" ? undefined : id;
}

/** The folder of a commit's files. */
export function snapshotFolder(repo: RepoCache, commit: string): string {
  return join(repo.folder, "snapshots", commit);
}

/** The blob of a name. */
export function blobPath(repo: RepoCache, etag: string): string {
  return join(repo.folder, "blobs", etag);
}

/** The commit that a revision is known to be at, or undefined. @throws CheckpointError for a revision that is no plain path. */
export async function cachedCommit(repo: RepoCache, revision: string): Promise<string | undefined> {
  if (isCommit(revision)) return revision;
  checkPath(revision);
  const text = await readFileText(join(repo.folder, "refs", revision)).catch(() => "");
  return isCommit(text.trim()) ? text.trim() : undefined;
}

/** Notes the commit of a revision. */
export async function writeRef(repo: RepoCache, revision: string, commit: string): Promise<void> {
  if (revision === commit || (await cachedCommit(repo, revision)) === commit) return;
  await writeQuietly(join(repo.folder, "refs", revision), commit);
}

/** Whether a commit's snapshot has a file of this size; of a file whose size is not known, whether it has it. */
export async function isPresent(
  repo: RepoCache,
  commit: string,
  file: { readonly path: string; readonly size?: number },
): Promise<boolean> {
  const size = await fileSize(join(snapshotFolder(repo, commit), file.path));
  return size !== undefined && (file.size === undefined || size === file.size);
}

/** A file's size, links followed, or undefined. */
export async function fileSize(path: string): Promise<number | undefined> {
  const stats = await stat(path).catch(() => undefined);
  return stats?.isFile() ? stats.size : undefined;
}

/**
 * Puts a blob into a commit's snapshot: as a relative link, or where links cannot be made, as a file; a blob that is new and
 * that no other snapshot has is moved.
 */
export async function placeFile(
  repo: RepoCache,
  commit: string,
  file: { readonly path: string; readonly etag: string; readonly isNew: boolean },
): Promise<void> {
  checkPath(file.path);
  const blob = blobPath(repo, file.etag);
  const place = join(snapshotFolder(repo, commit), file.path);
  await makeFolder(dirname(place));
  const temporary = temporaryName(place);
  try {
    if (repo.noSymlinks || !(await linkTo(relative(dirname(place), blob), temporary))) {
      if (file.isNew) await rename(blob, temporary);
      else await copyFile(blob, temporary);
    }
    await rename(temporary, place);
  } finally {
    await rm(temporary, { force: true });
  }
}

async function linkTo(target: string, path: string): Promise<boolean> {
  try {
    await symlink(target, path);
    return true;
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    // Windows without developer mode, and file systems such as exFAT.
    if (code === "EPERM" || code === "ENOSYS" || code === "ENOTSUP" || code === "EOPNOTSUPP") return false;
    throw error;
  }
}

/** The files of a commit as an earlier pull or Python listed them, or undefined. */
export async function readListing(repo: RepoCache, commit: string): Promise<readonly HubFile[] | undefined> {
  for (const file of [listingFile(repo, commit), treeFile(repo, commit)]) {
    const text = await readFileText(file).catch(() => undefined);
    const files = text === undefined ? undefined : parseListing(text);
    if (files !== undefined) return files;
  }
  return undefined;
}

/**
 * Keeps the files of a commit. Python's own listing is written only where the snapshot has all of them: with it, Python
 * refuses a snapshot without them.
 */
export async function writeListing(
  repo: RepoCache,
  commit: string,
  { files, isComplete }: { readonly files: readonly HubFile[]; readonly isComplete: boolean },
): Promise<void> {
  const sorted = [...files].sort((a, b) => (a.path < b.path ? -1 : 1));
  const entries = sorted.map(({ path, size, etag, gitId, xetHash }) => {
    const large = etag === gitId ? {} : { lfs_sha256: etag, lfs_size: size };
    return [path, { size, blob_id: gitId, ...large, ...(xetHash !== undefined && { xet_hash: xetHash }) }];
  });
  const text = JSON.stringify({ format_version: LISTING_VERSION, files: Object.fromEntries(entries) });
  const target = isComplete ? treeFile(repo, commit) : listingFile(repo, commit);
  if ((await fileSize(target)) === undefined) await writeQuietly(target, text);
}

/** Notes files that the repository is known not to have, so that Python does not ask for them. */
export async function writeAbsent(repo: RepoCache, commit: string, paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    const place = join(repo.folder, ".no_exist", commit, path);
    if ((await fileSize(place)) === undefined) await writeQuietly(place, "");
  }
}

/** Marks the cache's folder for backup programs. */
export async function writeCacheTag(cacheFolder: string): Promise<void> {
  const tag = join(cacheFolder, "CACHEDIR.TAG");
  if ((await fileSize(tag)) === undefined) await writeQuietly(tag, CACHE_TAG);
}

/** Commits that have a snapshot. */
export async function snapshotsOf(repoFolder: string): Promise<readonly string[]> {
  const entries = await readdir(join(repoFolder, "snapshots"), { withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isDirectory() && isCommit(entry.name)).map(({ name }) => name);
}

/** The error of a file system that refuses to keep a download. @param error any error; others than the file system's are returned unchanged */
export function cacheError(error: unknown, folder: string): unknown {
  if (!(error instanceof Error) || !("code" in error) || !("syscall" in error)) return error;
  const file = "path" in error && typeof error.path === "string" ? error.path : folder;
  const where = { file, cause: error };
  switch (error.code) {
    case "ENOSPC":
    case "EDQUOT":
      return new CheckpointError(
        `The disk with ${folder} is full: free some space or set HF_HUB_CACHE to a folder on another disk, and try again; what was downloaded is kept.`,
        where,
      );
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return new CheckpointError(
        `${file} cannot be written (${error.code}): set HF_HUB_CACHE to a folder that you may write to.`,
        where,
      );
    default:
      return new CheckpointError(
        `The cache in ${folder} cannot be used (${error.message}): check its disk, or set HF_HUB_CACHE to another folder.`,
        where,
      );
  }
}

/** A new name beside `path`, which says whose it is. */
export function temporaryName(path: string): string {
  return `${path}.${ownMark()}.tmp`;
}

/** Removes files with names of {@link temporaryName} that killed processes left. */
export async function removeLeftBehind(repo: RepoCache): Promise<void> {
  const names = await readdir(repo.folder, { recursive: true }).catch(() => []);
  const left = names.filter((name) => name.endsWith(".tmp") && isLeftBehind(basename(name)));
  for (const name of left) await rm(join(repo.folder, name), { force: true }).catch(() => undefined);
}

function listingFile(repo: RepoCache, commit: string): string {
  return join(repo.folder, ".adaptvis", "listings", `${commit}.json`);
}

function treeFile(repo: RepoCache, commit: string): string {
  return join(repo.folder, "trees", `${commit}.json`);
}

function parseListing(text: string): readonly HubFile[] | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { format_version: version, files } = asRecord(value);
  if (version !== LISTING_VERSION || !isObject(files)) return undefined;
  const listed = Object.entries(files).map(([path, entry]) => {
    const { size, blob_id: gitId, lfs_sha256: sha256, lfs_size: largeSize, xet_hash: xetHash } = asRecord(entry);
    const etag = sha256 ?? gitId;
    const bytes = largeSize ?? size;
    if (typeof gitId !== "string" || typeof etag !== "string" || !isEtag(etag) || typeof bytes !== "number") {
      return undefined;
    }
    return { path, size: bytes, etag, gitId, ...(typeof xetHash === "string" && { xetHash }) };
  });
  const known = listed.filter((file) => file !== undefined);
  return known.length === listed.length ? known : undefined;
}

/** Writes a small file whole; what cannot be written is only missing the next time. */
async function writeQuietly(path: string, text: string): Promise<void> {
  const temporary = temporaryName(path);
  try {
    await makeFolder(dirname(path));
    await writeFile(temporary, text);
    await rename(temporary, path);
  } catch {
    await rm(temporary, { force: true }).catch(() => undefined);
  }
}
