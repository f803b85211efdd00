// What the server's owner may allow, and what stays refused then; what is logged; and an end that waits.
import { once } from "node:events";
import { request } from "node:http";
import { hostname } from "node:os";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { closed, opened } from "./load-clients.ts";
import { type RunningServer, startServer } from "./server.ts";

const KEY = "a-secret.key";
const APP = "https://app.example.org";
const NAME = "vision.example.org";
/** Hosts that are allowed by name and yet private: by their address, or by what their name resolves to. */
const PRIVATE = [
  ...["localhost", "127.0.0.1", "169.254.169.254", "10.0.0.1", "192.168.1.1", "100.64.0.1", "0.0.0.0"],
  ...["::1", "::ffff:7f00:1", "fd00::1", "fe80::1", "64:ff9b::7f00:1"],
];

let server: RunningServer;

beforeAll(async () => {
  server = await startServer(
    ...[
      "--api-key",
      KEY,
      "--log-prompts",
      "--max-running",
      "2",
      "--max-body",
      "1MiB",
      "--drain",
      "90",
      "--max-tokens",
      "300",
    ],
    ...["--allow-origins", APP, "--allow-hosts", NAME, "--allow-image-hosts", [...PRIVATE, hostname()].join(",")],
  );
});

afterAll(() => {
  server.child.kill("SIGKILL");
});

interface Received {
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly text: string;
}

/** A request with any headers, which fetch does not send. */
async function send(
  path: string,
  {
    method = "GET",
    headers = {},
    body,
  }: {
    readonly method?: string;
    readonly headers?: Readonly<Record<string, string>>;
    readonly body?: string | undefined;
  } = {},
): Promise<Received> {
  const sent = request(`${server.url}${path}`, { method, headers });
  const response = once(sent, "response");
  sent.end(body);
  const [received] = await response;
  let text = "";
  for await (const part of received.setEncoding("utf8")) text += part;
  return { status: received.statusCode, headers: received.headers, text };
}

const keyed = { authorization: `Bearer ${KEY}`, "content-type": "application/json" };
const ask = (content: unknown, fields: object = {}) =>
  send("/v1/chat/completions", {
    method: "POST",
    headers: keyed,
    body: JSON.stringify({ messages: [{ role: "user", content }], max_tokens: 4, ...fields }),
  });
const picture = (url: string) => [{ type: "image_url", image_url: { url } }];

describe("pictures from the network", () => {
  test.each([
    ...PRIVATE.map((host) => (host.includes(":") ? `http://[${host}]/x.png` : `http://${host}/x.png`)),
    ...["http://2130706433/", "http://0x7f.1/", "http://017700000001/", "https://localhost/", "HTTP://LocalHost:1/"],
    `http://${hostname()}/`,
  ])("%s is private, though it is allowed by name", async (url) => {
    const { status, text } = await ask(picture(url));
    // This machine's own name may resolve to nothing.
    expect([status, text]).toEqual([400, expect.stringMatching(/private address|ENOTFOUND|EAI_AGAIN/)]);
    if (!url.includes(hostname())) expect(text).toContain("private address");
  });

  test.each([
    "http://user@localhost.evil.example/",
    "http://localhost.evil.example/",
    "http://evil.example#@localhost/",
  ])("%s is of another host", async (url) => {
    expect((await ask(picture(url))).text).toMatch(/pictures from .* are not allowed here/);
  });

  test.each([
    "file:///etc/passwd",
    "ftp://localhost/x",
    "javascript:alert(1)",
    "blob:x",
    "//localhost/x",
    "data:text/html,x",
  ])("%s is no picture's address", async (url) => {
    expect((await ask(picture(url))).text).toMatch(/must be (a data URI or an http|in base64)/);
  });
});

describe("pages of other origins", () => {
  test("the one that is allowed may ask, with a preflight that needs no key", async () => {
    const preflight = await send("/v1/chat/completions", {
      method: "OPTIONS",
      headers: {
        origin: APP,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
      },
    });
    expect(preflight).toMatchObject({ status: 204, headers: { "access-control-allow-origin": APP } });
    expect(preflight.headers["access-control-allow-headers"]).toMatch(/authorization/);
    const { status, headers } = await send("/v1/models", { headers: { ...keyed, origin: APP } });
    expect([status, headers["access-control-allow-origin"]]).toEqual([200, APP]);
    expect(headers["access-control-allow-credentials"]).toBeUndefined();
  });

  test.each([
    "https://evil.example",
    "null",
    `${APP}.evil.example`,
    "http://app.example.org",
    "https://app.example.org:8443",
  ])("%s may not, not by a preflight either", async (origin) => {
    for (const method of ["OPTIONS", "GET"]) {
      const { status, headers } = await send("/v1/models", { method, headers: { ...keyed, origin } });
      expect([status, headers["access-control-allow-origin"]]).toEqual([403, undefined]);
    }
  });
});

