// Fuzzing of what servers answer: a folder that is read by ranges, and a hub, whose answers are changed, cut, delayed or sent elsewhere.

import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.ts";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import { httpSource } from "../../src/checkpoint/http-source.ts";
import type { HubSettings } from "../../src/checkpoint/hub/hub-settings.node.ts";
import { pullModel } from "../../src/checkpoint/hub/pull.node.ts";
import { viewModel } from "../../src/checkpoint/hub/remote-source.node.ts";
import { webHubSource } from "../../src/checkpoint/hub/web-hub-source.ts";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-writer.ts";
import type { Source } from "../../src/checkpoint/source.ts";
import type { Random } from "../reference/random.ts";
import { defineKind } from "./kind.ts";
import { brokenJson, chance, mutateJson, pick, TEXTS, writeJson } from "./mutate.ts";

/** What is wrong with one answer. */
interface Fault {
  /** How many requests come before the one that it is for. */
  readonly request: number;
  /** Whether later requests are answered in the same way. */
  readonly isRepeated?: boolean;
  readonly status?: number;
  /** Headers that replace those of the right answer; null removes one. */
  readonly headers?: Readonly<Record<string, string | null>>;
  readonly body?: string;
  /** Bytes of the body that are sent, */
  readonly end?: number;
  /** before it ends, breaks off or goes silent. */
  readonly ending?: "end" | "break" | "silence";
  /** Bytes of zeros behind the body. */
  readonly numExtra?: number;
  /** All that is sent, from the status line on. */
  readonly raw?: string;
  /** The body comes in two pieces. */
  readonly isInPieces?: boolean;
}

/** A client and what goes wrong for it. */
interface Exchange {
  readonly client: "range" | "pull" | "view" | "web";
  readonly faults: readonly Fault[];
}

const CLIENTS = ["range", "pull", "view", "web"] as const;
const ID = "org/model";
const COMMIT = "0123456789abcdef0123456789abcdef01234567";
const FILES = new Map<string, Uint8Array<ArrayBuffer>>([
  ["config.json", encode('{"model_type":"llava"}')],
  ["tokenizer.json", encode('{"version":"1.0"}')],
  ["a folder/ü.txt", encode("x")],
  [
    "model.safetensors",
    encodeSafetensors(
      [
        { name: "a", dtype: "F32", shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) },
        { name: "b", dtype: "F16", shape: [5], data: Uint16Array.of(1, 2, 3, 4, 5) },
      ],
      {},
    ),
  ],
]);

/** How long silence lasts until a client gives up; only with a fault that is silence. */
const SILENCE_MS = 25;
const PATIENCE_MS = 20_000;

const STATUSES = [
  200, 201, 204, 206, 301, 302, 307, 308, 304, 400, 401, 403, 404, 408, 410, 416, 418, 429, 451, 500, 503, 599,
];
const HEADERS: Readonly<Record<string, readonly string[]>> = {
  "content-range": [
    "bytes 0-0/1",
    "bytes 0-9/100",
    "bytes */5",
    "bytes 0-9/*",
    "bytes 5-1/2",
    "bytes 0-99999999999999999999/1",
    "x",
  ],
  "content-length": ["0", "1", "99999999", "-1", "9".repeat(30), "x"],
  "content-type": ["text/html", "application/json", "x".repeat(900)],
  "content-encoding": ["gzip", "identity", "br", "zzz", "deflate, gzip"],
  "transfer-encoding": ["chunked", "gzip", "identity"],
  location: [
    "/",
    "/api/models/org/model/revision/main",
    "ftp://x/",
    "http://127.0.0.1:1/",
    "http://[::1",
    "",
    "//",
    "javascript:0",
    "x".repeat(3000),
  ],
  etag: ['"x"', "", `"${"a".repeat(40)}"`, "x".repeat(2000)],
  link: [
    '<x>; rel="next"',
    '<http://127.0.0.1:1/>; rel="next"',
    '<http://[>; rel="next"',
    '<ftp://x>; rel="next"',
    '<>; rel="next"',
  ],
  "retry-after": ["0", "1000000", "-1", "Wed, 21 Oct 2099 07:28:00 GMT", "x"],
  ratelimit: ['"api";r=0;t=999999', '"api";r=0;t=x'],
  "x-error-code": ["GatedRepo", "RepoNotFound", "EntryNotFound", "RevisionNotFound", "x".repeat(3000)],
  "x-error-message": ["Invalid credentials", "Access to this resource is disabled.", "\u009b2J", "x".repeat(3000)],
  "x-repo-commit": ["x", "../../.."],
  connection: ["close", "upgrade"],
  "set-cookie": ["a=b"],
};
const RAWS = [
  "",
  "\r\n\r\n",
  "HTTP/1.1 200 OK\r\n",
  "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef",
  "HTTP/1.1 99999 X\r\n\r\n",
  "HTTP/9.9 200 OK\r\n\r\n",
  "HTTP/1.1 200 \u001b]0;title\u0007\r\ncontent-length: 0\r\n\r\n",
  "HTTP/1.1 404 \u001b[2J\r\ncontent-length: 0\r\n\r\n",
  "HTTP/1.1 206 P\r\ntransfer-encoding: chunked\r\n\r\nffffffffff\r\nabc",
  "HTTP/1.1 206 P\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nabc",
  "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n",
  "SSH-2.0-OpenSSH\r\n",
  `HTTP/1.1 200 OK\r\nx: ${"y".repeat(20_000)}\r\n\r\n`,
  `HTTP/1.1 200 OK\r\n${"x: y\r\n".repeat(5000)}\r\n`,
];
const LISTING = [{ type: "file", path: "config.json", size: 22, oid: "a".repeat(40) }];
const LISTING_KEYS = ["type", "path", "size", "oid", "lfs", "sha", "xetHash"];

