// Downloads one file of a repository into the cache: in ranges, several at once, from where an earlier download ended.

import { rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { CheckpointError } from "../../errors.ts";
import { makeFolder } from "../../gpu/hosts/user-folders.node.ts";
import { blobPath, fileSize, type RepoCache, temporaryName } from "./hub-cache.node.ts";
import type { HubContext, HubFile } from "./hub-listing.node.ts";
import { type HubRequest, type LiveResponse, pause, sendToHub } from "./hub-request.node.ts";
import { PartialFile, type Piece } from "./partial-file.node.ts";

/** What the files of one pull share. */
export interface Download extends HubContext {
  readonly repo: RepoCache;
  readonly commit: string;
  /** Limits the requests of all files together. */
  readonly limit: Limit;
  /** Receives bytes as they come; negative ones where what came has to be fetched again. */
  readonly onBytes: (numBytes: number, kind: "downloaded" | "resumed") => void;
}

/** How a blob came into the cache. */
export type BlobOrigin = "downloaded" | "other-process";

const WAIT_MS = 250;
/** A file that arrives with a wrong hash is fetched once more. */
const MAX_FETCHES = 2;

/** Lets a number of tasks run at once. */
export class Limit {
  private free: number;
  private readonly waiting: (() => void)[] = [];

  constructor(atOnce: number) {
    this.free = atOnce;
  }

  /** Runs `task` as soon as there is room. */
  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.free > 0) this.free--;
    else await new Promise<void>((resolve) => this.waiting.push(resolve));
    try {
      return await task();
    } finally {
      const next = this.waiting.shift();
      if (next === undefined) this.free++;
      else next();
    }
  }
}

/**
 * Waits for all tasks to end. The first failure stops the others.
 * @throws that failure.
 */
export async function allOrFirstFailure(tasks: readonly Promise<unknown>[], stop: AbortController): Promise<void> {
  const failures: unknown[] = [];
  const note = (error: unknown) => {
    failures.push(error);
    stop.abort();
  };
  await Promise.all(tasks.map((task) => task.catch(note)));
  if (failures.length > 0) throw failures[0];
}

/**
 * Brings a blob into the cache. While another process downloads it, waits for that. When it stops early, what has come is kept.
 * @param file with `isDamaged`, the cache has a blob of this name and size, with other bytes
 * @throws CheckpointError when the hub refuses, the disk is full, or the bytes are wrong twice; the signal's reason when it fires.
 */
export async function downloadBlob(
  file: HubFile & { readonly isDamaged: boolean },
  download: Download,
): Promise<BlobOrigin> {
  const { repo, signal, onNote } = download;
  const target = blobPath(repo, file.etag);
  if (file.size === 0) {
    await makeFolder(dirname(target));
    const temporary = temporaryName(target);
    await writeFile(temporary, "");
    await rename(temporary, target);
    return "downloaded";
  }
  let isWaiting = false;
  for (let fetches = 0; ; ) {
    signal?.throwIfAborted();
    const partial = await PartialFile.open(repo, file);
    // It may have come since the caller looked.
    if ((isWaiting || !file.isDamaged) && (await fileSize(target)) === file.size) {
      await partial?.discard();
      download.onBytes(file.size, "resumed");
      return "other-process";
    }
    if (partial === undefined) {
      if (!isWaiting) onNote?.(`another process downloads ${file.path}: waiting for it`);
      isWaiting = true;
      await pause(WAIT_MS, signal);
      continue;
    }
    const actual = await fill(partial, file, download);
    if (actual === file.etag) {
      await partial.finish();
      return "downloaded";
    }
    await partial.discard();
    fetches++;
    const problem = `${file.path} of ${repo.id} arrived damaged (its hash is ${actual}, expected ${file.etag})`;
    if (fetches === MAX_FETCHES) {
      const advice = "a proxy or the connection changes it, so try again on another network";
      throw new CheckpointError(`${problem}, ${MAX_FETCHES} times: ${advice}.`, { file: file.path });
    }
    download.onBytes(-file.size, "resumed");
    onNote?.(`${problem}: fetching it again`);
  }
}

/** Fetches what is missing. @returns the hash of the whole. */
async function fill(partial: PartialFile, file: HubFile, download: Download): Promise<string> {
  const stop = new AbortController();
  const signal = download.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, download.signal]);
  download.onBytes(partial.resumedBytes, "resumed");
  try {
    const tasks = partial.missing.map((piece) => {
      return download.limit.run(async () => {
        signal.throwIfAborted();
        await fetchPiece(piece, partial, { file, download: { ...download, signal } });
      });
    });
    await allOrFirstFailure(tasks, stop);
    return await partial.hash(download.signal);
  } catch (error) {
    await partial.release();
    throw error;
  }
}

async function fetchPiece(
  piece: Piece,
  partial: PartialFile,
  { file, download }: { readonly file: HubFile; readonly download: Download },
): Promise<void> {
  const { repo, commit, settings, signal, onNote, onBytes } = download;
  const encoded = file.path.split("/").map(encodeURIComponent).join("/");
  let position = piece.start;
  const next = (): HubRequest => ({
    url: `${settings.endpoint}/${repo.id}/resolve/${commit}/${encoded}`,
    subject: { id: repo.id, revision: commit, path: file.path },
    settings,
    headers: { "Accept-Encoding": "identity", Range: `bytes=${position}-${piece.end - 1}` },
    timeoutMs: settings.stallTimeoutMs,
    signal,
    onNote,
  });
  await sendToHub(next, async ({ response, touch }: LiveResponse, advanced) => {
    // A server that ignores Range begins at the first byte.
    let skip = checkStart(response, file, position);
    for await (const received of response.body ?? []) {
      touch(received.length);
      const skipped = Math.min(skip, received.length);
      skip -= skipped;
      const bytes = received.subarray(skipped, skipped + piece.end - position);
      if (bytes.length === 0) continue;
      await partial.write(piece, position, bytes);
      position += bytes.length;
      onBytes(bytes.length, "downloaded");
      advanced();
      touch(bytes.length);
      if (position === piece.end) return;
    }
    throw new Error(`the file broke off at byte ${position} of ${file.size}`);
  });
}

/** Checks that the response is of this file and range. @returns how many of its bytes come before the range. */
function checkStart({ status, headers }: Response, file: HubFile, position: number): number {
  const [, first, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers.get("content-range") ?? "") ?? [];
  const start = status === 206 ? Number(first ?? Number.NaN) : 0;
  const size = status === 206 ? total : (headers.get("content-length") ?? "*");
  const isEncoded = (headers.get("content-encoding") ?? "identity") !== "identity";
  if (isEncoded || start !== (status === 206 ? position : 0) || (size !== "*" && Number(size) !== file.size)) {
    const got = status === 206 ? (headers.get("content-range") ?? "no Content-Range") : `${size} bytes`;
    throw new CheckpointError(
      `${file.path} cannot be read in ranges: asked for bytes from ${position} of ${file.size}, the server sent ${got}; check HF_ENDPOINT and proxies.`,
      { file: file.path },
    );
  }
  return position - start;
}
