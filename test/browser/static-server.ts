// A small HTTP server for pages under test: texts, files and byte ranges of files.

import { createReadStream } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { extname, normalize } from "node:path";
import { pipeline } from "node:stream/promises";

const contentTypes: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".css": "text/css",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".json": "application/json",
  ".webmanifest": "application/manifest+json",
  ".jpg": "image/jpeg",
  ".png": "image/png",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
  ".webp": "image/webp",
};

/** What a request is answered with; undefined is "404 Not Found". */
export type Served =
  | { readonly text: string; readonly extension: string }
  /** `before` is put in front of the file's text, for scripts that a test looks into. */
  | { readonly file: string; readonly before?: string | undefined }
  | undefined;

/** A request as the finder of an answer sees it. */
export interface ServerRequest {
  /** Decoded, without the query; no ".." in it. */
  readonly path: string;
  /** From the "?" on; empty without one. */
  readonly query: string;
}

/** A running server. */
export interface StaticServer {
  /** http://127.0.0.1:PORT */
  readonly origin: string;
  /** Stops it and drops every connection; requests fail from then on. A second call does nothing. */
  readonly close: () => void;
}

/** Starts a server on a free port of this machine only; every response has `headers` too. */
export async function startServer(
  find: (request: ServerRequest) => Served,
  headers: Readonly<Record<string, string>> = {},
): Promise<StaticServer> {
  const server = createServer((request, response) => {
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    const { pathname, search: query } = new URL(request.url ?? "/", "http://page");
    const path = normalize(decodeURIComponent(pathname));
    const served = find({ path, query });
    send(request, response, served).catch((error) => response.destroy(error));
  });
  const origin = await listen(server);
  return {
    origin,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("The page's server has no port.");
  return `http://127.0.0.1:${address.port}`;
}

async function send(request: IncomingMessage, response: ServerResponse, served: Served): Promise<void> {
  if (served === undefined) response.writeHead(404).end();
  else if ("text" in served) sendText(response, served.extension, served.text);
  else if (served.before !== undefined)
    sendText(response, extname(served.file), `${served.before}\n${await readFile(served.file, "utf8")}`);
  else await sendFile(response, served.file, request.headers.range);
}

function sendText(response: ServerResponse, extension: string, text: string): void {
  response.writeHead(200, { "content-type": `${contentTypes[extension]}; charset=utf-8` }).end(text);
}

async function sendFile(response: ServerResponse, file: string, range: string | undefined): Promise<void> {
  const stats = await stat(file).catch(() => undefined);
  if (!stats?.isFile()) {
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
