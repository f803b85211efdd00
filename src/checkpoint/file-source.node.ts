// A checkpoint in a local folder, read with positional reads from handles that stay open.

import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { CheckpointError, reasonOf, throwIfAborted } from "../errors.ts";
import { checkedText } from "../options.ts";
import { openRegularFile } from "./read-file.node.ts";
import { allocate, checkPath, checkRange, missingFile, type Source, shortFile } from "./source.ts";

/** Bytes of one positional read: an abort waits for at most this much. */
const CHUNK_BYTES = 16 * 1024 * 1024;

interface OpenFile {
  readonly handle: FileHandle;
  readonly fileBytes: number;
}

/**
 * A source over the files of `folder`. Each file is opened once; call `close()` when done.
 * Links are followed, because hub caches consist of them.
 */
export function fileSource(folder: string): Source {
  checkedText("folder", folder);
  const files = new Map<string, Promise<OpenFile | undefined>>();

  /** The open file, or undefined when it does not exist; only existing files are cached. */
  function openOnce(path: string): Promise<OpenFile | undefined> {
    checkPath(path);
    const known = files.get(path);
    if (known !== undefined) return known;
    const opening = openFile(join(folder, path), path);
    files.set(path, opening);
    const forget = () => {
      if (files.get(path) === opening) files.delete(path);
    };
    opening.then((file) => file ?? forget(), forget);
    return opening;
  }

  return {
    name: folder,

    async size(path, signal) {
      throwIfAborted(signal, `Reading ${path}`);
      return (await openOnce(path))?.fileBytes;
    },

    async read(path, start, end, signal) {
      throwIfAborted(signal, `Reading ${path}`);
      checkRange(path, start, end);
      const file = await openOnce(path);
      if (file === undefined) throw missingFile(path, folder);
      if (end > file.fileBytes) throw shortFile(path, end, file.fileBytes);
      const bytes = allocate(path, end - start);
      let numRead = 0;
      while (numRead < bytes.length) {
        throwIfAborted(signal, `Reading ${path}`);
        const length = Math.min(CHUNK_BYTES, bytes.length - numRead);
        const { bytesRead } = await readAt(file.handle, path, { bytes, offset: numRead, length, position: start });
        if (bytesRead === 0) throw shortFile(path, end, start + numRead);
        numRead += bytesRead;
      }
      throwIfAborted(signal, `Reading ${path}`);
      return bytes;
    },

    async close() {
      const opened = await Promise.allSettled(files.values());
      files.clear();
      for (const result of opened) {
        if (result.status === "fulfilled") await result.value?.handle.close();
      }
    },
  };
}

async function openFile(location: string, path: string): Promise<OpenFile | undefined> {
  let handle: FileHandle | undefined;
  try {
    handle = await openRegularFile(location);
    return { handle, fileBytes: (await handle.stat()).size };
  } catch (cause) {
    await handle?.close();
    const code = errorCode(cause);
    if (code === "ENOENT" || code === "ENOTDIR" || code === "EISDIR") return undefined;
    throw new CheckpointError(`${location} cannot be opened (${code}); check the file and its permissions.`, {
      file: path,
      cause,
    });
  }
}

/** Reads `length` bytes at `position + offset` of the file into `bytes` at `offset`. */
async function readAt(
  handle: FileHandle,
  path: string,
  range: { bytes: Uint8Array; offset: number; length: number; position: number },
): Promise<{ bytesRead: number }> {
  const position = range.position + range.offset;
  try {
    return await handle.read(range.bytes, range.offset, range.length, position);
  } catch (cause) {
    const message = `${path} cannot be read at byte ${position} (${errorCode(cause)}); check the disk, or read it again.`;
    throw new CheckpointError(message, { file: path, cause });
  }
}

function errorCode(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : reasonOf(error);
}
