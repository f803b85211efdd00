// Models that are kept on this machine: downloaded from a hub or another server, resumed where a download ended early, optionally
// quantised as they come, listed with their sizes, and removed. A kept model is a source like any other, and needs no network.

import { openCheckpoint } from "../checkpoint/checkpoint.ts";
import {
  asRecord,
  checkPath,
  checkRange,
  missingFile,
  parseJsonFile,
  type Source,
  shortFile,
} from "../checkpoint/source.ts";
import { INDEX_FILE } from "../checkpoint/weight-files.ts";
import { CheckpointError, throwIfAborted } from "../errors.ts";
import { formatBytes } from "../gpu/device.ts";
import { QUANTIZED_DTYPES, type QuantizedDtype } from "../gpu/tensor.ts";
import { architectureOf } from "../models/checkpoint-architecture.ts";
import { type QuantizedFile, quantizedConfig, quantizedFiles, quantizedIndex } from "../models/quantized-checkpoint.ts";
import { downloadFile, keptBytes, recordName } from "./download-file.ts";
import { type FileStore, type StorageRoom, StoreError } from "./file-store.ts";
import {
  downloadBytes,
  isRemoteModel,
  type RemoteFile,
  type RemoteModel,
  type RemoteOptions,
  remoteSource,
} from "./remote-model.ts";
import { folderOf, nameOf, sourceNameOf } from "./store-names.ts";

/** How a model's matrices are kept: as its files have them, or quantised. */
export type KeptForm = "file" | QuantizedDtype;

/** Every {@link KeptForm}. */
export const KEPT_FORMS: readonly KeptForm[] = ["file", ...QUANTIZED_DTYPES];

/** A model in a store; plain data. */
export interface KeptModel {
  /** What the store calls it. */
  readonly key: string;
  readonly form: KeptForm;
  /** Where it is from. */
  readonly remote: RemoteModel;
  /** Bytes that it takes in the store now. */
  readonly keptBytes: number;
  /** Bytes of `downloadBytes` that have come. */
  readonly downloadedBytes: number;
  /** Bytes of the files on the server. */
  readonly downloadBytes: number;
  /** Whether it can be loaded; where not, {@link ModelStore.keep} goes on with the download. */
  readonly isComplete: boolean;
}

/** How far {@link ModelStore.keep} is. */
export interface KeepProgress {
  readonly step: "download" | "check" | "quantise";
  /** The file that the step is about. */
  readonly path: string;
  /** Bytes of the file that the step has done, and all of them; in a download those of the model. */
  readonly doneBytes: number;
  readonly allBytes: number;
  /** Bytes of the model's files that have come, those of earlier downloads included. */
  readonly loadedBytes: number;
  readonly totalBytes: number;
  /** Bytes that came over the network since this call. */
  readonly receivedBytes: number;
}

/** How a model is kept. */
export interface KeepOptions extends Omit<RemoteOptions, "hub"> {
  /** Default: as in the files. */
  readonly form?: KeptForm;
  /** Bytes that one request fetches. Default: 16 MiB. */
  readonly pieceBytes?: number;
  readonly onProgress?: (progress: KeepProgress) => void;
}

/** What a store records about a model. */
interface Manifest {
  readonly format: 1;
  readonly remote: RemoteModel;
  readonly form: KeptForm;
  readonly isComplete: boolean;
}

const MANIFEST = "model~kept";

/** A store of models in a {@link FileStore}. */
export class ModelStore {
  private readonly files: FileStore;

  constructor(files: FileStore) {
    this.files = files;
  }

  /** The models that are kept, by name; unfinished downloads too. @throws StoreError. */
  async list(): Promise<readonly KeptModel[]> {
    const models: KeptModel[] = [];
    for (const folder of await this.files.folders()) {
      const manifest = await this.manifestOf(folder);
      if (manifest !== undefined) models.push(await this.describe(folder, manifest));
    }
    const byName = (a: KeptModel, b: KeptModel) => (a.remote.name < b.remote.name ? -1 : 1);
    return models.sort((a, b) => (a.remote.name === b.remote.name ? (a.form < b.form ? -1 : 1) : byName(a, b)));
  }

