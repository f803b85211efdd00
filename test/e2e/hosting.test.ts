// Hosts and browsers as they come: a plain http address, storage that breaks or is full, a newer build on the server.

import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { buildApp } from "../../tools/app.mjs";
import { APP, openPages } from "./open-pages.ts";
import { withoutWebGpu } from "./preludes.ts";

const { open, serve } = openPages();
const folders: string[] = [];

afterEach(async () => {
  serve(APP);
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true });
});

test("at an address that browsers give no WebGPU, the page names one that they do", async () => {
  const insecure = `Object.defineProperty(globalThis, "isSecureContext", { value: false });${withoutWebGpu}`;
  const playground = await open({ pagePrelude: insecure, workerPrelude: insecure });
  const text = await playground.notice("no WebGPU");
  expect(text).toMatch(/Open https:.* if that host has it, or .* http:\/\/localhost/);
  expect(text).not.toContain("chrome://flags");
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
])("a browser that %s still has the page from its server", async (_, prelude) => {
  const folder = await mkdtemp(join(tmpdir(), "adaptvis-storage-"));
  folders.push(folder);
  await cp(APP, folder, { recursive: true });
  const worker = join(folder, "service-worker.js");
  await writeFile(worker, `${prelude}\n${await readFile(worker, "utf8")}`);
  serve(folder);
  const playground = await open({ serviceWorkers: true });
  await playground.waitUntilReady();
  const isInstalled = prelude.includes("match");
  if (isInstalled) await playground.page.getByText("Works offline").waitFor();
  await playground.page.reload();
  await playground.waitUntilReady();
  await playground.askAndWait();
  expect(await playground.answer("Greedy")).toBe("Left");
  if (!isInstalled) expect(await playground.page.getByText("Works offline").count()).toBe(0);
});

test("a newer build is told of while the page is open, and its button brings it", async () => {
  const folder = await mkdtemp(join(tmpdir(), "adaptvis-told-"));
  folders.push(folder);
  const playground = await open({ serviceWorkers: true });
  const { page } = playground;
  await page.getByText("Works offline").waitFor();
  await buildApp({ out: folder, version: "told" });
  const html = await readFile(join(folder, "index.html"), "utf8");
  await writeFile(join(folder, "index.html"), html.replace("<title>", "<title>newer "));
  serve(folder);
  await page.evaluate(
    "navigator.serviceWorker.ready.then((registration) => registration.update()).then(() => undefined)",
  );
  await page.getByText("A newer version is ready").waitFor();
  await playground.button("Reload").click();
  await expect.poll(() => page.title().catch(() => ""), { timeout: 60_000 }).toMatch(/^newer /);
  await page.getByText("Works offline now").waitFor();
  await playground.waitUntilReady();
});
