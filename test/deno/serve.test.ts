// `adaptvis serve` in Deno: one answer, one stream, and an end that waits for an answer.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import OpenAI from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import { root, tinySpatial } from "../cli/command.ts";
import { type RunningServer, startedBy } from "../serve/server.ts";
import { denoExecutable, usableDrivers } from "./deno.ts";

const KEY = "a-secret.key";
const QUESTION = "Where is the mug in relation to the dog? Answer with left, right, on or under.";

let cache: string;
let server: RunningServer;
let client: OpenAI;

beforeAll(async () => {
  cache = await mkdtemp(join(tmpdir(), "adaptvis-deno-"));
  const [driver = "swiftshader"] = (await usableDrivers()).slice(-1); // the faster one
  const run = ["run", "-A", "--no-prompt", "--no-remote", join(root, "dist", "cli.js"), "--adapter", driver];
  const env = { DENO_DIR: cache, DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1" };
  server = await startedBy(denoExecutable(), [...run, "serve", "--port", "0", "--api-key", KEY], env);
  client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: KEY, maxRetries: 0, timeout: 290_000 });
});

afterAll(async () => {
  server.child.kill("SIGKILL");
  await rm(cache, { recursive: true, force: true });
});

// The first answer compiles kernels.
test("answers about a picture, whole and as a stream", async () => {
  const bytes = await readFile(join(tinySpatial, "demo", "mug_left_of_dog.jpeg"));
  const url = `data:image/jpeg;base64,${bytes.toString("base64")}`;
  const asked = {
    model: "tiny-spatial",
    messages: [
      {
        role: "user" as const,
        content: [
          { type: "image_url" as const, image_url: { url } },
          { type: "text" as const, text: QUESTION },
        ],
      },
    ],
  };
  const whole = await client.chat.completions.create(asked);
  expect(whole.choices[0]?.message.content).toBe("Left");
  const stream = await client.chat.completions.create({ ...asked, stream: true });
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? "").join("")).toBe("Left");
  expect(chunks.at(-1)?.choices[0]?.finish_reason).toBe("stop");
});

test("refuses as in Node", async () => {
  const messages = [{ role: "user" as const, content: "Hello" }];
  const wrong = client.chat.completions.create({ model: "", messages, n: 2 });
  await expect(wrong).rejects.toMatchObject({ status: 400, param: "n" });
  const unauthorized = await fetch(`${server.url}/v1/models`);
  expect(unauthorized.status).toBe(401);
  await unauthorized.body?.cancel();
  const foreign = await fetch(`${server.url}/health`, { headers: { origin: "https://evil.example" } });
  expect(foreign.status).toBe(403);
  await foreign.body?.cancel();
});

test("SIGTERM ends it when the answer that runs is written", async () => {
  const stream = await client.chat.completions.create({
    model: "",
    messages: [{ role: "user", content: "Hello" }],
    max_tokens: 60,
    stream: true,
  });
  let ended: Promise<unknown> | undefined;
  let last: OpenAI.Chat.ChatCompletionChunk | undefined;
  for await (const chunk of stream) {
    ended ??= server.stop();
    last = chunk;
  }
  expect(last?.choices[0]?.finish_reason).toBe("length");
  expect(await ended).toBe(0);
});
