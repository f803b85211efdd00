// The ids of a validation half in NumPy's file format, as the authors' code stores them (sampled_idx_….npy).

import { at, InputError } from "../../errors.ts";

const MAGIC = "\x93NUMPY";
const INT64_BYTES = 8;

/**
 * Reads one axis of int64 (little endian) from a .npy file of version 1 or 2.
 * Source: NumPy, numpy.lib.format.
 * @param file name for messages
 * @returns the ids, ascending
 * @throws InputError for another type, shape or length, and for ids that do not ascend.
 */
export function readIds(bytes: Uint8Array, file: string): readonly number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const isNpy = bytes.length >= 12 && MAGIC === String.fromCharCode(...bytes.subarray(0, MAGIC.length));
  if (!isNpy) throw new InputError(`${file} is not a NumPy file (.npy).`);
  const isVersion1 = view.getUint8(MAGIC.length) === 1;
  const headerStart = MAGIC.length + 2 + (isVersion1 ? 2 : 4);
  const headerBytes = isVersion1 ? view.getUint16(MAGIC.length + 2, true) : view.getUint32(MAGIC.length + 2, true);
  const dataStart = headerStart + headerBytes;
  const header = new TextDecoder().decode(bytes.subarray(headerStart, dataStart));
  const type = /'descr':\s*'([^']*)'/.exec(header)?.[1];
  const length = /'shape':\s*\((\d+),\)/.exec(header)?.[1];
  if (type !== "<i8" || length === undefined) {
    throw new InputError(`${file}: expected one axis of int64 ('<i8'), got ${header.trim() || "no header"}.`);
  }
  if (bytes.length - dataStart !== Number(length) * INT64_BYTES) {
    throw new InputError(
      `${file}: expected ${length} ids of 8 bytes, got ${bytes.length - dataStart} bytes; copy the file again.`,
    );
  }
  const ids = Array.from({ length: Number(length) }, (_, index) =>
    Number(view.getBigInt64(dataStart + index * INT64_BYTES, true)),
  );
  const wrong = ids.findIndex((id, index) => id < 0 || (index > 0 && id <= at(ids, index - 1)));
  if (wrong >= 0)
    throw new InputError(`${file}: expected ids that ascend from 0, got ${at(ids, wrong)} at position ${wrong}.`);
  return ids;
}
