// Signals while a command waits for something that it cannot stop: a queue's server that accepts and never answers.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { root } from "./command.ts";

let server: Server;
let queue: string;
const sockets = new Set<Socket>();

beforeAll(async () => {
  server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  queue = `redis://127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
});
afterAll(() => {
  for (const socket of sockets) socket.destroy();
  server.close();
});

/** Sends signals to a worker that waits. @returns what ended it, and its last words. */
async function stopped(signals: readonly NodeJS.Signals[]) {
  const child = spawn(process.execPath, [join(root, "dist", "cli.js"), "worker", "--queue", queue]);
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const closed = once(child, "close");
  await once(server, "connection");
  for (const signal of signals) {
    child.kill(signal);
    await new Promise((resolve) => setTimeout(resolve, 200)); // two of a kind that are pending together are one
  }
  const [, signal] = await closed;
  return { signal, stderr };
}

test("the first one ends it after a while with a sentence", async () => {
  expect(await stopped(["SIGTERM"])).toEqual({
    signal: "SIGTERM",
    stderr: expect.stringMatching(/adaptvis: stopped\.\n$/),
  });
});

test("the second one ends it at once", async () => {
  expect(await stopped(["SIGINT", "SIGINT"])).toEqual({
    signal: "SIGINT",
    stderr: expect.not.stringContaining("stopped."),
  });
});
