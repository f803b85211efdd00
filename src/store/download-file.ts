// Downloads one file into a store: in ranges, several at once, from where an earlier download ended, and checks what came. Beside an
// unfinished file lies a small one that says which parts of it have come; without that, a file of the right size is whole.

import { sha1 } from "@noble/hashes/legacy.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex, utf8ToBytes } from "@noble/hashes/utils.js";
import { fetchRange } from "../checkpoint/http-request.ts";
import { asRecord } from "../checkpoint/source.ts";
import { AbortError, at, CheckpointError, throwIfAborted } from "../errors.ts";
import type { FileStore, FileWriter } from "./file-store.ts";
import { PATIENT_DELAYS_MS, type RemoteFile, type RemoteOptions } from "./remote-model.ts";

/** What the files of one download share. */
export interface FileDownload extends RemoteOptions {
  readonly files: FileStore;
  readonly folder: string;
  /** Name of the file in the folder. */
  readonly name: string;
  /** The address below which the model's files are, ending in a slash. */
  readonly address: string;
  /** What messages call the model. */
  readonly model: string;
  /** Bytes that one request fetches. Default: 16 MiB. */
  readonly pieceBytes?: number;
  /** Receives bytes as they come; those that an earlier download had brought are `resumed`. */
  readonly onBytes: (numBytes: number, kind: "downloaded" | "resumed") => void;
  /** Receives bytes of the file as they are compared with its hash. */
  readonly onChecked: (numBytes: number) => void;
}

/** Default size of a piece, in bytes; one request fetches one piece. Hubs limit requests per minute, so pieces must not be small. */
const PIECE_BYTES = 16 * 2 ** 20;
/** Pieces that are fetched at once. */
const PIECES_AT_ONCE = 3;
/** What has come is recorded after this time, milliseconds, so that a program that ends loses no more. */
const RECORD_MS = 500;
/** Bytes that are hashed at once. */
const HASH_BYTES = 4 * 2 ** 20;

/** The name of the record beside an unfinished file. */
export function recordName(name: string): string {
  return `${name}~part`;
}

/**
 * Bytes of a file that a store has, of an unfinished one too.
 * @param sizes of the files in the folder
 */
export async function keptBytes(
  { files, folder, name }: Pick<FileDownload, "files" | "folder" | "name">,
  size: number,
  sizes: ReadonlyMap<string, number>,
): Promise<{ readonly numBytes: number; readonly isWhole: boolean }> {
  const recordBytes = sizes.get(recordName(name));
  if (recordBytes === undefined) return sizes.get(name) === size ? { numBytes: size, isWhole: true } : NOTHING;
  const record = parseRecord(await files.read(folder, recordName(name), 0, recordBytes));
  return { numBytes: sum(doneOf(record, { size, dataBytes: sizes.get(name) ?? 0 })), isWhole: false };
}

const NOTHING = { numBytes: 0, isWhole: false } as const;

/**
 * Brings a file into the store, unless it is there. When it stops early, what has come is kept for the next time.
 * @throws CheckpointError when the server refuses or cannot be reached, or the bytes are not those that it announced; StoreError;
 * AbortError.
 */
export async function downloadFile(file: RemoteFile, download: FileDownload): Promise<void> {
  const { files, folder, name, onBytes, pieceBytes = PIECE_BYTES } = download;
  const sizes = await files.sizes(folder);
  if ((await keptBytes(download, file.size, sizes)).isWhole) return onBytes(file.size, "resumed");
  const recordBytes = sizes.get(recordName(name));
  const known =
    recordBytes === undefined ? undefined : parseRecord(await files.read(folder, recordName(name), 0, recordBytes));
  const isUsable = known?.size === file.size && known.pieceBytes === pieceBytes;
  const fresh: PartRecord = { size: file.size, pieceBytes, done: [] };
  const done = [...doneOf(isUsable ? known : fresh, { size: file.size, dataBytes: sizes.get(name) ?? 0 })];
  // The record comes first, so that a file without one is never taken for whole.
  if (!isUsable) await files.replace(folder, recordName(name), recordOf({ ...fresh, done }));
  const writer = await files.open(folder, name);
  onBytes(sum(done), "resumed");
  try {
    await new Pieces(file, download, { done, writer, pieceBytes }).fetch();
  } finally {
    await writer.close();
  }
  await checkHash(file, download);
  await files.remove(folder, recordName(name));
}

