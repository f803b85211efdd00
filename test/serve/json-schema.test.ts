// response_format of the server: JSON of a schema, any object, and what is refused. Ajv 8 says whether an answer is valid.
import { Ajv2020 } from "ajv/dist/2020.js";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type RunningServer, startServer } from "./server.ts";

const SCHEMA = {
  type: "object",
  properties: {
    at: { enum: ["left", "right", "on", "under"] },
    n: { type: "integer", minimum: 0, maximum: 20 },
  },
  required: ["at", "n"],
  additionalProperties: false,
};
const FORMAT = { type: "json_schema", json_schema: { name: "place", strict: true, schema: SCHEMA } } as const;
const messages: OpenAI.Chat.ChatCompletionMessageParam[] = [{ role: "user", content: "Where is the mug?" }];
const validate = new Ajv2020().compile(SCHEMA);

let server: RunningServer;
let client: OpenAI;

beforeAll(async () => {
  server = await startServer("--max-per-client", "40", "--max-waiting", "40", "--max-tokens", "60");
  client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
});

afterAll(async () => {
  expect(await server.stop()).toBe(0);
});

test("an answer is JSON of the schema, whole and as a stream, alone and beside others", async () => {
  const asked = { model: "", messages, response_format: FORMAT } as const;
  const alone = await client.chat.completions.create(asked);
  expect(alone.choices[0]?.finish_reason).toBe("stop");
  const text = alone.choices[0]?.message.content ?? "";
  expect(validate(JSON.parse(text)), text).toBe(true);

  let streamed = "";
  for await (const chunk of await client.chat.completions.create({ ...asked, stream: true })) {
    streamed += chunk.choices[0]?.delta.content ?? "";
  }
  expect(streamed).toBe(text);

  const drawn = [1, 2, 3, 4, 5, 6].map((seed) => client.chat.completions.create({ ...asked, temperature: 1.5, seed }));
  const plain = client.chat.completions.create({ model: "", messages, max_tokens: 4 });
  for (const { choices } of await Promise.all(drawn)) {
    const content = choices[0]?.message.content ?? "";
    expect(choices[0]?.finish_reason, content).toBe("stop");
    expect(validate(JSON.parse(content)), content).toBe(true);
  }
  expect((await plain).choices[0]?.message.content?.startsWith("{")).toBe(false);
});

test("log-probabilities are those of the tokens that are allowed; others are not listed", async () => {
  const format = { type: "json_schema", json_schema: { name: "way", schema: { enum: ["left", "right"] } } } as const;
  const { choices } = await client.chat.completions.create({
    ...{ model: "", messages, response_format: format, logprobs: true, top_logprobs: 20 },
    max_tokens: 40,
  });
  const content = choices[0]?.logprobs?.content ?? [];
  expect(JSON.parse(choices[0]?.message.content ?? "")).toMatch(/^(left|right)$/);
  for (const { top_logprobs: top } of content) {
    expect(top.every(({ logprob }) => Number.isFinite(logprob) && logprob > -1000)).toBe(true);
    expect(top.reduce((sum, { logprob }) => sum + Math.exp(logprob), 0)).toBeCloseTo(1, 2);
  }
});

test("json_object: the answer begins as an object does, and ends with its length", async () => {
  const { choices } = await client.chat.completions.create({
    ...{ model: "", messages, response_format: { type: "json_object" }, max_tokens: 30, temperature: 1, seed: 1 },
  });
  const text = choices[0]?.message.content ?? "";
  expect(text).toMatch(/^\{("|\}$)/);
  if (choices[0]?.finish_reason === "stop") expect(typeof JSON.parse(text)).toBe("object");
});

test("with an intervention", async () => {
  const body = { model: "", messages, response_format: FORMAT, adaptvis: { intervention: "scaling", factor: 0.5 } };
  const answer = await client.chat.completions.create(body);
  expect(validate(JSON.parse(answer.choices[0]?.message.content ?? ""))).toBe(true);
  expect(answer).toMatchObject({ adaptvis: { intervention: "scaling", factor: 0.5 } });
});

describe("refused with status 400 and one sentence", () => {
  const schema = (value: unknown) => ({ type: "json_schema", json_schema: { name: "a", schema: value } });

  test.each<[unknown, RegExp]>([
    [schema({ not: {} }), /^response_format\.json_schema\.schema: the schema uses not, which is not supported\.$/],
    [schema({ type: "object", properties: { a: { type: "frog" } } }), /properties\.a must have a type out of/],
    [schema(false), /the schema is false, which allows nothing/],
    [schema({ type: "string", pattern: "(" }), /the pattern is not a regular expression/],
    [schema({ enum: ["x".repeat(70_000)] }), /must have at most 65536 characters of JSON/],
    [schema({ $ref: "#" }), /refers to itself/],
    [schema("object"), /^response_format\.json_schema\.schema: /],
    [{ type: "json_schema" }, /^response_format must be .*got "json_schema"\.$/],
    [{ type: "json_schema", json_schema: { name: "a" } }, /^response_format\.json_schema\.schema: /],
    [{ type: "grammar" }, /^response_format must be .*got "grammar"\.$/],
    [schema({ type: "string", pattern: "^(\\w{0,1000}){0,1000}$" }), /too many ways at once/],
  ])("%j", async (format, message) => {
    const response = await fetch(`${server.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ messages, response_format: format, max_tokens: 20 }),
    });
    const { error } = await response.json();
    expect([response.status, error.message]).toEqual([400, expect.stringMatching(message)]);
    expect(error.type).toBe("invalid_request_error");
  });
});
