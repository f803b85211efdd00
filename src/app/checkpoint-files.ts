// A checkpoint from a local folder, chosen in a dialog, by a file input, or dropped. Only names are read here; the engine
// then reads ranges of the files.
import { EngineError } from "./engine/failure.ts";
import type { CheckpointSource, LocalFile } from "./protocol.ts";

/** A file of a chosen folder; `path` is relative to the folder, with `/` as separator. */
export type FolderFile = LocalFile;

/** A folder whose content can be listed, independent of the browser's interface. */
export interface Folder {
  readonly name: string;
  list(): Promise<readonly (FolderFile | Folder)[]>;
}

const CONFIG = "config.json";

/**
 * The checkpoint in a folder, or in its only subfolder that contains one. Deeper folders are not listed, so that a home
 * folder chosen by mistake is not traversed.
 * @throws EngineError `checkpoint` when there is no checkpoint, or several.
 */
export async function checkpointOf(folder: Folder): Promise<ReturnType<typeof chooseRoot>> {
  const entries = await folder.list();
  const files = entries.filter((entry) => "file" in entry);
  if (files.some(({ path }) => path === CONFIG)) return chooseRoot(folder.name, files);
  for (const inner of entries.filter((entry) => "list" in entry && !entry.name.startsWith("."))) {
    if (!("list" in inner)) continue;
    const innerFiles = (await inner.list()).filter((entry) => "file" in entry);
    files.push(...innerFiles.map(({ path, file }) => ({ path: `${inner.name}/${path}`, file })));
  }
  return chooseRoot(folder.name, files);
}

/**
 * The files of the checkpoint, with paths relative to its folder: the chosen folder, or its only subfolder with a config.json.
 * @param name name of the chosen folder
 * @throws EngineError `checkpoint` when there is no config.json, or more than one folder has one.
 */
export function chooseRoot(
  name: string,
  files: readonly FolderFile[],
): Extract<CheckpointSource, { readonly kind: "files" }> {
  const roots = files
    .filter(({ path }) => path === CONFIG || /^[^/]+\/config\.json$/.test(path))
    .map(({ path }) => path);
  const root = roots.includes(CONFIG) ? CONFIG : roots[0];
  if (root === undefined) {
    throw failure(
      files.length === 0
        ? `${name} holds no files: choose a folder with config.json and model.safetensors.`
        : `${name} holds no config.json: choose the folder of a checkpoint in Hugging Face's layout, with config.json and model.safetensors.`,
    );
  }
  if (root !== CONFIG && roots.length > 1) {
    const folders = roots.map((path) => path.split("/")[0]).sort();
    throw failure(`${name} holds several checkpoints (${folders.slice(0, 5).join(", ")}): choose the folder of one.`);
  }
  const prefix = root.slice(0, -CONFIG.length);
  const inside = files.filter(({ path }) => path.startsWith(prefix));
  return {
    kind: "files",
    name: prefix === "" ? name : prefix.slice(0, -1),
    files: inside.map(({ path, file }) => ({ path: path.slice(prefix.length), file })),
  };
}

function failure(message: string): EngineError {
  return new EngineError({ kind: "checkpoint", message });
}

/** The variant of {@link CheckpointSource} for local files. */
export type FilesSource = Extract<CheckpointSource, { readonly kind: "files" }>;

/** Whether the browser has a dialog for folders; without one, use a file input and {@link filesOfInput}. */
export function hasFolderDialog(): boolean {
  return typeof window.showDirectoryPicker === "function";
}

/**
 * Opens the browser's dialog for folders; requires a user gesture such as a click.
 * @returns undefined when the dialog is cancelled
 * @throws EngineError `checkpoint` when the folder does not contain a checkpoint or cannot be listed.
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
 * The folder selected in an `<input type="file" webkitdirectory>`, or the files selected in one with `multiple`.
 * @throws EngineError `checkpoint` when they do not contain a checkpoint.
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
 * The dropped folder or files. Call it within the drop event: the browser discards the items afterwards.
 * @throws EngineError `checkpoint` when they do not contain a checkpoint or cannot be listed.
 */
export async function filesOfDrop(transfer: DataTransfer): Promise<FilesSource> {
  // Everything is read from the items before the first await.
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

/** A dropped folder or file; undefined when the browser does not provide it. */
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
        // A reader returns its entries in batches; the last batch is empty.
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
