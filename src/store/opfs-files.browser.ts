// A file store in the browser's private file system (OPFS), which is kept between visits. Writing needs a worker: only there may a file
// be written in place.
// Spec: https://fs.spec.whatwg.org/

import { type FileStore, type FileWriter, StoreError } from "./file-store.ts";

/** What a worker may write a file with; TypeScript's DOM library does not declare it. */
interface SyncAccessHandle {
  write(bytes: Uint8Array<ArrayBuffer>, options: { readonly at: number }): number;
  flush(): void;
  close(): void;
}

/** A file in a worker. */
interface WorkerFileHandle extends FileSystemFileHandle {
  createSyncAccessHandle?(): Promise<SyncAccessHandle>;
}

/** The folder of the store in the private file system, unless another is named. */
export const STORE_FOLDER = "adaptvis-models";

/**
 * The file store of this web site, in one folder of its private file system.
 * @param name of that folder
 * @throws StoreError `unavailable` where the browser offers none, at the first use.
 */
export function opfsFiles(name = STORE_FOLDER): FileStore {
  let opening: Promise<FileSystemDirectoryHandle> | undefined;

  const root = (): Promise<FileSystemDirectoryHandle> => {
    opening ??= openRoot(name).catch((cause) => {
      opening = undefined;
      throw cause;
    });
    return opening;
  };
  const find = async (folder: string): Promise<FileSystemDirectoryHandle | undefined> =>
    missingAsUndefined((await root()).getDirectoryHandle(folder));
  const make = async (folder: string) => (await root()).getDirectoryHandle(folder, { create: true });
  const fileIn = async (folder: string, file: string) => {
    const handle = await missingAsUndefined((await find(folder))?.getFileHandle(file));
    return handle?.getFile();
  };

  return {
    async folders() {
      const names: string[] = [];
      for (const entry of await entriesOf(await root()))
        if (entry instanceof FileSystemDirectoryHandle) names.push(entry.name);
      return names;
    },
    async sizes(folder) {
      const sizes = new Map<string, number>();
      for (const entry of await entriesOf(await find(folder))) {
        if (entry instanceof FileSystemFileHandle) sizes.set(entry.name, (await entry.getFile()).size);
      }
      return sizes;
    },
    async read(folder, file, start, end) {
      const content = await fileIn(folder, file);
      if (content !== undefined && end <= content.size) {
        try {
          return new Uint8Array(await content.slice(start, end).arrayBuffer());
        } catch (cause) {
          throw new StoreError(
            "unavailable",
            `${file} could not be read from the browser's storage: remove the model.`,
            {
              cause,
            },
          );
        }
      }
      throw new StoreError(
        "unavailable",
        `${file} is not in the browser's storage any more, or is cut short: remove the model and download it again.`,
      );
    },
    replace: (folder, file, bytes) =>
      translated(async () => {
        const handle = await (await make(folder)).getFileHandle(file, { create: true });
        const writable = await handle.createWritable(); // a copy, which takes the file's place when it is closed
        await writable.write(bytes);
        await writable.close();
      }),
    open: (folder, file) =>
      translated(async () => {
        const handle: WorkerFileHandle = await (await make(folder)).getFileHandle(file, { create: true });
        const access = await handle.createSyncAccessHandle?.();
        if (access !== undefined) return writerOf(access);
        throw new StoreError("unavailable", "This browser writes no files in place: models cannot be kept in it.");
      }),
    remove: (folder, file) =>
      translated(async () => {
        await missingAsUndefined((await find(folder))?.removeEntry(file));
      }),
    removeFolder: (folder) =>
      translated(async () => {
        await missingAsUndefined((await root()).removeEntry(folder, { recursive: true }));
      }),
    alone: (folder, work) =>
      navigator.locks.request(`${name}/${folder}`, { ifAvailable: true }, async (lock) => {
        if (lock !== null) return await work();
        throw new StoreError("in-use", "Another tab of this page works on the model: wait for it, or close that tab.");
      }),
    async room() {
      const { storage } = navigator;
      const { usage, quota } = await storage.estimate();
      return { usedBytes: usage, quotaBytes: quota, isPersistent: await storage.persisted() };
    },
  };
}

async function openRoot(name: string): Promise<FileSystemDirectoryHandle> {
  try {
    const top = await navigator.storage.getDirectory();
    return await top.getDirectoryHandle(name, { create: true });
  } catch (cause) {
    // Absent without https, refused in private windows of some browsers and in sandboxed frames.
    throw new StoreError(
      "unavailable",
      "This browser keeps no files for this page: open it over https or on localhost, in a window that is not private.",
      { cause },
    );
  }
}

async function entriesOf(folder: FileSystemDirectoryHandle | undefined) {
  const entries: (FileSystemDirectoryHandle | FileSystemFileHandle)[] = [];
  if (folder === undefined) return entries;
  for await (const entry of folder.values()) entries.push(entry);
  return entries;
}

function writerOf(access: SyncAccessHandle): FileWriter {
  return {
    write: (bytes, position) =>
      translated(async () => {
        const numWritten = access.write(bytes, { at: position });
        if (numWritten < bytes.length) throw full();
      }),
    flush: () => translated(async () => access.flush()),
    async close() {
      access.flush();
      access.close();
    },
  };
}

/** What `work` returns, with the browser's errors as errors of the store. */
async function translated<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (!(cause instanceof DOMException)) throw cause;
    if (cause.name === "QuotaExceededError") throw full(cause);
    if (cause.name === "NoModificationAllowedError") {
      throw new StoreError("in-use", "Another tab of this page has the model's files open: close that tab.", { cause });
    }
    throw new StoreError("unavailable", `The browser's storage failed (${cause.message}): reload the page.`, { cause });
  }
}

function full(cause?: unknown): StoreError {
  const message =
    "The browser gives this page no more room: delete a model that is kept here, or free some space on the disk, and resume.";
  return new StoreError("full", message, { cause });
}

async function missingAsUndefined<T>(entry: Promise<T> | undefined): Promise<T | undefined> {
  try {
    return await entry;
  } catch (error) {
    if (error instanceof DOMException && error.name === "NotFoundError") return undefined;
    throw error;
  }
}
