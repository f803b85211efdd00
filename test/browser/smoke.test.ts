// Headless Chromium computes on SwiftShader, and the harness serves files and reports failures.

import { readFile } from "node:fs/promises";
import { afterAll, expect, test } from "vitest";
import { bundleProgram, removePrograms, repositoryRoot } from "../setup/bundle.ts";
import { runInChromium } from "./chromium.ts";

afterAll(removePrograms);

test("a page adds two arrays on SwiftShader and reads a byte range over HTTP", async () => {
  const source = await readFile(await bundleProgram("test/browser/add-arrays.browser.ts", "browser"), "utf8");
  const manifest = await readFile(`${repositoryRoot}/package.json`, "utf8");
  expect(await runInChromium(source, { "/files": repositoryRoot })).toEqual({
    adapter: "google swiftshader",
    wrongSums: 0,
    bytes: { status: 206, text: manifest.slice(1, 5) },
    missing: 404,
  });
});

test("an error in the page fails the run, with the page's console", async () => {
  const source = `export async function run() { console.log("about to fail"); throw new RangeError("no such thing"); }`;
  await expect(runInChromium(source)).rejects.toThrow(/RangeError: no such thing[\s\S]*about to fail/);
});
