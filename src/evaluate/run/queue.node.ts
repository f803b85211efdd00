// A run's questions on a queue (BullMQ on Redis or Valkey) that workers on other machines take them from. A job is a question, its
// result is the question's lines. BullMQ delivers at least once; a question gets into the run once, because the first result
// that arrives is kept. That may be the result of a worker that was taken for dead, so that slow workers cannot take a question
// from each other for ever.
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import type { Queue } from "bullmq";
import { writeFileWhole } from "../../checkpoint/write-file.node.ts";
import { isObject, throwIfAborted } from "../../errors.ts";
import { textHash } from "./fingerprint.node.ts";
import { loadPackage, type RedisLink } from "./redis-link.node.ts";
import { type Manifest, type RunFolder, type RunIdentity, readOrEmpty } from "./run-folder.node.ts";
import type { SampleLine } from "./samples.ts";

/** Prefix of all keys on the server. */
export const QUEUE_PREFIX = "adaptvis";

/** A hash on the server: every open run, as the JSON of a {@link RunOffer} by its name. */
export const OFFERS_KEY = `${QUEUE_PREFIX}:runs`;

/** A hash on the server: results of workers whose claim on the question had expired, as JSON by the question's id. */
export function lateKey(name: string): string {
  return `${QUEUE_PREFIX}:late:${name}`;
}

/** Intervals and time-outs of the queue, in milliseconds; tests use shorter ones. */
export interface QueueTimes {
  /** Interval between polls for results or questions. */
  readonly pollMs: number;
  /** A question is given to another worker when its claim has not been renewed for this long. */
  readonly lockMs: number;
  /** Interval between checks for expired claims. */
  readonly stalledMs: number;
  /** How long to wait for a server that went away. */
  readonly patienceMs: number;
  /** How long a worker with --exit-when-done waits for a first run, and after how long a run mentions that it has no worker. */
  readonly firstMs: number;
}

/**
 * Times for questions that take seconds to minutes: a claim is renewed every 15 s, also while the GPU works, and a dead worker's
 * question is given on after 60 to 120 s.
 */
export const QUEUE_TIMES: QueueTimes = {
  pollMs: 500,
  lockMs: 60_000,
  stalledMs: 30_000,
  patienceMs: 120_000,
  firstMs: 60_000,
};

/** A question is tried so often, unless the worker died; then {@link MAX_DEATHS} counts. */
const MAX_ATTEMPTS = 3;
/** A question fails once more workers than this died on it. */
export const MAX_DEATHS = 5;
/** Jobs that are added or read in one command. */
const BATCH = 100;

/** An open run, as workers learn of it. */
export interface RunOffer {
  readonly format: 1;
  /** The queue's name. */
  readonly name: string;
  readonly identity: RunIdentity;
  /** The methods as they were written, whose settings the worker resolves and compares with the identity's. */
  readonly methods: readonly string[];
  /** Most methods that answer in one batch. */
  readonly maxRows: number;
  /** Where the object boxes are; null where the run has none. */
  readonly boxes: string | null;
  /** Ids of all questions of the run. */
  readonly ids: readonly number[];
  /** Where the data is on the machine that filled the queue. */
  readonly data: {
    readonly folder: string;
    readonly questions: string | null;
    readonly annotations: string | null;
  };
  /** The version of this package. */
  readonly version: string;
}

/** What a job holds besides its result. */
export interface QuestionJob {
  readonly id: number;
}

/** A question that no worker could answer. */
export interface FailedQuestion {
  readonly id: number;
  readonly reason: string;
}

/** Opens the queue of a run. @throws InputError where the package is missing. */
export async function openQueue(link: RedisLink, name: string): Promise<Queue<QuestionJob, readonly SampleLine[]>> {
  const { Queue } = await loadPackage(() => import("bullmq"));
  const queue = new Queue<QuestionJob, readonly SampleLine[]>(name, {
    connection: link.client,
    prefix: QUEUE_PREFIX,
    skipMetasUpdate: true, // nothing reads them, and a worker that is late would leave them on the server
  });
  queue.on("error", () => undefined); // the link reports what happens to the connection
  return queue;
}

/**
 * The name of a run's queue: from what decides on its answers, and from a number that its folder keeps, so that two runs with the
 * same settings in two folders have two queues.
 */
export async function queueName(folder: string, { identity, shard }: Manifest): Promise<string> {
  const file = join(folder, "queue.json");
  const text = readOrEmpty(file);
  let id = /"id": *"([0-9a-f]+)"/.exec(text)?.[1];
  if (id === undefined) {
    id = randomBytes(8).toString("hex");
    await writeFileWhole(file, `${JSON.stringify({ id })}\n`);
  }
  return `run-${textHash(JSON.stringify({ identity, shard, id })).slice(0, 16)}`;
}

/**
 * Fills the queue with the questions that a run lacks, appends the results to it as they come, and removes the queue when all have.
 * Stopped at any moment, it goes on when it is called again: workers keep answering meanwhile.
 * @returns the questions that failed on several workers
 * @throws InputError when the server stays away or the folder cannot be written; AbortError.
 */
