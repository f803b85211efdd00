// Runs the code of a test in a page, in whichever browser: a server for the page and its files, a deadline, and errors with the console.

import { join } from "node:path";
import { STUCK_MS } from "../setup/run-program.ts";
import { startServer } from "./static-server.ts";

/** What this needs of a page of Playwright's or Puppeteer's. */
export interface TestPage {
  /** Opens an address. */
  readonly goto: (url: string) => Promise<unknown>;
  /** The value of an expression, once it is there. */
  readonly evaluate: (expression: string) => Promise<unknown>;
  /** What the console and uncaught errors said so far. */
  readonly printed: readonly string[];
}

/**
 * Runs `run()`, which the module of that source exports, in a fresh page, and returns what it returned (JSON values).
 * @param moduleSource the module's text
 * @param options.files what the page's server has: path in the URL to path on disk, of a file or of a folder with all below it;
 *   byte ranges are served. `/page.js` and `/` are taken.
 * @throws when `run` throws; the message holds the page's console.
 */
export async function runInPage(
  page: TestPage,
  moduleSource: string,
  options: { readonly files: Readonly<Record<string, string>> },
): Promise<unknown> {
  const server = await startServer(({ path }) => {
    if (path === "/") return { text: "<!doctype html><title>adaptvis test</title>", extension: ".html" };
    if (path === "/page.js") return { text: moduleSource, extension: ".js" };
    const file = fileOf(path, options.files);
    return file === undefined ? undefined : { file };
  });
  try {
    await page.goto(server.origin);
    // As text: vitest rewrites an import() in code to a function that the page lacks.
    const result = page.evaluate('import("/page.js").then((module) => module.run())');
    return await withDeadline(result, STUCK_MS);
  } catch (cause) {
    throw new Error([`In the page: ${String(cause)}`, ...page.printed].join("\n"), { cause });
  } finally {
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
