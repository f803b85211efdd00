// The server as OpenAI's own client sees it, and what it refuses.
import { readFile } from "node:fs/promises";
import { request } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import OpenAI from "openai";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { adaptvis, jsonOf, tinySpatial } from "../cli/command.ts";
import { type RunningServer, startServer } from "./server.ts";

const QUESTION = "Where is the mug in relation to the dog? Answer with left, right, on or under.";
const KEY = "a-secret.key";
const PICTURE = join(tinySpatial, "demo", "mug_left_of_dog.jpeg");

let server: RunningServer;
let client: OpenAI;
let picture: string;

beforeAll(async () => {
  picture = `data:image/jpeg;base64,${(await readFile(PICTURE)).toString("base64")}`;
  server = await startServer(
    "--api-key",
    KEY,
    "--max-per-client",
    "40",
    "--max-waiting",
    "40",
    "--max-pixels",
    "1000000",
  );
  client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: KEY, maxRetries: 0 });
});

afterAll(async () => {
  expect(await server.stop()).toBe(0);
});

type Messages = OpenAI.Chat.ChatCompletionMessageParam[];

function about(url: string, text = QUESTION): Messages {
  return [
    {
      role: "user",
      content: [
        { type: "image_url", image_url: { url } },
        { type: "text", text },
      ],
    },
  ];
}

/** A request with the given headers, as no client of the platform's sends it. */
function raw(
  path: string,
  headers: Readonly<Record<string, string>>,
  body?: string,
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const sent = request(
      `${server.url}${path}`,
      { method: body === undefined ? "GET" : "POST", headers },
      (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (part: string) => {
          text += part;
        });
        response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
      },
    );
    sent.on("error", reject);
    sent.end(body);
  });
}

const keyed = { authorization: `Bearer ${KEY}`, "content-type": "application/json" };
const post = (body: unknown, headers: Readonly<Record<string, string>> = {}) =>
  raw("/v1/chat/completions", { ...keyed, ...headers }, typeof body === "string" ? body : JSON.stringify(body));

