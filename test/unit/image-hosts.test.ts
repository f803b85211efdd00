// Pictures from the network, with a server of this machine in the place of a host on the internet: addresses of this machine are refused.
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, afterEach, expect, test, vi } from "vitest";
import { fetchPicture } from "../../src/serve/image-hosts.node.ts";

/** The port of the server that stands for images.example.org. */
const internet = vi.hoisted(() => ({ port: 0 }));

// Other files of this process have the module as it is, before and after.
vi.hoisted(() => vi.resetModules());
vi.mock("node:http", async (importOriginal) => {
  const http = await importOriginal<typeof import("node:http")>();
  const request = (url: URL, { lookup: _, ...options }: object & { lookup?: unknown }, then: () => void) =>
    http.request(new URL(url.pathname, `http://127.0.0.1:${internet.port}`), options, then);
  return { ...http, request };
});

const LIMITS = { allowed: ["images.example.org"], maxBytes: 1000, timeoutMs: 60_000 };
const servers: Server[] = [];

async function fetched(listener: RequestListener, limits = LIMITS): Promise<Uint8Array> {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  internet.port = (server.address() as AddressInfo).port; // it listens on a port
  return fetchPicture(new URL("http://images.example.org/x.png"), limits, new AbortController().signal);
}

afterAll(() => {
  vi.doUnmock("node:http");
  vi.resetModules();
});

afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

test("a picture arrives as it is", async () => {
  const bytes = await fetched((_, response) => response.end(Buffer.from([1, 2, 3])));
  expect([...bytes]).toEqual([1, 2, 3]);
});

test.each([301, 302, 303, 307, 308])(
  "a redirect by %i is not followed, to a private address or any other",
  async (status) => {
    const asked: (string | undefined)[] = [];
    const answer = fetched(({ url }, response) => {
      asked.push(url);
      response.writeHead(status, { location: "http://169.254.169.254/latest/" }).end();
    });
    await expect(answer).rejects.toMatchObject({ status: 400, message: expect.stringContaining("it redirects") });
    expect(asked).toEqual(["/x.png"]);
  },
);

test.each<[what: string, why: string, listener: RequestListener]>([
  ["another status", "status 404", (_, response) => response.writeHead(404).end()],
  ["more bytes than allowed", "larger than 1000 bytes", (_, response) => response.end(Buffer.alloc(1001))],
  [
    "bytes without an end",
    "larger than 1000 bytes",
    (_, response) => void setInterval(() => response.write("x".repeat(400)), 5).unref(),
  ],
  ["a connection that breaks", "could not be fetched", ({ socket }) => void socket.destroy()],
])("%s is an error of the request", async (_, why, listener) => {
  await expect(fetched(listener)).rejects.toMatchObject({ status: 400, message: expect.stringContaining(why) });
});

test.each<[what: string, why: string, listener: RequestListener]>([
  ["no answer", "no answer in 0.3 s", () => undefined],
  ["an answer that stops", "could not be fetched", (_, response) => void response.write("x")],
])("%s is an error of the request after the time limit", async (_, why, listener) => {
  const answer = fetched(listener, { ...LIMITS, timeoutMs: 300 });
  await expect(answer).rejects.toMatchObject({ status: 400, message: expect.stringContaining(why) });
});
