// A run over a queue on a real Redis, with workers in this process that answer without a model.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { InputError } from "../../src/errors.ts";
import {
  collectRun,
  OFFERS_KEY,
  openQueue,
  type QueueTimes,
  queueName,
  type RunOffer,
} from "../../src/evaluate/run/queue.node.ts";
import { type AnswerQuestion, serveQueue } from "../../src/evaluate/run/queue-worker.node.ts";
import { checkRedisUrl, RedisLink } from "../../src/evaluate/run/redis-link.node.ts";
import { type Manifest, RunFolder, type RunIdentity } from "../../src/evaluate/run/run-folder.node.ts";
import type { SampleLine } from "../../src/evaluate/run/samples.ts";
import { noRedis, type RedisServer, startRedis } from "../setup/redis-server.ts";

const TIMES: QueueTimes = { pollMs: 10, lockMs: 400, stalledMs: 100, patienceMs: 1500, firstMs: 700 };
const METHODS = ["greedy", "pai"];

let folder = "";
let server: RedisServer;
const links: RedisLink[] = [];
const stop = { now: new AbortController() };
let notes: string[] = [];
let numRuns = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "adaptvis-queue-"));
  if (noRedis === undefined) server = await startRedis({ keeps: true });
});
afterAll(async () => {
  await server?.remove();
  await rm(folder, { recursive: true, force: true });
});
beforeEach((context) => {
  if (noRedis !== undefined) context.skip(`no queue: ${noRedis}`);
  stop.now = new AbortController();
  notes = [];
});
afterEach(async () => {
  stop.now.abort();
  for (const link of links.splice(0)) link.close();
  if (noRedis !== undefined) return;
  const client = new Redis(server.url);
  await client.flushall();
  client.disconnect();
});

async function linkTo(url = server.url): Promise<RedisLink> {
  const link = await RedisLink.open(url, { patienceMs: TIMES.patienceMs, note });
  links.push(link);
  return link;
}

function note(text: string): void {
  notes.push(text);
}

/** A run of so many questions in a new folder. */
async function newRun(numQuestions: number) {
  const path = join(folder, `run-${numRuns++}`);
  const identity = { dataset: "VSR", methods: { greedy: {}, pai: {} } } as unknown as RunIdentity; // nothing here reads the rest
  const manifest: Manifest = { format: 1, identity, shard: null, about: {} };
  const run = await RunFolder.open(path, manifest);
  run.close();
  const ids = Array.from({ length: numQuestions }, (_, index) => 3 * index);
  const name = await queueName(path, manifest);
  const offer: RunOffer = {
    format: 1,
    name,
    identity,
    methods: METHODS,
    maxRows: 8,
    boxes: null,
    ids,
    data: { folder: "data", questions: null, annotations: null },
    version: "0",
  };
  const collect = async (link: RedisLink, signal = stop.now.signal) => {
    const again = await RunFolder.open(path, manifest);
    try {
      return await collectRun(link, again, { offer, times: TIMES, signal, note, onAnswered: () => undefined });
    } finally {
      again.close();
    }
  };
  /** [question, method, who answered] of every line. */
  const lines = async () => {
    const text = await readFile(join(path, "results.jsonl"), "utf8");
    return text.split("\n").flatMap((line) => (line === "" ? [] : [JSON.parse(line) as SampleLine]));
  };
  const answeredIds = async () =>
    (await lines()).filter(({ method }) => method === "greedy").map(({ doc_id }) => doc_id);
  return { path, manifest, offer, ids, collect, lines, answeredIds };
}

/** What a worker without a model answers. */
function linesBy(who: string, id: number): readonly SampleLine[] {
  return METHODS.map((method) => ({ doc_id: id, method, target: who })) as unknown as readonly SampleLine[]; // no reader of the rest
}

/** Serves until all is done. @param isOpen whether to wait for a run, however slow this machine is */
async function serve(link: RedisLink, answer: AnswerQuestion, { signal = stop.now.signal, isOpen = true } = {}) {
  if (isOpen) await expect.poll(() => link.client.hlen(OFFERS_KEY)).toBeGreaterThan(0);
  return serveQueue(link, { join: async () => answer, exitWhenDone: true, times: TIMES, signal, note });
}

const sorted = (ids: readonly number[]) => ids.toSorted((a, b) => a - b);

