// The HTTP source against servers that behave, and that do not.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { afterEach, describe, expect, it, vi } from "vitest";
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
  vi.useRealTimers();
  vi.unstubAllGlobals();
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

/** A source whose n-th request gets the n-th response. */
function answered(...responses: readonly Response[]): Source {
  const left = [...responses];
  vi.stubGlobal("fetch", async () => left.shift() ?? Promise.reject(new Error("expected no further request")));
  return httpSource("http://host/models", { retryDelaysMs: [] });
}

const partial = (body: string, contentRange?: string) =>
  new Response(body, {
    status: 206,
    ...(contentRange === undefined ? {} : { headers: { "content-range": contentRange } }),
  });

/** A response whose body comes in chunks and records its cancellation. */
function chunked(status: number, headers: Record<string, string>, chunks: readonly Uint8Array<ArrayBuffer>[]) {
  const left = [...chunks];
  const cancel = vi.fn();
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull(controller) {
      const chunk = left.shift();
      if (chunk === undefined) controller.close();
      else controller.enqueue(chunk);
    },
    cancel,
  });
  return { response: new Response(body, { status, headers }), cancel };
}

/** Checks that `work` rejects with this CheckpointError. */
async function expectRefusal(work: Promise<unknown>, message: string, file = "a"): Promise<void> {
  const error = await rejection(work);
  expect(error).toBeInstanceOf(CheckpointError);
  expect(error).toMatchObject({ message, file });
}

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

describe("answers with Range", () => {
  it("of a known size are not asked for again", async () => {
    const source = answered(partial("x", "bytes 0-0/1000"), partial("x", "bytes 0-0/2000"));
    expect(await source.size("a")).toBe(1000);
    expect(await source.size("a")).toBe(1000);
    await source.close?.();
    expect(await source.size("a")).toBe(2000);
  });

  it("give the size even when it was not asked for", async () => {
    const source = answered(partial("abcd", "bytes 0-3/1000"));
    await source.read("a", 0, 4);
    expect(await source.size("a")).toBe(1000);
  });

  it("without a size are an error only when the size is needed", async () => {
    const source = answered(partial("abcd", "bytes 0-3/*"), partial("x", "bytes 0-0/*"));
    expect((await source.read("a", 0, 4)).length).toBe(4);
    await expectRefusal(
      source.size("a"),
      "The server of http://host/models/a does not give the file's size in Content-Range; " +
        "expose that header or use another server.",
    );
  });

  it.each(["bytes */1000", "x bytes 4-7/1000", "bytes 4-7/1000 x", "bytes 4-/1000", "bytes 4-7", "items 4-7/1000"])(
    "with the Content-Range %j count by their length",
    async (contentRange) => {
      expect((await answered(partial("abcd", contentRange)).read("a", 0, 4)).length).toBe(4);
    },
  );

  it.each(["x bytes 0-0/1000", "bytes 0-0/1000 x", "bytes 0-0/10e2"])(
    "with the Content-Range %j have no size",
    async (contentRange) => {
      const error = await rejection(answered(partial("x", contentRange)).size("a"));
      expect(String(error)).toContain("does not give the file's size");
    },
  );

  it("without a size do not change the one that is known", async () => {
    const source = answered(partial("x", "bytes 0-0/1000"), partial("abcd"));
    await source.size("a");
    expect((await source.read("a", 0, 4)).length).toBe(4);
    expect(await source.size("a")).toBe(1000);
  });

  it("that come in pieces are put together", async () => {
    const headers = { "content-range": "bytes 10-19/1000" };
    const { response } = chunked(206, headers, [CONTENT.slice(10, 13), CONTENT.slice(13, 14), CONTENT.slice(14, 20)]);
    expect(await answered(response).read("a", 10, 20)).toEqual(CONTENT.slice(10, 20));
  });

  it("that go on after the range are cut off", async () => {
    const { response, cancel } = chunked(206, { "content-range": "bytes 3-6/1000" }, [
      CONTENT.slice(0, 3),
      CONTENT.slice(0, 3),
      CONTENT.slice(0, 3),
    ]);
    await expectRefusal(
      answered(response).read("a", 3, 7),
      "The server of http://host/models/a sent more bytes for [3, 7); use a server that supports Range.",
    );
    expect(cancel).toHaveBeenCalledOnce();
  });

  it("without a body are cut short", async () => {
    const empty = new Response(null, { status: 206, headers: { "content-range": "bytes 0-3/1000" } });
    await expectRefusal(
      answered(empty).read("a", 0, 4),
      "The server of http://host/models/a sent 0 bytes for [0, 4); use a server that supports Range.",
    );
  });

  it.each([
    ["bytes 1-4/1000", "sent bytes [1, 5) for [0, 4); use a server that supports Range"],
    ["bytes 1-3/1000", "sent bytes [1, 4) for [0, 4); use a server that supports Range"],
    ["bytes 0-4/1000", "sent bytes [0, 5) for [0, 4); use a server that supports Range"],
  ])("for another range, %s, are cancelled", async (contentRange, problem) => {
    const { response, cancel } = chunked(206, { "content-range": contentRange }, [CONTENT.slice(0, 4)]);
    await expectRefusal(answered(response).read("a", 0, 4), `The server of http://host/models/a ${problem}.`);
    expect(cancel).toHaveBeenCalledOnce();
  });

  it("of a file that has become larger say so", async () => {
    const { response, cancel } = chunked(206, { "content-range": "bytes 0-3/1001" }, [CONTENT.slice(0, 4)]);
    const source = answered(partial("x", "bytes 0-0/1000"), response);
    await source.size("a");
    await expectRefusal(
      source.read("a", 0, 4),
      "http://host/models/a changed from 1000 to 1001 bytes while it was read; load it again.",
    );
    expect(cancel).toHaveBeenCalledOnce();
  });

  it("of a file that ends within the range are cancelled", async () => {
    const { response, cancel } = chunked(206, { "content-range": "bytes 0-2/3" }, [CONTENT.slice(0, 3)]);
    await expectRefusal(
      answered(response).read("a", 0, 4),
      "a has 3 bytes, but bytes up to 4 are needed; the file is cut short, so download it again.",
    );
    expect(cancel).toHaveBeenCalledOnce();
  });

  it("of status 416 are cancelled, and name the size if it is known", async () => {
    const known = partial("x", "bytes 0-0/5");
    const told = chunked(416, { "content-range": "bytes */7" }, [CONTENT.slice(0, 1)]);
    const untold = chunked(416, {}, [CONTENT.slice(0, 1)]);
    const short = (bytes: number) =>
      `a has ${bytes} bytes, but bytes up to 9 are needed; the file is cut short, so download it again.`;
    await expectRefusal(answered(told.response).read("a", 8, 9), short(7));
    await expectRefusal(answered(untold.response).read("a", 8, 9), short(8));
    const source = answered(known, new Response(null, { status: 416 }));
    await source.size("a");
    await expectRefusal(source.read("a", 8, 9), short(5));
    for (const { cancel } of [told, untold]) expect(cancel).toHaveBeenCalledOnce();
  });

  it("to a question for the size are cancelled", async () => {
    const { response, cancel } = chunked(206, { "content-range": "bytes 0-0/1000" }, [CONTENT.slice(0, 1)]);
    expect(await answered(response).size("a")).toBe(1000);
    expect(cancel).toHaveBeenCalledOnce();
  });
});