describe("OpenAI's client", () => {
  test("gets the answer that the command gives, with usage and the model's name", async () => {
    const command = jsonOf(await adaptvis("ask", "--json", "--image", PICTURE, QUESTION));
    const answer = await client.chat.completions.create({ model: "tiny-spatial", messages: about(picture) });
    expect(answer.choices[0]?.message.content).toBe(command.answer);
    expect(answer.choices[0]?.finish_reason).toBe("stop");
    const { promptTokens } = command;
    expect(answer.usage).toMatchObject({
      prompt_tokens: promptTokens,
      completion_tokens: 2,
      total_tokens: 2 + Number(promptTokens),
    });
    expect((await client.models.list()).data.map(({ id }) => id)).toEqual(["tiny-spatial"]);
  });

  test("streams the same text, with usage at the end and log-probabilities", async () => {
    const asked = { model: "tiny-spatial", messages: about(picture), logprobs: true, top_logprobs: 2 } as const;
    const whole = await client.chat.completions.create(asked);
    const stream = await client.chat.completions.create({
      ...asked,
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? "").join("")).toBe(
      whole.choices[0]?.message.content,
    );
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: 2 } });
    expect(chunks.slice(0, -1).every(({ usage }) => usage === null)).toBe(true);
    expect(chunks.flatMap(({ choices }) => choices[0]?.logprobs?.content ?? [])).toEqual(
      whole.choices[0]?.logprobs?.content,
    );
    const [first] = whole.choices[0]?.logprobs?.content ?? [];
    expect(first?.top_logprobs).toHaveLength(2);
    expect(Buffer.from(first?.bytes ?? []).toString()).toBe(first?.token);
  });

  test("several turns, a stop text, a limit, a seed", async () => {
    const turns: Messages = [
      ...about(picture),
      { role: "assistant", content: "Left" },
      { role: "user", content: "And now?" },
    ];
    const longer = await client.chat.completions.create({ model: "", messages: turns, max_tokens: 3 });
    expect(longer.choices[0]).toMatchObject({ finish_reason: "length" });
    const full = longer.choices[0]?.message.content ?? "";
    const [firstWord = ""] = full.split(" ");
    const stopped = await client.chat.completions.create({
      model: "",
      messages: turns,
      max_tokens: 3,
      stop: firstWord,
    });
    expect(stopped.choices[0]).toMatchObject({ finish_reason: "stop", message: { content: "" } });
    const drawn = { model: "", messages: turns, max_completion_tokens: 6, temperature: 1.5, seed: 7 };
    const [one, two] = [await client.chat.completions.create(drawn), await client.chat.completions.create(drawn)];
    expect(one.choices[0]?.message.content).toBe(two.choices[0]?.message.content);
  });

  test("choices: the answer is one of them", async () => {
    const format = { type: "choice", choices: ["Beneath the table", "Under", "Right"] };
    const body = { messages: about(picture), response_format: format, logprobs: true };
    const { status, text } = await post(body);
    expect(status).toBe(200);
    const [choice] = JSON.parse(text).choices;
    expect(format.choices).toContain(choice.message.content);
    expect(choice.finish_reason).toBe("stop");
  });

  test("intervention, heat map, attention: in the body, in a header, and in a stream's last event", async () => {
    const adaptvisField = {
      intervention: "scaling",
      factor: 0.5,
      heatmap: true,
      attention: { layers: [1, 2], heads: [0, 3], tokens: [0, 1] },
    };
    const body = { messages: about(picture), max_tokens: 4 };
    const command = jsonOf(
      await adaptvis("ask", "--json", "--image", PICTURE, "--factor", "0.5", "--layer", "2", QUESTION),
    );
    const told = JSON.parse((await post({ ...body, adaptvis: adaptvisField })).text).adaptvis;
    const { share } = Object(command.attention);
    expect(told).toMatchObject({ intervention: "scaling", factor: 0.5, confidence: command.confidence });
    expect(told.image_share).toHaveLength(4);
    expect(told.image_share[2]).toBeCloseTo(share, 6);
    expect(told.heatmap).toMatch(/^data:image\/png;base64,iVBOR/);
    expect(told.attention.map(({ token, layer, head }: Record<string, number>) => [token, layer, head])).toEqual([
      [0, 1, 0],
      [0, 1, 3],
      [1, 1, 0],
      [1, 1, 3],
      [0, 2, 0],
      [0, 2, 3],
      [1, 2, 0],
      [1, 2, 3],
    ]);
    for (const { values, share: own } of told.attention) {
      expect(values).toHaveLength(64);
      expect(values.reduce((sum: number, value: number) => sum + value, 0)).toBeCloseTo(own, 5);
    }
    // Of a picture that the model sees cropped, the whole is drawn.
    const wide = await sharp({ create: { width: 90, height: 60, channels: 3, background: "#808080" } })
      .png()
      .toBuffer();
    const wideBody = {
      messages: about(`data:image/png;base64,${wide.toString("base64")}`),
      adaptvis: { heatmap: true },
    };
    expect(JSON.parse((await post(wideBody)).text).adaptvis.heatmap).toMatch(/^data:image\/png;base64,iVBOR/);
    const header = { "x-adaptvis": JSON.stringify({ intervention: "scaling", factor: 0.5 }) };
    expect(JSON.parse((await post(body, header)).text).adaptvis).toMatchObject({ factor: 0.5, heatmap: null });
    const { text } = await post({ ...body, stream: true, adaptvis: adaptvisField });
    const events = text.split("\n\n").filter((event) => event !== "");
    expect(events.at(-1)).toBe("data: [DONE]");
    expect(JSON.parse(events.at(-2)?.slice(6) ?? "").adaptvis).toEqual(told);
  });

  test("16 clients at once get the answers that they get alone", async () => {
    const words = ["mug", "dog", "cup", "ball", "book", "hat", "car", "cat"];
    const asked = words.flatMap((word) => [
      { model: "", max_tokens: 12, messages: about(picture, `Where is the ${word}?`) },
      {
        model: "",
        max_tokens: 12,
        messages: about(picture, `What is beside the ${word}?`),
        adaptvis: { intervention: "scaling", factor: 0.5 },
      },
    ]);
    const answerOf = async (body: (typeof asked)[number]) =>
      (await client.chat.completions.create(body)).choices[0]?.message.content;
    const alone: unknown[] = [];
    for (const body of asked) alone.push(await answerOf(body));
    expect(await Promise.all(asked.map(answerOf))).toEqual(alone);
  });

  test("a client that goes away in the middle of a stream leaves the server free", async () => {
    const stop = new AbortController();
    const stream = await client.chat.completions.create(
      { model: "", messages: [{ role: "user", content: "Hello" }], max_tokens: 400, stream: true },
      { signal: stop.signal },
    );
    for await (const _ of stream) stop.abort();
    await expect.poll(async () => (await raw("/metrics", keyed)).text).toMatch(/^adaptvis_requests_running 0$/m);
  });
});

