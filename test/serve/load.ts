// A server under mixed load: answers that are checked, and beside them clients that go away, read slowly, send too much, send
// nonsense, or never finish their request.
import { readFile } from "node:fs/promises";
import autocannon from "autocannon";
import { cancel, leaveHalfOpen, readNothing, readSlowly, sendTooMuch } from "./load-clients.ts";
import { brokenRequests, contentOf, type LoadRequest, questions, shuffledFor } from "./load-questions.ts";
import type { RunningServer } from "./server.ts";

/** What a run found. */
export interface LoadReport {
  readonly seconds: number;
  /** Answers by status. */
  readonly statuses: Readonly<Record<string, number>>;
  /** Right answers, to autocannon and to clients that ask one thing each: text, ending and numbers of tokens as of the request alone. */
  readonly right: number;
  /** Other answers, and refusals with another status than due. */
  readonly wrong: readonly string[];
  /** Connections of clients that do nothing wrong which broke, and requests of theirs without an answer in two minutes. */
  readonly broken: number;
  readonly timeouts: number;
  /** Answers behind a request that was sent on a connection which the server was closing. */
  readonly lost: number;
  readonly cancelled: number;
  readonly slow: number;
  readonly unread: number;
  readonly halfOpen: number;
  readonly oversized: number;
  /** Resident memory of the server in MiB, and what the engine has on the GPU, sampled at equal distances. */
  readonly residentMiB: readonly number[];
  readonly gpuMiB: readonly number[];
  /** Running and waiting requests some time after the load. */
  readonly left: number;
}

/** How the load is made. */
export interface LoadOptions {
  readonly seconds: number;
  /** Connections that ask and check. */
  readonly connections: number;
  /** Pictures as data URIs. */
  readonly pictures: readonly string[];
}

const CHAT = "/v1/chat/completions";
const HEADERS = { "content-type": "application/json" };
const NUM_SAMPLES = 20;

/** Runs the load against a server without a key. */
export async function runLoad(server: RunningServer, options: LoadOptions): Promise<LoadReport> {
  const { seconds, connections, pictures } = options;
  const [picture = ""] = pictures;
  const asked = questions(pictures);
  const expected = new Map<string, string>();
  for (const { body } of asked) expected.set(body, await answerTo(server, body));
  if (new Set(expected.values()).size < expected.size)
    throw new Error(`questions have the same answer: ${[...expected.values()].sort().join("; ")}`);

  const statuses: Record<string, number> = {};
  const wrong: string[] = [];
  let right = 0;
  let lost = 0;
  const all = [...asked, ...brokenRequests(picture)];
  const idOf = (index: number) => `request-${index}`;
  const requests = all.map(({ body }, index) => ({
    method: "POST" as const,
    path: CHAT,
    headers: { ...HEADERS, "x-request-id": idOf(index) },
    body,
    onResponse(status: number, text: string, _: object, headers: Readonly<Record<string, unknown>> = {}) {
      statuses[status] = (statuses[status] ?? 0) + 1;
      // autocannon takes an answer for that to an earlier request once a connection was closed: the answer's id tells which it is.
      // Whether it came to the client that asked is seen below, by clients that know.
      const id = headers["x-request-id"] ?? headers["X-Request-Id"];
      if (id !== idOf(index)) lost++;
      const answered = all.find((_, other) => idOf(other) === id);
      if (answered === undefined) wrong.push(`${status}: an answer to no request, ${id}`);
      if (answered === undefined || status === 429) return; // sent away, as it should be
      const due = expected.get(answered.body);
      const answer = status === 200 ? told(text) : text;
      const isOwn = status !== 200 || text.includes(`"chatcmpl-${id}"`);
      if (status !== answered.status || (status === 200 && answer !== due) || !isOwn) {
        wrong.push(`${status}: ${answer.slice(0, 200)}, expected ${answered.status}: ${due ?? "a refusal"} (${id})`);
      } else if (status === 200) right++;
    },
  }));
  let numConnections = 0;
  const end = Date.now() + seconds * 1000;
  const [{ errors: broken, timeouts }, cancelled, slow, unread, halfOpen, oversized, samples] = await Promise.all([
    autocannon({
      url: server.url,
      connections,
      duration: seconds,
      timeout: 120,
      requests,
      setupClient: (client) => client.setRequests(shuffledFor(numConnections++, requests)),
    }),
    repeatUntil(end, 150, (index) => cancel(server, index)),
    repeatUntil(end, 400, () => readSlowly(server)),
    repeatUntil(end, 5000, () => readNothing(server, picture)),
    repeatUntil(end, 500, (index) => leaveHalfOpen(server, index)),
    repeatUntil(end, 2000, () => sendTooMuch(server)),
    memorySamples(server, end),
    repeatUntil(end, 500, async (index) => {
      const [{ body }] = shuffledFor(index, asked) as [LoadRequest]; // there are some
      const answer = await answerTo(server, body).catch(String);
      if (answer === expected.get(body)) right++;
      else if (!answer.startsWith("Error: 429: ")) wrong.push(`${answer}, expected ${expected.get(body)}`);
    }),
  ]);
  const left = await requestsLeft(server);
  for (const { body } of asked) {
    const answer = await answerTo(server, body);
    if (answer !== expected.get(body)) wrong.push(`afterwards: ${answer}, expected ${expected.get(body)}`);
  }
  return {
    seconds,
    statuses,
    right,
    wrong,
    broken,
    timeouts,
    lost,
    cancelled,
    slow,
    unread,
    halfOpen,
    oversized,
    ...samples,
    left,
  };
}

