// One thing at a time on the page: what begins stops what ran, and a stop counts while the page itself still waits.
import { beforeEach, expect, test } from "vitest";
import { Turns } from "../../src/app/turns.ts";
import { AbortError } from "../../src/errors.ts";

/** What the worker runs: stopping it ends it with an AbortError. */
let running: ((error: Error) => void) | undefined;
let log: string[];
let turns: Turns;

beforeEach(() => {
  running = undefined;
  log = [];
  turns = new Turns(async () => running?.(new AbortError("The worker")));
});

/** An action of the worker that goes on until it is stopped. */
function endless(name: string): Promise<never> {
  log.push(name);
  return new Promise((_, reject) => {
    running = reject;
  });
}

const ticks = () => new Promise((resolve) => setTimeout(resolve, 0));

test("what begins stops what ran, and begins when that has ended", async () => {
  const first = turns.take(() => endless("first"));
  const second = turns.take(async () => void log.push("second"));
  expect((await first)?.error).toBeInstanceOf(AbortError);
  expect(await second).toBeUndefined();
  expect(log).toEqual(["first", "second"]);
  expect(turns.isIdle).toBe(true);
});

test("what begins waits for the worker to hear of the stop, and for what ran to end", async () => {
  const gate = () => {
    let open: () => void = () => undefined;
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    return { open, opened };
  };
  const [heard, ended] = [gate(), gate()];
  const slow = new Turns(() => heard.opened);
  const first = slow.take(() => ended.opened);
  const second = slow.take(async () => void log.push("second"));
  ended.open();
  await first;
  await ticks();
  expect(log).toEqual([]);
  heard.open();
  await second;
  expect(log).toEqual(["second"]);

  const [endedLate, thirdEnded] = [gate(), gate()];
  const third = turns.take(() => endedLate.opened.then(thirdEnded.open));
  const fourth = turns.take(async () => void log.push("fourth"));
  await ticks();
  expect([log, turns.isIdle]).toEqual([["second"], false]);
  endedLate.open();
  await Promise.all([third, fourth]);
  expect(log).toEqual(["second", "fourth"]);
});

test("a stop has ended when the worker has heard of it", async () => {
  let hasHeard = false;
  const slow = new Turns(async () => {
    await ticks();
    hasHeard = true;
  });
  await slow.stop();
  expect(hasHeard).toBe(false); // there is nothing to stop
  const running = slow.take(() =>
    ticks()
      .then(ticks)
      .then(() => undefined),
  );
  await slow.stop();
  expect(hasHeard).toBe(true);
  await running;
});

test("of several that wait only the newest one runs", async () => {
  const outcomes = ["first", "second", "third"].map((name) => turns.take(() => endless(name)));
  await ticks();
  expect(log).toEqual(["first", "third"]);
  await turns.stop();
  expect(await Promise.all(outcomes)).toEqual([0, 1, 2].map(() => ({ error: expect.any(AbortError) })));
});

test("a stop reaches an action that waits for the one before", async () => {
  void turns.take(() => endless("first"));
  const second = turns.take(() => endless("second"));
  await turns.stop();
  expect((await second)?.error).toBeInstanceOf(AbortError);
  expect(log).toEqual(["first"]);
});

test("a stop reaches an action that prepares on the page", async () => {
  let prepared: () => void = () => undefined;
  const only = turns.take(async (turn) => {
    await new Promise<void>((resolve) => {
      prepared = resolve;
    });
    turn.throwIfStopped();
    await endless("asked");
  });
  await ticks();
  await turns.stop();
  prepared();
  expect((await only)?.error).toBeInstanceOf(AbortError);
  expect(log).toEqual([]);
});

test("a failure is told, and the next action runs", async () => {
  expect(await turns.take(() => Promise.reject(new Error("broken")))).toEqual({ error: new Error("broken") });
  expect(await turns.take(async () => undefined)).toBeUndefined();
});
