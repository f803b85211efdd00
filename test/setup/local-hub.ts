// A hub for tests: the addresses, headers and refusals of Hugging Face's, and a second server that large files are redirected to.

import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";

/** A request that came. */
export interface HubCall {
  readonly kind: "api" | "resolve" | "cdn";
  readonly method: string;
  /** The path and query, as sent. */
  readonly url: string;
  /** The file, of a request for one. */
  readonly path: string | undefined;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
}

/** Whether a request is for weights themselves, not for where they are. */
export function isWeights({ kind, path }: HubCall): boolean {
  return kind === "cdn" && path?.endsWith(".safetensors") === true;
}

/** Bytes of weights that calls asked for by ranges. */
export function weightBytesAsked(calls: readonly HubCall[]): number {
  return calls.filter(isWeights).reduce((sum, { range }) => {
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(range ?? "") ?? [];
    return sum + Number(last) + 1 - Number(first);
  }, 0);
}

/** What goes wrong with a request: an answer instead of its own, or a body that does not arrive as it is. */
export interface Fault {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** The connection breaks after so many bytes of the body. */
  readonly breakAfter?: number;
  /** The break waits for it: what the receiver has not read when a connection breaks is lost. */
  readonly beforeBreak?: () => Promise<void>;
  /** Nothing more comes after so many bytes of the body. */
  readonly stallAfter?: number;
  /** Every byte of the body is changed. */
  readonly isDamaged?: boolean;
  /** The range is ignored. */
  readonly isWhole?: boolean;
  /** The body comes in pieces of so many bytes with a pause between them. */
  readonly slowBytes?: number;
}

/** A repository: commits by branch or tag, and files by commit. */
export interface HubRepo {
  readonly revisions: Readonly<Record<string, string>>;
  readonly commits: Readonly<Record<string, ReadonlyMap<string, Uint8Array>>>;
  /** The licence of its card. */
  readonly licence?: string;
}

/** A running hub. */
export interface LocalHub {
  readonly url: string;
  readonly repos: Map<string, HubRepo>;
  readonly calls: HubCall[];
  /** Bytes of bodies of files that were sent. */
  readonly sentBytes: () => number;
  /** Decides what goes wrong. */
  fault: (call: HubCall) => Fault | undefined;
  close(): Promise<void>;
}

/** Follows a download by its progress, so that a fault can wait until bytes have arrived. */
export class Arrivals {
  private bytes = 0;
  private readonly waiting: (() => void)[] = [];

  /** Notes how many bytes have arrived by now. */
  note(bytes: number): void {
    this.bytes = bytes;
    for (const wake of this.waiting.splice(0)) wake();
  }

  /** A fault whose break waits until `least` bytes have arrived since this call. */
  holding(fault: Fault, least = 1): Fault {
    const enough = this.bytes + least;
    const beforeBreak = async () => {
      while (this.bytes < enough) await new Promise<void>((resolve) => this.waiting.push(resolve));
    };
    return { ...fault, beforeBreak };
  }
}

const BODY_CHUNK_BYTES = 64 * 1024;
const SLOW_MS = 5;

/** Whether a file is one of git LFS: those are named by their sha256 and come from the second server. */
function isLarge(path: string): boolean {
  return /\.(safetensors|bin|onnx)$/.test(path);
}

/** The name of a file's blob, by the two rules of the hub. */
export function etagOf(path: string, bytes: Uint8Array): string {
  if (!isLarge(path)) return gitIdOf(bytes);
  const known = sha256s.get(bytes) ?? createHash("sha256").update(bytes).digest("hex");
  sha256s.set(bytes, known);
  return known;
}

/** So that a request for a large file is answered at once. */
const sha256s = new WeakMap<Uint8Array, string>();

/** A commit's name for tests. */
export function commitNamed(text: string): string {
  return createHash("sha1").update(text).digest("hex");
}

/** Starts a hub; close it at the end. */
export async function startLocalHub(): Promise<LocalHub> {
  const repos = new Map<string, HubRepo>();
  const calls: HubCall[] = [];
  let sent = 0;
  const onSent = (bytes: number) => {
    sent += bytes;
  };
  const faultOf = (call: HubCall) => {
    calls.push(call);
    return hub.fault(call);
  };
  const cdn = createServer((request, response) => serveCdn(request, response, { repos, faultOf, onSent }));
  const cdnUrl = await listen(cdn);
  const front = createServer((request, response) => serveHub(request, response, { repos, cdnUrl, faultOf, onSent }));
  const url = await listen(front);
  const hub: LocalHub = {
    url,
    repos,
    calls,
    sentBytes: () => sent,
    fault: () => undefined,
    async close() {
      for (const server of [front, cdn]) {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      }
    },
  };
  return hub;
}

