// Runs code in a page of the packaged headless Chromium (npm @sparticuz/chromium), with WebGPU on SwiftShader.
// Needs no system libraries beyond Node's own: those that Chromium lacks on a minimal Debian come in the same package.

import { createReadStream, createWriteStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer, type Server, type ServerResponse } from "node:http";
import { extname, join, normalize } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";
import { chromium } from "playwright-core";
import { findChromiumPackage, unpackBrotliTar, unpackOnce } from "../../src/gpu/swiftshader.node.ts";

const contentTypes: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".json": "application/json",
  ".jpg": "image/jpeg",
  ".png": "image/png",
  ".webp": "image/webp",
};

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
  const server = createServer((request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url ?? "/", "http://page").pathname));
    if (path === "/") return sendText(response, ".html", "<!doctype html><title>adaptvis test</title>");
    if (path === "/page.js") return sendText(response, ".js", moduleSource);
    sendFile(response, fileOf(path, files), request.headers.range).catch((error) => response.destroy(error));
  });
  const origin = await listen(server);
  const { executable, libraries } = await unpackChromium();
  const browser = await chromium.launch({
    executablePath: executable,
    args: ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--no-sandbox", "--no-zygote"],
    env: { ...process.env, LD_LIBRARY_PATH: libraries },
  });
  const printed: string[] = [];
  try {
    const page = await browser.newPage();
    page.on("console", (message) => printed.push(message.text()));
    page.on("pageerror", (error) => printed.push(String(error)));
    await page.goto(origin);
    // As text: vitest rewrites an import() in code to a function that the page lacks.
    const result = page.evaluate('import("/page.js").then((module) => module.run())');
    return await withDeadline(result, options.timeoutMs ?? 110_000);
  } catch (cause) {
    throw new Error([`In the page: ${String(cause)}`, ...printed].join("\n"), { cause });
  } finally {
    await browser.close();
    server.closeAllConnections();
    server.close();
  }
}

/** Unpacks Chromium, its SwiftShader and the libraries that a minimal system lacks, once. */
async function unpackChromium(): Promise<{ readonly executable: string; readonly libraries: string }> {
  const { version, archives } = await findChromiumPackage();
  const folder = await unpackOnce(`chromium-${version}`, async (target) => {
    await pipeline(
      createReadStream(join(archives, "chromium.br")),
      createBrotliDecompress(),
      createWriteStream(join(target, "chromium"), { mode: 0o755 }),
    );
    await unpackBrotliTar(join(archives, "swiftshader.tar.br"), target);
    await unpackBrotliTar(join(archives, "al2023.tar.br"), target);
  });
  return { executable: join(folder, "chromium"), libraries: `${join(folder, "lib")}:${folder}` };
}

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("The page's server has no port.");
  return `http://127.0.0.1:${address.port}`;
}

function fileOf(path: string, files: Readonly<Record<string, string>>): string | undefined {
  for (const [prefix, target] of Object.entries(files)) {
    if (path === prefix) return target;
    if (path.startsWith(`${prefix}/`)) return join(target, path.slice(prefix.length));
  }
  return undefined;
}

function sendText(response: ServerResponse, extension: string, text: string): void {
  response.writeHead(200, { "content-type": `${contentTypes[extension]}; charset=utf-8` }).end(text);
}

async function sendFile(response: ServerResponse, file: string | undefined, range: string | undefined): Promise<void> {
  const stats = file === undefined ? undefined : await stat(file).catch(() => undefined);
  if (file === undefined || !stats?.isFile()) {
    response.writeHead(404).end();
    return;
  }
  const headers = {
    "content-type": contentTypes[extname(file)] ?? "application/octet-stream",
    "accept-ranges": "bytes",
  };
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(range ?? "") ?? [];
  const start = Number(first ?? 0);
  const end = Math.min(last ? Number(last) : Number.POSITIVE_INFINITY, stats.size - 1);
  if (first === undefined) {
    response.writeHead(200, { ...headers, "content-length": stats.size });
  } else if (start > end) {
    response.writeHead(416, { "content-range": `bytes */${stats.size}` }).end();
    return;
  } else {
    response.writeHead(206, {
      ...headers,
      "content-length": end - start + 1,
      "content-range": `bytes ${start}-${end}/${stats.size}`,
    });
  }
  // An empty file has no last byte to stream up to.
  if (stats.size === 0) response.end();
  else await pipeline(createReadStream(file, { start, end }), response);
}

async function withDeadline<T>(work: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no result after ${timeoutMs} ms`)), timeoutMs);
  });
  return await Promise.race([work, deadline]).finally(() => clearTimeout(timer));
}