export const httpAnswers = defineKind<Exchange>({
  name: "http",
  make(random) {
    const client = pick(random, CLIENTS);
    if (chance(random, 1, 10)) {
      return { input: { client, faults: [sameAnswer(random)] }, sameAs: RIGHT[CLIENTS.indexOf(client)] };
    }
    return { input: { client, faults: Array.from({ length: 1 + random.integer(2) }, () => fault(random)) } };
  },
  async run({ client, faults }) {
    const server = await running;
    server.faults = faults;
    server.numRequests = 0;
    const isSilent = faults.some(({ ending, raw }) => ending === "silence" || raw !== undefined);
    const timeoutMs = isSilent ? SILENCE_MS : PATIENCE_MS;
    const cacheFolder = mkdtempSync(join(tmpdir(), "adaptvis-fuzz-"));
    try {
      const settings: HubSettings = {
        endpoint: server.url,
        cacheFolder,
        token: { value: "secret-token", from: "HF_TOKEN" },
        isOffline: false,
        noSymlinks: false,
        hideProgress: true,
        metadataTimeoutMs: timeoutMs,
        stallTimeoutMs: timeoutMs,
        // A server may ask to wait for minutes before the next attempt.
        retryDelaysMs: faults.some(({ headers = {} }) => "retry-after" in headers || "ratelimit" in headers) ? [] : [0],
      };
      return await answerOf(await OPENERS[client](settings));
    } finally {
      server.closeAllConnections();
      rmSync(cacheFolder, { recursive: true, force: true });
    }
  },
});

const RIGHT: readonly Exchange[] = CLIENTS.map((client) => ({ client, faults: [] }));

/** How each client opens the model. */
const OPENERS: Readonly<Record<Exchange["client"], (settings: HubSettings) => Promise<Source>>> = {
  range: async ({ endpoint, retryDelaysMs, stallTimeoutMs }) =>
    httpSource(`${endpoint}/${ID}/resolve/${COMMIT}?x=1`, { retryDelaysMs, stallTimeoutMs }),
  pull: async (settings) => fileSource((await pullModel(ID, { settings, include: ["a folder/*"] })).folder),
  view: async (settings) => (await viewModel(ID, { settings })).source,
  web: async ({ endpoint, token, retryDelaysMs, stallTimeoutMs }) =>
    webHubSource(ID, { endpoint, retryDelaysMs, stallTimeoutMs, ...(token && { token: token.value }) }),
};

/** All that is in the model. */
async function answerOf(source: Source): Promise<string> {
  const checkpoint = await openCheckpoint(source);
  const values: unknown[] = [checkpoint.config];
  for (const name of checkpoint.tensors.keys()) {
    values.push(
      name,
      createHash("sha1")
        .update(await checkpoint.read(name))
        .digest("hex"),
    );
  }
  values.push(await checkpoint.readText("a folder/ü.txt"), await checkpoint.readJson("tokenizer.json"));
  values.push(await checkpoint.readJson("generation_config.json"));
  await checkpoint.close();
  return JSON.stringify(values);
}

/** Another way to send the right answer. */
function sameAnswer(random: Random): Fault {
  const request = random.integer(8);
  const ways: readonly Fault[] = [
    { request, isRepeated: true, isInPieces: true },
    { request, headers: { "x-other": "x".repeat(random.integer(200)), etag: '"y"' } },
    { request, headers: { "content-length": null, "transfer-encoding": "chunked" } },
  ];
  return pick(random, ways);
}

function fault(random: Random): Fault {
  const request = random.integer(6);
  const isRepeated = chance(random, 1, 2);
  const kind = random.integer(20);
  if (kind === 0) return { request, isRepeated, raw: pick(random, RAWS) };
  if (kind === 1) return { request, isRepeated, end: random.integer(200), ending: "silence" };
  const name = pick(random, Object.keys(HEADERS));
  const value = chance(random, 1, 6) ? null : pick(random, HEADERS[name] ?? [""]);
  return {
    request,
    isRepeated,
    ...(chance(random, 1, 3) && { status: pick(random, STATUSES) }),
    ...(chance(random, 1, 2) && { headers: { [name]: value } }),
    ...(chance(random, 1, 3) && { body: body(random) }),
    ...(chance(random, 1, 3) && { end: random.integer(300), ending: pick(random, ["end", "break"] as const) }),
    ...(chance(random, 1, 6) && { numExtra: pick(random, [1, 100, 1e6]) }),
  };
}

