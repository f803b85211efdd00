// A long life of a model: questions, aborts at random moments, disposals with new loads, and lost devices, in a random order. After
// each of them the next answer has to be the same to the bit, and the memory flat.

import type { Answer, AnswerOptions } from "../../src/answer.ts";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import { AbortError, at, GpuError } from "../../src/errors.ts";
import { Llava } from "../../src/llava.ts";
import type { ModelInputs } from "../../src/models/inputs.ts";
import { createRandom, type Random } from "../reference/random.ts";
import type { TestDevice } from "../setup/device.ts";

/** What happens, and how often. */
export interface SoakPlan {
  readonly questions: number;
  readonly aborts: number;
  readonly disposals: number;
  readonly losses: number;
  readonly seed: number;
  /** A checkpoint's folder. */
  readonly folder: string;
}

/** What a soak needs from its host. */
export interface SoakHost {
  openDevice(): Promise<TestDevice>;
  inputsOf(model: Llava): Promise<ModelInputs>;
  /** Resident bytes of the process, after what is unused has been freed. */
  residentBytes(): Promise<number>;
  readonly onProgress?: (done: number, total: number) => void;
}

/** What was seen. Every problem is one sentence; there must be none. */
export interface SoakReport {
  readonly questions: number;
  /** Of the aborts, those that came before the answer was there. */
  readonly stoppedByAborts: number;
  readonly aborts: number;
  readonly disposals: number;
  readonly losses: number;
  /** Resident bytes after the first fifth of the events and after each further one. */
  readonly residentBytes: readonly number[];
  /** GPU bytes of the model that is loaded and has freed its caches. */
  readonly loadedBytes: number;
  readonly problems: readonly string[];
  readonly seconds: number;
}

type Event = "question" | "abort" | "disposal" | "loss";

const KINDS: readonly AnswerOptions[] = [
  { maxNewTokens: 3 },
  { method: "scaling", factor: 1.5, maxNewTokens: 4 },
  { method: "adaptvis", maxNewTokens: 3, attention: true },
  { method: "adaptvis", maxNewTokens: 4, rows: { last: 2 }, layers: [0] },
  { maxNewTokens: 5, sampling: { temperature: 1, topK: 10, repetitionPenalty: 1.2, seed: 3 }, topLogProbs: 4 },
  { method: "constant-add", maxNewTokens: 3, reusePrefix: false },
];

/** Runs a plan. */
export async function soak(plan: SoakPlan, host: SoakHost): Promise<SoakReport> {
  const random = createRandom(plan.seed);
  const events = shuffledEvents(plan, random);
  const problems: string[] = [];
  const residentBytes: number[] = [];
  const started = performance.now();
  let opened = await host.openDevice();
  let life = await begin(plan, host, opened);
  const expected = await Promise.all(KINDS.map(async (_, kind) => bitsOf(await ask(life, kind))));
  const loadedBytes = freed(life);
  const longestMs = await timeOf(() => ask(life, 0));
  let stoppedByAborts = 0;

  /** The next answer, as it was at first. */
  const check = async (after: string) => {
    const kind = random.integer(KINDS.length);
    const bits = bitsOf(await ask(life, kind));
    if (bits !== expected[kind])
      problems.push(`After ${after}, question ${kind} got ${bits}, expected ${expected[kind]}.`);
    if (chanceOf(random, 8)) {
      const bytes = freed(life);
      if (bytes !== loadedBytes)
        problems.push(`After ${after}, the GPU holds ${bytes} bytes, expected ${loadedBytes}.`);
    }
  };

  for (const [index, event] of events.entries()) {
    const name = `${event} ${index}`;
    if (event === "question") await check(name);
    if (event === "abort") {
      if (await abortOne(life, random, { longestMs, expected, problems, name })) stoppedByAborts++;
      await check(name);
    }
    if (event === "disposal") {
      // Half of them while a question runs.
      const running = chanceOf(random, 2) ? outcomeOf(ask(life, 0)) : undefined;
      life.model.dispose();
      const outcome = await running;
      if (outcome instanceof Error && !(outcome instanceof AbortError)) problems.push(`${name}: ${outcome}.`);
      const left = life.model.gpu.allocatedBytes;
      if (left !== 0) problems.push(`After ${name}, ${left} bytes are left on the GPU.`);
      life = await begin(plan, host, opened);
      await check(name);
    }
    if (event === "loss") {
      const running = outcomeOf(ask(life, 0));
      await moments(random.integer(4));
      opened.device.destroy();
      const outcome = await running;
      const isLost = outcome instanceof GpuError && outcome.reason === "device-lost";
      if (!isLost && (outcome instanceof Error || bitsOf(outcome) !== expected[0]))
        problems.push(`${name}: ${outcome}.`);
      life.model.dispose();
      opened = await host.openDevice();
      life = await begin(plan, host, opened);
      await check(name);
    }
    if ((index + 1) % Math.ceil(events.length / 5) === 0 || index === events.length - 1) {
      life.model.clearCaches();
      residentBytes.push(await host.residentBytes());
    }
    host.onProgress?.(index + 1, events.length);
  }
  life.model.dispose();
  opened.device.destroy();
  const { questions, aborts, disposals, losses } = plan;
  const seconds = (performance.now() - started) / 1000;
  return { questions, aborts, stoppedByAborts, disposals, losses, residentBytes, loadedBytes, problems, seconds };
}

