// A worker of a queue of questions: takes one question at a time out of the runs that it can serve, and returns its lines.
import { randomUUID } from "node:crypto";
import type { Job, Queue, Worker } from "bullmq";
import { AbortError, InputError, isObject } from "../../errors.ts";
import {
  lateKey,
  MAX_DEATHS,
  OFFERS_KEY,
  openQueue,
  pause,
  QUEUE_PREFIX,
  type QuestionJob,
  type QueueTimes,
  type RunOffer,
  unlessAborted,
} from "./queue.node.ts";
import { loadPackage, type RedisLink } from "./redis-link.node.ts";
import type { SampleLine } from "./samples.ts";

/** Answers a question of one run. @throws InputError for a question that cannot be answered; AbortError. */
export type AnswerQuestion = (id: number, signal: AbortSignal) => Promise<readonly SampleLine[]>;

/** How a worker serves. */
interface ServeOptions {
  /** Prepares for a run. @throws InputError for a run of another model, data or settings: none of its questions is taken. */
  readonly join: (offer: RunOffer) => Promise<AnswerQuestion>;
  /** Whether to return once all questions are answered, instead of waiting for more runs. */
  readonly exitWhenDone: boolean;
  readonly times: QueueTimes;
  /** Stops the worker; it gives its question back. */
  readonly signal: AbortSignal;
  readonly note: (text: string) => void;
}

/** What a worker did. */
export interface WorkerReport {
  /** Names of the runs that it served. */
  readonly runs: readonly string[];
  readonly numAnswered: number;
  /** Attempts that failed. */
  readonly numFailed: number;
  /** Questions that it gave back when it was stopped. */
  readonly numGivenBack: number;
}

/**
 * Takes questions and answers them until it is stopped or, with `exitWhenDone`, all are answered.
 * @throws InputError when it can serve none of the runs that are open at its start, or when the server stays away; what `join` and
 *   the answers fail with, except InputError: the question is left to other workers.
 */
export async function serveQueue(link: RedisLink, options: ServeOptions): Promise<WorkerReport> {
  const server = new QueueServer(link, options);
  try {
    await server.run();
  } finally {
    await server.close();
  }
  return server.report();
}

type QuestionOf = Job<QuestionJob, readonly SampleLine[]>;

/** A run that is served. */
interface Joined {
  readonly text: string;
  readonly answer: AnswerQuestion;
  readonly queue: Queue<QuestionJob, readonly SampleLine[]>;
  readonly worker: Worker<QuestionJob, readonly SampleLine[]>;
}

/** BullMQ's code for a job that is gone: its question is answered, or the run is complete. */
const GONE_CODE = -1;
/** BullMQ's codes for a job that was given to another worker: without a lock, in another state, with another one's lock. */
const TAKEN_CODES: readonly unknown[] = [-2, -3, -6];
/** Keeps a late result, in one step with the look whether its run is still open: nobody would remove it otherwise. */
const SEND_LATE = `
if redis.call("HEXISTS", KEYS[1], ARGV[1]) == 1 then
  redis.call("HSET", KEYS[2], ARGV[2], ARGV[3])
  redis.call("EXPIRE", KEYS[2], ARGV[4])
end`;
/** How long a late result is kept for a run that nobody goes on with, seconds. */
const LATE_S = 30 * 24 * 3600;
/** How long a stopped worker tries to give its question back. */
const GIVE_BACK_MS = 5000;

class QueueServer {
  private readonly link: RedisLink;
  private readonly options: ServeOptions;
  private readonly joined = new Map<string, Joined>();
  /** Runs that cannot be served, by name, with the offer that was refused. */
  private readonly refused = new Map<string, string>();
  private readonly served = new Set<string>();
  private numAnswered = 0;
  private numFailed = 0;
  private numGivenBack = 0;

  constructor(link: RedisLink, options: ServeOptions) {
    this.link = link;
    this.options = options;
  }

