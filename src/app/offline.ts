// The page without a network: registers the service worker that keeps all its files.

import { TAKE_OVER } from "./take-over.ts";

/**
 * Registers the service worker beside the page, which then works without a network. A newer build that an earlier visit
 * fetched begins now if no other page is open; this page then loads again.
 * @returns true once everything is kept; false where the browser or the address (plain http) does not allow that, and when
 *   the files could not be fetched.
 */
export async function registerServiceWorker(): Promise<boolean> {
  if (!("serviceWorker" in navigator)) return false;
  try {
    const url = new URL("service-worker.js", document.baseURI);
    const registration = await navigator.serviceWorker.register(url);
    const { installing, waiting } = registration;
    if (waiting !== null && navigator.serviceWorker.controller !== null) {
      navigator.serviceWorker.addEventListener("controllerchange", () => location.reload(), { once: true });
      waiting.postMessage(TAKE_OVER);
    }
    if (installing !== null && registration.active === null && !(await isInstalled(installing))) return false;
    return registration.active !== null || registration.waiting !== null;
  } catch {
    return false; // a development server has no service worker
  }
}

function isInstalled(worker: ServiceWorker): Promise<boolean> {
  return new Promise((resolve) => {
    const look = () => {
      if (worker.state === "activated") resolve(true);
      if (worker.state === "redundant") resolve(false);
    };
    worker.addEventListener("statechange", look);
    look();
  });
}