describe("a queue", () => {
  test("gives every question to one of four workers, takes over those of two that are gone, and leaves nothing on the server", async () => {
    const run = await newRun(30);
    const collecting = run.collect(await linkTo());
    const gone = [0, 1].map(async (index) => {
      const link = await linkTo();
      let numTaken = 0;
      await serve(link, async (id) => {
        if (++numTaken < 3) return linesBy(`gone ${index}`, id);
        link.close(); // as after kill -9, nothing more comes from it
        return new Promise<never>(() => undefined);
      });
    });
    for (const each of gone) each.catch(() => undefined);
    const alive = [0, 1].map(async (index) =>
      serve(await linkTo(), async (id) => {
        await new Promise((resolve) => setTimeout(resolve, 5));
        return linesBy(`alive ${index}`, id);
      }),
    );
    expect(await collecting).toEqual([]);
    const reports = await Promise.all(alive);
    expect(sorted(await run.answeredIds())).toEqual(run.ids);
    const by = (who: string) => run.lines().then((all) => all.filter(({ target }) => target === who).length / 2);
    expect([await by("gone 0"), await by("gone 1")]).toEqual([2, 2]);
    expect(reports.map(({ numAnswered }) => numAnswered).reduce((a, b) => a + b)).toBe(26);
    const client = (await linkTo()).client;
    await expect.poll(() => client.keys("*")).toEqual([]);
  });

  test("keeps the first of two results, and goes on with what is there after the process that fills it was stopped", async () => {
    const run = await newRun(6);
    const halted = new AbortController();
    const link = await linkTo();
    const first = run.collect(link, halted.signal);
    let numAnswered = 0;
    const worker = serve(await linkTo(), async (id) => {
      if (++numAnswered === 3) halted.abort();
      return linesBy("worker", id);
    });
    await expect(first).rejects.toThrow("The evaluation was stopped");
    expect(await worker).toMatchObject({ numAnswered: 6, runs: [run.offer.name] });
    const before = await run.answeredIds();
    expect(before.length).toBeLessThan(6);
    // A result that comes although the question is answered: from a worker that was believed dead.
    const again = await RunFolder.open(run.path, run.manifest);
    const unanswered = run.ids.filter((id) => !again.has(id));
    again.append(linesBy("somebody else", unanswered[0] ?? -1));
    again.close();
    expect(await run.collect(await linkTo())).toEqual([]);
    expect(sorted(await run.answeredIds())).toEqual(run.ids);
    expect((await run.lines()).find(({ doc_id }) => doc_id === unanswered[0])?.target).toBe("somebody else");
  });

  test("names a question that fails on every attempt, keeps the others, and asks it again the next time", async () => {
    const run = await newRun(5);
    const attempts: number[] = [];
    const collecting = run.collect(await linkTo());
    const answer = (isBroken: boolean) => async (id: number) => {
      attempts.push(id);
      if (isBroken && id === 6) throw new InputError("6.jpeg is not a picture.");
      return linesBy("worker", id);
    };
    const report = await serve(await linkTo(), answer(true));
    expect(await collecting).toEqual([{ id: 6, reason: "6.jpeg is not a picture." }]);
    expect(report).toMatchObject({ numAnswered: 4, numFailed: 3 });
    expect(attempts.filter((id) => id === 6)).toHaveLength(3);
    expect(notes).toContain("adaptvis: question 6 failed: 6.jpeg is not a picture.");
    expect(sorted(await run.answeredIds())).toEqual([0, 3, 9, 12]);
    const again = run.collect(await linkTo());
    await serve(await linkTo(), answer(false));
    expect(await again).toEqual([]);
    expect((await run.answeredIds()).at(-1)).toBe(6);
  });

  test("fails a question on which worker after worker dies", async () => {
    const run = await newRun(1);
    const collecting = run.collect(await linkTo());
    const link = await linkTo();
    void serve(link, () => {
      link.close();
      return new Promise<never>(() => undefined);
    }).catch(() => undefined);
    const { client } = await linkTo();
    const job = `adaptvis:${run.offer.name}:${run.offer.name}-0`;
    await expect.poll(() => client.hget(job, "processedOn")).not.toBeNull();
    await client.hset(job, "stc", 5); // as if it were the sixth
    const report = await serve(await linkTo(), async (id) => linesBy("worker", id));
    expect(report).toMatchObject({ numAnswered: 0, numFailed: 1 });
    expect(await collecting).toEqual([{ id: 0, reason: "more than 5 workers ended while they answered it" }]);
  });

  test("takes the result of a worker that was taken for dead, and not the second one", async () => {
    const run = await newRun(1);
    const collecting = run.collect(await linkTo());
    let finish: () => void = () => undefined;
    const slow = serve(
      await linkTo(),
      (id) =>
        new Promise((resolve) => {
          finish = () => resolve(linesBy("slow", id));
        }),
    );
    const { client } = await linkTo();
    const lock = `adaptvis:${run.offer.name}:${run.offer.name}-0:lock`;
    await expect.poll(() => client.exists(lock)).toBe(1);
    await client.del(lock); // as if it had not been renewed
    const second = serve(await linkTo(), async (id) => {
      finish();
      await collecting;
      return linesBy("second", id);
    });
    expect(await collecting).toEqual([]);
    expect((await run.lines()).map(({ target }) => target)).toEqual(["slow", "slow"]);
    await Promise.all([slow, second]);
    expect(notes).toContainEqual(expect.stringMatching(/^adaptvis: question 0 was given to another worker too/));
    await expect.poll(() => client.keys("*")).toEqual([]);
  });

  test("refuses a worker of another model with its reason, and loses no question by it", async () => {
    const run = await newRun(3);
    const collecting = run.collect(await linkTo());
    const link = await linkTo();
    await expect.poll(() => link.client.hlen(OFFERS_KEY)).toBe(1);
    const join = () => Promise.reject(new InputError("it has dtype q8 instead of f16."));
    const options = { join, exitWhenDone: false, times: TIMES, signal: stop.now.signal, note };
    await expect(serveQueue(link, options)).rejects.toThrow("it has dtype q8 instead of f16.");
    const queue = await openQueue(link, run.offer.name);
    expect(await queue.getJobCounts("waiting", "active", "failed")).toEqual({ waiting: 3, active: 0, failed: 0 });
    await queue.close();
    // Beside a run that it can serve, the worker leaves it to others.
    const other = await newRun(2);
    const others = other.collect(await linkTo());
    await expect.poll(() => link.client.hlen(OFFERS_KEY)).toBe(2);
    const picky = async ({ name }: RunOffer): Promise<AnswerQuestion> => {
      if (name === run.offer.name) return join();
      return async (id) => linesBy("picky", id);
    };
    expect(await serveQueue(link, { ...options, exitWhenDone: true, join: picky })).toMatchObject({
      runs: [other.offer.name],
      numAnswered: 2,
    });
    expect(await others).toEqual([]);
    expect(notes).toContain("adaptvis: a run is left to other workers: it has dtype q8 instead of f16.");
    await serve(link, async (id) => linesBy("worker", id));
    expect(await collecting).toEqual([]);
    expect(sorted(await run.answeredIds())).toEqual(run.ids);
  });

  test("gets the question of a worker that is stopped back at once; one without runs or workers says so", async () => {
    const run = await newRun(1);
    const collecting = run.collect(await linkTo());
    const halted = new AbortController();
    const stopped = serve(
      await linkTo(),
      (_, signal) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener("abort", () => reject(new Error("stopped")));
          halted.abort();
        }),
      halted,
    );
    expect(await stopped).toMatchObject({ numAnswered: 0, numFailed: 0, numGivenBack: 1 });
    const queue = await openQueue(await linkTo(), run.offer.name);
    expect(await queue.getJobCounts("waiting", "active")).toEqual({ waiting: 1, active: 0 });
    await queue.close();
    await serve(await linkTo(), async (id) => linesBy("worker", id));
    expect(await collecting).toEqual([]);
    const unused = serve(await linkTo(), async (id) => linesBy("worker", id), { isOpen: false });
    expect(await unused).toMatchObject({ runs: [] });
    const alone = new AbortController();
    const waiting = (await newRun(1)).collect(await linkTo(), alone.signal);
    await expect.poll(() => notes).toContainEqual(expect.stringContaining("no worker has taken a question yet"));
    alone.abort();
    await expect(waiting).rejects.toThrow("stopped");
  });

  test("does not take a result that is not the run's", async () => {
    const run = await newRun(2);
    const collecting = run.collect(await linkTo());
    await serve(await linkTo(), async (id) => linesBy("worker", id === 0 ? 3 : id));
    expect(await collecting).toEqual([{ id: 0, reason: "its result is not that of this run's methods" }]);
    expect(await run.answeredIds()).toEqual([3]);
  });

  test("has a name per folder, which the folder keeps", async () => {
    const [one, two] = [await newRun(1), await newRun(1)];
    expect(one.offer.name).toMatch(/^run-[0-9a-f]{16}$/);
    expect(two.offer.name).not.toBe(one.offer.name);
    expect(await queueName(one.path, one.manifest)).toBe(one.offer.name);
    expect(await queueName(one.path, { ...one.manifest, shard: { index: 0, count: 2 } })).not.toBe(one.offer.name);
  });
});

