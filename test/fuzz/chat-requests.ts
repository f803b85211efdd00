// Fuzzing of what clients send to `adaptvis serve`: bodies, fields, pictures, headers, paths and framing, some of which end early.

import { createRandom, type Random } from "../reference/random.ts";
import { answersIn, exchange, fuzzedServer, KEY, meaningOf, type Sending } from "./chat-server.ts";
import { defineKind } from "./kind.ts";
import {
  brokenJson,
  chance,
  mutateBytes,
  mutateJson,
  mutateText,
  pick,
  rewriteJson,
  TEXTS,
  writeJson,
} from "./mutate.ts";
import { PICTURES } from "./pictures.ts";

/** A request. */
interface Request extends Sending {
  readonly method: string;
  readonly path: string;
  /** Lines of the head beside Host, the key, the type and the length; a name that is one of these replaces it, and null leaves it out. */
  readonly headers?: Readonly<Record<string, string | null>>;
  readonly body?: string;
  /** The encoding of its characters; UTF-8 unless given. */
  readonly encoding?: "latin1" | "utf16le";
  readonly isChunked?: boolean;
  /** All bytes of the request in base64, in place of what is above. */
  readonly raw?: string;
}

const CHAT = "/v1/chat/completions";
const PNG = dataUri("png-rgb");

function dataUri(name: string): string {
  return `data:image/${name.split("-")[0]};base64,${PICTURES[name]}`;
}

const ask = (text: string, url = PNG) => ({
  role: "user",
  content: [
    { type: "image_url", image_url: { url, detail: "auto" } },
    { type: "text", text },
  ],
});
const HELLO = { role: "user", content: "Hello" };

/** Right bodies of every form. */
const BODIES: readonly object[] = [
  { model: "tiny-spatial", messages: [HELLO], max_tokens: 3, temperature: 1.2, top_p: 0.9, seed: 7, user: "me" },
  { messages: [ask("Where is the mug?")], max_completion_tokens: 3, logprobs: true, top_logprobs: 2, stop: ["x", "y"] },
  {
    messages: [ask("Where?"), { role: "assistant", content: "Left" }, HELLO],
    stream: true,
    stream_options: { include_usage: true },
    n: 1,
  },
  { messages: [ask("Where?")], response_format: { type: "choice", choices: ["Left", "Right", "On"] }, logprobs: true },
  {
    messages: [ask("Where?", dataUri("jpeg-rgb"))],
    adaptvis: {
      intervention: "adaptvis",
      alpha1: 0.5,
      alpha2: 1.2,
      beta: 0.3,
      layers: [0, 1],
      heatmap: true,
      attention: { layers: [1, 2], heads: [0, 3], tokens: [0, 1] },
    },
    stream: false,
    frequency_penalty: 0,
    presence_penalty: 0,
    logit_bias: {},
    tools: [],
  },
  { messages: [ask("Where?")], adaptvis: { intervention: "scaling", factor: 0.5, patches: [1, 2], rows: "last" } },
  { messages: [HELLO], stream: true, stop: "p", adaptvis: { intervention: "greedy" }, max_tokens: 4 },
];
const KEYS =
  "model messages role content type text image_url url detail max_tokens max_completion_tokens temperature top_p seed stop n logprobs top_logprobs stream stream_options include_usage response_format choices json_schema schema strict frequency_penalty presence_penalty logit_bias tools functions tool_calls user adaptvis intervention factor alpha1 alpha2 beta layers heads tokens attention heatmap patches box rows strengths randomHeads headSeed gate settings maxNewTokens method read write signal onToken sampling topK kvDtype reusePrefix confidence continuations".split(
    " ",
  );
