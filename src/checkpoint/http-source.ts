// A checkpoint on an HTTP server, read with Range requests (RFC 9110, section 14).

import { CheckpointError, InputError } from "../errors.ts";
import { checkedText, listOf, numberFrom, readOptions, recordOf, type Schema, text } from "../options.ts";
import { discard, fetchRange, readBody } from "./http-request.ts";
import { checkPath, checkRange, missingFile, quote, type Source, shortFile } from "./source.ts";

/** Options of an HTTP source. */
export interface HttpSourceOptions {
  /** Sent with every request, such as `Authorization`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Delays before a request is repeated after a temporary failure, in milliseconds; two retries by default. */
  readonly retryDelaysMs?: readonly number[];
  /** How long a server may send nothing, or next to nothing, before the request counts as failed, in milliseconds; 30 s by default. */
  readonly stallTimeoutMs?: number;
}

/** The longest delay of a timer. */
const MAX_DELAY_MS = 2 ** 31 - 1;

/** The options of waiting. */
export const WAITING: Schema<Pick<HttpSourceOptions, "retryDelaysMs" | "stallTimeoutMs">> = {
  retryDelaysMs: listOf(numberFrom({ least: 0, most: MAX_DELAY_MS }), "a list of milliseconds"),
  stallTimeoutMs: numberFrom({ above: 0, most: MAX_DELAY_MS }),
};

const HTTP_SOURCE: Schema<HttpSourceOptions> = { headers: recordOf("an object of texts", text), ...WAITING };

/** What of a body is read. */
type BodyLimits = Parameters<typeof readBody>[2];

/** A file up to this size may be sent whole by a server without Range support; it is then kept. */
const SMALL_FILE_BYTES = 16 * 1024 * 1024;

/** Delays before a request is repeated after a temporary failure, in milliseconds. */
export const RETRY_DELAYS_MS: readonly number[] = [250, 1000];

/**
 * A source over the files below `baseUrl`. Sizes come from Content-Range, which a server of another origin must expose
 * (`Access-Control-Expose-Headers: Content-Range`).
 * @throws InputError unless `baseUrl` is an http or https URL without user name and password.
 */
export function httpSource(baseUrl: string, given: HttpSourceOptions = {}): Source {
  const options = readOptions("httpSource", given, HTTP_SOURCE);
  const base = parseBaseUrl(checkedText("baseUrl", baseUrl));
  const name = base.origin + base.pathname;
  /** Sizes that the server has reported, to detect files that change while they are read. */
  const sizes = new Map<string, number>();
  /** Small files that were sent whole. */
  const wholeFiles = new Map<string, Uint8Array<ArrayBuffer>>();

  const requestFor = (path: string, start: number, end: number, signal: AbortSignal | undefined) => {
    const encoded = path.split("/").map(encodeURIComponent).join("/");
    return {
      path,
      url: base.origin + base.pathname + encoded + base.search,
      shownUrl: name + encoded,
      headers: options.headers ?? {},
      start,
      end,
      retryDelaysMs: options.retryDelaysMs ?? RETRY_DELAYS_MS,
      stallTimeoutMs: options.stallTimeoutMs,
      signal,
    };
  };

  /** The whole body of a 200 response, or undefined (and the body cancelled) when it is longer than `maxBytes`. */
  async function takeWhole(path: string, response: Response, limits: BodyLimits) {
    if ((declaredSize(response) ?? 0) > limits.maxBytes) {
      await discard(response);
      return undefined;
    }
    const bytes = await readBody(path, response, limits);
    if (bytes === undefined) return undefined;
    if (bytes.length <= SMALL_FILE_BYTES) wholeFiles.set(path, bytes);
    return bytes;
  }

  async function rememberSize(path: string, fileBytes: number, response: Response): Promise<void> {
    const known = sizes.get(path) ?? fileBytes;
    if (known !== fileBytes) {
      await discard(response);
      const message = `${name}${path} changed from ${known} to ${fileBytes} bytes while it was read; load it again.`;
      throw new CheckpointError(message, { file: path });
    }
    sizes.set(path, fileBytes);
  }

  async function size(path: string, signal?: AbortSignal): Promise<number | undefined> {
    checkPath(path);
    const known = wholeFiles.get(path)?.length ?? sizes.get(path);
    if (known !== undefined) return known;
    return fetchRange(requestFor(path, 0, 1, signal), async (response, onBytes) => {
      if (response === undefined) return undefined;
      if (response.status === 200) {
        const declaredBytes = declaredSize(response);
        const bytes = await takeWhole(path, response, { maxBytes: SMALL_FILE_BYTES, onBytes });
        const fileBytes = bytes?.length ?? declaredBytes;
        if (fileBytes === undefined) throw noRange(name, path);
        return fileBytes;
      }
      const { fileBytes } = contentRange(response);
      await discard(response);
      if (fileBytes === undefined) {
        const problem = "does not give the file's size in Content-Range";
        throw new CheckpointError(
          `The server of ${name}${path} ${problem}; expose that header or use another server.`,
          {
            file: path,
          },
        );
      }
      await rememberSize(path, fileBytes, response);
      return fileBytes;
    });
  }

  async function read(
    path: string,
    start: number,
    end: number,
    signal?: AbortSignal,
  ): Promise<Uint8Array<ArrayBuffer>> {
    checkPath(path);
    checkRange(path, start, end);
    const whole = wholeFiles.get(path);
    if (whole !== undefined) return cut(path, whole, start, end);
    if (start === end) {
      // HTTP has no empty range.
      const fileBytes = await size(path, signal);
      if (fileBytes === undefined) throw missingFile(path, name);
      if (end > fileBytes) throw shortFile(path, end, fileBytes);
      return new Uint8Array(0);
    }
    return fetchRange(requestFor(path, start, end, signal), async (response, onBytes) => {
      if (response === undefined) throw missingFile(path, name);
      if (response.status === 200) {
        const isWholeFile = start === 0 && declaredSize(response) === end;
        const bytes = await takeWhole(path, response, { maxBytes: isWholeFile ? end : SMALL_FILE_BYTES, onBytes });
        if (bytes === undefined) throw noRange(name, path);
        return cut(path, bytes, start, end);
      }
      const got = contentRange(response);
      if (response.status === 416) {
        await discard(response);
        throw shortFile(path, end, got.fileBytes ?? sizes.get(path) ?? start);
      }
      if (got.fileBytes !== undefined) {
        await rememberSize(path, got.fileBytes, response);
        if (got.fileBytes < end) {
          await discard(response);
          throw shortFile(path, end, got.fileBytes);
        }
      }
      if ((got.start ?? start) !== start || (got.end ?? end) !== end) {
        await discard(response);
        throw wrongRange(name, path, `bytes [${got.start}, ${got.end}) for [${start}, ${end})`);
      }
      const bytes = await readBody(path, response, { maxBytes: end - start, onBytes });
      if (bytes?.length === end - start) return bytes;
      throw wrongRange(name, path, `${bytes?.length ?? "more"} bytes for [${start}, ${end})`);
    });
  }

  return {
    name,
    size,
    read,
    async close() {
      sizes.clear();
      wholeFiles.clear();
    },
  };
}

