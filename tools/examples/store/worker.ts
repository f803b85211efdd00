// Downloads a model into the browser's storage, or goes on with a download that ended early. Only workers may write files there in
// place, so this is not the page's work.
import { findRemoteModel, openModelStore } from "adaptvis/store";

/** What the page says: the model's id or address, or to pause. */
export type ToWorker = { readonly keep: string } | "pause";
/** What the worker says: bytes that are there, the key of a model that is whole, or why it is not. */
export type ToPage =
  | { readonly loadedBytes: number; readonly totalBytes: number }
  | { readonly key: string }
  | { readonly failure: string };

const store = openModelStore();
let running: AbortController | undefined;
const send = (message: ToPage) => postMessage(message);

addEventListener("message", ({ data }: MessageEvent<ToWorker>) => {
  if (data === "pause") running?.abort();
  else
    keep(data.keep).catch((error: Error) => send({ failure: error.name === "AbortError" ? "Paused." : error.message }));
});

async function keep(address: string): Promise<void> {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  const remote = await findRemoteModel(address, { signal });
  // In 8 bits the model takes half of the space, here and on the GPU.
  const { key } = await store.keep(remote, {
    form: "q8",
    signal,
    onProgress: ({ loadedBytes, totalBytes }) => send({ loadedBytes, totalBytes }),
  });
  send({ key });
}
