// The worker's models on servers and in the browser's storage, whose code is fetched at the first use: a page that asks the model
// it comes with needs none of it.

import type { Source } from "../checkpoint/source.ts";
import type { ShelfHost } from "./engine/model-shelf.ts";
import type { ModelsApi } from "./models-protocol.ts";
import type { OpenShelf } from "./open-shelf.ts";

/** The models, and how one that is kept is read. */
export interface LazyShelf {
  readonly models: ModelsApi;
  /** The files of a model that is kept, by its key. */
  readonly openKept: (key: string, name: string) => Source;
}

/** The models of a host; nothing is fetched or opened until one of its functions is called. */
export function lazyShelf(host: Omit<ShelfHost, "store">): LazyShelf {
  let opening: Promise<OpenShelf> | undefined;
  const open = (): Promise<OpenShelf> => {
    opening ??= import("./open-shelf.ts").then(
      ({ openShelf }) => openShelf(host),
      (error: unknown) => {
        opening = undefined; // the network may be back at the next attempt
        throw error;
      },
    );
    return opening;
  };
  const models: ModelsApi = {
    lookUp: async (text) => (await open()).models.lookUp(text),
    measure: async (remote, form) => (await open()).models.measure(remote, form),
    keep: async (remote, form, onProgress) => (await open()).models.keep(remote, form, onProgress),
    pause: async () => (await opening)?.models.pause(),
    shelf: async () => (await open()).models.shelf(),
    remove: async (key) => (await open()).models.remove(key),
  };
  const openKept = (key: string, name: string): Source => {
    let source: Source | undefined;
    const opened = async () => {
      source ??= (await open()).store.source(key, name);
      return source;
    };
    return {
      name,
      size: async (path, signal) => (await opened()).size(path, signal),
      read: async (path, start, end, signal) => (await opened()).read(path, start, end, signal),
      close: async () => source?.close?.(),
    };
  };
  return { models, openKept };
}
