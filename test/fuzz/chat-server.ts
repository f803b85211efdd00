// The server that fuzzed requests go to, on a port of this process, and what it answers.

import { connect } from "node:net";
import { join } from "node:path";
import sharp from "sharp";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import { InputError } from "../../src/errors.ts";
import { openNodeAdapter } from "../../src/gpu/hosts/adapter.node.ts";
import { drawHeatMap } from "../../src/inspect/heat-map.ts";
import { Llava } from "../../src/llava.ts";
import { decodeImage } from "../../src/preprocess/decode-image.node.ts";
import { createApp, type LogLine } from "../../src/serve/app.ts";
import { ChatService } from "../../src/serve/chat-service.ts";
import { fetchPicture } from "../../src/serve/image-hosts.node.ts";
import { listen } from "../../src/serve/listen.node.ts";

/** Names for the key that requests need, and for the server's address. */
export const KEY = "fuzz-key";

/** A server that runs. */
export interface FuzzedServer {
  readonly port: number;
  /** Failures that the log told since the last call. */
  takeFailures(): readonly LogLine[];
}

let started: Promise<FuzzedServer> | undefined;

/** The server with the embedded checkpoint; the same for all inputs. */
export function fuzzedServer(): Promise<FuzzedServer> {
  started ??= start();
  return started;
}

async function start(): Promise<FuzzedServer> {
  const { adapter } = await openNodeAdapter("auto");
  const device = await adapter.requestDevice();
  const folder = join(process.env.FUZZ_ROOT ?? process.cwd(), "weights", "tiny-spatial");
  const model = await Llava.load(fileSource(folder), { device });
  let failures: LogLine[] = [];
  const app = createApp({
    service: new ChatService({
      model,
      async drawHeatMap(picture, map) {
        const { width, height, data } = drawHeatMap(picture, map);
        return sharp(data, { raw: { width, height, channels: 3 } })
          .png()
          .toBuffer();
      },
    }),
    modelId: "tiny-spatial",
    hosts: [],
    origins: ["https://allowed.example"],
    admission: { maxRunning: 4, maxWaiting: 8, maxPerClient: 16, timeoutMs: 60_000 },
    limits: { maxNewTokens: 6, maxPictures: 3 },
    pictures: {
      decode: (bytes) => decodeImage(bytes, { name: "the picture", maxPixels: 1e6 }),
      fetch: (url, signal) => fetchPicture(url, { allowed: ["localhost"], maxBytes: 1e6, timeoutMs: 2000 }, signal),
    },
    maxBodyBytes: 2 ** 20,
    apiKey: KEY,
    logsPrompts: false,
    log(line) {
      if (line.status >= 500 || line.error !== undefined) failures.push(line);
    },
    clientOf: () => "fuzz",
  });
  const { port } = await listen(app, {
    host: "127.0.0.1",
    port: 0,
    maxHeaderBytes: 16_384,
    headersTimeoutMs: 300,
    requestTimeoutMs: 300,
    readTimeoutMs: 5000,
    keepAliveTimeoutMs: 200,
  });
  return {
    port,
    takeFailures() {
      const taken = failures;
      failures = [];
      return taken;
    },
  };
}

/** How a request is sent. */
export interface Sending {
  /** Bytes after which it stops, */
  readonly end?: number;
  /** and how: the client closes its side, breaks the connection, or goes silent. */
  readonly ending?: "close" | "break" | "silence";
  /** In how many pieces it comes. */
  readonly pieces?: number;
}

/** An answer as it came. */
interface RawAnswer {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

/** No answer takes longer, on a busy machine either. */
const PATIENCE_MS = 50_000;

/** Sends bytes on a connection of their own. @returns all that came back until it was closed; undefined where the client broke it */
export function exchange(port: number, bytes: Uint8Array, sending: Sending): Promise<Buffer | undefined> {
  return new Promise((resolve, reject) => {
    const { end = bytes.length, ending, pieces = 1 } = sending;
    const parts: Buffer[] = [];
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Error(`no end of the answer in ${PATIENCE_MS / 1000} s: ${Buffer.concat(parts).toString("latin1")}`));
    }, PATIENCE_MS);
    const over = (answer: Buffer | undefined) => {
      clearTimeout(timer);
      resolve(answer);
    };
    socket.on("error", () => undefined); // the server may close it
    socket.on("data", (part: Buffer) => parts.push(part));
    socket.on("end", () => socket.end());
    socket.on("close", () => over(Buffer.concat(parts)));
    socket.on("connect", async () => {
      const sent = bytes.subarray(0, end);
      const length = Math.ceil(sent.length / pieces);
      for (let start = 0; start < sent.length; start += length) {
        socket.write(sent.subarray(start, start + length));
        if (pieces > 1) await new Promise((resolve) => setImmediate(resolve));
      }
      if (ending === "close") socket.end();
      if (ending !== "break") return;
      setTimeout(() => {
        socket.resetAndDestroy();
        over(undefined);
      }, 5);
    });
  });
}