  async run(): Promise<void> {
    const { signal, times, exitWhenDone } = this.options;
    const startedAt = performance.now();
    try {
      while (!signal.aborted) {
        await this.updateRuns();
        if (await this.answerNext()) continue;
        if (exitWhenDone && (await this.isDone(performance.now() - startedAt))) return;
        await pause(times.pollMs, signal);
      }
    } catch (error) {
      if (!(signal.aborted && error instanceof AbortError)) throw error;
    }
  }

  report(): WorkerReport {
    const { served, numAnswered, numFailed, numGivenBack } = this;
    return { runs: [...served], numAnswered, numFailed, numGivenBack };
  }

  async close(): Promise<void> {
    for (const joined of this.joined.values()) await this.leave(joined);
    this.joined.clear();
  }

  /** Runs commands that wait while the server is away, but no longer than until the worker is stopped. */
  private command<T>(work: () => Promise<T>): Promise<T> {
    return this.link.run(() => unlessAborted(work(), this.options.signal));
  }

  /** Joins the runs that were opened, and leaves those that are complete. */
  private async updateRuns(): Promise<void> {
    const { link, joined, refused, options } = this;
    const isStart = joined.size + refused.size === 0;
    const offers = new Map(Object.entries(await this.command(() => link.client.hgetall(OFFERS_KEY))));
    for (const [name, each] of joined) {
      if (offers.get(name) === each.text) continue;
      joined.delete(name);
      await this.leave(each);
    }
    let reason: InputError | undefined;
    for (const [name, text] of offers) {
      if (joined.has(name) || refused.get(name) === text) continue;
      try {
        joined.set(name, await this.enter(name, text));
        this.served.add(name);
      } catch (error) {
        if (!(error instanceof InputError) || link.isLost) throw error;
        reason ??= error;
        refused.set(name, text);
        if (!isStart) options.note(`adaptvis: a run is left to other workers: ${error.message}`);
      }
    }
    if (isStart && reason !== undefined) {
      if (joined.size === 0) throw reason;
      options.note(`adaptvis: a run is left to other workers: ${reason.message}`);
    }
  }

  private async enter(name: string, text: string): Promise<Joined> {
    const { link, options } = this;
    const { lockMs, stalledMs } = options.times;
    const answer = await options.join(parseOffer(name, text));
    const queue = await openQueue(link, name);
    const { Worker } = await loadPackage(() => import("bullmq"));
    const worker = new Worker<QuestionJob, readonly SampleLine[]>(name, null, {
      connection: link.client,
      prefix: QUEUE_PREFIX,
      autorun: false,
      lockDuration: lockMs,
      stalledInterval: stalledMs,
      maxStalledCount: MAX_DEATHS,
    });
    worker.on("error", () => undefined); // the link reports what happens to the connection
    await this.command(() => worker.waitUntilReady());
    await this.command(() => worker.startStalledCheckTimer());
    return { text, answer, queue, worker };
  }

  private async leave({ queue, worker }: Joined): Promise<void> {
    const { client } = this.link;
    const leaving = async () => {
      await Promise.allSettled([worker.close(true), queue.close()]);
      // BullMQ's script for a late look at a queue that was removed has written this key again.
      if (!(await client.hexists(OFFERS_KEY, queue.name))) await client.del(queue.toKey("meta"));
    };
    await Promise.race([leaving().catch(() => undefined), pause(1000)]); // a server that is away answers nothing
  }

  /** Whether there is nothing left to do in any run that is served; before the first, whether it was waited for long enough. */
  private async isDone(waitedMs: number): Promise<boolean> {
    if (this.served.size === 0) return waitedMs > this.options.times.firstMs;
    for (const { queue } of this.joined.values()) {
      const counts = await this.command(() => queue.getJobCounts());
      const { completed = 0, failed = 0 } = counts;
      if (Object.values(counts).reduce((sum, count) => sum + count, 0) > completed + failed) return false;
    }
    return true;
  }

  /** Answers the next question of the first run that has one. @returns whether there was one. */
  private async answerNext(): Promise<boolean> {
    for (const joined of this.joined.values()) {
      const token = randomUUID();
      const job = await this.take(joined.worker, token);
      if (job === undefined) continue;
      await this.answer(joined, job, token);
      return true;
    }
    return false;
  }

