// The HTTP source against servers that behave, and that do not.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { afterEach, describe, expect, it } from "vitest";
import { type HttpSourceOptions, httpSource } from "../../src/checkpoint/http-source.ts";
import type { Source } from "../../src/checkpoint/source.ts";
import { AbortError, CheckpointError, InputError } from "../../src/errors.ts";
import { rejection } from "./fixtures.ts";

const CONTENT = Uint8Array.from({ length: 1000 }, (_, i) => i % 251);
const LARGE_BYTES = 17 * 1024 * 1024;

type Handler = (request: IncomingMessage, response: ServerResponse) => void;
const servers: Server[] = [];

/** Serves by `handler` below /models/ and notes what was asked. */
async function serve(handler: Handler, options: HttpSourceOptions = {}): Promise<{ source: Source; log: string[] }> {
  const log: string[] = [];
  const server = createServer((request, response) => {
    log.push(`${request.url} ${request.headers.range}`);
    handler(request, response);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const source = httpSource(`http://127.0.0.1:${port}/models`, { retryDelaysMs: [1, 1], ...options });
  return { source, log };
}

afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

/** A server that supports Range. */
const ranged: Handler = (request, response) => {
  const content =
    request.url === "/models/data.bin" ? CONTENT : request.url === "/models/empty" ? new Uint8Array(0) : undefined;
  if (content === undefined) return void response.writeHead(404).end("not found");
  const [, first = "", last = ""] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
  if (Number(first) >= content.length) {
    return void response.writeHead(416, { "content-range": `bytes */${content.length}` }).end();
  }
  const end = Math.min(Number(last) + 1, content.length);
  response.writeHead(206, { "content-range": `bytes ${first}-${end - 1}/${content.length}` });
  response.end(content.subarray(Number(first), end));
};

/** A server that always sends everything. */
const whole =
  (content: Uint8Array, headers: Record<string, string> = { "content-length": `${content.length}` }): Handler =>
  (_, response) =>
    void response.writeHead(200, headers).end(content);

describe("with Range", () => {
  it("tells sizes and reads ranges, asking for no more than that", async () => {
    const { source, log } = await serve(ranged);
    expect(await source.size("data.bin")).toBe(1000);
    expect(await source.read("data.bin", 10, 14)).toEqual(CONTENT.slice(10, 14));
    expect(await source.read("data.bin", 0, 1000)).toEqual(CONTENT);
    expect((await source.read("data.bin", 5, 5)).length).toBe(0);
    expect(await source.size("empty")).toBe(0);
    expect(log).toEqual([
      "/models/data.bin bytes=0-0",
      "/models/data.bin bytes=10-13",
      "/models/data.bin bytes=0-999",
      "/models/empty bytes=0-0",
    ]);
  });

  it("finds the folder with and without a slash at its end", async () => {
    const { source, log } = await serve(ranged);
    for (const folder of [source.name, source.name.slice(0, -1)]) await httpSource(folder).size("data.bin");
    expect(log).toEqual(["/models/data.bin bytes=0-0", "/models/data.bin bytes=0-0"]);
  });

  it("takes 410 for a missing file", async () => {
    const { source } = await serve((_, response) => void response.writeHead(410).end());
    expect(await source.size("data.bin")).toBeUndefined();
  });

  it("takes 404 for a missing file", async () => {
    const { source } = await serve(ranged);
    expect(await source.size("none")).toBeUndefined();
    const error = await rejection(source.read("none", 0, 1));
    expect(error).toBeInstanceOf(CheckpointError);
    expect(String(error)).toMatch(/none is not in http:\/\/127\.0\.0\.1:\d+\/models\//);
  });

  it("takes a page of HTML for a missing file", async () => {
    const { source } = await serve(
      whole(new TextEncoder().encode("<html>"), { "content-type": "text/html; charset=utf-8" }),
    );
    expect(await source.size("config.json")).toBeUndefined();
  });

  it("refuses to read past the end", async () => {
    for (const [start, end] of [
      [990, 1001],
      [1000, 1001],
      [1001, 1001],
    ] as const) {
      const { source } = await serve(ranged);
      const error = await rejection(source.read("data.bin", start, end));
      expect(error).toBeInstanceOf(CheckpointError);
      expect(String(error)).toContain(`data.bin has 1000 bytes, but bytes up to ${end} are needed`);
    }
  });

  it("escapes names, keeps the query, sends headers and shows neither query nor headers", async () => {
    const { source, log } = await serve((request, response) => {
      if (request.headers.authorization !== "Bearer secret") return void response.writeHead(401).end();
      ranged(request, response);
    });
    const base = source.name.replace(/models\/$/, "m?token=abc");
    const open = httpSource(base, { headers: { Authorization: "Bearer secret" } });
    expect(await open.size("a b/ü#%.json")).toBeUndefined();
    expect(log).toEqual(["/m/a%20b/%C3%BC%23%25.json?token=abc bytes=0-0"]);
    const error = await rejection(httpSource(base).size("x"));
    expect(error).toBeInstanceOf(CheckpointError);
    expect(String(error)).toContain(
      "answered with HTTP status 401, expected 206; log in or pass a token in the headers.",
    );
    expect(String(error)).not.toContain("abc");
  });

  it.each(["../secret", "/etc/passwd", "a/../../b", "http://other/x"])("does not ask for %s", async (path) => {
    const { source, log } = await serve(ranged);
    expect(await rejection(source.size(path))).toBeInstanceOf(CheckpointError);
    expect(await rejection(source.read(path, 0, 1))).toBeInstanceOf(CheckpointError);
    expect(log).toEqual([]);
  });

  it("notices a file that changes between reads", async () => {
    let total = 1000;
    const { source } = await serve((_, response) => {
      response.writeHead(206, { "content-range": `bytes 0-0/${total++}` }).end("x");
    });
    expect(await source.size("data.bin")).toBe(1000);
    expect(String(await rejection(source.read("data.bin", 0, 1)))).toContain("changed from 1000 to 1001 bytes");
  });

  it.each([
    ["bytes 1-4/1000", "abcd", "sent bytes [1, 5) for [0, 4)"],
    ["bytes 0-2/1000", "abc", "sent bytes [0, 3) for [0, 4)"],
    ["bytes 0-3/1000", "abc", "sent 3 bytes for [0, 4)"],
    ["bytes 0-3/1000", "abcde", "sent more bytes for [0, 4)"],
  ])("refuses %s with body %s", async (contentRange, body, message) => {
    const { source } = await serve((_, response) => {
      response.writeHead(206, { "content-range": contentRange }).end(body);
    });
    const error = await rejection(source.read("data.bin", 0, 4));
    expect(error).toBeInstanceOf(CheckpointError);
    expect(String(error)).toContain(message);
  });

  it("reads without seeing Content-Range, but cannot tell the size then", async () => {
    const { source } = await serve((_, response) => void response.writeHead(206).end("abcd"));
    expect((await source.read("data.bin", 0, 4)).length).toBe(4);
    expect(String(await rejection(source.size("data.bin")))).toContain(
      "does not give the file's size in Content-Range",
    );
  });
});

describe("without Range", () => {
  it("fetches a small file once and cuts it", async () => {
    const { source, log } = await serve(whole(CONTENT));
    expect(await source.size("data.bin")).toBe(1000);
    expect(await source.read("data.bin", 10, 14)).toEqual(CONTENT.slice(10, 14));
    expect(String(await rejection(source.read("data.bin", 10, 1001)))).toContain("data.bin has 1000 bytes");
    expect(log.length).toBe(1);
    await source.close?.();
    expect((await source.read("data.bin", 999, 1000)).length).toBe(1);
    expect(log.length).toBe(2);
  });

  it("takes a small file of untold length", async () => {
    const { source } = await serve(whole(CONTENT, {}));
    expect(await source.size("data.bin")).toBe(1000);
  });

  it("tells a large file's size, reads it whole, and refuses parts of it", async () => {
    const { source } = await serve(whole(new Uint8Array(LARGE_BYTES)));
    expect(await source.size("data.bin")).toBe(LARGE_BYTES);
    const error = await rejection(source.read("data.bin", 8, 16));
    expect(error).toBeInstanceOf(CheckpointError);
    expect(String(error)).toContain("ignores Range and sends the whole file; use a server that supports Range.");
    expect((await source.read("data.bin", 0, LARGE_BYTES)).length).toBe(LARGE_BYTES);
  });

  it("does not take a compressed body's length for the file's", async () => {
    const zipped = gzipSync(new Uint8Array(LARGE_BYTES));
    const headers = { "content-encoding": "gzip", "content-length": `${zipped.length}` };
    const { source } = await serve(whole(zipped, headers));
    expect(String(await rejection(source.size("data.bin")))).toContain("ignores Range");
  });

  it("refuses a large file of untold length", async () => {
    const { source } = await serve(whole(new Uint8Array(LARGE_BYTES), {}));
    expect(String(await rejection(source.size("data.bin")))).toContain("ignores Range");
    expect(String(await rejection(source.read("data.bin", 0, 4)))).toContain("ignores Range");
  });
});

describe("failures", () => {
  it.each([500, 503, 429])("tries again after status %i", async (status) => {
    let numFailures = 2;
    const { source, log } = await serve((request, response) => {
      if (numFailures-- > 0) return void response.writeHead(status).end("busy");
      ranged(request, response);
    });
    expect(await source.read("data.bin", 1, 3)).toEqual(CONTENT.slice(1, 3));
    expect(log.length).toBe(3);
  });

  it("tries again after a connection that breaks, also in the middle of a body", async () => {
    let numFailures = 2;
    const { source } = await serve((request, response) => {
      if (numFailures-- === 2) return void request.socket.destroy();
      if (numFailures === 0) {
        response.writeHead(206, { "content-range": "bytes 1-2/1000", "content-length": "2" }).write("x");
        setTimeout(() => request.socket.destroy(), 10);
        return;
      }
      ranged(request, response);
    });
    expect(await source.read("data.bin", 1, 3)).toEqual(CONTENT.slice(1, 3));
  });

  it("gives up after three attempts", async () => {
    const { source, log } = await serve((_, response) => void response.writeHead(502).end());
    const error = await rejection(source.size("data.bin"));
    expect(error).toBeInstanceOf(CheckpointError);
    expect(String(error)).toContain("could not be read in 3 attempts (HTTP status 502); check the connection");
    expect(log.length).toBe(3);
  });

  it("names the reason of a failed connection", async () => {
    const { source } = await serve(ranged);
    for (const server of servers.splice(0)) server.close();
    const error = await rejection(source.size("data.bin"));
    expect(error).toBeInstanceOf(CheckpointError);
    expect(String(error)).toMatch(/could not be read in 3 attempts \(connect ECONNREFUSED.*\); check the connection/);
  });

  it.each([400, 403, 405])("does not try again after status %i", async (status) => {
    const { source, log } = await serve((_, response) => void response.writeHead(status).end());
    expect(String(await rejection(source.size("data.bin")))).toContain(`answered with HTTP status ${status}`);
    expect(log.length).toBe(1);
  });
});

describe("abort", () => {
  it("refuses at once when the signal has fired", async () => {
    const { source, log } = await serve(ranged);
    expect(await rejection(source.size("data.bin", AbortSignal.abort()))).toBeInstanceOf(AbortError);
    expect(log).toEqual([]);
  });

  it("ends a request that hangs before its answer", async () => {
    const { source } = await serve(() => undefined);
    const controller = new AbortController();
    const reading = rejection(source.read("data.bin", 0, 4, controller.signal));
    setTimeout(() => controller.abort(), 20);
    expect(await reading).toBeInstanceOf(AbortError);
  });

  it("ends a request that hangs in its body", async () => {
    const { source } = await serve((_, response) => {
      response.writeHead(206, { "content-range": "bytes 0-3/1000" }).write("x");
    });
    const controller = new AbortController();
    const reading = rejection(source.read("data.bin", 0, 4, controller.signal));
    setTimeout(() => controller.abort(), 50);
    expect(await reading).toBeInstanceOf(AbortError);
  });

  it("ends the wait before the next attempt", async () => {
    const { source, log } = await serve((_, response) => void response.writeHead(503).end(), {
      retryDelaysMs: [60_000],
    });
    const controller = new AbortController();
    const reading = rejection(source.size("data.bin", controller.signal));
    setTimeout(() => controller.abort(), 50);
    expect(await reading).toBeInstanceOf(AbortError);
    expect(log.length).toBe(1);
  });
});

describe("the address", () => {
  it.each([
    ["models", "is not a URL"],
    ["ftp://host/models", "is not an http or https URL"],
    ["data:text/plain,x", "is not an http or https URL"],
    ["http://user:secret@host/models", "pass an Authorization header instead"],
  ])("refuses %s", (url, message) => {
    expect(() => httpSource(url)).toThrow(InputError);
    expect(() => httpSource(url)).toThrow(message);
    expect(() => httpSource(url)).not.toThrow("secret");
  });
});