/** By how much of itself resident memory grew from the third quarter of a run to the last: the means of both. */
export function memoryGrowth({ residentMiB }: LoadReport): number {
  const quarter = residentMiB.length / 4;
  const mean = (from: number) => residentMiB.slice(from, from + quarter).reduce((sum, each) => sum + each, 0) / quarter;
  return mean(3 * quarter) / mean(2 * quarter) - 1;
}

/** An answer in one line, also one that is neither whole nor a stream. */
function told(text: string): string {
  try {
    return contentOf(text);
  } catch (error) {
    return `${error}: ${text.slice(-100)}`;
  }
}

async function answerTo({ url }: RunningServer, body: string): Promise<string> {
  const response = await fetch(`${url}${CHAT}`, { method: "POST", headers: HEADERS, body });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`${response.status}: ${text}`);
  return contentOf(text);
}

/** Starts `act` every `everyMs` until the end, and waits for all of them. @returns how many there were */
async function repeatUntil(end: number, everyMs: number, act: (index: number) => Promise<void>): Promise<number> {
  const running = new Set<Promise<void>>();
  let count = 0;
  while (Date.now() < end) {
    // A connection that the server closes is its right.
    const acting = act(count++)
      .catch(() => undefined)
      .finally(() => running.delete(acting));
    running.add(acting);
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
  await Promise.all(running);
  return count;
}

async function memorySamples(
  server: RunningServer,
  end: number,
): Promise<{ readonly residentMiB: number[]; readonly gpuMiB: number[] }> {
  const residentMiB: number[] = [];
  const gpuMiB: number[] = [];
  const everyMs = (end - Date.now()) / NUM_SAMPLES;
  while (residentMiB.length < NUM_SAMPLES) {
    await new Promise((resolve) => setTimeout(resolve, everyMs));
    const status = await readFile(`/proc/${server.child.pid}/status`, "utf8").catch(() => "");
    residentMiB.push(Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? Number.NaN) / 1024));
    gpuMiB.push(Math.round((await metric(server, "gpu_allocated_bytes")) / 2 ** 20));
  }
  return { residentMiB, gpuMiB };
}

/** Running and waiting requests, once they are none or after 20 s. */
async function requestsLeft(server: RunningServer): Promise<number> {
  let left = Number.NaN;
  for (let attempt = 0; attempt < 40 && left !== 0; attempt++) {
    await new Promise((resolve) => setTimeout(resolve, 500));
    left = (await metric(server, "requests_running")) + (await metric(server, "requests_waiting"));
  }
  return left;
}

/** A number of the server's metrics. */
export async function metric({ url }: RunningServer, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(new RegExp(`^adaptvis_${name} ([\\d.e+]+)$`, "m").exec(text)?.[1]);
}
