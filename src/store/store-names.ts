// What a store calls the folders of models and the files in them: plain names, whatever the models and their files are called.

import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex, utf8ToBytes } from "@noble/hashes/utils.js";

/** The folder of a model in a form. */
export function folderOf(name: string, form: string): string {
  return `${bytesToHex(sha256(utf8ToBytes(name))).slice(0, 24)}-${form}`;
}

/** The name of a model's file; two paths never have the same. A tilde is in none, so that names with one are the store's own. */
export function nameOf(path: string): string {
  return encodeURIComponent(path).replace(/[!'()*~]/g, (character) => {
    return `%${character.charCodeAt(0).toString(16).toUpperCase()}`;
  });
}

/** The name of an original file that another is made from, which has the name of {@link nameOf}. */
export function sourceNameOf(path: string): string {
  return `${nameOf(path)}~source`;
}