describe("what is refused, in one sentence with the right status", () => {
  const hello = [{ role: "user", content: "Hello" }];

  test.each([
    ["no messages", { messages: [] }, 400, /^messages: /],
    ["a role that is none", { messages: [{ role: "x", content: "" }] }, 400, /^messages\.0\.role: /],
    ["tools", { messages: hello, tools: [{}] }, 400, /^tools: /],
    ["two answers", { messages: hello, n: 2 }, 400, /^n: /],
    ["a penalty", { messages: hello, presence_penalty: 1 }, 400, /^presence_penalty: /],
    ["another model", { messages: hello, model: "gpt-5" }, 404, /^model: /],
    ["a schema", { messages: hello, response_format: { type: "json_schema" } }, 400, /^response_format /],
    ["an unknown intervention", { messages: hello, adaptvis: { intervention: "x" } }, 400, /^method must be one of/],
    [
      "a setting that is none",
      { messages: hello, adaptvis: { intervention: "scaling", alpha1: 1 } },
      400,
      /^alpha1 is not a setting/,
    ],
    [
      "a heat map of no picture",
      { messages: hello, adaptvis: { heatmap: true } },
      400,
      /^adaptvis\.heatmap: there is no picture/,
    ],
    ["a picture that is none", { messages: about("data:image/png;base64,AAAA") }, 400, /picture/],
    ["a picture that is not base64", { messages: about("data:image/png;base64,§") }, 400, /not valid base64/],
    ["file:", { messages: about("file:///etc/passwd") }, 400, /must be a data URI or an http\(s\) address/],
    ["the metadata of a cloud", { messages: about("http://169.254.169.254/latest/") }, 400, /are not allowed here/],
    ["a template in a role", { messages: [{ role: "{{ 7*7 }}", content: "" }] }, 400, /^messages\.0\.role: /],
    ["no JSON", "{", 400, /not valid JSON/],
  ] as const)("%s", async (_, body, status, message) => {
    const answer = await post(body);
    const { error } = JSON.parse(answer.text);
    expect({ status: answer.status, message: error.message }).toEqual({
      status,
      message: expect.stringMatching(message),
    });
    expect(answer.text).not.toContain(".ts:");
  });

  test("a picture of 50,000 × 50,000 pixels, before it is decoded", async () => {
    const header = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAAAAAAACAIAAAA=", "base64");
    header.writeUInt32BE(50_000, 16);
    header.writeUInt32BE(50_000, 20);
    const answer = await post({ messages: about(`data:image/png;base64,${header.toString("base64")}`) });
    expect({ status: answer.status, text: answer.text }).toEqual({
      status: 400,
      text: expect.stringMatching(/50000 × 50000|pixels/),
    });
  });

  test("no key, a wrong key", async () => {
    expect((await raw("/v1/models", {})).status).toBe(401);
    const { status, text } = await raw("/v1/models", { authorization: "Bearer x" });
    expect([status, JSON.parse(text).error]).toEqual([401, expect.objectContaining({ type: "authentication_error" })]);
    expect((await raw("/health", {})).text).toBe('{"status":"ok"}');
  });

  test("a foreign Host, a foreign Origin", async () => {
    expect(await raw("/health", { host: "evil.example" })).toMatchObject({
      status: 403,
      text: expect.stringContaining("evil.example"),
    });
    expect(await raw("/health", { origin: "https://evil.example" })).toMatchObject({ status: 403 });
    expect(await raw("/health", { origin: server.url })).toMatchObject({ status: 200 });
  });

  test("headers of 10 MB, a body of 40 MB", async () => {
    const { hostname, port } = new URL(server.url);
    const answerTo = (numBytes: number) =>
      new Promise<string>((resolve) => {
        const socket = connect(Number(port), hostname, () => {
          socket.write(`GET /health HTTP/1.1\r\nHost: ${hostname}\r\nx: ${"x".repeat(numBytes)}\r\n\r\n`);
        });
        let text = "";
        socket.on("data", (part) => {
          text += part;
        });
        socket.on("error", () => undefined); // the server closes before all of it is written
        socket.on("close", () => resolve(text));
      });
    expect(await answerTo(20_000)).toMatch(/^HTTP\/1\.1 431 /);
    expect(await answerTo(10_000_000)).not.toContain("200 OK");
    const large = JSON.stringify({ messages: hello, padding: "x".repeat(40_000_000) });
    const refused = await fetch(`${server.url}/v1/chat/completions`, {
      method: "POST",
      headers: keyed,
      body: large,
    }).then(
      ({ status }) => status,
      () => "closed", // likewise
    );
    expect([413, "closed"]).toContain(refused);
    expect((await raw("/health", {})).status).toBe(200);
  });

  test("and the log has no words of any request", () => {
    const lines = server
      .log()
      .split("\n")
      .filter((line) => line.startsWith("{"));
    expect(lines.length).toBeGreaterThan(20);
    expect(lines.join("\n")).not.toMatch(/Hello|Where is the mug/);
    expect(lines.filter((line) => line.includes('"level":50'))).toEqual([]);
  });
});

test("the description names every path, and the page needs nothing from elsewhere", async () => {
  const { text } = await raw("/openapi.json", keyed);
  expect(Object.keys(JSON.parse(text).paths).sort()).toEqual([
    "/health",
    "/metrics",
    "/v1/chat/completions",
    "/v1/models",
  ]);
  const page = await raw("/", {});
  expect(page.status).toBe(200);
  expect(page.text).not.toMatch(/https?:\/\//);
  expect((await raw("/page.js", {})).status).toBe(200);
});