export async function collectRun(
  link: RedisLink,
  run: RunFolder,
  of: {
    readonly offer: RunOffer;
    readonly times: QueueTimes;
    readonly signal: AbortSignal;
    readonly note: (text: string) => void;
    readonly onAnswered: (id: number) => void;
  },
): Promise<readonly FailedQuestion[]> {
  const { offer, times, signal, note, onAnswered } = of;
  const methods = Object.keys(offer.identity.methods);
  const outstanding = new Set(offer.ids.filter((id) => !run.has(id)));
  const failed = new Map<number, string>();
  const queue = await openQueue(link, offer.name);
  const command = <T>(work: () => Promise<T>) => link.run(() => unlessAborted(work(), signal));
  const fail = (id: number, reason: string) => {
    outstanding.delete(id);
    failed.set(id, reason);
    note(`adaptvis: question ${id} failed: ${reason}`);
  };
  const keep = (id: number, result: unknown) => {
    if (run.has(id) || !offer.ids.includes(id)) return;
    const lines = linesOf(id, result, methods);
    if (lines === undefined) return fail(id, "its result is not that of this run's methods");
    run.append(lines);
    outstanding.delete(id);
    failed.delete(id);
    onAnswered(id);
  };
  /** Adds what is missing; the ids of jobs make a second addition harmless. */
  const fill = async () => {
    const ids = [...outstanding];
    for (let start = 0; start < ids.length; start += BATCH) {
      const jobs = ids.slice(start, start + BATCH).map((id) => ({
        name: "question",
        data: { id },
        opts: { jobId: `${offer.name}-${id}`, attempts: MAX_ATTEMPTS },
      }));
      await command(() => queue.addBulk(jobs));
    }
    await command(() => link.client.hset(OFFERS_KEY, offer.name, JSON.stringify(offer)));
  };
  const startedAt = performance.now();
  let isQuiet = true;
  try {
    for (const job of await command(() => queue.getFailed())) await command(() => job.remove()); // of an earlier attempt
    while (outstanding.size > 0) {
      throwIfAborted(signal, "The evaluation");
      const counts = await command(() => queue.getJobCounts());
      const numJobs = Object.values(counts).reduce((sum, count) => sum + count, 0);
      // At the start, and after the server lost its memory.
      if (numJobs < outstanding.size || !(await command(() => link.client.hexists(OFFERS_KEY, offer.name))))
        await fill();
      const completed = await command(() => queue.getCompleted(0, BATCH - 1));
      for (const job of completed) {
        keep(job.data.id, job.returnvalue);
        await command(() => job.remove());
      }
      for (const job of await command(() => queue.getFailed())) {
        if (outstanding.has(job.data.id)) fail(job.data.id, job.failedReason);
        await command(() => job.remove());
      }
      const late = await command(() => link.client.hgetall(lateKey(offer.name)));
      for (const [id, text] of Object.entries(late)) {
        keep(Number(id), parsed(text));
        await command(() => link.client.hdel(lateKey(offer.name), id));
      }
      if (completed.length > 0 || (counts.active ?? 0) > 0) isQuiet = false;
      if (isQuiet && performance.now() - startedAt > times.firstMs) {
        isQuiet = false;
        note(`adaptvis: no worker has taken a question yet: start "adaptvis worker --queue ${link.name}"`);
      }
      if (completed.length < BATCH && outstanding.size > 0) await pause(times.pollMs, signal);
    }
    await command(() => queue.obliterate({ force: true }));
    await command(() => link.client.hdel(OFFERS_KEY, offer.name));
    // What workers wrote between the two.
    await command(() => link.client.del(lateKey(offer.name), queue.toKey("meta")));
    return [...failed].map(([id, reason]) => ({ id, reason }));
  } finally {
    await Promise.race([queue.close().catch(() => undefined), pause(1000)]);
  }
}

/** The lines of a result; undefined unless they are one of each method, about the question. */
function linesOf(id: number, lines: unknown, methods: readonly string[]): readonly SampleLine[] | undefined {
  if (!Array.isArray(lines) || !lines.every(isObject) || lines.length !== methods.length) return undefined;
  const isWhole = methods.every((method) => lines.some((line) => line.method === method && line.doc_id === id));
  return isWhole ? (lines as unknown as readonly SampleLine[]) : undefined; // as a worker of the same version made them
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Waits, or returns at once when the signal is aborted. */
export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return;
  await new Promise<void>((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal?.addEventListener("abort", end);
  });
}

/** The result of `work`, unless the signal is aborted first. @throws AbortError. */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  work.catch(() => undefined); // where the signal comes first
  throwIfAborted(signal, "The evaluation");
  let stop: () => void = () => undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => {
      try {
        throwIfAborted(signal, "The evaluation");
      } catch (error) {
        reject(error);
      }
    };
    signal.addEventListener("abort", stop);
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
