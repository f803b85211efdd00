// The application without a model: who is let in, and that nothing is kept of a request.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterEach, expect, test, vi } from "vitest";
import { InputError } from "../../src/errors.ts";
import { type AppOptions, createApp } from "../../src/serve/app.ts";
import { ChatService } from "../../src/serve/chat-service.ts";
import { listen } from "../../src/serve/listen.node.ts";

const KEY = "a-secret.key";

const options: AppOptions = {
  service: Object.create(ChatService.prototype), // nothing here asks it
  modelId: "model",
  admission: { maxRunning: 1, maxWaiting: 1, maxPerClient: 1, timeoutMs: 1000 },
  limits: { maxNewTokens: 1, maxPictures: 1 },
  pictures: { decode: () => Promise.reject(new Error()), fetch: () => Promise.reject(new Error()) },
  maxBodyBytes: 1000,
  apiKey: KEY,
  hosts: [],
  origins: [],
  logsPrompts: false,
  log: () => undefined,
  clientOf: () => "one",
};

const ask = (headers: Readonly<Record<string, string>>, method = "GET", app = createApp(options)) =>
  app.fetch(new Request("http://127.0.0.1/v1/models", { method, headers: { host: "127.0.0.1", ...headers } }));

afterEach(() => {
  vi.restoreAllMocks();
});

test("keys are compared by their digests, whose comparison takes the same time whatever was sent", async () => {
  const digest = vi.spyOn(crypto.subtle, "digest");
  for (const sent of ["x", KEY.slice(0, -1), KEY]) {
    digest.mockClear();
    const { status } = await ask({ authorization: `Bearer ${sent}` });
    expect(status).toBe(sent === KEY ? 200 : 401);
    const digested = digest.mock.calls.map(([name, data]) => [name, new TextDecoder().decode(data as Uint8Array)]); // the package's texts
    const names = digested.map(([name]) => JSON.stringify(name));
    expect(new Set(names).size).toBe(1);
    expect(names[0]).toMatch(/SHA-256/i);
    expect(digested.map(([, text]) => text).sort()).toEqual([KEY, sent].sort());
  }
});

test("without --allow-origins no answer has a header of CORS, to a preflight of an own page neither", async () => {
  const app = createApp({ ...options, apiKey: undefined });
  const origin = "http://127.0.0.1";
  for (const [method, status] of [
    ["GET", 200],
    ["OPTIONS", 404],
  ] as const) {
    const response = await ask({ origin, "access-control-request-method": "POST" }, method, app);
    expect(response.status).toBe(status);
    expect(response.headers.has("strict-transport-security")).toBe(false); // for the proxy in front to say
    expect([...response.headers.keys()].filter((name) => name.startsWith("access-control-"))).toEqual([]);
  }
});

test("nothing is kept of requests that are over", async () => {
  setFlagsFromString("--expose-gc");
  const collect: () => void = runInNewContext("gc");
  const heapMiB = async () => {
    for (let round = 0; round < 3; round++) {
      collect();
      await new Promise((resolve) => setTimeout(resolve, 50)); // finalizers run
    }
    return process.memoryUsage().heapUsed / 2 ** 20;
  };
  const answer = () => Promise.reject(new InputError("It is refused."));
  const app = createApp({
    ...options,
    apiKey: undefined,
    maxBodyBytes: 2 ** 22,
    service: Object.create(ChatService.prototype, { answer: { value: answer } }),
  });
  const limits = { headersTimeoutMs: 1e4, requestTimeoutMs: 6e4, readTimeoutMs: 6e4, keepAliveTimeoutMs: 5000 };
  const server = await listen(app, { host: "127.0.0.1", port: 0, maxHeaderBytes: 16_384, ...limits });
  const ask = async (index: number) => {
    const messages = [{ role: "user", content: String(index).repeat(2 ** 20) }];
    const body = JSON.stringify({ messages, stream: index % 2 === 0 });
    const response = await fetch(`${server.url}/v1/chat/completions`, { method: "POST", body });
    expect([response.status, await response.text()]).toEqual([400, expect.stringContaining("It is refused.")]);
  };
  for (let index = 0; index < 10; index++) await ask(index);
  const before = await heapMiB();
  for (let index = 0; index < 60; index++) await ask(index % 10);
  expect((await heapMiB()) - before).toBeLessThan(20); // the requests have 60 MiB
  await server.close(0);
});