  /** A model by its key; undefined where the store has none of it. @throws StoreError. */
  async find(key: string): Promise<KeptModel | undefined> {
    const manifest = await this.manifestOf(key);
    return manifest && this.describe(key, manifest);
  }

  /** What the store would call a model. */
  keyOf(remote: Pick<RemoteModel, "name">, form: KeptForm): string {
    return folderOf(remote.name, form);
  }

  /**
   * Downloads a model into the store, or goes on with a download that ended early: only what is missing is fetched. A quantised form is
   * made file by file, so that no more than one of the original files is kept at a time.
   * @throws CheckpointError when the server refuses or cannot be reached, or sends other bytes than it announced, of which nothing is kept;
   * StoreError when there is no room, or another program works on the model; AbortError, after which what has come is kept.
   */
  async keep(remote: RemoteModel, options: KeepOptions = {}): Promise<KeptModel> {
    const { form = "file" } = options;
    const folder = folderOf(remote.name, form);
    return this.files.alone(folder, async () => {
      const known = await this.manifestOf(folder);
      // Another commit has other files.
      const isSame = known !== undefined && JSON.stringify(known.remote.files) === JSON.stringify(remote.files);
      if (known !== undefined && !isSame) await this.files.removeFolder(folder);
      if (isSame && known.isComplete) return this.describe(folder, known);
      const manifest: Manifest = { format: 1, remote, form, isComplete: false };
      await this.writeJson(folder, MANIFEST, manifest);
      const job = new KeepJob(this.files, folder, { remote, options });
      await (form === "file" ? job.keepFiles() : job.keepQuantized(form));
      await this.writeJson(folder, MANIFEST, { ...manifest, isComplete: true });
      return this.describe(folder, { ...manifest, isComplete: true });
    });
  }

  /**
   * The files of a kept model.
   * @param name what messages call it
   * @throws CheckpointError, when it is used, for a model that is not complete.
   */
  source(key: string, name = key): Source {
    const { files } = this;
    let opening: Promise<ReadonlyMap<string, number>> | undefined;
    const sizes = () => {
      opening ??= this.openSizes(key).catch((error) => {
        opening = undefined;
        throw error;
      });
      return opening;
    };
    return {
      name,
      async size(path) {
        checkPath(path);
        return (await sizes()).get(nameOf(path));
      },
      async read(path, start, end, signal) {
        checkPath(path);
        checkRange(path, start, end);
        throwIfAborted(signal, `Reading ${path}`);
        const size = (await sizes()).get(nameOf(path));
        if (size === undefined) throw missingFile(path, name);
        if (end > size) throw shortFile(path, end, size);
        return files.read(key, nameOf(path), start, end);
      },
    };
  }

  /** Removes a model; one that is not there is left alone. @throws StoreError `in-use` while it is being downloaded. */
  async remove(key: string): Promise<void> {
    await this.files.alone(key, () => this.files.removeFolder(key));
  }

  /** How much there is room for. @throws StoreError `unavailable`. */
  room(): Promise<StorageRoom> {
    return this.files.room();
  }

  private async openSizes(key: string): Promise<ReadonlyMap<string, number>> {
    const manifest = await this.manifestOf(key);
    if (manifest?.isComplete === true) return this.files.sizes(key);
    const message =
      manifest === undefined
        ? "The model is not kept here any more: download it again."
        : `${manifest.remote.name} has not come completely: resume its download first.`;
    throw new CheckpointError(message, { file: key });
  }

  private async manifestOf(folder: string): Promise<Manifest | undefined> {
    const size = (await this.files.sizes(folder)).get(MANIFEST);
    if (size === undefined) return undefined;
    const text = new TextDecoder().decode(await this.files.read(folder, MANIFEST, 0, size));
    let value: unknown;
    try {
      value = parseJsonFile(text, MANIFEST);
    } catch {
      return undefined;
    }
    const { format, remote, form: given, isComplete } = asRecord(value);
    const form = KEPT_FORMS.find((each) => each === given);
    if (format !== 1 || form === undefined || !isRemoteModel(remote)) return undefined; // of another version
    return { format, remote, form, isComplete: isComplete === true };
  }

