// A page of the packaged headless Chromium for peers that run in browsers only, with the tests' launcher and server.

import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("../../..", import.meta.url));

/**
 * Opens a page that may share memory between threads. `find` maps a path to `{ file }`, `{ text, extension }` or, for 404, undefined;
 * "/" is taken. Returns the page (playwright-core's) and `close`.
 */
export async function openPage(find) {
  const { launchChromium, startServer } = await loadHarness();
  const blank = { text: "<!doctype html><title>adaptvis bench</title>", extension: ".html" };
  const server = await startServer(({ path }) => (path === "/" ? blank : find(path)), {
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
  });
  const browser = await launchChromium();
  const page = await browser.newPage();
  await page.goto(server.origin);
  return {
    page,
    version: browser.version(),
    close: async () => {
      await browser.close();
      server.close();
    },
  };
}

/** The harness is TypeScript: bundled for Node, into a folder from which packages are found, and removed again. */
async function loadHarness() {
  const folder = join(root, "tools/bench/node_modules/.cache");
  const outfile = join(folder, `chromium-${process.pid}.mjs`);
  await mkdir(folder, { recursive: true });
  const contents = ["launch", "static-server"].map((name) => `export * from "./test/browser/${name}.ts";`).join("\n");
  await build({
    stdin: { contents, resolveDir: root, loader: "ts" },
    outfile,
    bundle: true,
    format: "esm",
    platform: "node",
    packages: "external",
    loader: { ".wgsl": "text" },
    logLevel: "warning",
  });
  try {
    return await import(pathToFileURL(outfile).href);
  } finally {
    await rm(outfile, { force: true });
  }
}
