// One request to the hub: redirects, time limits, repetition after temporary failures, and one sentence per refusal.
// Source: huggingface_hub 2.4.0, utils/_http.py; https://huggingface.co/docs/hub/rate-limits.

import { clearTimeout, setTimeout } from "node:timers";
import { AbortError, CheckpointError, throwIfAborted } from "../../errors.ts";
import { readBody } from "../http-request.ts";
import type { HubSettings } from "./hub-settings.node.ts";

/** What a request is about, for its messages. */
export interface HubSubject {
  /** The model's id. */
  readonly id: string;
  readonly revision: string;
  /** A file of the model; undefined for the model itself. */
  readonly path?: string;
}

/** A request and how it is sent. */
export interface HubRequest {
  readonly url: string;
  readonly subject: HubSubject;
  readonly settings: HubSettings;
  readonly headers?: Readonly<Record<string, string>>;
  /** How long the server and the body may be silent, in milliseconds. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  /** Receives one line when the hub asks to wait for longer than a few seconds. */
  readonly onNote?: ((text: string) => void) | undefined;
}

/** A response that is read with {@link LiveResponse.touch} called for every piece, so that silence ends it. */
export interface LiveResponse {
  readonly response: Response;
  /** Restarts the time limit once at least 1 KiB has come: a server that sends one byte a second would never end. */
  touch(numBytes: number): void;
}

/** The hub could not be reached, or could not answer: later it may. */
export class HubUnavailableError extends CheckpointError {}

/** A failure that may be over at the next attempt. */
class TemporaryFailure extends Error {
  /** How long the server asks to wait, in milliseconds. */
  readonly waitMs: number | undefined;

  /** @param sentence the error's message if this was the last attempt */
  constructor(sentence: string, waitMs?: number) {
    super(sentence);
    this.waitMs = waitMs;
  }
}

const MAX_REDIRECTS = 20;
const LEAST_BYTES = 1024;
/** The hub counts requests in windows of five minutes; a server that asks for more is not waited for. */
const MAX_WAIT_MS = 330_000;
const NOTED_WAIT_MS = 5000;

/**
 * Sends a request and passes the response (status 200 or 206) to `use`. Network failures, silence, 408, 429 and 5xx are
 * temporary: the request is sent again, with a new request from `next`, until the delays are used up; progress of `use` that it
 * reports by `advanced()` starts them from the beginning.
 * @throws CheckpointError for a refusal, and when the last attempt fails too; AbortError.
 */
export async function sendToHub<T>(
  next: () => HubRequest,
  use: (live: LiveResponse, advanced: () => void) => Promise<T>,
): Promise<T> {
  let failures = 0;
  const advanced = () => {
    failures = 0;
  };
  for (;;) {
    const request = next();
    const { settings, signal, subject } = request;
    throwIfAborted(signal, downloadOf(subject));
    try {
      return await attemptOnce(request, (live) => use(live, advanced));
    } catch (error) {
      if (signal?.aborted) throw new AbortError(downloadOf(subject));
      if (error instanceof CheckpointError) throw error;
      const failure = error instanceof TemporaryFailure ? error : unreachable(request, error);
      const plannedMs = settings.retryDelaysMs[failures++];
      const waitMs = failure.waitMs ?? plannedMs ?? 0;
      if (plannedMs === undefined || waitMs > MAX_WAIT_MS) {
        throw new HubUnavailableError(failure.message, { file: subject.path ?? subject.id, cause: error });
      }
      if (waitMs > NOTED_WAIT_MS && failure.waitMs !== undefined) {
        request.onNote?.(`the hub asks to wait ${Math.ceil(waitMs / 1000)} s before the next request`);
      }
      // Several ranges that fail together must not come back together.
      await pause(failure.waitMs ?? waitMs * (0.75 + Math.random() / 2), signal);
    }
  }
}

/** Resolves after `milliseconds`, or as soon as `signal` fires. */
export function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const wake = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", wake);
      resolve();
    };
    const timer = setTimeout(wake, signal?.aborted ? 0 : milliseconds);
    signal?.addEventListener("abort", wake);
  });
}

