// Where a model store keeps its files: folders of files that are written at positions and read by ranges. The browser's private file
// system is one (opfs-files.browser.ts), memory another (memory-files.ts).

import { BoundedError } from "../errors.ts";

/** Why a store could not do the work. */
export type StoreErrorReason = "full" | "in-use" | "unavailable";

/** The place that models are kept in refused something; `reason` says why. */
export class StoreError extends BoundedError {
  override readonly name = "StoreError";
  /** `full`: there is no room; `in-use`: another tab works on the model; `unavailable`: nothing can be kept here. */
  readonly reason: StoreErrorReason;

  constructor(reason: StoreErrorReason, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.reason = reason;
  }
}

/** How much a store may keep. */
export interface StorageRoom {
  /** Bytes that are in use, other data of the same web site included; undefined where that is not known. */
  readonly usedBytes: number | undefined;
  /** Bytes that may be in use; undefined where that is not known. */
  readonly quotaBytes: number | undefined;
  /** Whether what is kept stays until it is removed; where not, a browser may remove it when the disk is nearly full. */
  readonly isPersistent: boolean;
}

/** A file that is being written. One writer at a time may have it open. */
export interface FileWriter {
  /** Writes `bytes` at a position; the file grows where needed. @throws StoreError `full`. */
  write(bytes: Uint8Array<ArrayBuffer>, position: number): Promise<void>;
  /** Returns once what was written stays, also when the program ends. @throws StoreError `full`. */
  flush(): Promise<void>;
  /** Flushes, and lets others open the file. */
  close(): Promise<void>;
}

/** Folders of files; a folder has no folders in it. Names are plain: letters, digits and `%_.~-`. */
export interface FileStore {
  /** The names of all folders. */
  folders(): Promise<readonly string[]>;
  /** Sizes of the files in a folder by name; empty where there is no such folder. */
  sizes(folder: string): Promise<ReadonlyMap<string, number>>;
  /** Bytes `[start, end)` of a file. @throws StoreError `unavailable` when the file is missing or shorter. */
  read(folder: string, name: string, start: number, end: number): Promise<Uint8Array<ArrayBuffer>>;
  /** Replaces a small file: afterwards it is the old or the new one, also when the program ends meanwhile. @throws StoreError. */
  replace(folder: string, name: string, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** Opens a file for writing, and makes it and its folder where they are missing. @throws StoreError. */
  open(folder: string, name: string): Promise<FileWriter>;
  /** Removes a file; one that is missing is left alone. @throws StoreError `in-use`. */
  remove(folder: string, name: string): Promise<void>;
  /** Removes a folder with its files; one that is missing is left alone. @throws StoreError `in-use`. */
  removeFolder(folder: string): Promise<void>;
  /** Runs `work` while no other program works on the folder. @throws StoreError `in-use` where one does; as `work`. */
  alone<T>(folder: string, work: () => Promise<T>): Promise<T>;
  /** How much there is room for. */
  room(): Promise<StorageRoom>;
}
