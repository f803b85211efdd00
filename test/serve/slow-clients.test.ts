// How long the port waits for slow clients, with limits of a fraction of a second.
import { EventEmitter, once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type ListeningServer, listen } from "../../src/serve/listen.node.ts";

/** Tells when an answer without an end is given up. */
const events = new EventEmitter();
/** Longer than readTimeoutMs. */
const THINKING_MS = 1500;

let server: ListeningServer;

beforeAll(async () => {
  const fetch = async (request: Request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/thinking") await new Promise((resolve) => setTimeout(resolve, THINKING_MS));
    if (request.method === "POST") await request.text();
    return new Response(pathname === "/endless" ? endless() : "answer");
  };
  server = await listen(
    { fetch, drain: () => Promise.resolve() },
    {
      host: "127.0.0.1",
      port: 0,
      maxHeaderBytes: 16_384,
      headersTimeoutMs: 300,
      requestTimeoutMs: 600,
      readTimeoutMs: 700,
      keepAliveTimeoutMs: 300,
    },
  );
});

afterAll(() => server.close(0));

function endless(): ReadableStream<Uint8Array> {
  return new ReadableStream({
    pull: (controller) => controller.enqueue(new Uint8Array(2 ** 20)),
    cancel: () => void events.emit("given up"),
  });
}

/** Sends `text`, then `drip` again and again, until the server closes the connection. @returns what it answered */
async function drippedAnswer(text: string, drip: string): Promise<string> {
  const socket = connected();
  socket.write(text);
  const timer = setInterval(() => socket.write(drip), 50);
  let answer = "";
  socket.setEncoding("utf8").on("data", (part) => {
    answer += part;
  });
  await once(socket, "close");
  clearInterval(timer);
  return answer;
}

function connected(): Socket {
  const socket = connect(server.port, "127.0.0.1");
  socket.on("error", () => undefined); // the server closes it
  return socket;
}

test("headers that do not end are answered with 408", async () => {
  expect(await drippedAnswer("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n", "X-Slow: 1\r\n")).toMatch(/^HTTP\/1\.1 408 /);
});

test("a body that does not end is answered with 408", async () => {
  const head = "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\n";
  expect(await drippedAnswer(head, "x")).toMatch(/^HTTP\/1\.1 408 /);
});

test("a connection that sends nothing is closed", async () => {
  const socket = connected();
  socket.resume();
  await once(socket, "close");
});

test("an answer that is not read is given up", async () => {
  const givenUp = once(events, "given up");
  const socket = connected();
  socket.write("GET /endless HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
  await once(socket, "readable"); // and nothing is read
  await givenUp;
  socket.destroy();
});

test("an answer that takes longer than that to compute is not", async () => {
  const response = await fetch(`${server.url}/thinking`);
  expect(await response.text()).toBe("answer");
});

test("a connection that is kept alive is closed when no request comes", async () => {
  const socket = connected();
  socket.write("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
  socket.resume();
  await once(socket, "close");
});
