// The application on a port, in Node and in Deno: limits on slow and large requests, and an end that waits for answers.
import type { ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { ServerApp } from "./app.ts";
import { serve } from "./packages.ts";

/** Where and how a server listens. */
export interface ListenOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Most bytes of a request's headers; more is refused with status 431. */
  readonly maxHeaderBytes: number;
  /** A client has so long to send its headers, and its whole request. */
  readonly headersTimeoutMs: number;
  readonly requestTimeoutMs: number;
  /** A client that takes nothing of its answer for so long is cut off: what it does not read stays in memory. */
  readonly readTimeoutMs: number;
  /** A connection is kept so long for another request. */
  readonly keepAliveTimeoutMs: number;
}

/** A server that listens. */
export interface ListeningServer {
  /** Such as http://127.0.0.1:8080. */
  readonly url: string;
  readonly port: number;
  /** Takes no more connections, waits for the answers that run (at most `graceMs`), and closes. */
  close(graceMs: number): Promise<void>;
}

/** Listens. @throws Error of Node's, with a code, when the port cannot be had. */
export async function listen(app: ServerApp, options: ListenOptions): Promise<ListeningServer> {
  const { host, port } = options;
  const server = serve({
    fetch: app.fetch,
    hostname: host,
    port,
    autoCleanupIncoming: true,
    serverOptions: {
      maxHeaderSize: options.maxHeaderBytes,
      headersTimeout: options.headersTimeoutMs,
      requestTimeout: options.requestTimeoutMs,
      connectionsCheckingInterval: 1000,
      keepAliveTimeout: options.keepAliveTimeoutMs,
    },
  });
  // Where nobody listens for its end, Node closes a connection that is idle; one whose answer is computed is, too.
  server.setTimeout(options.readTimeoutMs);
  server.on("request", (_request: unknown, response: ServerResponse) => {
    response.on("timeout", () => {
      if (response.socket !== null && response.socket.writableLength > 0) response.socket.destroy();
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("listening", () => resolve());
    server.once("error", reject);
  });
  const address = server.address() as AddressInfo; // it listens on a port
  const shownHost = host.includes(":") ? `[${host}]` : host;
  return {
    url: `http://${shownHost}:${address.port}`,
    port: address.port,
    async close(graceMs) {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      await app.drain(graceMs);
      // Answers are written; connections that are kept alive or half open would hold the process.
      if ("closeIdleConnections" in server) server.closeIdleConnections();
      const timer = setTimeout(() => {
        if ("closeAllConnections" in server) server.closeAllConnections();
      }, 1000);
      await closed;
      clearTimeout(timer);
    },
  };
}