/** What an AbortError says was stopped. */
export function downloadOf({ id }: { readonly id: string }): string {
  return `The download of ${id}`;
}

async function attemptOnce<T>(request: HubRequest, use: (live: LiveResponse) => Promise<T>): Promise<T> {
  const silence = new AbortController();
  const stop = () => silence.abort();
  const timer = setTimeout(stop, request.timeoutMs);
  request.signal?.addEventListener("abort", stop);
  if (request.signal?.aborted) stop();
  try {
    const response = await follow(request, silence.signal);
    timer.refresh();
    try {
      if (response.status !== 200 && response.status !== 206) throw await refusal(request, response);
      let numReceived = 0;
      const touch = (numBytes: number) => {
        numReceived += numBytes;
        if (numReceived < LEAST_BYTES) return;
        numReceived = 0;
        timer.refresh();
      };
      return await use({ response, touch });
    } finally {
      // Of a body that was read this does nothing; any other would hold its connection.
      await response.body?.cancel().catch(() => undefined);
    }
  } catch (error) {
    if (silence.signal.aborted && request.signal?.aborted !== true) {
      const { host } = new URL(request.url);
      const seconds = request.timeoutMs / 1000;
      throw new TemporaryFailure(
        `${host} sent nothing for ${seconds} s (${what(request.subject)}); check the connection and try again, what was downloaded is kept.`,
      );
    }
    throw error;
  } finally {
    clearTimeout(timer);
    request.signal?.removeEventListener("abort", stop);
  }
}

/** Follows redirects; another origin never sees the token. */
async function follow(request: HubRequest, signal: AbortSignal): Promise<Response> {
  const { token, endpoint } = request.settings;
  const home = new URL(endpoint).origin;
  let url = new URL(request.url);
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
    const isHome = url.origin === home;
    const response = await fetch(url, {
      redirect: "manual",
      signal,
      headers: {
        "User-Agent": "adaptvis",
        ...request.headers,
        ...(isHome && token !== undefined && { Authorization: `Bearer ${token.value}` }),
      },
    });
    const location = response.headers.get("location");
    if (response.status < 300 || response.status >= 400 || location === null) return response;
    await response.body?.cancel().catch(() => undefined);
    const target = URL.canParse(location, url) ? new URL(location, url) : undefined;
    const isWeb = target?.protocol === "https:" || (target?.protocol === "http:" && url.protocol === "http:");
    if (target === undefined || !isWeb) {
      throw new CheckpointError(
        `${url.host} redirects ${what(request.subject)} to an address that is not followed; check HF_ENDPOINT.`,
        { file: request.subject.path ?? request.subject.id },
      );
    }
    url = target;
  }
  throw new CheckpointError(
    `${url.host} redirects ${what(request.subject)} more than ${MAX_REDIRECTS} times; check HF_ENDPOINT.`,
    { file: request.subject.path ?? request.subject.id },
  );
}

/** The error of a response that is not a success. */
async function refusal(request: HubRequest, response: Response): Promise<Error> {
  const { subject, settings } = request;
  const { status, headers } = response;
  if (status === 408 || status === 429 || status >= 500) return temporary(request, response);
  const code = headers.get("x-error-code") ?? "";
  const message = headers.get("x-error-message") ?? (await errorText(response));
  const sentence = sentenceOf({ status, code, message }, { ...subject, settings, host: new URL(request.url).host });
  return new CheckpointError(`${sentence}.`, { file: subject.path ?? subject.id });
}

