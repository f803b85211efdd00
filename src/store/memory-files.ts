// A file store in memory, which is gone with the program: for tests, and where nothing can be kept.

import { type FileStore, type FileWriter, type StorageRoom, StoreError } from "./file-store.ts";

/** A file, whose bytes beyond `size` are room to grow. */
interface MemoryFile {
  bytes: Uint8Array<ArrayBuffer>;
  size: number;
}

/** An empty store in memory. @param quotaBytes bytes that it may keep; unlimited unless given */
export function memoryFiles(quotaBytes?: number): FileStore {
  const folders = new Map<string, Map<string, MemoryFile>>();
  const open = new Set<string>();
  const locked = new Set<string>();
  const all = () => [...folders.values()].flatMap((files) => [...files.values()]);
  const usedBytes = () => all().reduce((sum, { size }) => sum + size, 0);

  const fileOf = (folder: string, name: string): MemoryFile => {
    const files = folders.get(folder) ?? new Map<string, MemoryFile>();
    folders.set(folder, files);
    const file = files.get(name) ?? { bytes: new Uint8Array(0), size: 0 };
    files.set(name, file);
    return file;
  };

  const write = (file: MemoryFile, bytes: Uint8Array<ArrayBuffer>, position: number) => {
    const end = Math.max(file.size, position + bytes.length);
    if (usedBytes() - file.size + end > (quotaBytes ?? Number.POSITIVE_INFINITY)) {
      throw new StoreError("full", "There is no room for more in memory: remove a model first.");
    }
    if (end > file.bytes.length) {
      const grown = new Uint8Array(Math.max(end, 2 * file.bytes.length));
      grown.set(file.bytes.subarray(0, file.size));
      file.bytes = grown;
    }
    file.bytes.set(bytes, position);
    file.size = end;
  };

  return {
    folders: async () => [...folders.keys()],
    sizes: async (folder) => new Map([...(folders.get(folder) ?? [])].map(([name, { size }]) => [name, size])),
    async read(folder, name, start, end) {
      const file = folders.get(folder)?.get(name);
      if (file !== undefined && end <= file.size) return file.bytes.slice(start, end);
      throw new StoreError("unavailable", `${name} of ${folder} is missing or shorter than ${end} bytes.`);
    },
    async replace(folder, name, bytes) {
      const fresh: MemoryFile = { bytes: new Uint8Array(0), size: 0 };
      write(fresh, bytes, 0);
      fileOf(folder, name);
      folders.get(folder)?.set(name, fresh);
    },
    async open(folder, name): Promise<FileWriter> {
      const key = `${folder}/${name}`;
      if (open.has(key)) throw new StoreError("in-use", `${name} of ${folder} is being written already.`);
      open.add(key);
      const file = fileOf(folder, name);
      return {
        write: async (bytes, position) => write(file, bytes, position),
        flush: async () => undefined,
        close: async () => void open.delete(key),
      };
    },
    async remove(folder, name) {
      folders.get(folder)?.delete(name);
    },
    async removeFolder(folder) {
      folders.delete(folder);
    },
    async alone(folder, work) {
      if (locked.has(folder)) throw new StoreError("in-use", `Another program works on ${folder}: wait for it.`);
      locked.add(folder);
      try {
        return await work();
      } finally {
        locked.delete(folder);
      }
    },
    room: async (): Promise<StorageRoom> => ({ usedBytes: usedBytes(), quotaBytes, isPersistent: false }),
  };
}
