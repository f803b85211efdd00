// A server under mixed load: answers that are checked, and beside them clients that go away, read slowly, send too much, send
// nonsense, or never finish their request.
import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import autocannon from "autocannon";
import { createRandom } from "../reference/random.ts";
import type { RunningServer } from "./server.ts";

/** What a run found. */
export interface LoadReport {
  readonly seconds: number;
  /** Answers by status. */
  readonly statuses: Readonly<Record<string, number>>;
  /** Right answers. */
  readonly right: number;
  /** Answers with another text than alone. */
  readonly wrong: readonly string[];
  readonly cancelled: number;
  readonly slow: number;
  readonly halfOpen: number;
  readonly oversized: number;
  /** Resident memory of the server in MiB, sampled ten times in equal distances. */
  readonly residentMiB: readonly number[];
  /** Running and waiting requests some time after the load. */
  readonly left: number;
}

/** How the load is made. */
export interface LoadOptions {
  readonly seconds: number;
  /** Connections that ask and check. */
  readonly connections: number;
  /** A picture as a data URI. */
  readonly picture: string;
  /** Body of a request that takes long, for clients that go away or read slowly. */
  readonly longQuestion: string;
}

const CHAT = "/v1/chat/completions";
const HEADERS = { "content-type": "application/json" };

/** Runs the load against a server without a key. */
export async function runLoad(server: RunningServer, options: LoadOptions): Promise<LoadReport> {
  const { seconds, connections, picture } = options;
  const end = Date.now() + seconds * 1000;
  const bodies = checkedBodies(picture);
  const expected = new Map<string, string>();
  for (const body of bodies) expected.set(body, await contentOf(server, body));

  const statuses: Record<string, number> = {};
  const wrong: string[] = [];
  let right = 0;
  const note = (status: number) => {
    statuses[status] = (statuses[status] ?? 0) + 1;
  };
  const checked = bodies.map((body) => ({
    method: "POST" as const,
    path: CHAT,
    headers: HEADERS,
    body,
    onResponse(status: number, text: string) {
      note(status);
      if (status === 429) return; // sent away, as it should be
      const content = status === 200 ? JSON.parse(text).choices[0].message.content : text;
      if (content === expected.get(body)) right++;
      else wrong.push(`${status}: ${String(content).slice(0, 200)}`);
    },
  }));
  const broken = BROKEN.map(({ body, status: due }) => ({
    method: "POST" as const,
    path: CHAT,
    headers: HEADERS,
    body,
    onResponse(status: number, text: string) {
      note(status);
      if (status !== due && status !== 429) wrong.push(`${status} instead of ${due}: ${text.slice(0, 200)}`);
    },
  }));
  const [, cancelled, slow, halfOpen, oversized, residentMiB] = await Promise.all([
    autocannon({ url: server.url, connections, duration: seconds, timeout: 60, requests: [...checked, ...broken] }),
    repeatUntil(end, 150, (index) => cancel(server, options.longQuestion, index)),
    repeatUntil(end, 400, () => readSlowly(server, options.longQuestion)),
    repeatUntil(end, 500, () => leaveHalfOpen(server)),
    repeatUntil(end, 2000, () => sendTooMuch(server)),
    memorySamples(server, end),
  ]);
  const left = await requestsLeft(server);
  return { seconds, statuses, right, wrong, cancelled, slow, halfOpen, oversized, residentMiB, left };
}

/** Questions with and without a picture, and with a method. */
function checkedBodies(url: string): readonly string[] {
  const words = ["mug", "dog", "cup"];
  return words.flatMap((word) => {
    const parts = [
      { type: "image_url", image_url: { url } },
      { type: "text", text: `Where is the ${word}?` },
    ];
    const messages = [{ role: "user", content: parts }];
    return [
      JSON.stringify({ messages, max_tokens: 8 }),
      JSON.stringify({ messages, max_tokens: 8, adaptvis: { intervention: "adaptvis" } }),
      JSON.stringify({ messages: [{ role: "user", content: `Say ${word}.` }], max_tokens: 6 }),
    ];
  });
}

