// Offline use: registers the service worker that caches all files of the page.

import { scriptUrl } from "./script-url.ts";
import { TAKE_OVER } from "./service-worker-parts.ts";
import { navigatorServiceWorker } from "./start-worker.ts";

/** Whether the page works offline, and whether a newer version is waiting. */
export type OfflineState = "unknown" | "kept" | "newer";

/**
 * Registers the service worker beside the page, after which the page works offline. A newer version that an earlier visit
 * fetched is activated now if no other page is open; this page then reloads.
 * @param onState called with `kept` once all files are cached, and with `newer` once a newer version is cached, which a
 *   reload activates; not called where the browser or the address (plain http) does not allow it, or caching fails
 */
export async function registerServiceWorker(onState: (state: OfflineState) => void): Promise<void> {
  const container = navigatorServiceWorker();
  if (container === undefined) return;
  // A development server has no service worker, and some browsers and hosts refuse one.
  const registration = await register(container).catch(() => undefined);
  if (registration === undefined) return;
  const follow = async (worker: ServiceWorker) => {
    const isFirst = registration.active === null;
    // The first version activates at once; a newer one waits.
    if (await reaches(worker, isFirst ? "activated" : "installed")) onState(isFirst ? "kept" : "newer");
  };
  const { installing, waiting, active } = registration;
  if (waiting !== null && container.controller !== null) {
    container.addEventListener("controllerchange", () => location.reload(), { once: true });
    waiting.postMessage(TAKE_OVER);
  }
  if (active !== null) onState(waiting === null ? "kept" : "newer");
  if (installing !== null) void follow(installing);
  registration.addEventListener("updatefound", () => {
    if (registration.installing !== null && registration.installing !== installing)
      void follow(registration.installing);
  });
}

async function register(container: ServiceWorkerContainer): Promise<ServiceWorkerRegistration> {
  const { href } = new URL("service-worker.js", document.baseURI);
  return await container.register(scriptUrl(href));
}

/** Whether a service worker reaches a state; false when it fails before, for example because a file cannot be cached. */
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
