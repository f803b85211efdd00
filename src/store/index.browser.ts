/**
 * Models that a page keeps in the browser's private file system (OPFS): looked up on Hugging Face's hub or another server, downloaded
 * with progress, resumed, quantised as they come, listed, read without a network, and removed.
 * @module store
 */

import { ModelStore } from "./model-store.ts";
import { opfsFiles } from "./opfs-files.browser.ts";

export type { Source } from "../checkpoint/source.ts";
export type { QuantizedDtype } from "../gpu/tensor.ts";
export { type FileStore, type FileWriter, type StorageRoom, StoreError, type StoreErrorReason } from "./file-store.ts";
export { memoryFiles } from "./memory-files.ts";
export {
  KEPT_FORMS,
  type KeepOptions,
  type KeepProgress,
  type KeptForm,
  type KeptModel,
  ModelStore,
} from "./model-store.ts";
export { opfsFiles } from "./opfs-files.browser.ts";
export {
  downloadBytes,
  findRemoteModel,
  HUB,
  type RemoteFile,
  type RemoteModel,
  type RemoteOptions,
} from "./remote-model.ts";

/**
 * The store of this web site. {@link ModelStore.keep} writes files in place, which browsers allow in workers only; everything else
 * works in pages too.
 * @param name of its folder, for sites with several
 */
export function openModelStore(name?: string): ModelStore {
  return new ModelStore(opfsFiles(name));
}

/**
 * Asks the browser to keep what the site has stored until the user removes it: without that, a browser may remove it when the disk is
 * nearly full. Some ask the user, so call it when the user chose to keep a model, and from a page.
 * @returns whether it is kept; {@link ModelStore.room} says so, too.
 */
export async function keepForGood(): Promise<boolean> {
  return navigator.storage.persist();
}