const METHODS = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "CONNECT", "post", "BREW", ""];
const PATHS = [
  ...[CHAT, "/", "/health", "/metrics", "/v1/models", "/openapi.json", "/page.js", "/v1/chat/completions/", "//"],
  ...["/v1/completions", "/v1/../v1/models", "/%", "/%00", "/%2e%2e/%2e%2e/etc/passwd", `/${"a".repeat(3000)}`, "*"],
  ...["/v1/models?x=<script>", "http://evil.example/health", "/%ff%fe", "/\u001b[2J", "/__proto__", "/\u00e9", "x"],
];
const HEADERS: Readonly<Record<string, readonly (string | null)[]>> = {
  host: ["evil.example", "", "127.0.0.1:99999", "[::1", "a@b", "localhost\t", "LOCALHOST", "x".repeat(2000), null],
  authorization: ["Bearer", "Bearer x", `bearer ${KEY}`, `Basic ${KEY}`, `Bearer ${KEY} `, "Bearer \u00e9", null],
  origin: ["null", "https://evil.example", "https://allowed.example", "x", "", "http://127.0.0.1"],
  "content-type": ["text/plain", "multipart/form-data; boundary=x", "application/json; charset=utf-16", "", null],
  "content-length": ["0", "-1", "1", "99999999999999999999", "0x10", "3, 3", "1e3", null],
  "transfer-encoding": ["chunked", "gzip, chunked", "identity", "chunked, chunked", "xchunked"],
  "content-encoding": ["gzip", "br", "zzz", "deflate"],
  "x-adaptvis": ["{", "null", "[]", '{"intervention":"adaptvis"}', '{"heatmap":true}', '{"attention":{}}', "\u00e9"],
  "x-request-id": ["x".repeat(5000), "a b", "\u001b[2J", "../../x", "<script>", "id-1"],
  expect: ["100-continue", "x"],
  upgrade: ["websocket", "h2c"],
  connection: ["upgrade", "keep-alive, close", "x"],
  accept: ["text/event-stream", "", "x".repeat(3000)],
  cookie: ["a=b; ".repeat(300)],
  "x-large": ["x".repeat(15_000), "x".repeat(20_000)],
  range: ["bytes=0-1"],
  "access-control-request-method": ["POST"],
};

/** A greedy answer to a picture, and its logarithms. */
const FIXED: Request = { method: "POST", path: CHAT, body: JSON.stringify(BODIES[1]) };

export const chatRequests = defineKind<Request>({
  name: "chat",
  maxCpuMs: 60_000, // a method of its own compiles kernels, which software adapters take seconds for
  make(random) {
    if (chance(random, 1, 12)) return { input: sameRequest(random), sameAs: FIXED };
    return { input: request(random) };
  },
  async run(input) {
    const server = await fuzzedServer();
    server.takeFailures();
    const bytes = await exchange(server.port, bytesOf(input), input);
    const [failure] = server.takeFailures();
    if (failure?.error instanceof Error) throw failure.error;
    if (bytes === undefined) return "the client is gone";
    const answers = answersIn(bytes);
    // A request that is cut in two may have two answers; the first refusal tells.
    return answers.map(meaningOf).join("\n");
  },
});

/** The right request in another form. */
function sameRequest(random: Random): Request {
  const body = rewriteJson(BODIES[1], random);
  const headers = { "X-Other": "x".repeat(random.integer(100)), ACCEPT: "*/*", "content-type": "Application/JSON" };
  return {
    ...FIXED,
    body,
    ...(chance(random, 1, 2) && { headers }),
    isChunked: chance(random, 1, 2),
    pieces: 1 + random.integer(5),
  };
}

function request(random: Random): Request {
  const body = pick(random, BODIES);
  const chat = { method: "POST", path: CHAT };
  const changed = () => writeJson(mutateJson(body, random, KEYS));
  const kinds: readonly (() => Request)[] = [
    () => ({ ...chat, body: changed() }),
    () => ({ ...chat, body: changed() }),
    () => ({ ...chat, body: changed() }),
    () => ({ ...chat, body: changed(), isChunked: true, pieces: 3 }),
    () => ({ ...chat, body: brokenJson(JSON.stringify(body), random) }),
    () => ({ ...chat, body: JSON.stringify({ messages: [ask(text(random), pictureUri(random))] }) }),
    () => ({ ...chat, body: JSON.stringify({ messages: [ask(text(random), pictureUri(random)), HELLO] }) }),
    () => ({ ...chat, body: JSON.stringify({ messages: [{ role: "user", content: text(random) }], max_tokens: 2 }) }),
    () => ({ ...chat, body: JSON.stringify(body), headers: headers(random) }),
    () => ({ ...chat, body: JSON.stringify(BODIES[0]), headers: { "x-adaptvis": headerJson(random) } }),
    () => ({ method: pick(random, METHODS), path: path(random), body: chance(random, 1, 2) ? changed() : "" }),
    () => framed(body, random),
    () => framed(body, random),
  ];
  return pick(random, kinds)();
}

