// A file that is being downloaded, in a folder of its own:
//
//   models--org--name/.adaptvis/partial/ETAG.HOST.PID.RANDOM/data      the bytes, each at its place
//                                                            journal   how many bytes of each piece are there
//
// The folder's name says who writes to it. A process takes over what another one left by renaming the folder; the journal's time
// shows that the owner is alive. Nothing breaks if that is judged wrongly: both then write the same bytes to the same places, the
// hash is compared before the file becomes a blob, and that is a rename, too. Python's names (blobs/ETAG.RANDOM.incomplete) are
// never used.

import { createHash, randomBytes } from "node:crypto";
import { type FileHandle, mkdir, open, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { setInterval } from "node:timers";
import { at } from "../../errors.ts";
import { hostTag, isRunning, ownMark } from "../../gpu/hosts/process-mark.node.ts";
import { makeFolder } from "../../gpu/hosts/user-folders.node.ts";
import { readFileText } from "../read-file.node.ts";
import { asRecord } from "../source.ts";
import { blobPath, cacheError, fileSize, type RepoCache, temporaryName } from "./hub-cache.node.ts";

/** Bytes that one request fetches at most. */
export const PIECE_BYTES = 32 * 2 ** 20;
/** The journal is written this often; a process that is killed loses at most what came since. */
const JOURNAL_MS = 500;
/** Without a new journal for this long, an owner on another machine is gone. */
const SILENT_MS = 60_000;
/** Opening takes milliseconds. */
const GATE_MS = 10_000;
const HASH_CHUNK_BYTES = 2 ** 20;

/** What a blob must be. */
export interface BlobIdentity {
  readonly etag: string;
  readonly size: number;
}

/** Part of a file: bytes `[start, end)`. */
export interface Piece {
  readonly index: number;
  readonly start: number;
  readonly end: number;
}

/** A download in progress, owned by this object. */
export class PartialFile {
  /** Pieces that are not complete, each from its first missing byte. */
  readonly missing: readonly Piece[];
  /** Bytes that an earlier download left. */
  readonly resumedBytes: number;
  private folder: string;
  private readonly repo: RepoCache;
  private readonly blob: BlobIdentity;
  private readonly data: FileHandle;
  /** Bytes from its start that each piece has. */
  private readonly done: number[];
  private readonly timer: NodeJS.Timeout;
  private writing: Promise<void> = Promise.resolve();

  private constructor(
    repo: RepoCache,
    blob: BlobIdentity,
    parts: { readonly folder: string; readonly data: FileHandle; readonly done: number[] },
  ) {
    this.repo = repo;
    this.blob = blob;
    this.folder = parts.folder;
    this.data = parts.data;
    this.done = parts.done;
    this.resumedBytes = this.done.reduce((sum, bytes) => sum + bytes, 0);
    this.missing = this.done.flatMap((bytes, index) => {
      const start = index * PIECE_BYTES + bytes;
      const end = Math.min((index + 1) * PIECE_BYTES, blob.size);
      return start < end ? [{ index, start, end }] : [];
    });
    this.timer = setInterval(() => this.writeJournal(), JOURNAL_MS);
    this.timer.unref();
  }

  /**
   * Takes over what is left of a download of `blob`, or begins one.
   * @returns undefined while another process, or another call, downloads it.
   */
  static async open(repo: RepoCache, blob: BlobIdentity): Promise<PartialFile | undefined> {
    const parent = partialFolder(repo);
    await makeFolder(parent);
    // Of two that begin at once, one makes this folder.
    const gate = join(parent, `opening.${blob.etag}`);
    if (!(await makeGate(gate))) return undefined;
    try {
      const found = await foldersOf(parent, blob.etag);
      const alive = await Promise.all(found.map((name) => isAlive(join(parent, name))));
      if (alive.includes(true)) return undefined;
      const own = join(parent, ownName(blob.etag));
      const [left] = found;
      if (left === undefined) await mkdir(own);
      else if (!(await takeOver(join(parent, left), own))) return undefined;
      return await PartialFile.in(repo, blob, own);
    } finally {
      await rm(gate, { recursive: true, force: true });
    }
  }

  private static async in(repo: RepoCache, blob: BlobIdentity, folder: string): Promise<PartialFile> {
    const path = join(folder, "data");
    const bytes = (await fileSize(path)) ?? 0;
    const done = await readJournal(folder, { size: blob.size, dataBytes: bytes });
    const data = await open(path, bytes === 0 ? "w+" : "r+");
    const partial = new PartialFile(repo, blob, { folder, data, done });
    await partial.writeJournal();
    return partial;
  }

  /** Writes bytes of a piece at `position`, which is where its last ones ended. @throws CheckpointError when the disk is full or fails. */
  async write(piece: Piece, position: number, bytes: Uint8Array): Promise<void> {
    try {
      for (let offset = 0; offset < bytes.length; ) {
        const { bytesWritten } = await this.data.write(bytes, offset, bytes.length - offset, position + offset);
        offset += bytesWritten;
      }
    } catch (error) {
      throw cacheError(error, this.repo.folder);
    }
    this.done[piece.index] = position + bytes.length - piece.index * PIECE_BYTES;
  }

  /** The hash of what is there, as {@link hashOf}. */
  async hash(signal: AbortSignal | undefined): Promise<string> {
    return hashOfHandle(this.data, this.blob, signal);
  }

  /** Makes the complete file a blob. */
  async finish(): Promise<void> {
    clearInterval(this.timer);
    await this.data.datasync();
    await this.close();
    const target = blobPath(this.repo, this.blob.etag);
    await makeFolder(join(this.repo.folder, "blobs"));
    try {
      await rename(join(this.folder, "data"), target);
    } catch (error) {
      // Another process took this one for gone and has finished the file.
      if ((await fileSize(target)) !== this.blob.size) throw error;
    }
    await rm(this.folder, { recursive: true, force: true });
    const parent = partialFolder(this.repo);
    for (const name of await foldersOf(parent, this.blob.etag)) {
      if (!(await isAlive(join(parent, name)))) await rm(join(parent, name), { recursive: true, force: true });
    }
  }

  /** Stops, and leaves the bytes to the next download. */
  async release(): Promise<void> {
    await this.writeJournal();
    await this.close();
    const free = join(partialFolder(this.repo), `${this.blob.etag}.free.${randomBytes(4).toString("hex")}`);
    await rename(this.folder, free).catch(() => undefined); // another process has it already
    this.folder = free;
  }

  /** Stops, and removes the bytes. */
  async discard(): Promise<void> {
    await this.close();
    await rm(this.folder, { recursive: true, force: true });
  }

  private async close(): Promise<void> {
    clearInterval(this.timer);
    await this.writing;
    await this.data.close();
  }

  /** Ignores failures: without a journal, the bytes are downloaded again. */
  private writeJournal(): Promise<void> {
    this.writing = this.writing.then(async () => {
      const path = join(this.folder, "journal");
      const temporary = temporaryName(path);
      const text = JSON.stringify({ size: this.blob.size, pieceBytes: PIECE_BYTES, done: this.done });
      await writeFile(temporary, text)
        .then(() => rename(temporary, path))
        .catch(() => rm(temporary, { force: true }).catch(() => undefined));
    });
    return this.writing;
  }
}

/**
 * The hash that names a blob: of one with a sha256 as name the sha256 of its bytes, of any other git's sha1 of a blob.
 * @throws the signal's reason when `signal` fires.
 */
export async function hashOf(path: string, blob: BlobIdentity, signal: AbortSignal | undefined): Promise<string> {
  const handle = await open(path);
  try {
    return await hashOfHandle(handle, blob, signal);
  } finally {
    await handle.close();
  }
}

/** Bytes of downloads that are not complete. */
export async function partialBytes(repo: RepoCache): Promise<number> {
  const parent = partialFolder(repo);
  const names = await readdir(parent).catch(() => []);
  const sizes = await Promise.all(
    names.map(async (name) => {
      const done = await readJournal(join(parent, name), undefined).catch(() => []);
      return done.reduce((sum, bytes) => sum + bytes, 0);
    }),
  );
  return sizes.reduce((sum, bytes) => sum + bytes, 0);
}

async function hashOfHandle(handle: FileHandle, blob: BlobIdentity, signal: AbortSignal | undefined): Promise<string> {
  const isLarge = blob.etag.length === 64;
  const hash = createHash(isLarge ? "sha256" : "sha1");
  if (!isLarge) hash.update(`blob ${blob.size}\0`);
  const chunk = new Uint8Array(HASH_CHUNK_BYTES);
  for (let position = 0; ; ) {
    signal?.throwIfAborted();
    const { bytesRead } = await handle.read(chunk, 0, chunk.length, position);
    if (bytesRead === 0) return hash.digest("hex");
    hash.update(chunk.subarray(0, bytesRead));
    position += bytesRead;
  }
}

/** Renames a folder. @returns false where it is gone: its owner has just finished. */
async function takeOver(folder: string, own: string): Promise<boolean> {
  try {
    await rename(folder, own);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return false;
    throw error;
  }
}

/** Makes a folder that only one process can make; one that was left by a process that was killed is removed for the next try. */
async function makeGate(path: string): Promise<boolean> {
  try {
    await mkdir(path);
    return true;
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
    const stats = await stat(path).catch(() => undefined);
    if (stats !== undefined && Date.now() - stats.mtimeMs > GATE_MS) await rm(path, { recursive: true, force: true });
    return false;
  }
}

function partialFolder(repo: RepoCache): string {
  return join(repo.folder, ".adaptvis", "partial");
}

async function foldersOf(parent: string, etag: string): Promise<readonly string[]> {
  return (await readdir(parent)).filter((name) => name.startsWith(`${etag}.`)).sort();
}

function ownName(etag: string): string {
  return `${etag}.${ownMark()}`;
}

async function isAlive(folder: string): Promise<boolean> {
  const [, host, pid] = basename(folder).split(".");
  if (host === "free") return false;
  if (host === hostTag() && !isRunning(Number(pid))) return false;
  // A folder that has just been made has no journal yet.
  const stats = await stat(join(folder, "journal")).catch(() => stat(folder).catch(() => undefined));
  return stats !== undefined && Date.now() - stats.mtimeMs < SILENT_MS;
}

/** Bytes per piece, none where there is no usable journal. @param expected undefined: whatever the journal says */
async function readJournal(
  folder: string,
  expected: { readonly size: number; readonly dataBytes: number } | undefined,
): Promise<number[]> {
  const numPieces = expected === undefined ? 0 : Math.ceil(expected.size / PIECE_BYTES);
  const none = Array.from({ length: numPieces }, () => 0);
  const text = await readFileText(join(folder, "journal")).catch(() => "");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return none;
  }
  const { size, pieceBytes, done } = asRecord(value);
  if (!Array.isArray(done) || pieceBytes !== PIECE_BYTES) return none;
  const bytes: readonly unknown[] = done;
  const isCount = (count: unknown): count is number => typeof count === "number" && count >= 0 && count <= PIECE_BYTES;
  if (!bytes.every(isCount)) return none;
  if (expected === undefined) return [...bytes];
  const isOfData = (count: number, index: number) => {
    return count === 0 || index * PIECE_BYTES + count <= Math.min(expected.size, expected.dataBytes);
  };
  const fits = size === expected.size && bytes.length === numPieces && bytes.every(isOfData);
  return fits ? none.map((_, index) => at(bytes, index)) : none;
}