describe("an empty range", () => {
  it("may be at the end of the file", async () => {
    expect((await answered(partial("x", "bytes 0-0/1000")).read("a", 1000, 1000)).length).toBe(0);
  });

  it("may not be past the end", async () => {
    await expectRefusal(
      answered(partial("x", "bytes 0-0/1000")).read("a", 1001, 1001),
      "a has 1000 bytes, but bytes up to 1001 are needed; the file is cut short, so download it again.",
    );
  });

  it("needs the file", async () => {
    await expectRefusal(
      answered(new Response(null, { status: 404 })).read("a", 0, 0),
      "a is not in http://host/models/; check the folder or download the file.",
    );
  });

  it("stops when its signal has fired", async () => {
    const reading = answered().read("a", 0, 0, AbortSignal.abort());
    expect(await rejection(reading)).toBeInstanceOf(AbortError);
  });
});

describe("what no request can answer", () => {
  it.each([
    [-1, 1],
    [2, 1],
    [0, 0.5],
  ])("the range [%d, %d)", async (start, end) => {
    expect(await rejection(answered().read("a", start, end))).toBeInstanceOf(RangeError);
  });
});

describe("without Range", () => {
  const SMALL_BYTES = 16 * 1024 * 1024;
  const IGNORED =
    "The server of http://host/models/a ignores Range and sends the whole file; use a server that supports Range.";

  /** A response that declares a length and sends `body`. */
  const declared = (length: string, body: string, encoding = "") => {
    const headers = { "content-length": length, ...(encoding === "" ? {} : { "content-encoding": encoding }) };
    return chunked(200, headers, [new TextEncoder().encode(body)]);
  };

  it.each([
    ["reports a size", (source: Source) => source.size("a"), SMALL_BYTES + 1],
    ["reads", (source: Source) => source.read("a", 1, 3), "bc"],
  ])("%s from files of up to 16 MiB only", async (_, use, large) => {
    const small = declared(`${SMALL_BYTES}`, "abcd");
    const result = await use(answered(small.response));
    expect(typeof result === "number" ? result : new TextDecoder().decode(result)).toBe(large === "bc" ? "bc" : 4);
    expect(small.cancel).not.toHaveBeenCalled();
    const { response, cancel } = declared(`${SMALL_BYTES + 1}`, "abcd");
    const work = use(answered(response));
    if (large === "bc") await expectRefusal(work, IGNORED);
    else expect(await work).toBe(large);
    expect(cancel).toHaveBeenCalledOnce();
  });

  it("keeps a file of 16 MiB, and no larger one", async () => {
    const bodies = [new Uint8Array(SMALL_BYTES), new Uint8Array(SMALL_BYTES + 1)];
    const responses = bodies.map((body) => new Response(body, { headers: { "content-length": `${body.length}` } }));
    const source = answered(...responses);
    expect((await source.read("small", 0, SMALL_BYTES)).length).toBe(SMALL_BYTES);
    expect((await source.read("small", 5, 7)).length).toBe(2);
    expect((await source.read("large", 0, SMALL_BYTES + 1)).length).toBe(SMALL_BYTES + 1);
    expect(String(await rejection(source.read("large", 5, 7)))).toContain("expected no further request");
  });

  it.each([
    [1, SMALL_BYTES + 9],
    [0, SMALL_BYTES + 8],
  ])("does not take [%i, %i) for the whole large file", async (start, end) => {
    const { response } = declared(`${SMALL_BYTES + 9}`, "abcd");
    await expectRefusal(answered(response).read("a", start, end), IGNORED);
  });

  it("says that a file is missing or cut short", async () => {
    await expectRefusal(
      answered(new Response(null, { status: 404 })).read("a", 0, 4),
      "a is not in http://host/models/; check the folder or download the file.",
    );
    const source = answered(declared("4", "abcd").response);
    expect((await source.read("a", 0, 4)).length).toBe(4);
    await expectRefusal(
      source.read("a", 0, 5),
      "a has 4 bytes, but bytes up to 5 are needed; the file is cut short, so download it again.",
    );
  });

  it("reads the beginning of a small file", async () => {
    expect([...(await answered(declared("4", "abcd").response).read("a", 0, 2))]).toEqual([97, 98]);
  });

  it("gives copies of what it keeps", async () => {
    const source = answered(declared("4", "abcd").response);
    (await source.read("a", 0, 4)).fill(0);
    expect(new TextDecoder().decode(await source.read("a", 0, 4))).toBe("abcd");
  });

  const large = `${SMALL_BYTES + 1}`;
  it.each([
    ["a number", large, "", SMALL_BYTES + 1],
    ["a number, of a body that is not compressed", large, "identity", SMALL_BYTES + 1],
    ["a number, of a compressed body", large, "br", 4],
    ["no number at its beginning", `x${large}`, "", 4],
    ["no number at its end", `${large}x`, "", 4],
    ["nothing", "", "", 4],
  ])("takes a length that is %s", async (_, length, encoding, size) => {
    expect(await answered(declared(length, "abcd", encoding).response).size("a")).toBe(size);
  });
});

