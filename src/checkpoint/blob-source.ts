// A checkpoint in Blobs: files that a person picked or dropped in the browser, or bytes already in memory.

import { CheckpointError, InputError, throwIfAborted } from "../errors.ts";
import { checkedText, type Rule, read as readValue, refuse } from "../options.ts";
import { checkPath, checkRange, missingFile, quote, type Source, shortFile } from "./source.ts";

const pair = "a pair of path and Blob";
const PAIRS: Rule = {
  expected: "pairs of path and Blob, such as a Map",
  read: (value, name) => {
    if (typeof Object(value)[Symbol.iterator] !== "function") return refuse(name, PAIRS.expected, value);
    return Array.from(value as Iterable<unknown>, (entry) => {
      const [path, blob] = Array.isArray(entry) ? [entry[0], entry[1]] : [];
      return typeof path === "string" && blob instanceof Blob ? [path, blob] : refuse(`${name}[…]`, pair, entry);
    }); // it is iterable
  },
};

/**
 * A source over `files`, pairs of path (relative to the checkpoint's folder) and content; `name` is the source's name in messages.
 * @throws InputError when two files have the same path.
 */
export function blobSource(files: Iterable<readonly [string, Blob]>, name = "the given files"): Source {
  checkedText("name", name);
  const blobs = new Map<string, Blob>();
  const pairs = readValue("files", files, PAIRS) as readonly (readonly [string, Blob])[]; // checked by the rule
  for (const [path, blob] of pairs) {
    if (blobs.has(path)) throw new InputError(`${name} holds the file ${quote(path)} twice; give each file once.`);
    blobs.set(path, blob);
  }

  return {
    name,

    async size(path, signal) {
      checkPath(path);
      throwIfAborted(signal, `Reading ${path}`);
      return blobs.get(path)?.size;
    },

    async read(path, start, end, signal) {
      checkPath(path);
      checkRange(path, start, end);
      throwIfAborted(signal, `Reading ${path}`);
      const blob = blobs.get(path);
      if (blob === undefined) throw missingFile(path, name);
      if (end > blob.size) throw shortFile(path, end, blob.size);
      let bytes: Uint8Array<ArrayBuffer>;
      try {
        bytes = new Uint8Array(await blob.slice(start, end).arrayBuffer());
      } catch (cause) {
        // Browsers refuse a picked file that changed on the disk since.
        const message = `${path} of ${name} could not be read at bytes [${start}, ${end}); pick the file again.`;
        throw new CheckpointError(message, { file: path, cause });
      }
      throwIfAborted(signal, `Reading ${path}`);
      if (bytes.length !== end - start) throw shortFile(path, end, start + bytes.length);
      return bytes;
    },
  };
}