/** A loaded model and the inputs of its questions. */
interface Life {
  readonly model: Llava;
  readonly inputs: ModelInputs;
}

async function begin({ folder }: SoakPlan, host: SoakHost, { device, isSoftware }: TestDevice): Promise<Life> {
  const adapterClass = isSoftware ? "cpu" : "gpu";
  const model = await Llava.load(fileSource(folder), { device, adapterClass, cacheBytes: 2 ** 20 });
  return { model, inputs: await host.inputsOf(model) };
}

function ask({ model, inputs }: Life, kind: number, signal?: AbortSignal): Promise<Answer> {
  return model.answer(inputs, { ...at(KINDS, kind), ignoreEos: true, signal });
}

/** GPU bytes once nothing is kept for later questions. */
function freed({ model }: Life): number {
  model.clearCaches();
  return model.gpu.allocatedBytes;
}

/** All numbers of an answer; equal texts mean equal bits. */
function bitsOf({ text, tokens, confidence, factor, attention }: Answer): string {
  const numbers = tokens.map(({ tokenId, logProb, top }) => [tokenId, logProb, top]);
  return JSON.stringify([text, numbers, confidence, factor, attention?.used().share]);
}

/** Stops one answer at a random moment. @returns whether it was stopped. */
async function abortOne(
  life: Life,
  random: Random,
  known: {
    readonly longestMs: number;
    readonly expected: readonly string[];
    readonly problems: string[];
    readonly name: string;
  },
): Promise<boolean> {
  const kind = random.integer(KINDS.length);
  const stop = new AbortController();
  const delayMs = random.next() * known.longestMs * 1.2;
  const timer = delayMs < 1 ? stop.abort() : setTimeout(() => stop.abort(), delayMs);
  const outcome = await outcomeOf(ask(life, kind, stop.signal));
  clearTimeout(timer ?? undefined);
  if (outcome instanceof AbortError) return true;
  if (outcome instanceof Error || bitsOf(outcome) !== known.expected[kind])
    known.problems.push(`${known.name}: ${outcome}.`);
  return false;
}

function outcomeOf(answer: Promise<Answer>): Promise<Answer | Error> {
  return answer.catch((error: unknown) => (error instanceof Error ? error : new Error(String(error))));
}

async function timeOf(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

/** Lets work that waits go on a little. */
async function moments(count: number): Promise<void> {
  for (let index = 0; index < count; index++) await new Promise((resolve) => setImmediate(resolve));
}

function shuffledEvents({ questions, aborts, disposals, losses }: SoakPlan, random: Random): readonly Event[] {
  const counts = { question: questions, abort: aborts, disposal: disposals, loss: losses };
  const events = (Object.keys(counts) as Event[]).flatMap((event) =>
    Array.from({ length: counts[event] }, () => event),
  ); // its own keys
  for (let last = events.length - 1; last > 0; last--) {
    const other = random.integer(last + 1);
    [events[last], events[other]] = [at(events, other), at(events, last)];
  }
  return events;
}

function chanceOf(random: Random, denominator: number): boolean {
  return random.integer(denominator) === 0;
}
