// Runs code in a page of the packaged headless Chromium, with WebGPU on SwiftShader.

import { join } from "node:path";
import { launchChromium } from "./launch.ts";
import { startServer } from "./static-server.ts";

/**
 * Runs `run()`, which the module of that source exports, in a fresh page, and returns what it returned (JSON values).
 * @param files what the page's server has: path in the URL to path on disk, of a file or of a folder with all below it;
 *   byte ranges are served. `/page.js` and `/` are taken.
 * @throws when `run` throws; the message holds the page's console.
 */
export async function runInChromium(
  moduleSource: string,
  files: Readonly<Record<string, string>> = {},
  options: { readonly timeoutMs?: number } = {},
): Promise<unknown> {
  const server = await startServer(({ path }) => {
    if (path === "/") return { text: "<!doctype html><title>adaptvis test</title>", extension: ".html" };
    if (path === "/page.js") return { text: moduleSource, extension: ".js" };
    const file = fileOf(path, files);
    return file === undefined ? undefined : { file };
  });
  const browser = await launchChromium();
  const printed: string[] = [];
  try {
    const page = await browser.newPage();
    page.on("console", (message) => printed.push(message.text()));
    page.on("pageerror", (error) => printed.push(String(error)));
    await page.goto(server.origin);
    // As text: vitest rewrites an import() in code to a function that the page lacks.
    const result = page.evaluate('import("/page.js").then((module) => module.run())');
    return await withDeadline(result, options.timeoutMs ?? 110_000);
  } catch (cause) {
    throw new Error([`In the page: ${String(cause)}`, ...printed].join("\n"), { cause });
  } finally {
    await browser.close();
    server.close();
  }
}

function fileOf(path: string, files: Readonly<Record<string, string>>): string | undefined {
  for (const [prefix, target] of Object.entries(files)) {
    if (path === prefix) return target;
    if (path.startsWith(`${prefix}/`)) return join(target, path.slice(prefix.length));
  }
  return undefined;
}

async function withDeadline<T>(work: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no result after ${timeoutMs} ms`)), timeoutMs);
  });
  return await Promise.race([work, deadline]).finally(() => clearTimeout(timer));
}