function body(random: Random): string {
  const value = pick(random, [{ sha: COMMIT }, LISTING, { error: "x" }]);
  const kind = random.integer(3);
  if (kind === 0) return pick(random, TEXTS);
  return kind === 1 ? writeJson(mutateJson(value, random, LISTING_KEYS)) : brokenJson(JSON.stringify(value), random);
}

/** The right answer to a request. */
interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array<ArrayBuffer>;
}

function rightAnswer({ url = "/", headers }: IncomingMessage, origin: string): Answer {
  const { pathname } = new URL(url, origin);
  const [, kind, path = ""] =
    /^\/(?:api\/models\/org\/model\/(revision|tree)\/\w+|(?:cdn|org\/model)\/resolve\/\w+\/(.+))$/.exec(pathname) ?? [];
  if (kind === "revision") return jsonAnswer({ sha: COMMIT });
  if (kind === "tree") return jsonAnswer([...FILES].map(([path, bytes]) => listed(path, bytes)));
  const bytes = FILES.get(decodeURIComponent(path));
  if (bytes === undefined) return { status: 404, headers: { "x-error-code": "EntryNotFound" }, body: encode("") };
  if (path.endsWith(".safetensors") && !pathname.startsWith("/cdn/")) {
    return { status: 302, headers: { location: `${origin}/cdn/resolve/${COMMIT}/${path}` }, body: encode("") };
  }
  const [, first = "0", last = ""] = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? "") ?? [];
  const end = Math.min(last === "" ? bytes.length : Number(last) + 1, bytes.length);
  if (headers.range === undefined) return { status: 200, headers: {}, body: bytes };
  const range = { "content-range": `bytes ${first}-${end - 1}/${bytes.length}` };
  return { status: 206, headers: range, body: bytes.slice(Number(first), end) };
}

function jsonAnswer(value: unknown): Answer {
  return { status: 200, headers: { "content-type": "application/json" }, body: encode(JSON.stringify(value)) };
}

function listed(path: string, bytes: Uint8Array): object {
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  const oid = createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
  const isLarge = path.endsWith(".safetensors");
  return { type: "file", path, size: bytes.length, oid, ...(isLarge && { lfs: { oid: sha256, size: bytes.length } }) };
}

/** A server whose answers have the faults that are set. */
interface FaultyServer {
  readonly url: string;
  faults: readonly Fault[];
  numRequests: number;
  closeAllConnections(): void;
}

const running: Promise<FaultyServer> = start();

async function start(): Promise<FaultyServer> {
  const server = createServer((request, response) => {
    const number = faulty.numRequests++;
    const applied = faulty.faults.find((each) => each.request === number || (each.isRepeated && each.request < number));
    send(rightAnswer(request, faulty.url), applied ?? { request: number }, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  server.unref();
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const faulty: FaultyServer = {
    url: `http://127.0.0.1:${port}`,
    faults: [],
    numRequests: 0,
    closeAllConnections: () => server.closeAllConnections(),
  };
  return faulty;
}

function send(right: Answer, fault: Fault, response: ServerResponse): void {
  const { socket } = response;
  if (socket === null || socket.destroyed) return;
  if (fault.raw !== undefined) {
    socket.end(fault.raw);
    return;
  }
  const whole = fault.body === undefined ? right.body : encode(fault.body);
  const body =
    fault.numExtra === undefined ? whole : encode(Buffer.from(whole).toString("latin1") + "\0".repeat(fault.numExtra));
  const status = fault.status ?? right.status;
  // Written by hand, since Node refuses to send what no server should.
  const headers: Record<string, string | null> = {
    "content-length": String(body.length),
    ...right.headers,
    ...fault.headers,
  };
  const isChunked = headers["transfer-encoding"] === "chunked";
  const lines = Object.entries({ ...headers, connection: headers.connection ?? "close" });
  const head = lines.map(([name, value]) => (value === null ? "" : `${name}: ${value}\r\n`)).join("");
  socket.write(`HTTP/1.1 ${status} Status\r\n${head}\r\n`, "latin1");
  const cut = body.subarray(0, fault.end);
  const sent = isChunked ? chunked(cut) : cut;
  const half = fault.isInPieces ? sent.length >> 1 : 0;
  socket.write(sent.subarray(0, half));
  setImmediate(() => {
    if (socket.destroyed) return;
    socket.write(sent.subarray(half));
    if (fault.ending === "silence") return;
    if (fault.ending === "break") socket.destroySoon();
    else socket.end();
  });
}

function chunked(body: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from("\r\n0\r\n\r\n")]);
}

function encode(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}