/** The address of a folder, ending in a slash. @throws InputError unless it is an http or https URL without user name and password. */
export function parseBaseUrl(baseUrl: string): URL {
  let url: URL;
  try {
    url = new URL(baseUrl);
  } catch (cause) {
    throw new InputError(`${quote(baseUrl)} is not a URL; give the http or https address of a folder.`, { cause });
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new InputError(
      `${quote(baseUrl)} is not an http or https URL; give the address of a folder on a web server.`,
    );
  }
  if (url.username !== "" || url.password !== "") {
    throw new InputError(
      `The URL of ${url.origin} contains a user name or password; pass an Authorization header instead.`,
    );
  }
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  return url;
}

/** Content-Length, unless the body is compressed: it then counts the compressed bytes. */
function declaredSize(response: Response): number | undefined {
  const [length] = response.headers.get("content-length")?.match(/^\d+$/) ?? [];
  const encoding = response.headers.get("content-encoding") ?? "identity";
  return length !== undefined && encoding === "identity" ? Number(length) : undefined;
}

/** The parsed Content-Range, such as `bytes 0-9/100`; of a 416 response, only the size. The end becomes exclusive. */
function contentRange(response: Response): { start?: number; end?: number; fileBytes?: number } {
  const pattern = /^bytes (?:(?<first>\d+)-(?<last>\d+)|\*)\/(?:(?<total>\d+)|\*)$/;
  const { first, last, total } = response.headers.get("content-range")?.match(pattern)?.groups ?? {};
  return {
    ...(first === undefined ? {} : { start: Number(first) }),
    ...(last === undefined ? {} : { end: Number(last) + 1 }),
    ...(total === undefined ? {} : { fileBytes: Number(total) }),
  };
}

function cut(path: string, whole: Uint8Array<ArrayBuffer>, start: number, end: number): Uint8Array<ArrayBuffer> {
  if (end > whole.length) throw shortFile(path, end, whole.length);
  return whole.slice(start, end);
}

function noRange(name: string, path: string): CheckpointError {
  const message = `The server of ${name}${path} ignores Range and sends the whole file; use a server that supports Range.`;
  return new CheckpointError(message, { file: path });
}

function wrongRange(name: string, path: string, got: string): CheckpointError {
  return new CheckpointError(`The server of ${name}${path} sent ${got}; use a server that supports Range.`, {
    file: path,
  });
}
