// A newer build reaches people who have the page already, and never under an open page.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildApp } from "../../tools/app.mjs";
import { launchChromium } from "../browser/launch.ts";
import { type StaticServer, startServer } from "../browser/static-server.ts";
import { waitUntil } from "./playground.ts";
import { holdsAdapter } from "./preludes.ts";

const POLLING = { timeout: 60_000 };

let folder: string;
let server: StaticServer;
let browser: Browser;
/** The build that the server has at the moment. */
let served: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "adaptvis-update-"));
  served = join(folder, "first");
  server = await startServer(({ path }) => ({
    file: join(served, path === "/" ? "index.html" : path),
    before: path.startsWith("/worker-") ? holdsAdapter : undefined, // no page needs its model here
  }));
  browser = await launchChromium();
});

afterAll(async () => {
  await browser.close();
  server.close();
  await rm(folder, { recursive: true, force: true });
});

/** The versions that the browser keeps. */
async function versions(page: Page): Promise<string[]> {
  const names = (await page.evaluate("caches.keys()")) as string[]; // CacheStorage gives names
  return names.map((name) => name.split(" ").at(-1) ?? "");
}

test("a new build takes over when the last page of the old one loads again", async () => {
  const first = await buildApp({ out: served, version: "first" });
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(server.origin);
  await page.evaluate("navigator.serviceWorker.ready.then(() => undefined)");
  const other = await context.newPage();
  await other.goto(server.origin);
  expect(await other.evaluate("navigator.serviceWorker.controller !== null")).toBe(true);

  const second = await buildApp({ out: join(folder, "second"), version: "second" });
  expect(second.version).not.toBe(first.version);
  served = second.out;
  await other.evaluate(
    "navigator.serviceWorker.ready.then((registration) => registration.update()).then(() => undefined)",
  );
  const isWaiting = "navigator.serviceWorker.ready.then(({ waiting }) => waiting !== null)";
  await expect.poll(() => other.evaluate(isWaiting), POLLING).toBe(true);

  // Two pages are open: both builds are kept, and pages go on with the old one.
  await other.reload();
  expect((await versions(other)).sort()).toEqual([first.version, second.version].sort());
  await page.close();
  // The browser may count the closed page for a moment, and the page loads again by itself when the new build begins.
  const afterLoad = () => other.reload().then(() => versions(other));
  await expect.poll(() => afterLoad().catch(String), { ...POLLING, interval: 1000 }).toEqual([second.version]);
  await waitUntil(other, "document.querySelector('h1') !== null");
});