describe("a server that goes away", () => {
  /** Answers slowly enough that the server goes away in the middle. */
  const slowly: AnswerQuestion = async (id) => {
    await new Promise((resolve) => setTimeout(resolve, 20));
    return linesBy("worker", id);
  };

  /** Starts a run of 20 questions, and waits until some are answered. */
  async function inTheMiddle(url: string) {
    const run = await newRun(20);
    const collecting = run.collect(await linkTo(url));
    const serving = serve(await linkTo(url), slowly);
    for (const each of [collecting, serving]) each.catch(() => undefined);
    await expect.poll(async () => (await run.lines()).length).toBeGreaterThan(3);
    return { run, collecting, serving };
  }

  test("and comes back with its data is waited for", async () => {
    const { run, collecting, serving } = await inTheMiddle(server.url);
    await server.kill();
    await expect.poll(() => notes.filter((each) => each.includes("is gone; waiting up to 2 s"))).toHaveLength(2);
    await server.start();
    expect(await collecting).toEqual([]);
    await serving;
    expect(sorted(await run.answeredIds())).toEqual(run.ids);
    expect(notes.filter((each) => each.endsWith("is back"))).toHaveLength(2);
  });

  test("and comes back empty is filled again; one that stays away ends both in one sentence, and the next run goes on", async () => {
    const forgetful = await startRedis();
    try {
      const { run, collecting } = await inTheMiddle(forgetful.url);
      await forgetful.kill();
      await forgetful.start();
      await expect.poll(() => notes.filter((each) => each.endsWith("is back"))).toHaveLength(2);
      const serving = serve(await linkTo(forgetful.url), slowly);
      serving.catch(() => undefined);
      await expect.poll(async () => (await run.lines()).length).toBeGreaterThan(24);
      await forgetful.kill();
      const sentence =
        /^redis:\S+ did not come back within 2 s: what was answered is kept; start the server and run the same command again\.$/;
      for (const each of [collecting, serving]) {
        const error: unknown = await each.catch((reason: unknown) => reason);
        expect(error).toBeInstanceOf(InputError);
        expect(error).toMatchObject({ message: expect.stringMatching(sentence) });
      }
      const kept = await run.answeredIds();
      await forgetful.start();
      const again = run.collect(await linkTo(forgetful.url));
      await serve(await linkTo(forgetful.url), slowly);
      expect(await again).toEqual([]);
      expect((await run.answeredIds()).slice(0, kept.length)).toEqual(kept);
      expect(sorted(await run.answeredIds())).toEqual(run.ids);
    } finally {
      await forgetful.remove();
    }
  });

  test("or refuses is named, without the password", async () => {
    await expect(linkTo("redis://127.0.0.1:1")).rejects.toThrow(
      /^redis:\/\/127\.0\.0\.1:1 of --queue cannot be used \(connect ECONNREFUSED 127\.0\.0\.1:1\): give the address/,
    );
    const guarded = await startRedis({ args: ["--requirepass", "secret"] });
    try {
      const wrong = guarded.url.replace("//", "//:wrong@");
      await expect(linkTo(wrong)).rejects.toThrow(
        /^redis:\/\/127\.0\.0\.1:\d+ of --queue cannot be used \((WRONGPASS|NOAUTH)/,
      );
      const link = await linkTo(guarded.url.replace("//", "//:secret@"));
      expect(link.name).toBe(guarded.url);
      const refused = link.run(() => link.client.call("NOSUCHCOMMAND"));
      await expect(refused).rejects.toThrow(/^redis:\S+ refused a command: ERR unknown command/);
    } finally {
      await guarded.remove();
    }
  });
});

test.each(["redis://host:6379", "redis://host:6379/2", "rediss://user:password@host", "redis://[::1]:6379/"])(
  "%s is an address",
  (url) => expect(() => checkRedisUrl(url)).not.toThrow(),
);
test.each(["host:6379", "http://host:6379", "redis://", "redis://host:6379/name", ""])("%j is not", (url) => {
  expect(() => checkRedisUrl(url)).toThrow(/^--queue: expected redis:\/\/host:port/);
});
