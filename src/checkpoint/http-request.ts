// One HTTP request for a byte range: repeated after a temporary failure, stopped by its AbortSignal, with one sentence for each error.

import { AbortError, CheckpointError, throwIfAborted } from "../errors.ts";
import { allocate } from "./source.ts";

/** What to fetch. */
export interface RangeRequest {
  /** The file's name in its source, for messages. */
  readonly path: string;
  readonly url: string;
  /** The URL without secrets, for messages. */
  readonly shownUrl: string;
  readonly headers: Readonly<Record<string, string>>;
  /** First byte. */
  readonly start: number;
  /** The byte after the last; `end` > `start`. */
  readonly end: number;
  /** Delays before the second, third … attempt, in milliseconds. */
  readonly retryDelaysMs: readonly number[];
  /** How long next to nothing may come before the attempt counts as failed, in milliseconds; 30 s unless given. */
  readonly stallTimeoutMs?: number | undefined;
  readonly signal: AbortSignal | undefined;
  /** Keeps a browser's own cache out of it, where the caller keeps what comes. */
  readonly isUncached?: boolean;
}

const STALL_TIMEOUT_MS = 30_000;
/** Fewer bytes than this within the time limit count as nothing: a server that sends one byte a second would never end. */
const LEAST_BYTES = 1024;

/**
 * Sends `request` and passes the response to `use`: status 200, 206 or 416, or undefined when the file does not exist.
 * Network failures, including those while `use` reads the body, and the statuses 408, 429 and 5xx are temporary: the
 * request is sent again.
 * @throws CheckpointError for any other status, and when the last attempt fails too.
 * @throws AbortError when the signal fires.
 */
export async function fetchRange<T>(
  request: RangeRequest,
  use: (response: Response | undefined, onBytes: (numBytes: number) => void) => Promise<T>,
): Promise<T> {
  const { path, shownUrl, signal, retryDelaysMs } = request;
  for (let attempt = 0; ; attempt++) {
    throwIfAborted(signal, `Reading ${path}`);
    try {
      return await attemptOnce(request, use);
    } catch (cause) {
      if (signal?.aborted) throw new AbortError(`Reading ${path}`);
      if (cause instanceof CheckpointError) throw cause;
      const delayMs = retryDelaysMs[attempt];
      if (delayMs === undefined) {
        const reason = `${shownUrl} could not be read in ${attempt === 0 ? "one attempt" : `${attempt + 1} attempts`} (${reasonOf(cause)})`;
        throw new CheckpointError(`${reason}; check the connection and try again.`, { file: path, cause });
      }
      await sleep(delayMs, signal);
    }
  }
}

/** One attempt, which ends when the server is silent for too long. */
async function attemptOnce<T>(request: RangeRequest, use: Parameters<typeof fetchRange<T>>[1]): Promise<T> {
  const { signal, stallTimeoutMs = STALL_TIMEOUT_MS } = request;
  const stop = new AbortController();
  const silence = new Error(`the server sent nothing, or next to nothing, for ${stallTimeoutMs / 1000} s`);
  let numBytes = LEAST_BYTES;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const watch = () => {
    if (numBytes < LEAST_BYTES) return stop.abort(silence);
    numBytes = 0;
    timer = setTimeout(watch, stallTimeoutMs);
  };
  const onAbort = () => stop.abort();
  signal?.addEventListener("abort", onAbort);
  watch();
  try {
    const response = await fetchOnce({ ...request, signal: stop.signal });
    numBytes += LEAST_BYTES; // the headers have come
    return await use(response, (received) => {
      numBytes += received;
    });
  } catch (error) {
    throw stop.signal.reason === silence ? silence : error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}

/** The body, or undefined (and the rest cancelled) once it is longer than `maxBytes`. */
export async function readBody(
  path: string,
  response: Response,
  { maxBytes, onBytes }: { readonly maxBytes: number; readonly onBytes?: ((numBytes: number) => void) | undefined },
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const reader = response.body?.getReader();
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let numBytes = 0;
  while (reader !== undefined) {
    const { done, value } = await reader.read();
    if (done) break;
    chunks.push(value);
    numBytes += value.length;
    onBytes?.(value.length);
    if (numBytes > maxBytes) {
      await reader.cancel().catch(() => undefined);
      return undefined;
    }
  }
  const bytes = allocate(path, numBytes);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

async function fetchOnce({
  path,
  url,
  shownUrl,
  headers,
  start,
  end,
  signal,
  isUncached,
}: RangeRequest): Promise<Response | undefined> {
  const response = await fetch(url, {
    headers: { ...headers, Range: `bytes=${start}-${end - 1}` },
    signal: signal ?? null,
    ...(isUncached === true && { cache: "no-store" }),
  });
  const { status } = response;
  // Servers of single-page apps answer unknown paths with their start page; a checkpoint contains no HTML.
  const isPage = response.ok && response.headers.get("content-type")?.startsWith("text/html") === true;
  if (!isPage && (status === 200 || status === 206 || status === 416)) return response;
  await discard(response);
  if (isPage || status === 404 || status === 410) return undefined;
  if (status === 408 || status === 429 || status >= 500) throw new Error(`HTTP status ${status}`);
  const advice = status === 401 || status === 403 ? "log in or pass a token in the headers" : "check the address";
  throw new CheckpointError(`${shownUrl} answered with HTTP status ${status}, expected 206; ${advice}.`, {
    file: path,
  });
}

/** Cancels a body that is not read, so that its connection is free again. */
export async function discard(response: Response): Promise<void> {
  await response.body?.cancel().catch(() => undefined);
}

/** Resolves after `milliseconds`, or as soon as `signal` fires, which it has not yet. */
function sleep(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const wake = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", wake);
      resolve();
    };
    const timer = setTimeout(wake, milliseconds);
    signal?.addEventListener("abort", wake);
  });
}

/** The innermost message: fetch says only "fetch failed" and puts the reason under `cause`. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error && error.cause.message !== "" ? reasonOf(error.cause) : error.message;
}
