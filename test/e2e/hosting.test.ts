// Hosts and browsers as they come: a plain http address, storage that breaks or is full, a newer version on the server.

import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launchChromium } from "../browser/launch.ts";
import { type StaticServer, startServer } from "../browser/static-server.ts";
import { repositoryRoot } from "../setup/bundle.ts";
import { FIRST_HASH, Playground } from "./playground.ts";
import { withoutWebGpu } from "./preludes.ts";

const APP = join(repositoryRoot, "dist", "app");

let server: StaticServer;
let browser: Browser;
/** Scripts that stand in front of the worker's and the service worker's own. */
let before: { readonly worker?: string; readonly serviceworker?: string; readonly page?: undefined } = {};

beforeAll(async () => {
  server = await startServer(({ path }) => ({
    file: join(APP, path === "/" ? "index.html" : path),
    before: before[path === "/service-worker.js" ? "serviceworker" : path.startsWith("/worker-") ? "worker" : "page"],
  }));
  browser = await launchChromium();
});

afterAll(async () => {
  await browser.close();
  server.close();
});

/** Opens the page in a profile of its own. */
async function open(options: { readonly pagePrelude?: string } & typeof before = {}): Promise<Playground> {
  const { pagePrelude, ...preludes } = options;
  before = preludes;
  const context = await browser.newContext();
  if (pagePrelude !== undefined) await context.addInitScript({ content: pagePrelude });
  const page = await context.newPage();
  await page.goto(`${server.origin}/${FIRST_HASH}`); // nothing is asked by itself, which here shows nothing
  return new Playground(context, page);
}

test("at an address that browsers give no WebGPU, the page names one that they do", async () => {
  const insecure = `Object.defineProperty(globalThis, "isSecureContext", { value: false });${withoutWebGpu}`;
  const playground = await open({ pagePrelude: insecure, worker: insecure });
  const text = await playground.notice("WebGPU is not available");
  expect(text).toMatch(/Open https:.* if that host has it, or .* http:\/\/localhost/);
  expect(text).not.toContain("chrome://flags");
  await playground.close();
});

test.each([
  [
    "cannot keep the files",
    `Cache.prototype.addAll = async () => { throw new DOMException("full", "QuotaExceededError"); };`,
  ],
  [
    "cannot read what it kept",
    `Cache.prototype.match = async () => { throw new DOMException("broken", "UnknownError"); };`,
  ],
])("a browser that %s still has the page from its server", async (what, serviceworker) => {
  const playground = await open({ serviceworker });
  const offline = playground.page.getByText("Works offline");
  // What was kept is there before the model is; that nothing could be kept shows once all else is.
  if (what.includes("read")) await offline.waitFor();
  else await playground.waitUntilReady();
  await playground.page.reload();
  await playground.waitUntilReady();
  await playground.askAndWait();
  expect(await playground.answer("Greedy")).toBe("Left");
  if (what.includes("keep")) expect(await offline.count()).toBe(0);
  expect(playground.problems).toEqual([]);
  await playground.close();
});

test("a newer version is told of while the page is open, and its button brings it", async () => {
  const playground = await open();
  const { page } = playground;
  await page.getByText("Works offline").waitFor();
  before = { serviceworker: "// a newer version" };
  const ready = "navigator.serviceWorker.ready";
  await page.evaluate(`${ready}.then((registration) => registration.update()).then(() => undefined)`);
  await page.getByText("A newer version is ready").waitFor();
  await playground.button("Reload").click();
  await page.getByText("Works offline").waitFor();
  // The page may load again while it is asked.
  const isWaiting = () => page.evaluate(`${ready}.then(({ waiting }) => waiting !== null)`).catch(String);
  await expect.poll(isWaiting, { timeout: 60_000 }).toBe(false);
  await playground.waitUntilReady();
  expect(playground.problems).toEqual([]);
  await playground.close();
});