const BROKEN = [
  { body: "{", status: 400 },
  { body: JSON.stringify({ messages: [] }), status: 400 },
  {
    body: JSON.stringify({
      messages: [
        { role: "user", content: [{ type: "image_url", image_url: { url: "data:image/png;base64,iVBORw0KGgo=" } }] },
      ],
    }),
    status: 400,
  },
] as const;

async function contentOf(server: RunningServer, body: string): Promise<string> {
  const response = await fetch(`${server.url}${CHAT}`, { method: "POST", headers: HEADERS, body });
  const answer: { readonly choices: readonly { readonly message: { readonly content: string } }[] } =
    await response.json();
  const [choice] = answer.choices;
  if (choice === undefined) throw new Error(`no answer to ${body.slice(0, 80)}`);
  return choice.message.content;
}

/** Starts `act` every `everyMs` until the end, and waits for all of them. @returns how many there were */
async function repeatUntil(end: number, everyMs: number, act: (index: number) => Promise<void>): Promise<number> {
  const running: Promise<void>[] = [];
  while (Date.now() < end) {
    running.push(act(running.length).catch(() => undefined)); // a connection that the server closes is its right
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
  await Promise.all(running);
  return running.length;
}

/** A stream that is left after a random time. */
async function cancel(server: RunningServer, body: string, index: number): Promise<void> {
  const signal = AbortSignal.timeout(createRandom(index).integer(400));
  const response = await fetch(`${server.url}${CHAT}`, { method: "POST", headers: HEADERS, body, signal });
  for await (const _ of response.body ?? []) if (signal.aborted) return;
}

/** A stream whose reader takes a byte now and then, and gives up. */
function readSlowly(server: RunningServer, body: string): Promise<void> {
  return new Promise((resolve) => {
    const { hostname, port } = new URL(server.url);
    const socket = connect(Number(port), hostname, () => {
      socket.write(
        `POST ${CHAT} HTTP/1.1\r\nHost: ${hostname}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      );
    });
    socket.pause();
    const timer = setInterval(() => socket.read(1), 50);
    setTimeout(() => socket.destroy(), 1500);
    socket.on("error", () => undefined);
    socket.on("close", () => {
      clearInterval(timer);
      resolve();
    });
  });
}

/** A request that never ends. */
function leaveHalfOpen(server: RunningServer): Promise<void> {
  return new Promise((resolve) => {
    const { hostname, port } = new URL(server.url);
    const socket = connect(Number(port), hostname, () => {
      socket.write(`POST ${CHAT} HTTP/1.1\r\nHost: ${hostname}\r\nContent-Length: 1000\r\n\r\n{"mess`);
    });
    setTimeout(() => socket.destroy(), 2000);
    socket.on("error", () => undefined);
    socket.on("close", () => resolve());
  });
}

async function sendTooMuch(server: RunningServer): Promise<void> {
  const body = JSON.stringify({ messages: [{ role: "user", content: "x".repeat(40_000_000) }] });
  await fetch(`${server.url}${CHAT}`, { method: "POST", headers: HEADERS, body });
}

async function memorySamples(server: RunningServer, end: number): Promise<readonly number[]> {
  const samples: number[] = [];
  const everyMs = (end - Date.now()) / 10;
  while (samples.length < 10) {
    await new Promise((resolve) => setTimeout(resolve, everyMs));
    const status = await readFile(`/proc/${server.child.pid}/status`, "utf8").catch(() => "");
    samples.push(Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? Number.NaN) / 1024));
  }
  return samples;
}

/** Running and waiting requests, once they are none or after 20 s. */
async function requestsLeft(server: RunningServer): Promise<number> {
  let left = Number.NaN;
  for (let attempt = 0; attempt < 40 && left !== 0; attempt++) {
    await new Promise((resolve) => setTimeout(resolve, 500));
    const text = await (await fetch(`${server.url}/metrics`)).text();
    const value = (name: string) => Number(new RegExp(`^adaptvis_requests_${name} (\\d+)$`, "m").exec(text)?.[1]);
    left = value("running") + value("waiting");
  }
  return left;
}