interface Serving {
  readonly repos: ReadonlyMap<string, HubRepo>;
  readonly faultOf: (call: HubCall) => Fault | undefined;
  readonly onSent: (bytes: number) => void;
}

function serveHub(
  request: IncomingMessage,
  response: ServerResponse,
  { repos, cdnUrl, faultOf, onSent }: Serving & { readonly cdnUrl: string },
): void {
  if (allowBrowsers(request, response)) return;
  const url = new URL(request.url ?? "/", `http://${request.headers.host}`);
  const api = /^\/api\/models\/([^/]+\/[^/]+)(?:\/(revision|tree)\/([^/]+))?$/.exec(url.pathname);
  const file = /^\/([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(url.pathname);
  const path = file === null ? undefined : decodeURIComponent(file[3] ?? "");
  const fault = faultOf(callOf(request, file === null ? "api" : "resolve", path));
  const [, id = "", kind = "revision", revision = "main"] = api ?? [];
  const repo = repos.get(file?.[1] ?? id);
  const named = decodeURIComponent(file?.[2] ?? revision);
  const commit = repo?.revisions[named] ?? named;
  const files = repo?.commits[commit];
  const bytes = files?.get(path ?? "");
  const missing = (code: string) => ({ status: 404, headers: { "X-Error-Code": code, "X-Repo-Commit": commit } });
  if (fault?.status !== undefined) refuse(response, fault);
  else if (repo === undefined) refuse(response, missing("RepoNotFound"));
  else if (files === undefined) refuse(response, missing("RevisionNotFound"));
  else if (path === undefined && kind === "tree") sendTree(response, files, url);
  else if (path === undefined) {
    const siblings = [...files.keys()].map((rfilename) => ({ rfilename }));
    sendJson(response, {
      id,
      modelId: id,
      sha: commit,
      private: false,
      gated: false,
      tags: repo.licence === undefined ? [] : ["transformers", `license:${repo.licence}`],
      downloads: 0,
      siblings,
    });
  } else if (bytes === undefined) refuse(response, missing("EntryNotFound"));
  else if (isLarge(path)) {
    response.writeHead(302, {
      "X-Repo-Commit": commit,
      "X-Linked-Size": String(bytes.length),
      "X-Linked-Etag": `"${etagOf(path, bytes)}"`,
      ETag: '"pointer"',
      Location: `${cdnUrl}${url.pathname.replace("/resolve/", `/${commit}/`)}?signature=1`,
      "Content-Length": "0",
    });
    response.end();
  } else {
    const headers = { "X-Repo-Commit": commit };
    sendFile(request, response, { bytes, etag: etagOf(path, bytes), headers, fault, onSent });
  }
}

/** Lets pages of other web sites read the answers, as the hub does. @returns whether that was all that was asked. */
function allowBrowsers({ method }: IncomingMessage, response: ServerResponse): boolean {
  response.setHeader("Access-Control-Allow-Origin", "*");
  response.setHeader(
    "Access-Control-Expose-Headers",
    "X-Repo-Commit, X-Error-Code, ETag, Link, Content-Range, X-Linked-Size",
  );
  if (method !== "OPTIONS") return false;
  response.writeHead(204, { "Access-Control-Allow-Headers": "Range, Authorization" }).end();
  return true;
}

function serveCdn(request: IncomingMessage, response: ServerResponse, { repos, faultOf, onSent }: Serving): void {
  if (allowBrowsers(request, response)) return;
  const { pathname } = new URL(request.url ?? "/", "http://cdn");
  const [, id = "", commit = "", encoded = ""] = /^\/([^/]+\/[^/]+)\/([^/]+)\/[^/]+\/(.+)$/.exec(pathname) ?? [];
  const path = decodeURIComponent(encoded);
  const fault = faultOf(callOf(request, "cdn", path));
  const bytes = repos.get(id)?.commits[commit]?.get(path);
  if (fault?.status !== undefined) refuse(response, fault);
  else if (bytes === undefined) refuse(response, { status: 404 });
  else sendFile(request, response, { bytes, etag: etagOf(path, bytes), headers: {}, fault, onSent });
}

function sendTree(response: ServerResponse, files: ReadonlyMap<string, Uint8Array>, url: URL): void {
  const entries = [...files].map(([path, bytes]) => {
    const pointer = Buffer.from(`version https://git-lfs.github.com/spec/v1\noid sha256:${etagOf(path, bytes)}\n`);
    if (!isLarge(path)) return { type: "file", path, size: bytes.length, oid: gitIdOf(bytes) };
    const lfs = { oid: etagOf(path, bytes), size: bytes.length, pointerSize: pointer.length };
    return { type: "file", path, size: bytes.length, oid: gitIdOf(pointer), lfs };
  });
  const folders = new Set([...files.keys()].flatMap((path) => (path.includes("/") ? [path.replace(/\/.*/, "")] : [])));
  const all = [
    ...[...folders].map((path) => ({ type: "directory", path, size: 0, oid: gitIdOf(Buffer.from(path)) })),
    ...entries,
  ];
  // Pages of five, so that the second has to be asked for.
  const from = Number(url.searchParams.get("cursor") ?? 0);
  const next = new URL(url);
  next.searchParams.set("cursor", String(from + 5));
  const link: Record<string, string> = from + 5 < all.length ? { Link: `<${next.href}>; rel="next"` } : {};
  sendJson(response, all.slice(from, from + 5), link);
}

function sendJson(response: ServerResponse, value: unknown, headers: Readonly<Record<string, string>> = {}): void {
  response.writeHead(200, { "Content-Type": "application/json", ...headers }).end(JSON.stringify(value));
}

function refuse(response: ServerResponse, { status = 500, headers = {}, body = "" }: Fault): void {
  response.writeHead(status, headers).end(body);
}

function sendFile(
  request: IncomingMessage,
  response: ServerResponse,
  of: {
    readonly bytes: Uint8Array;
    readonly etag: string;
    readonly headers: Readonly<Record<string, string>>;
    readonly fault: Fault | undefined;
    readonly onSent: (bytes: number) => void;
  },
): void {
  const { bytes, fault = {} } = of;
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "") ?? [];
  const isRange = first !== undefined && fault.isWhole !== true;
  const start = isRange ? Number(first) : 0;
  const end = isRange && last ? Math.min(Number(last) + 1, bytes.length) : bytes.length;
  const body = Buffer.from(bytes.subarray(start, end));
  if (fault.isDamaged) for (let index = 0; index < body.length; index++) body[index] = (body[index] ?? 0) ^ 255;
  response.writeHead(isRange ? 206 : 200, {
    ...of.headers,
    ETag: `"${of.etag}"`,
    "Content-Length": String(body.length),
    "Accept-Ranges": "bytes",
    ...(isRange && { "Content-Range": `bytes ${start}-${end - 1}/${bytes.length}` }),
  });
  if (request.method === "HEAD") {
    response.end();
    return;
  }
  void sendBody(response, body, fault, of.onSent);
}

async function sendBody(
  response: ServerResponse,
  body: Buffer,
  fault: Fault,
  onSent: (bytes: number) => void,
): Promise<void> {
  const limit = fault.breakAfter ?? fault.stallAfter ?? body.length;
  const step = fault.slowBytes ?? BODY_CHUNK_BYTES;
  for (let at = 0; at < Math.min(limit, body.length); at += step) {
    const piece = body.subarray(at, Math.min(at + step, limit));
    onSent(piece.length);
    if (!response.write(piece)) await drained(response);
    if (fault.slowBytes !== undefined) await new Promise((resolve) => setTimeout(resolve, SLOW_MS));
    if (response.destroyed) return;
  }
  if (fault.stallAfter !== undefined) return;
  if (fault.breakAfter === undefined) {
    response.end();
    return;
  }
  await fault.beforeBreak?.();
  setTimeout(() => response.destroy(), SLOW_MS); // what was written has to leave first
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      response.off("drain", done).off("close", done);
      resolve();
    };
    response.on("drain", done).on("close", done);
  });
}

function callOf(request: IncomingMessage, kind: HubCall["kind"], path: string | undefined): HubCall {
  const { method = "", url = "", headers } = request;
  return { kind, method, url, path, range: headers.range, authorization: headers.authorization };
}

function gitIdOf(bytes: Uint8Array): string {
  return createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
}

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("The hub has no port.");
  return `http://127.0.0.1:${address.port}`;
}