/** The answers in what a server sent. @throws Error where it is no HTTP, or not whole. */
export function answersIn(bytes: Buffer): readonly RawAnswer[] {
  const answers: RawAnswer[] = [];
  let rest = bytes;
  while (rest.length > 0) {
    const headEnd = rest.indexOf("\r\n\r\n");
    const [statusLine = "", ...lines] = rest.subarray(0, headEnd).toString("latin1").split("\r\n");
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(statusLine)?.[1]);
    if (headEnd < 0 || !(status >= 100)) throw new Error(`no HTTP: ${rest.toString("latin1").slice(0, 500)}`);
    const headers = new Map(
      lines.map((line) => {
        const [name = "", ...value] = line.split(":");
        return [name.toLowerCase(), value.join(":").trim()];
      }),
    );
    rest = rest.subarray(headEnd + 4);
    if (status === 100) continue;
    const { body, length } = bodyIn(rest, headers);
    answers.push({ status, headers, body: body.toString("utf8") });
    rest = rest.subarray(length);
  }
  return answers;
}

function bodyIn(bytes: Buffer, headers: ReadonlyMap<string, string>): { body: Buffer; length: number } {
  if (headers.get("transfer-encoding") !== "chunked") {
    const length = Number(headers.get("content-length") ?? bytes.length);
    // An answer to HEAD has the length and no body.
    return { body: bytes.subarray(0, length), length: Math.min(length, bytes.length) };
  }
  const parts: Buffer[] = [];
  for (let start = 0; ; ) {
    const lineEnd = bytes.indexOf("\r\n", start);
    const size = Number.parseInt(bytes.subarray(start, lineEnd).toString("latin1"), 16);
    if (lineEnd < 0 || Number.isNaN(size)) throw new Error(`a half body: ${bytes.toString("utf8").slice(-300)}`);
    if (size === 0) return { body: Buffer.concat(parts), length: lineEnd + 4 };
    parts.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + size));
    start = lineEnd + 2 + size + 2;
  }
}

/** Lines of a stack, files of this program, and objects that were made a text. */
const INTERNALS = /\n\s+at |\.[cm]?[jt]s:\d+|node_modules|node:internal|\[object /;

/**
 * What answers say. @throws InputError for what is refused; Error for what must not be answered: a failure, its inside, half an answer.
 */
export function meaningOf({ status, headers, body }: RawAnswer): string {
  const type = headers.get("content-type") ?? "";
  if (INTERNALS.test(body)) throw new Error(`status ${status} shows the server's inside: ${body.slice(0, 1000)}`);
  if (status >= 400) {
    if (status >= 500 && status !== 503 && status !== 504) throw new Error(`status ${status}: ${body.slice(0, 1000)}`);
    if (body === "") throw new InputError(`It is refused with status ${status}.`);
    const { message, type: kind, param, code } = JSON.parse(body).error;
    for (const each of [message, kind, param ?? "", code ?? ""]) {
      if (typeof each !== "string") throw new Error(`status ${status}: ${body.slice(0, 500)}`);
    }
    throw refusal(message);
  }
  if (type.startsWith("text/event-stream")) return body === "" ? "" : streamed(body);
  if (!type.startsWith("application/json") || body === "") return `${status} ${type}`;
  const { choices, usage, error } = JSON.parse(body);
  if (error !== undefined) throw new Error(`status ${status} with an error: ${body.slice(0, 500)}`);
  if (choices === undefined) return `${status} ${type}`;
  const [{ message, finish_reason: reason, logprobs }] = choices;
  const tokens = logprobs?.content.map(({ token }: { readonly token: string }) => token);
  return JSON.stringify([message.content, reason, tokens, usage.prompt_tokens, usage.completion_tokens]);
}

/** A refusal as the kind's error. @throws Error for a message that is no sentence: an InputError makes one of any. */
function refusal(message: string): InputError {
  const error = new InputError(message);
  if (error.message !== message || !/[.?]$/.test(message)) throw new Error(`no sentence: ${JSON.stringify(message)}`);
  return error;
}

function streamed(body: string): string {
  const events = body.split("\n\n").filter((event) => event !== "");
  const data = events.map((event) => event.slice("data: ".length));
  if (data.at(-1) !== "[DONE]") {
    const { error } = JSON.parse(data.at(-1) ?? "");
    if (error?.type !== "invalid_request_error") throw new Error(`a stream ends with ${data.at(-1)}`);
    throw refusal(error.message);
  }
  return data
    .slice(0, -1)
    .flatMap((text) => JSON.parse(text).choices.map(textIn))
    .join("");
}

function textIn({ delta }: { readonly delta: { readonly content?: string } }): string {
  return delta.content ?? "";
}
