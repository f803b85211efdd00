// The page works without a server once it has been there.

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { buildApp } from "../../tools/app.mjs";
import { APP, openPages } from "./open-pages.ts";

const { open, serve, switchOff } = openPages();

test("a newer build on the server is fetched aside and takes over at a later load", async () => {
  const newer = await mkdtemp(join(tmpdir(), "adaptvis-newer-"));
  try {
    await buildApp({ out: newer, version: "newer" });
    const html = await readFile(join(newer, "index.html"), "utf8");
    await writeFile(join(newer, "index.html"), html.replace("<title>", "<title>newer "));
    const playground = await open({ serviceWorkers: true });
    const { page } = playground;
    await page.getByText("Works offline").waitFor();
    serve(newer);
    // The page that is kept comes at once; the browser looks for a newer service worker behind it.
    await page.reload();
    expect(await page.title()).not.toContain("newer");
    const isWaiting = () =>
      page.evaluate<boolean>("navigator.serviceWorker.ready.then(({ waiting }) => waiting !== null)");
    await expect.poll(isWaiting, { timeout: 60_000 }).toBe(true);
    await page.reload();
    // The page is loaded twice on the way to the newer build; asked in between, it has no title.
    await expect.poll(() => page.title().catch(() => ""), { timeout: 60_000 }).toMatch(/^newer /);
    await playground.waitUntilReady();
    await playground.askAndWait();
    expect(await playground.answer("Greedy")).toBe("Left");
  } finally {
    serve(APP);
    await rm(newer, { recursive: true });
  }
});

test("after one visit the page loads and answers with the server gone", async () => {
  const playground = await open({ serviceWorkers: true });
  await playground.waitUntilReady();
  await playground.page.getByText("Works offline").waitFor();
  switchOff();
  await playground.page.reload();
  await playground.waitUntilReady();
  await playground.askAndWait();
  expect(await playground.answer("Greedy")).toBe("Left");
  expect(await playground.answer("AdaptVis")).toBe("Left");
  // The example pictures are kept too.
  await playground.page.getByRole("radio", { name: "Your picture" }).check();
  await playground.button(/^Example: .*guitar/).click();
  await playground.page.getByRole("img", { name: /gift_behind_guitar\.png/ }).waitFor();
});