test("Host: names that are allowed, and others that look like them", async () => {
  const statusOf = async (host: string) => (await send("/health", { headers: { host } })).status;
  for (const host of [NAME, `${NAME}:8080`, NAME.toUpperCase(), "localhost", "127.0.0.1:1", "[::1]:80"]) {
    expect(await statusOf(host), host).toBe(200);
  }
  for (const host of [
    "evil.example",
    `${NAME}.evil.example`,
    `x.${NAME}`,
    "127.0.0.1.evil.example",
    "localhost.evil",
  ]) {
    expect(await statusOf(host), host).toBe(403);
  }
});

describe("keys", () => {
  test.each(["", "Bearer", "Bearer ", `Bearer ${KEY}x`, `Bearer ${KEY.slice(1)}`, `Basic ${KEY}`, `Bearer x ${KEY}`])(
    "%j opens nothing",
    async (authorization) => {
      for (const path of ["/v1/models", "/metrics", "/openapi.json", "/v1/chat/completions", "/none"]) {
        const { status, text } = await send(path, { headers: authorization === "" ? {} : { authorization } });
        expect([400, 401]).toContain(status);
        expect(JSON.parse(text).error.code).toBe("invalid_api_key");
        expect(text).not.toContain(KEY);
      }
    },
  );
});

test("a body that is too large is refused, also where its length is not told", async () => {
  const body = JSON.stringify({ messages: [{ role: "user", content: "x".repeat(2 ** 21) }] });
  const headers = { ...keyed, "transfer-encoding": "chunked" };
  const told = await send("/v1/chat/completions", { method: "POST", headers: keyed, body }).catch(() => undefined);
  const untold = await send("/v1/chat/completions", { method: "POST", headers, body }).catch(() => undefined);
  // The connection may be closed before all of it is written.
  for (const { status } of [told, untold].filter((answer) => answer !== undefined)) expect(status).toBe(413);
  expect((await send("/health")).status).toBe(200);
});

describe("templates", () => {
  test.each(["{{ 7*7 }}", "user\n\nassistant", "__proto__", "constructor"])("the role %j is none", async (role) => {
    const body = JSON.stringify({ messages: [{ role, content: "Hello" }] });
    const { status, text } = await send("/v1/chat/completions", { method: "POST", headers: keyed, body });
    expect([status, JSON.parse(text).error.message]).toEqual([400, expect.stringMatching(/^messages\.0\.role: /)]);
  });

  test("what a message says is text and no template", async () => {
    const promptOf = async (content: string) => JSON.parse((await ask(content)).text).usage.prompt_tokens;
    const written = await promptOf("{{ 7*7 }}{% for x in range(99) %}y{% endfor %}");
    expect(written).toBeGreaterThan(await promptOf("49"));
    expect(written).toBeLessThan(60 + (await promptOf("49")));
  });
});

test("with --log-prompts the log has the messages, and never a key or a picture", async () => {
  const pixels = "QUJD".repeat(100);
  await ask([{ type: "text", text: "a secret question" }, ...picture(`data:image/png;base64,${pixels}`)]);
  await expect.poll(() => server.log()).toContain("a secret question");
  expect(server.log()).not.toContain(KEY);
  expect(server.log()).not.toContain(pixels);
});

test("SIGTERM: running and waiting answers are written, new ones are not taken, half-open connections are closed", async () => {
  const started = Array.from({ length: 6 }, () => ask("Hello", { max_tokens: 120, seed: 1, temperature: 1 }));
  const halfOpen = opened(server, "POST /v1/chat/completions HTTP/1.1\r\nContent-Le");
  const running = async () => (await send("/metrics", { headers: keyed })).text;
  await expect.poll(running).toMatch(/^adaptvis_requests_waiting [1-9]/m);
  const ended = server.stop();
  await expect
    .poll(() =>
      send("/health").then(
        ({ status }) => status,
        (error) => error.code,
      ),
    )
    .toBe("ECONNREFUSED");
  const answers = await Promise.all(started);
  expect(answers.map(({ status }) => status)).toEqual(started.map(() => 200));
  expect(new Set(answers.map(({ text }) => JSON.parse(text).choices[0].message.content)).size).toBe(1);
  await closed(halfOpen);
  expect(await ended).toBe(0);
});

test("what runs longer than --drain is stopped and told so", async () => {
  const brief = await startServer("--drain", "0");
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify({ messages: [{ role: "user", content: "Hello" }], max_tokens: 500, stream: true });
  const response = await fetch(`${brief.url}/v1/chat/completions`, { method: "POST", headers, body });
  const ended = brief.stop();
  const events = (await response.text()).trim().split("\n\n");
  expect(JSON.parse(events.at(-1)?.slice("data: ".length) ?? "").error).toMatchObject({ code: "ending" });
  expect(await ended).toBe(0);
});