/** The pieces of a file, and how many bytes of each have come. */
class Pieces {
  private readonly file: RemoteFile;
  private readonly download: FileDownload;
  private readonly done: number[];
  private readonly writer: FileWriter;
  private readonly pieceBytes: number;
  /** Of the next record; undefined while nothing has come since the last one. */
  private timer: ReturnType<typeof setTimeout> | undefined;
  private recording: Promise<void> = Promise.resolve();

  constructor(
    file: RemoteFile,
    download: FileDownload,
    to: { readonly done: number[]; readonly writer: FileWriter; readonly pieceBytes: number },
  ) {
    this.file = file;
    this.download = download;
    this.done = to.done;
    this.writer = to.writer;
    this.pieceBytes = to.pieceBytes;
  }

  /** Fetches what is missing; after the first failure the other requests are stopped, and what came is recorded. */
  async fetch(): Promise<void> {
    const { download, done } = this;
    const missing = done.flatMap((numBytes, index) => (numBytes < this.bytesOf(index) ? [index] : []));
    const stop = new AbortController();
    const onAbort = () => stop.abort();
    download.signal?.addEventListener("abort", onAbort);
    let failure: { readonly cause: unknown } | undefined;
    const work = async () => {
      try {
        for (let index = missing.shift(); index !== undefined; index = missing.shift()) {
          throwIfAborted(download.signal, this.what);
          await this.fetchPiece(index, stop.signal);
        }
      } catch (cause) {
        failure ??= { cause };
        missing.length = 0;
        stop.abort();
      }
    };
    try {
      await Promise.all(Array.from({ length: PIECES_AT_ONCE }, work));
      clearTimeout(this.timer);
      await this.recording;
      await this.record(failure !== undefined);
    } finally {
      download.signal?.removeEventListener("abort", onAbort);
    }
    if (download.signal?.aborted) throw new AbortError(this.what);
    if (failure !== undefined) throw failure.cause;
  }

  private get what(): string {
    return `Downloading ${this.download.model}`;
  }

  private bytesOf(index: number): number {
    return Math.min(this.pieceBytes, this.file.size - index * this.pieceBytes);
  }

  private async fetchPiece(index: number, signal: AbortSignal): Promise<void> {
    const { file, download, done } = this;
    const { path } = file;
    const url = download.address + path.split("/").map(encodeURIComponent).join("/");
    const first = index * this.pieceBytes;
    const end = first + this.bytesOf(index);
    const position = () => first + at(done, index);
    const request = {
      path,
      url,
      shownUrl: url,
      headers: download.headers ?? {},
      // Read anew for every attempt, which so goes on where the one before it ended.
      get start() {
        return position();
      },
      end,
      retryDelaysMs: download.retryDelaysMs ?? PATIENT_DELAYS_MS,
      stallTimeoutMs: download.stallTimeoutMs,
      signal,
      isUncached: true,
    };
    let refusal: unknown; // of the store, which no repeated request would change
    const receive = async (response: Response | undefined, onReceived: (numBytes: number) => void) => {
      if (response === undefined) throw this.changed("the server does not have it any more");
      await this.checkRange(response, position(), end);
      const reader = response.body?.getReader();
      while (reader !== undefined) {
        const { done: isOver, value } = await reader.read();
        if (isOver) break;
        onReceived(value.length);
        if (position() + value.length > end) {
          await reader.cancel().catch(() => undefined);
          throw this.changed("the server sent more bytes than it was asked for");
        }
        await this.writer.write(value, position()).catch((cause) => {
          refusal = cause;
          throw new CheckpointError(`${path} could not be kept.`, { file: path, cause });
        });
        done[index] = at(done, index) + value.length;
        download.onBytes(value.length, "downloaded");
        this.recordSoon();
      }
      // Sent again, from here on.
      if (position() < end) throw new Error(`the file broke off at byte ${position()} of ${file.size}`);
    };
    await fetchRange(request, receive).catch((cause) => {
      throw refusal ?? cause;
    });
  }