describe("a server that sends everything", () => {
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
  it("are tried again after a quarter of a second and a second by default", async () => {
    vi.useFakeTimers();
    const get = vi.fn(() => Promise.reject(new Error("reset")));
    vi.stubGlobal("fetch", get);
    const reading = rejection(httpSource("http://host/models").size("a"));
    for (const [milliseconds, numCalls] of [
      [249, 1],
      [1, 2],
      [999, 2],
      [1, 3],
    ] as const) {
      await vi.advanceTimersByTimeAsync(milliseconds);
      expect(get).toHaveBeenCalledTimes(numCalls);
    }
    expect(String(await reading)).toContain("http://host/models/a could not be read in 3 attempts (reset)");
  });

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
  const LOGIN = "The URL of http://host contains a user name or password; pass an Authorization header instead.";

  it.each([
    ["models", '"models" is not a URL; give the http or https address of a folder.'],
    ["ftp://host/a", '"ftp://host/a" is not an http or https URL; give the address of a folder on a web server.'],
    ["data:,x", '"data:,x" is not an http or https URL; give the address of a folder on a web server.'],
    ["http://user:secret@host/models", LOGIN],
    ["http://secret@host/models", LOGIN],
    ["http://:secret@host/models", LOGIN],
  ])("refuses %s", (url, message) => {
    expect(() => httpSource(url)).toThrow(new InputError(message));
    expect(() => httpSource(url)).toThrow(InputError);
  });

  it("says why it is not a URL", () => {
    let cause: unknown;
    try {
      httpSource("models");
    } catch (error) {
      cause = error instanceof InputError ? error.cause : undefined;
    }
    expect(cause).toBeInstanceOf(TypeError);
  });

  it.each([
    ["http://host", "http://host/"],
    ["https://host:8443/a/b?token=secret#part", "https://host:8443/a/b/"],
    ["HTTPS://host/a/", "https://host/a/"],
  ])("of %s is shown as %s", (url, name) => {
    expect(httpSource(url).name).toBe(name);
  });
});
