// Caches all files of one build, so that the page works offline, and answers the engine's range requests for the weights. A
// newer build is cached separately and activated when a page loads while no other is open, so that files of two builds are
// never mixed.
import { partOf, TAKE_OVER } from "./service-worker-parts.ts";

/** Paths of the build's files relative to the page, and a digest of all of them; the build defines both. */
declare const BUILD_FILES: readonly string[];
declare const BUILD_VERSION: string;
declare const self: ServiceWorkerGlobalScope;

const { registration } = self;
/** The scope separates the caches of several playgrounds on one origin. */
const cachePrefix = `adaptvis ${registration.scope} `;
const cacheName = cachePrefix + BUILD_VERSION;
const files = new Set(BUILD_FILES.map(absolute));
const page = absolute("index.html");
/** Bodies by URL, so that a file that is read in many ranges is read from the cache once. */
const bodies = new Map<string, Promise<{ readonly body: Blob; readonly headers: Headers } | undefined>>();

self.addEventListener("install", (event) => event.waitUntil(keepFiles()));
self.addEventListener("activate", (event) => event.waitUntil(removeOldFiles()));
self.addEventListener("message", (event) => {
  if (event.data === TAKE_OVER) event.waitUntil(takeOver());
});
self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || !request.url.startsWith(registration.scope)) return;
  event.respondWith(request.mode === "navigate" ? answerPage(request) : answerFile(request));
});

async function keepFiles(): Promise<void> {
  const cache = await caches.open(cacheName);
  // no-cache revalidates files in the browser's HTTP cache.
  await cache.addAll([...files].map((url) => new Request(url, { cache: "no-cache" })));
}

async function removeOldFiles(): Promise<void> {
  const names = await caches.keys();
  await Promise.all(
    names.filter((name) => name.startsWith(cachePrefix) && name !== cacheName).map((name) => caches.delete(name)),
  );
}

/** A page has loaded while this newer build waits: activate unless another page still uses the old build. */
async function takeOver(): Promise<void> {
  const windows = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  const pages = windows.filter(({ url }) => url.startsWith(registration.scope));
  if (pages.length < 2) await self.skipWaiting();
}

async function answerPage(request: Request): Promise<Response> {
  const path = withoutQuery(request.url);
  const isPage = path === registration.scope || path === page;
  return (isPage ? await kept(page, request) : undefined) ?? answerFile(request);
}

async function answerFile(request: Request): Promise<Response> {
  const url = withoutQuery(request.url);
  const found = files.has(url) ? await kept(url, request) : undefined;
  if (found !== undefined) return found;
  try {
    return await fetch(request);
  } catch {
    // The whole build is cached, so a missing file does not exist; loaders that probe for it get a 404.
    return new Response("", { status: 404, statusText: "Not Found" });
  }
}

async function kept(url: string, request: Request): Promise<Response | undefined> {
  let entry = bodies.get(url);
  if (entry === undefined) {
    entry = readKept(url);
    bodies.set(url, entry);
    void entry.then((file) => file === undefined && bodies.delete(url));
  }
  const file = await entry;
  return file && partOf(file.body, file.headers, request.headers.get("range"));
}

async function readKept(url: string) {
  try {
    const response = await (await caches.open(cacheName)).match(url);
    return response && { body: await response.blob(), headers: response.headers };
  } catch {
    return undefined; // the browser evicted or damaged its storage; the server still has the file
  }
}

function absolute(path: string): string {
  return new URL(path, registration.scope).href;
}

function withoutQuery(url: string): string {
  const { origin, pathname } = new URL(url);
  return origin + pathname;
}