  private async describe(folder: string, { remote, form, isComplete }: Manifest): Promise<KeptModel> {
    const sizes = await this.files.sizes(folder);
    const total = downloadBytes(remote);
    const downloaded = isComplete ? total : await this.downloadedBytes(folder, remote, { form, sizes });
    return {
      key: folder,
      form,
      remote,
      keptBytes: [...sizes.values()].reduce((sum, size) => sum + size, 0),
      downloadedBytes: downloaded,
      downloadBytes: total,
      isComplete,
    };
  }

  /** Of an unfinished download. */
  private async downloadedBytes(
    folder: string,
    { files: remoteFiles }: RemoteModel,
    of: { readonly form: KeptForm; readonly sizes: ReadonlyMap<string, number> },
  ): Promise<number> {
    const { form, sizes } = of;
    let numBytes = 0;
    for (const { path, size } of remoteFiles) {
      const isReplaced = form !== "file" && isReplacedByQuantizing(path);
      const name = isReplaced ? sourceNameOf(path) : nameOf(path);
      // A file that was quantised is gone, and what was made of it is whole.
      const isQuantized =
        isReplaced && !sizes.has(name) && sizes.has(nameOf(path)) && !sizes.has(recordName(nameOf(path)));
      const kept = isQuantized ? size : (await keptBytes({ files: this.files, folder, name }, size, sizes)).numBytes;
      numBytes += kept;
    }
    return numBytes;
  }

  private async writeJson(folder: string, name: string, value: object): Promise<void> {
    await this.files.replace(folder, name, new TextEncoder().encode(JSON.stringify(value)));
  }
}

/** Whether quantising makes another file of a model's file. */
function isReplacedByQuantizing(path: string): boolean {
  return path === "config.json" || path === INDEX_FILE || path.endsWith(".safetensors");
}

/** One call of {@link ModelStore.keep}. */
class KeepJob {
  private readonly files: FileStore;
  private readonly folder: string;
  private readonly remote: RemoteModel;
  private readonly options: KeepOptions;
  private readonly totalBytes: number;
  /** Paths of original files that are in the store. */
  private readonly here = new Set<string>();
  private loadedBytes = 0;
  private receivedBytes = 0;

  constructor(
    files: FileStore,
    folder: string,
    { remote, options }: { readonly remote: RemoteModel; readonly options: KeepOptions },
  ) {
    this.files = files;
    this.folder = folder;
    this.remote = remote;
    this.options = options;
    this.totalBytes = downloadBytes(remote);
  }

  /** Downloads every file as it is. */
  async keepFiles(): Promise<void> {
    const { files, folder } = this;
    const sizes = await files.sizes(folder);
    let missing = 0;
    for (const { path, size } of this.remote.files) {
      missing += size - (await keptBytes({ files, folder, name: nameOf(path) }, size, sizes)).numBytes;
    }
    await this.checkRoom(missing);
    for (const file of this.remote.files) await this.download(file, nameOf(file.path));
  }

  /** Downloads the small files, and quantises one weight file after the other. */
  async keepQuantized(dtype: QuantizedDtype): Promise<void> {
    const { folder, remote, options } = this;
    const isWeights = ({ path }: RemoteFile) => path.endsWith(".safetensors");
    for (const file of remote.files.filter((each) => !isWeights(each))) {
      const { path } = file;
      await this.download(file, isReplacedByQuantizing(path) ? sourceNameOf(path) : nameOf(path));
    }
    const source = this.keptElseRemote();
    const checkpoint = await openCheckpoint(source, options.signal);
    try {
      const architecture = await architectureOf(checkpoint, options.signal);
      const made = quantizedFiles(checkpoint, architecture, dtype);
      const sizes = await this.files.sizes(folder);
      const isMade = ({ name, fileBytes }: QuantizedFile) => {
        return sizes.get(nameOf(name)) === fileBytes && !sizes.has(recordName(nameOf(name)));
      };
      const originals = made.map((file) => ({ file, original: this.remoteFile(file.sourceFile) }));
      const toMake = originals.filter(({ file }) => !isMade(file));
      const largest = Math.max(0, ...toMake.map(({ original }) => original.size));
      await this.checkRoom(toMake.reduce((sum, { file }) => sum + file.fileBytes, largest));
      for (const { file, original } of originals) {
        if (isMade(file)) this.onBytes(original.size, "resumed", original.path);
        else await this.quantizeOne(file, original);
        await this.files.remove(folder, sourceNameOf(original.path));
      }
      if (made.length > 1) await this.writeText(INDEX_FILE, quantizedIndex(made));
      await this.writeText("config.json", quantizedConfig(checkpoint, dtype));
      for (const path of ["config.json", INDEX_FILE]) await this.files.remove(folder, sourceNameOf(path));
    } finally {
      await checkpoint.close();
    }
  }

