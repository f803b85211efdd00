// Clients as no server wishes for: they go away, read slowly or not at all, never finish their request, or send too much.
import { connect, type Socket } from "node:net";
import { createRandom } from "../reference/random.ts";
import type { RunningServer } from "./server.ts";

const CHAT = "/v1/chat/completions";
const HEADERS = { "content-type": "application/json" };

/** So many make an answer of megabytes, which is more than the sockets of a connection hold. */
const NUM_TOKENS = 300;
/** A long answer. */
const LONG = { messages: [{ role: "user", content: "Hello" }], max_tokens: 300 };

/** A request that is left after a random time; every other one is a stream. */
export async function cancel({ url }: RunningServer, index: number): Promise<void> {
  const signal = AbortSignal.timeout(createRandom(index).integer(400));
  const body = JSON.stringify({ ...LONG, stream: index % 2 === 0 });
  const response = await fetch(`${url}${CHAT}`, { method: "POST", headers: HEADERS, body, signal });
  for await (const _ of response.body ?? []) if (signal.aborted) return;
}

/** A stream whose reader takes a byte now and then, and gives up. */
export async function readSlowly(server: RunningServer): Promise<void> {
  const socket = opened(server, chatText(server, JSON.stringify({ ...LONG, stream: true })));
  socket.pause();
  const timer = setInterval(() => socket.read(1), 50);
  setTimeout(() => socket.destroy(), 1500);
  await closed(socket);
  clearInterval(timer);
}

/** An answer of megabytes that is not read, and the connection of which is kept for some time. @param picture a data URI */
export async function readNothing(server: RunningServer, picture: string): Promise<void> {
  const socket = opened(server, chatText(server, megabytesOf(picture)));
  socket.pause();
  setTimeout(() => socket.destroy(), 8000);
  await closed(socket);
}

/** A request whose answer has megabytes: a long text, with the attention of each of its tokens. @param picture a data URI */
export function megabytesOf(picture: string): string {
  const content = [
    { type: "image_url", image_url: { url: picture } },
    { type: "text", text: "Where is the mug?" },
  ];
  const tokens = Array.from({ length: NUM_TOKENS }, (_, index) => index);
  return JSON.stringify({
    messages: [{ role: "user", content }],
    response_format: { type: "choice", choices: ["Left ".repeat(NUM_TOKENS)] },
    adaptvis: { attention: { layers: [0, 1, 2, 3], tokens } },
  });
}

/** A request that never ends, in its headers or in its body. */
export async function leaveHalfOpen(server: RunningServer, index: number): Promise<void> {
  const headers = `POST ${CHAT} HTTP/1.1\r\nHost: ${new URL(server.url).host}\r\nContent-Type: application/json\r\n`;
  const socket = opened(server, index % 2 === 0 ? `${headers}Content-Length: 1000\r\n\r\n{"mess` : headers);
  setTimeout(() => socket.destroy(), 2000);
  await closed(socket);
}

/** A body that is larger than the server takes. */
export async function sendTooMuch({ url }: RunningServer): Promise<void> {
  const body = JSON.stringify({ messages: [{ role: "user", content: "x".repeat(40_000_000) }] });
  const response = await fetch(`${url}${CHAT}`, { method: "POST", headers: HEADERS, body });
  await response.text();
}

/** A connection that sends `text`. A server may close it whenever it likes. */
export function opened({ url }: RunningServer, text: string): Socket {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname, () => socket.write(text));
  socket.on("error", () => undefined);
  return socket;
}

/** Resolves when a connection has ended. */
export function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once("close", () => resolve()));
}

/** A whole request for a chat, as it is sent. @param headers further lines of the head, each with its end */
export function chatText({ url }: RunningServer, body: string, headers = ""): string {
  const { host } = new URL(url);
  const length = Buffer.byteLength(body);
  return `POST ${CHAT} HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n${headers}\r\n${body}`;
}