/** Requests that end early, lie about their length, have other characters, or of which some bytes differ. */
function framed(body: object, random: Random): Request {
  const whole: Request = { method: "POST", path: CHAT, body: JSON.stringify(body) };
  const kinds: readonly (() => Request)[] = [
    () => ({ ...whole, end: random.integer(900), ending: "close", isChunked: chance(random, 1, 2) }),
    () => ({ ...whole, end: random.integer(900), ending: "break", isChunked: chance(random, 1, 2) }),
    () => ({ ...whole, ending: "break" }),
    () => ({
      ...whole,
      encoding: pick(random, ["latin1", "utf16le"]),
      body: writeJson({ ...body, user: "é\u{1f600}" }),
    }),
    () => {
      const bytes = mutateBytes(Uint8Array.from(bytesOf(whole)), random);
      return { ...whole, raw: Buffer.from(bytes).toString("base64"), body: "", ending: "close" };
    },
    () => ({ ...whole, headers: headers(random), body: mutateText(whole.body ?? "", random), ending: "close" }),
  ];
  // Silence takes as long as the server's patience.
  if (chance(random, 1, 40)) return { ...whole, end: random.integer(900), ending: "silence" };
  return pick(random, kinds)();
}

function text(random: Random): string {
  return pick(random, [
    () => pick(random, TEXTS),
    () => mutateText("Where is the mug?", random),
    () => "a ".repeat(3000),
  ])();
}

function path(random: Random): string {
  return chance(random, 1, 2) ? pick(random, PATHS) : mutateText(pick(random, PATHS), random);
}

function headers(random: Random): Record<string, string | null> {
  const name = pick(random, Object.keys(HEADERS));
  const value = pick(random, HEADERS[name] ?? [""]);
  return { [name]: value !== null && chance(random, 1, 4) ? mutateText(value, random) : value };
}

function headerJson(random: Random): string {
  const value = mutateJson({ intervention: "scaling", factor: 0.5, heatmap: false }, random, KEYS);
  return writeJson(value).slice(0, 3000);
}

function pictureUri(random: Random): string {
  const name = pick(random, Object.keys(PICTURES));
  const bytes = Uint8Array.from(Buffer.from(PICTURES[name] ?? "", "base64"));
  const kinds: readonly (() => string)[] = [
    () => mutateText(dataUri(name), random, ["data:", ";base64", ",", "%", "=", "image/svg+xml", "\u0000", "é"]),
    () => `data:image/png;base64,${Buffer.from(mutateBytes(bytes, random)).toString("base64")}`,
    () => `data:;base64,${PICTURES[name]}`,
    () =>
      pick(random, [
        ...["http://localhost/", "http://localhost:1/x.png", "http://127.0.0.1/", "http://[::1]/", "http://0x7f.1/"],
        ...[
          "http://169.254.169.254/latest",
          "file:///etc/passwd",
          "ftp://localhost/",
          "javascript:0",
          "http://",
          "//x",
        ],
        ...["http://localhost@evil.example/", "http://a:b@localhost:1/", "HTTP://LOCALHOST:1/", "data:,x", "data:"],
      ]),
  ];
  return pick(random, kinds)();
}

/** All that is sent. */
function bytesOf(request: Request): Buffer {
  const { method, path, headers = {}, body = "", encoding = "utf8", isChunked = false, raw } = request;
  if (raw !== undefined) return Buffer.from(raw, "base64");
  const content = Buffer.from(body, encoding);
  const lines = new Map<string, string | null>([
    ["host", "127.0.0.1"],
    ["authorization", `Bearer ${KEY}`],
    ["connection", "close"],
    ["content-type", "application/json"],
    isChunked ? ["transfer-encoding", "chunked"] : ["content-length", String(content.length)],
  ]);
  for (const [name, value] of Object.entries(headers)) lines.set(name, value);
  const head = [...lines].map(([name, value]) => (value === null ? "" : `${name}: ${value}\r\n`)).join("");
  const sent = isChunked ? chunks(content) : content;
  return Buffer.concat([Buffer.from(`${method} ${path} HTTP/1.1\r\n${head}\r\n`, "utf8"), sent]);
}

function chunks(content: Buffer): Buffer {
  const random = createRandom(content.length);
  const parts: Buffer[] = [];
  for (let start = 0; start < content.length; ) {
    const part = content.subarray(start, start + 1 + random.integer(400));
    parts.push(Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from("\r\n"));
    start += part.length;
  }
  return Buffer.concat([...parts, Buffer.from("0\r\n\r\n")]);
}