  private async quantizeOne(file: QuantizedFile, original: RemoteFile): Promise<void> {
    const { files, folder, options } = this;
    await this.download(original, sourceNameOf(original.path));
    const name = nameOf(file.name);
    await files.replace(folder, recordName(name), new Uint8Array(0)); // until the file is whole
    const writer = await files.open(folder, name);
    let readBytes = 0;
    try {
      for await (const chunk of file.chunks(options.signal)) {
        await writer.write(chunk.bytes, chunk.position);
        readBytes += chunk.readBytes;
        this.report("quantise", original.path, { doneBytes: readBytes, allBytes: file.sourceBytes });
      }
    } finally {
      await writer.close();
    }
    await files.remove(folder, recordName(name));
  }

  private async download(file: RemoteFile, name: string): Promise<void> {
    const { files, folder, remote, options } = this;
    const { path, size } = file;
    let checkedBytes = 0;
    await downloadFile(file, {
      ...options,
      files,
      folder,
      name,
      address: remote.address,
      model: remote.name,
      onBytes: (numBytes, kind) => this.onBytes(numBytes, kind, path),
      onChecked: (numBytes) => {
        checkedBytes += numBytes;
        this.report("check", path, { doneBytes: checkedBytes, allBytes: size });
      },
    });
    this.here.add(path);
  }

  /** The model's original files: those that have come, else by ranges from the server. */
  private keptElseRemote(): Source {
    const { files, folder, remote, options, here } = this;
    const distant = remoteSource(remote, options);
    return {
      ...distant,
      async read(path, start, end, signal) {
        if (!here.has(path)) return distant.read(path, start, end, signal);
        return files.read(folder, isReplacedByQuantizing(path) ? sourceNameOf(path) : nameOf(path), start, end);
      },
    };
  }

  private remoteFile(path: string): RemoteFile {
    const file = this.remote.files.find((each) => each.path === path);
    if (file === undefined) throw new RangeError(`${path} is not a file of ${this.remote.name}`);
    return file;
  }

  /** @throws StoreError `full` where the store has no room for so many more bytes. */
  private async checkRoom(numBytes: number): Promise<void> {
    const { usedBytes, quotaBytes } = await this.files.room();
    if (quotaBytes === undefined) return;
    const free = Math.max(0, quotaBytes - (usedBytes ?? 0));
    if (numBytes <= free) return;
    const needs = `${this.remote.name} needs ${formatBytes(numBytes)} more, and ${formatBytes(free)} are free for this page`;
    throw new StoreError("full", `${needs}: delete a model that is kept here, or free some space on the disk.`);
  }

  private onBytes(numBytes: number, kind: "downloaded" | "resumed", path: string): void {
    this.loadedBytes += numBytes;
    if (kind === "downloaded") this.receivedBytes += numBytes;
    this.report("download", path, { doneBytes: this.loadedBytes, allBytes: this.totalBytes });
  }

  private report(
    step: KeepProgress["step"],
    path: string,
    of: { readonly doneBytes: number; readonly allBytes: number },
  ): void {
    const { loadedBytes, totalBytes, receivedBytes } = this;
    this.options.onProgress?.({ step, path, ...of, loadedBytes, totalBytes, receivedBytes });
  }

  private async writeText(path: string, value: object): Promise<void> {
    const text = `${JSON.stringify(value, undefined, 2)}\n`;
    await this.files.replace(this.folder, nameOf(path), new TextEncoder().encode(text));
  }
}
