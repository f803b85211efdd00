// Where a checkpoint's bytes come from. A Source hands out byte ranges by file name; nothing reads a whole weight file.

/** A folder of files that can be read by byte ranges: a local folder, an HTTP folder, a set of Blobs. */
export interface Source {
  /** What to call this source in messages: a path, a URL, or "files". */
  readonly name: string;
  /** Size of `path` in bytes, or undefined when there is no such file. */
  size(path: string, signal?: AbortSignal): Promise<number | undefined>;
  /**
   * Bytes `[start, end)` of `path`.
   * @throws CheckpointError when the file is missing or ends before `end`.
   * @throws AbortError when `signal` fires.
   */
  read(path: string, start: number, end: number, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>>;
  /** Releases open handles; reading afterwards opens them again. */
  close?(): Promise<void>;
}
