// The checks that every source makes before it reads: the file name stays inside the folder, the range makes sense.

import { CheckpointError } from "../errors.ts";
import { quote } from "./messages.ts";

/**
 * Refuses a file name that could leave the source's folder. File names come from an index.json, which anybody may have written.
 * @throws CheckpointError unless `path` is one or more plain segments joined by `/`.
 */
export function checkPath(path: string): void {
  const segments = path.split("/");
  const isPlain = segments.every((segment) => segment !== "" && segment !== "." && segment !== "..");
  // A colon would name a drive or an NTFS stream, a backslash a folder on Windows; control characters have no business here.
  if (isPlain && !/[\\:\p{Cc}]/u.test(path)) return;
  throw new CheckpointError(
    `The file name ${quote(path)} is not a plain path inside the checkpoint's folder; do not trust this checkpoint.`,
    { file: path },
  );
}

/**
 * Refuses a range that no file can have.
 * @throws RangeError unless 0 ≤ start ≤ end, in whole numbers.
 */
export function checkRange(path: string, start: number, end: number): void {
  if (Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0 && start <= end) return;
  throw new RangeError(`${path}: expected a byte range 0 ≤ start ≤ end, got [${start}, ${end}).`);
}

/** The error for a file that is not there. */
export function missingFile(path: string, sourceName: string): CheckpointError {
  return new CheckpointError(`${path} is not in ${sourceName}; check the folder or download the file.`, { file: path });
}

/** The error for a range that goes past the end of the file. */
export function shortFile(path: string, end: number, fileBytes: number): CheckpointError {
  return new CheckpointError(
    `${path} has ${fileBytes} bytes, but bytes up to ${end} are needed; the file is cut short, so download it again.`,
    { file: path },
  );
}

/**
 * `numBytes` zeroed bytes.
 * @throws CheckpointError when the host cannot give that many in one piece.
 */
export function allocate(path: string, numBytes: number): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(numBytes);
  } catch (cause) {
    throw new CheckpointError(`${path}: there is no memory for ${numBytes} bytes in one piece; read smaller ranges.`, {
      file: path,
      cause,
    });
  }
}