  /** Checks that a response is the range that was asked for. Servers of other web sites may hide Content-Range. */
  private async checkRange(response: Response, start: number, end: number): Promise<void> {
    const { size } = this.file;
    const { status, headers } = response;
    const cancel = () => response.body?.cancel().catch(() => undefined);
    if (status === 416) {
      await cancel();
      throw this.changed(`the server has no bytes from ${start} on`);
    }
    if (status === 200 && !(start === 0 && end === size)) {
      await cancel();
      throw new CheckpointError(
        `The server of ${this.file.path} ignores Range and sends the whole file: use a server that supports Range.`,
        { file: this.file.path },
      );
    }
    const [, total] = /\/(\d+)$/.exec(headers.get("content-range") ?? "") ?? [];
    const length = status === 200 && headers.get("content-encoding") === null ? headers.get("content-length") : null;
    const got = Number(total ?? length ?? size);
    if (got === size) return;
    await cancel();
    throw this.changed(`it has ${got} bytes there, expected ${size}`);
  }

  private changed(how: string): CheckpointError {
    const { path } = this.file;
    const message = `${path} of ${this.download.model} is not as its server announced (${how}): look the model up again.`;
    return new CheckpointError(message, { file: path });
  }

  /** Records what has come in a moment, also where nothing more comes until then. */
  private recordSoon(): void {
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.recording = this.recording.then(() => this.record(true));
    }, RECORD_MS);
  }

  /** @param isOptional whether the download goes on, or fails for another reason, where this fails */
  private async record(isOptional: boolean): Promise<void> {
    const { files, folder, name } = this.download;
    const done = [...this.done]; // what is flushed now, or more
    try {
      await this.writer.flush();
      await files.replace(
        folder,
        recordName(name),
        recordOf({ size: this.file.size, pieceBytes: this.pieceBytes, done }),
      );
    } catch (error) {
      if (!isOptional) throw error;
    }
  }
}

/** Compares a file that has come with its hash; one that differs is removed. @throws CheckpointError; AbortError. */
async function checkHash(file: RemoteFile, download: FileDownload): Promise<void> {
  const { files, folder, name, model, signal, onChecked } = download;
  const { hash: expected, size, path } = file;
  if (expected === undefined) return;
  const isGit = expected.length === 40;
  const hash = isGit ? sha1.create() : sha256.create();
  if (isGit) hash.update(utf8ToBytes(`blob ${size}\0`));
  for (let start = 0; start < size; start += HASH_BYTES) {
    throwIfAborted(signal, `Checking ${model}`);
    const bytes = await files.read(folder, name, start, Math.min(start + HASH_BYTES, size));
    hash.update(bytes);
    onChecked(bytes.length);
  }
  const actual = bytesToHex(hash.digest());
  if (actual === expected) return;
  await files.remove(folder, name);
  await files.remove(folder, recordName(name));
  const kind = isGit ? "sha1" : "sha256";
  const shown = (hex: string) => `${hex.slice(0, 12)}…`;
  throw new CheckpointError(
    `${path} of ${model} arrived damaged (its ${kind} is ${shown(actual)}, expected ${shown(expected)}) and was thrown away: download it again, on another network if that fails too.`,
    { file: path },
  );
}

/** What of an unfinished file has come. */
interface PartRecord {
  readonly size: number;
  readonly pieceBytes: number;
  /** Bytes of each piece. */
  readonly done: readonly unknown[];
}

function recordOf(record: PartRecord): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify(record));
}

/** Undefined for what is no record. */
function parseRecord(record: Uint8Array): PartRecord | undefined {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(record));
  } catch {
    return undefined;
  }
  const { size, pieceBytes, done } = asRecord(value);
  const isNumber = (count: unknown): count is number => typeof count === "number" && count > 0;
  return isNumber(size) && isNumber(pieceBytes) && Array.isArray(done) ? { size, pieceBytes, done } : undefined;
}

/**
 * Bytes of each piece that have come; none where the record is missing or of another file.
 * @param of the file, and the bytes that there are of it: what lies behind them has not come
 */
function doneOf(
  record: PartRecord | undefined,
  { size, dataBytes }: { readonly size: number; readonly dataBytes: number },
): readonly number[] {
  if (record?.size !== size) return [];
  const { pieceBytes, done } = record;
  return Array.from({ length: Math.ceil(size / pieceBytes) }, (_, index) => {
    const count = done[index];
    const start = index * pieceBytes;
    const isCount = typeof count === "number" && Number.isSafeInteger(count) && count > 0 && count <= pieceBytes;
    return isCount && start + count <= Math.min(size, dataBytes) ? count : 0;
  });
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