/** The meaning of an HTTP status of the hub, and what the user can do about it. */
function sentenceOf(
  { status, code, message }: { readonly status: number; readonly code: string; readonly message: string },
  { id, revision, path, settings, host }: HubSubject & { readonly settings: HubSettings; readonly host: string },
): string {
  const { token, endpoint } = settings;
  const page = `${endpoint}/${id}`;
  if (/invalid credentials/i.test(message)) {
    return `The hub refuses the token in ${token?.from ?? "the request"}: make a new one at ${endpoint}/settings/tokens, or remove it for public models`;
  }
  if (/access to this resource is disabled/i.test(message)) {
    return `${id} has been disabled by the hub: see ${page}, and choose another model`;
  }
  if (code === "GatedRepo") {
    const login =
      token === undefined
        ? "then set HF_TOKEN to a token of that account"
        : `with the account of the token in ${token.from}`;
    return `${id} is gated: accept its terms at ${page}, ${login}`;
  }
  if (code === "RevisionNotFound") {
    return `${id} has no revision "${revision}": the branches, tags and commits are listed at ${page}/tree/main`;
  }
  if (code === "EntryNotFound" || (code === "" && status === 404 && path !== undefined)) {
    return `${id} has no file ${path ?? ""} at revision ${revision}: see ${page}/tree/${revision}`;
  }
  if (code === "RepoNotFound" || (status === 401 && code === "") || (status === 404 && path === undefined)) {
    const access =
      token === undefined
        ? "for a private one, set HF_TOKEN to a token that may read it"
        : `if it is private, the token in ${token.from} may not read it`;
    return `There is no model ${id} at ${endpoint}: check the name, or the path if a folder is meant; ${access}`;
  }
  if (status === 401 || status === 403) {
    const account =
      token === undefined ? "set HF_TOKEN to a token that may read it" : `the token in ${token.from} may not`;
    return `${host} does not let ${id} be read (HTTP status ${status}): ${account}`;
  }
  return `${host} answered with HTTP status ${status} for ${what(path === undefined ? { id } : { id, path })}: check HF_ENDPOINT, or try again later`;
}

function temporary({ subject, settings, url }: HubRequest, { status, headers }: Response): TemporaryFailure {
  const waitMs = askedWait(headers, status);
  const { host } = new URL(url);
  if (status === 429) {
    const wait = waitMs === undefined ? "a few minutes" : `${Math.ceil(waitMs / 1000)} s`;
    const advice = settings.token === undefined ? ", or set HF_TOKEN: accounts have higher limits" : "";
    return new TemporaryFailure(
      `${host} limits the number of requests (HTTP status 429, ${what(subject)}): try again in ${wait}${advice}; what was downloaded is kept.`,
      waitMs,
    );
  }
  return new TemporaryFailure(
    `${host} cannot answer now (HTTP status ${status}, ${what(subject)}): try again later; what was downloaded is kept.`,
    waitMs,
  );
}

/** How long the headers ask to wait, in milliseconds: `RateLimit: "api";r=0;t=55`, or Retry-After in seconds or as a date. */
function askedWait(headers: Headers, status: number): number | undefined {
  const limit = headers.get("ratelimit") ?? "";
  const [, seconds] = /;\s*t=(\d+)/.exec(limit) ?? [];
  if (status === 429 && /;\s*r=0(?!\d)/.test(limit) && seconds !== undefined) return (Number(seconds) + 1) * 1000;
  const after = headers.get("retry-after");
  if (after === null) return undefined;
  const wait = /^\d+$/.test(after) ? Number(after) * 1000 : Date.parse(after) - Date.now();
  return Number.isFinite(wait) ? Math.max(0, wait) : undefined;
}

function unreachable({ settings, url, subject }: HubRequest, error: unknown): TemporaryFailure {
  const { host } = new URL(url);
  const hub = host === new URL(settings.endpoint).host ? host : `${host}, or the server it refers to,`;
  return new TemporaryFailure(
    `${hub} could not be reached or broke off (${reasonOf(error)}; ${what(subject)}): check the connection and try again; what was downloaded is kept.`,
  );
}

function what({ id, path }: Pick<HubSubject, "id" | "path">): string {
  return path === undefined ? id : `${path} of ${id}`;
}

/** The error text of a JSON body, where the headers have none. */
async function errorText(response: Response): Promise<string> {
  const bytes = await readBody("the answer", response, { maxBytes: 2 ** 16 }).catch(() => undefined);
  return new TextDecoder().decode(bytes).slice(0, 2000);
}

/** The innermost message: fetch says only "fetch failed" and puts the reason under `cause`. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.cause instanceof Error && (error.cause.message !== "" || "code" in error.cause))
    return reasonOf(error.cause);
  return error.message || ("code" in error ? String(error.code) : error.name);
}
