// A checkpoint out of a local folder: chosen in a dialog, by a file input, or dropped. Nothing is read here but names; the
// engine then reads ranges of the files.
import { checkpointOf, chooseRoot, type Folder, type FolderFile } from "./checkpoint-folder.ts";
import { EngineError } from "./engine/failure.ts";
import type { CheckpointSource } from "./protocol.ts";

/** What a checkpoint's folder is called by {@link CheckpointSource}. */
export type FilesSource = Extract<CheckpointSource, { readonly kind: "files" }>;

/** Whether the browser has a dialog for folders; else a file input is the way, see {@link filesOfInput}. */
export function hasFolderDialog(): boolean {
  return typeof window.showDirectoryPicker === "function";
}

/**
 * Opens the browser's dialog for folders; call it on a click.
 * @returns undefined when the person changed their mind
 * @throws EngineError `checkpoint` when the folder holds no checkpoint or cannot be listed.
 */
export async function pickFolder(): Promise<FilesSource | undefined> {
  try {
    const folder = await window.showDirectoryPicker?.({ id: "checkpoint", mode: "read" });
    return folder && (await checkpointOf(folderOfHandle(folder)));
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") return undefined;
    throw asFailure(error, "The folder");
  }
}

/**
 * The folder that an `<input type="file" webkitdirectory>` holds, or single files of one with `multiple`.
 * @throws EngineError `checkpoint` when it holds no checkpoint.
 */
export function filesOfInput(files: Iterable<File>): FilesSource {
  const list = [...files];
  const paths = list.map((file) => (file.webkitRelativePath === "" ? file.name : file.webkitRelativePath));
  const [top = ""] = paths[0]?.split("/") ?? [];
  const isFolder = paths.every((path) => path.startsWith(`${top}/`));
  const name = isFolder ? top : "What was chosen";
  return chooseRoot(
    name,
    list.map((file, index) => {
      const path = paths[index] ?? file.name;
      return { path: isFolder ? path.slice(top.length + 1) : path, file };
    }),
  );
}

/**
 * The folder, or the single files, that were dropped. Call it within the drop event: the browser forgets the items after it.
 * @throws EngineError `checkpoint` when there is no checkpoint among them or they cannot be listed.
 */
export async function filesOfDrop(transfer: DataTransfer): Promise<FilesSource> {
  // Everything that is taken from the items is taken before the first wait.
  const items = [...transfer.items].filter(({ kind }) => kind === "file");
  const taken = items.map(takeItem);
  try {
    const dropped = (await Promise.all(taken)).filter((item) => item !== undefined);
    const [only] = dropped;
    if (only !== undefined && dropped.length === 1 && "list" in only) return await checkpointOf(only);
    return await checkpointOf({ name: "What was dropped", list: async () => dropped });
  } catch (error) {
    throw asFailure(error, "What was dropped");
  }
}

/** What was dropped: a folder, or a file (undefined when the browser does not give it). */
type Dropped = Folder | FolderFile | undefined;

function takeItem(item: DataTransferItem): Promise<Dropped> {
  const file = item.getAsFile();
  const asFile = file === null ? undefined : { path: file.name, file };
  if (item.getAsFileSystemHandle !== undefined) {
    return item
      .getAsFileSystemHandle()
      .then((handle) => (handle instanceof FileSystemDirectoryHandle ? folderOfHandle(handle) : asFile));
  }
  const entry = item.webkitGetAsEntry();
  return Promise.resolve(entry instanceof FileSystemDirectoryEntry ? folderOfEntry(entry) : asFile);
}

function folderOfHandle(folder: FileSystemDirectoryHandle): Folder {
  return {
    name: folder.name,
    async list() {
      const found: (Folder | FolderFile)[] = [];
      for await (const handle of folder.values()) {
        if (handle instanceof FileSystemDirectoryHandle) found.push(folderOfHandle(handle));
        else if (handle instanceof FileSystemFileHandle) {
          found.push({ path: handle.name, file: await handle.getFile() });
        }
      }
      return found;
    },
  };
}

function folderOfEntry(folder: FileSystemDirectoryEntry): Folder {
  return {
    name: folder.name,
    async list() {
      const found: (Folder | FolderFile)[] = [];
      const reader = folder.createReader();
      for (;;) {
        // A reader gives its entries in batches, the last of which is empty.
        const batch = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
        if (batch.length === 0) return found;
        for (const entry of batch) {
          if (entry instanceof FileSystemDirectoryEntry) found.push(folderOfEntry(entry));
          else if (entry instanceof FileSystemFileEntry) {
            const file = await new Promise<File>((resolve, reject) => entry.file(resolve, reject));
            found.push({ path: entry.name, file });
          }
        }
      }
    },
  };
}

function asFailure(error: unknown, what: string): EngineError {
  if (error instanceof EngineError) return error;
  const reason = error instanceof Error ? error.message : String(error);
  return new EngineError(
    { kind: "checkpoint", message: `${what} could not be listed (${reason}); choose it again, and allow reading it.` },
    { cause: error },
  );
}

// Not in the DOM library yet.
declare global {
  interface Window {
    showDirectoryPicker?(options: { readonly id: string; readonly mode: "read" }): Promise<FileSystemDirectoryHandle>;
  }
  interface DataTransferItem {
    getAsFileSystemHandle?(): Promise<FileSystemHandle | null>;
  }
}
