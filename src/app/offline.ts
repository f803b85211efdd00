// The page without a network: registers the service worker that keeps all its files.

import { TAKE_OVER } from "./service-worker-parts.ts";

/** How the page stands to a network. */
export type OfflineState = "unknown" | "kept" | "newer";

/**
 * Registers the service worker beside the page, which then works without a network. A newer version that an earlier visit
 * fetched begins now if no other page is open; this page then loads again.
 * @param onState told `kept` once all files are kept, and `newer` once a newer version of them is kept, too, which comes with
 *   a reload; nothing where the browser or the address (plain http) does not allow that, or the files cannot be kept
 */
export async function registerServiceWorker(onState: (state: OfflineState) => void): Promise<void> {
  if (!("serviceWorker" in navigator)) return;
  const url = new URL("service-worker.js", document.baseURI);
  // A development server has no service worker, and some browsers refuse one.
  const registration = await navigator.serviceWorker.register(url).catch(() => undefined);
  if (registration === undefined) return;
  const follow = async (worker: ServiceWorker) => {
    const isFirst = registration.active === null;
    // The first one takes over at once, a newer one waits.
    if (await reaches(worker, isFirst ? "activated" : "installed")) onState(isFirst ? "kept" : "newer");
  };
  const { installing, waiting, active } = registration;
  if (waiting !== null && navigator.serviceWorker.controller !== null) {
    navigator.serviceWorker.addEventListener("controllerchange", () => location.reload(), { once: true });
    waiting.postMessage(TAKE_OVER);
  }
  if (active !== null) onState(waiting === null ? "kept" : "newer");
  if (installing !== null) void follow(installing);
  registration.addEventListener("updatefound", () => {
    if (registration.installing !== null && registration.installing !== installing)
      void follow(registration.installing);
  });
}

/** Whether a service worker comes as far as that; false when it fails on the way, as when a file cannot be kept. */
function reaches(worker: ServiceWorker, wanted: "installed" | "activated"): Promise<boolean> {
  return new Promise((resolve) => {
    const look = () => {
      if (worker.state === wanted || worker.state === "activated") resolve(true);
      if (worker.state === "redundant") resolve(false);
    };
    worker.addEventListener("statechange", look);
    look();
  });
}
