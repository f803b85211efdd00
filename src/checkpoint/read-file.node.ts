// Reads whole files that a user names. Paths may name anything: opening a pipe waits for a writer, and a device has no end, so only
// regular files are read, and no more of them than a bound.

import { closeSync, constants, fstatSync, openSync, readFileSync, type Stats } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";

/** Far above any picture or text; a longer text would not fit into one of JavaScript's. */
const MAX_FILE_BYTES = 2 ** 29;

/** Without waiting for the writer of a pipe. Windows has no such flag. */
const READ_AT_ONCE = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

/** A file that is there and is not read; the message is a reason, such as "it is a pipe". */
class NotReadError extends Error {
  override readonly name = "NotReadError";
}

/** Opens a regular file for reading, to be closed by the caller. @throws Node's errors, and one whose message says what else it is. */
export async function openRegularFile(path: string): Promise<FileHandle> {
  const file = await open(path, READ_AT_ONCE);
  try {
    checkRegular(await file.stat());
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** The bytes of a regular file of at most 512 MiB. @throws as {@link openRegularFile}. */
export async function readFileBytes(path: string): Promise<Buffer<ArrayBuffer>> {
  const file = await openRegularFile(path);
  try {
    checkSize(await file.stat());
    return await readToEnd(file);
  } finally {
    await file.close();
  }
}

/** As {@link readFileBytes}, as UTF-8. */
export async function readFileText(path: string): Promise<string> {
  return (await readFileBytes(path)).toString("utf8");
}

/** As {@link readFileText}, at once. */
export function readFileTextSync(path: string): string {
  const file = openSync(path, READ_AT_ONCE);
  try {
    const stats = fstatSync(file);
    checkRegular(stats);
    checkSize(stats);
    return readFileSync(file, "utf8");
  } finally {
    closeSync(file);
  }
}

/** Files of /proc have no size, and some have no end. */
async function readToEnd(file: FileHandle): Promise<Buffer<ArrayBuffer>> {
  const chunks: Buffer[] = [];
  let numBytes = 0;
  for await (const chunk of file.createReadStream({ autoClose: false, highWaterMark: 2 ** 20 })) {
    chunks.push(chunk);
    numBytes += chunk.length;
    checkSize({ size: numBytes });
  }
  return Buffer.concat(chunks);
}

function checkRegular(stats: Stats): void {
  if (stats.isFile()) return;
  // As Node's own error for reading a folder, whose code callers know.
  if (stats.isDirectory()) throw Object.assign(new NotReadError("it is a folder"), { code: "EISDIR" });
  const kind = stats.isFIFO() ? "a pipe" : stats.isSocket() ? "a socket" : "a device";
  throw new NotReadError(`it is ${kind}, not a file: write its content into a file first`);
}

function checkSize({ size }: Pick<Stats, "size">): void {
  if (size <= MAX_FILE_BYTES) return;
  throw new NotReadError(`it has more than ${MAX_FILE_BYTES / 2 ** 20} MiB`);
}