  /** Takes the next question; when the worker is stopped meanwhile, gives it back. */
  private async take(worker: Joined["worker"], token: string): Promise<QuestionOf | undefined> {
    const { link, options } = this;
    const next: Promise<QuestionOf | undefined> = link.run(() => worker.getNextJob(token, { block: false }));
    try {
      return await unlessAborted(next, options.signal);
    } catch (error) {
      const givenBack = next.then((job) => job?.moveToWait(token)).catch(() => undefined);
      await Promise.race([givenBack, pause(GIVE_BACK_MS)]);
      throw error;
    }
  }

  private async answer({ answer, queue: { name } }: Joined, job: QuestionOf, token: string): Promise<void> {
    const { signal, times, note } = this.options;
    const { id } = job.data;
    if (job.deferredFailure) {
      // More workers died on it than may.
      const reason = new InputError(`more than ${MAX_DEATHS} workers ended while they answered it`);
      await this.fail(job, { token, reason, isFinal: true });
      return;
    }
    const renewal = setInterval(() => {
      job.extendLock(token, times.lockMs).catch(() => undefined); // the connection was lost: tried again
    }, times.lockMs / 4);
    try {
      let lines: readonly SampleLine[];
      try {
        lines = await answer(id, signal);
      } catch (error) {
        if (signal.aborted) return await this.giveBack(job, token);
        await this.fail(job, { token, reason: error, isFinal: false });
        if (error instanceof InputError) return;
        throw error;
      }
      if (!(await this.whileOurs(() => job.moveToCompleted(lines, token, false)))) {
        note(`adaptvis: question ${id} was given to another worker too, because this one was silent for too long`);
        await this.sendLate(name, id, lines);
      }
      this.numAnswered++;
    } finally {
      clearInterval(renewal);
    }
  }

  /** Sends a result that the queue no longer takes, unless the run is complete. */
  private async sendLate(name: string, id: number, lines: readonly SampleLine[]): Promise<void> {
    const { client } = this.link;
    const [text, seconds] = [JSON.stringify(lines), String(LATE_S)];
    await this.link.run(() => client.eval(SEND_LATE, 2, OFFERS_KEY, lateKey(name), name, String(id), text, seconds));
  }

  /** Reports that a question could not be answered: another attempt is made, up to the job's number of attempts. */
  private async fail(
    job: QuestionOf,
    of: { readonly token: string; readonly reason: unknown; readonly isFinal: boolean },
  ): Promise<void> {
    const { token, reason, isFinal } = of;
    const { UnrecoverableError } = await loadPackage(() => import("bullmq"));
    const message = reason instanceof Error ? reason.message : String(reason);
    const error = isFinal ? new UnrecoverableError(message) : new Error(message);
    if (await this.whileOurs(() => job.moveToFailed(error, token, false))) this.numFailed++;
  }

  private async giveBack(job: QuestionOf, token: string): Promise<void> {
    this.numGivenBack++;
    const giving = this.whileOurs(() => job.moveToWait(token)).catch(() => undefined); // else it is taken over as a dead worker's
    await Promise.race([giving, pause(GIVE_BACK_MS)]);
  }

  /** Runs a command about a question. @returns false where another worker has it. */
  private async whileOurs(work: () => Promise<unknown>): Promise<boolean> {
    try {
      await this.link.run(work);
      return true;
    } catch (error) {
      const code = error instanceof Error && "code" in error ? error.code : undefined;
      if (code === GONE_CODE) return true;
      if (TAKEN_CODES.includes(code)) return false;
      throw error;
    }
  }
}

/** Reads an offer. @throws InputError for one of another version of this package. */
function parseOffer(name: string, text: string): RunOffer {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  if (
    isObject(value) &&
    value.format === 1 &&
    value.name === name &&
    isObject(value.identity) &&
    isObject(value.data)
  ) {
    return value as unknown as RunOffer; // as collectRun wrote it
  }
  throw new InputError(`${name} on the queue was made by another version of adaptvis: use the same on all machines.`);
}
