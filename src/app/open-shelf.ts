// What lazy-shelf.ts fetches at the first use.

import { ModelStore } from "../store/model-store.ts";
import { opfsFiles } from "../store/opfs-files.browser.ts";
import { ModelShelf, type ShelfHost } from "./engine/model-shelf.ts";
import type { ModelsApi } from "./models-protocol.ts";

/** The store in this browser, and what the page does with it. */
export interface OpenShelf {
  readonly store: ModelStore;
  readonly models: ModelsApi;
}

/** Opens the store of this web site. */
export function openShelf(host: Omit<ShelfHost, "store">): OpenShelf {
  const store = new ModelStore(opfsFiles());
  return { store, models: new ModelShelf({ ...host, store }) };
}
