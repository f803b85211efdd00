// A server that is killed in the middle of its work: clients get an error or a whole answer, and are served after its restart.
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import OpenAI from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import { tinySpatial } from "../cli/command.ts";
import { chatText, closed, megabytesOf, opened } from "./load-clients.ts";
import { contentOf, questions } from "./load-questions.ts";
import { type RunningServer, startServer } from "./server.ts";

/** Restarts take long on a busy machine. */
const TIMEOUT = { timeout: 300_000 };
const LIMITS = ["--max-waiting", "64", "--max-per-client", "80"];

let picture: string;
let server: RunningServer;

beforeAll(async () => {
  const bytes = await readFile(join(tinySpatial, "demo", "mug_left_of_dog.jpeg"));
  picture = `data:image/jpeg;base64,${bytes.toString("base64")}`;
  server = await startServer(...LIMITS);
});

afterAll(async () => {
  expect(await server.stop()).toBe(0);
});

/** What a client got: an answer in one line, or an error's name. */
type Outcome = { readonly answer: string } | { readonly error: string };

/** Kills the server and starts it again on the same port. */
async function restarted(killed: RunningServer): Promise<RunningServer> {
  const gone = once(killed.child, "close");
  killed.child.kill("SIGKILL");
  await gone;
  return startServer(...LIMITS, "--port", new URL(killed.url).port);
}

async function outcomeOf(answer: Promise<string>): Promise<Outcome> {
  try {
    return { answer: await answer };
  } catch (error) {
    return { error: error instanceof Error ? error.name : String(error) };
  }
}

/** By fetch, which knows from the head how long a body is. */
async function byFetch(body: string): Promise<string> {
  const headers = { "content-type": "application/json" };
  const response = await fetch(`${server.url}/v1/chat/completions`, { method: "POST", headers, body });
  return contentOf(await response.text());
}

/** By OpenAI's package, as a stream or whole. */
async function byPackage(body: string): Promise<string> {
  const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
  const asked = JSON.parse(body);
  const answer = await client.chat.completions.create(asked);
  if (asked.stream !== true) return contentOf(JSON.stringify(answer));
  const events: string[] = [];
  // The package's loop ends well at [DONE] only.
  for await (const chunk of answer as unknown as AsyncIterable<object>)
    events.push(`data: ${JSON.stringify(chunk)}\n\n`);
  return contentOf(`${events.join("")}data: [DONE]\n\n`);
}

/** By a socket that takes what comes until the connection ends, as a simple client of HTTP/1.0 does. */
async function bySocket(body: string): Promise<string> {
  const socket = opened(server, chatText(server, body).replace("HTTP/1.1", "HTTP/1.0"));
  let text = "";
  socket.setEncoding("utf8").on("data", (part) => {
    text += part;
  });
  await closed(socket);
  const [head = "", content = ""] = text.split("\r\n\r\n");
  if (head === "") throw new Error("no head");
  const length = /^content-length: (\d+)$/im.exec(head)?.[1];
  const isStream = /^content-type: text\/event-stream/im.test(head);
  if (!isStream && length === undefined) throw new TypeError("an answer without its length");
  if (!isStream && Buffer.byteLength(content) !== Number(length)) throw new Error("half an answer");
  return contentOf(content);
}

const CLIENTS = { byFetch, byPackage, bySocket };

test("clients of a server that is killed get whole answers or errors, and are served again", TIMEOUT, async () => {
  const bodies = questions([picture]).map(({ body }) => body);
  const expected = new Map<string, string>();
  for (const body of bodies) expected.set(body, await byFetch(body));
  const outcomes: Outcome[] = [];
  const wrong: string[] = [];
  let isOver = false;
  const client = async (ask: (body: string) => Promise<string>, first: number) => {
    for (let index = first; !isOver; index++) {
      const body = bodies[index % bodies.length] ?? "";
      const outcome = await outcomeOf(ask(body));
      outcomes.push(outcome);
      if ("answer" in outcome && outcome.answer !== expected.get(body)) wrong.push(outcome.answer);
      if ("error" in outcome) await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  const running = Object.values(CLIENTS).flatMap((ask) => [0, 1, 4].map((first) => client(ask, first)));
  const answers = () => outcomes.filter((outcome) => "answer" in outcome).length;
  for (let kills = 0; kills < 2; kills++) {
    const before = answers();
    await expect.poll(answers).toBeGreaterThan(before + 12);
    server = await restarted(server);
  }
  const before = answers();
  await expect.poll(answers).toBeGreaterThan(before + 12);
  isOver = true;
  await Promise.all(running);
  expect(wrong).toEqual([]);
  const errors = outcomes.flatMap((outcome) => ("error" in outcome ? [outcome.error] : []));
  expect(errors.length).toBeGreaterThan(0);
  expect(errors.filter((name) => name === "SyntaxError")).toEqual([]); // half an answer that was taken as whole
  for (const ask of Object.values(CLIENTS)) for (const body of bodies) expect(await ask(body)).toBe(expected.get(body));
});

test("an answer of which half was sent is an error", TIMEOUT, async () => {
  const headers = { "content-type": "application/json" };
  const body = megabytesOf(picture);
  const response = await fetch(`${server.url}/v1/chat/completions`, { method: "POST", headers, body });
  expect(Number(response.headers.get("content-length"))).toBeGreaterThan(4.5e6); // and most of it does not fit the sockets
  server = await restarted(server);
  await expect(response.json()).rejects.toThrow("terminated");
});

test("a stream that was cut off has no end", TIMEOUT, async () => {
  const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
  const stream = await client.chat.completions.create({
    model: "",
    messages: [{ role: "user", content: "Hello" }],
    max_tokens: 500,
    stream: true,
  });
  let next: RunningServer | undefined;
  const read = async () => {
    for await (const _ of stream) if (next === undefined) next = await restarted(server);
  };
  await expect(read()).rejects.toThrow();
  server = next ?? server;
});
