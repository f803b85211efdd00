// Runs fuzzed inputs in a process of their own, which may hang or die; it is then started again behind the input that did it.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { MEMORY_BOUND_BYTES, type WorkerJob, type WorkerLine } from "./worker-lines.ts";

/** What must not happen, and the input that it happened with. */
export interface Finding {
  readonly index: number;
  /** In a few words. */
  readonly what: string;
  readonly text: string;
  readonly input: unknown;
}

/** What a run of one kind ended in. */
export interface FuzzReport {
  readonly kind: string;
  readonly inputs: number;
  readonly seconds: number;
  /** Inputs by what they ended in: ok, or the name of the error. */
  readonly outcomes: Readonly<Record<string, number>>;
  /** Longest time of an input, and most CPU time, in milliseconds. */
  readonly longestMs: number;
  /** Index of the input with the longest time; undefined when none ended. */
  readonly longestIndex: number | undefined;
  readonly mostCpuMs: number;
  /** Characters of the longest message. */
  readonly longestMessage: number;
  readonly mostGrownBytes: number;
  readonly findings: readonly Finding[];
}

/** How a run is watched. */
export interface DriverOptions {
  /** The bundled worker.ts. */
  readonly worker: string;
  /** After so long without a sign of it, the worker is killed. */
  readonly hangMs: number;
  /** The run ends early with so many findings. */
  readonly maxFindings?: number;
  readonly onFinding?: (finding: Finding) => void;
  /** Called with what each input ended in. */
  readonly onEnding?: (index: number, outcome: string) => void;
}

/** The worker's JavaScript heap: an input that needs more dies. */
const HEAP_MIB = 512;

/** Runs the inputs of a job. */
export async function fuzz(job: WorkerJob, options: DriverOptions): Promise<FuzzReport> {
  const { maxFindings = 20 } = options;
  const end = job.cases?.length ?? job.end ?? 0;
  const started = performance.now();
  const outcomes: Record<string, number> = {};
  const found: Finding[] = [];
  const longest: { ms: number; index: number | undefined; cpuMs: number; message: number; grownBytes: number } = {
    ms: 0,
    index: undefined,
    cpuMs: 0,
    message: 0,
    grownBytes: 0,
  };
  let next = job.start;
  let inputs = 0;

  const note = async (index: number, what: string, text: string) => {
    const finding = { index, what, text, input: await inputAt({ ...job, start: index }, options) };
    found.push(finding);
    options.onFinding?.(finding);
  };

  while (next < end && found.length < maxFindings) {
    const pending: { readonly index: number; readonly what: string; readonly text: string }[] = [];
    let begun: number | undefined;
    const ending = await runWorker({ ...job, start: next }, options, (line) => {
      begun = line.index;
      const { outcome, ms = 0, cpuMs = 0, grownBytes = 0, messageLength = 0, finding, text = "" } = line;
      if (finding !== undefined) pending.push({ index: line.index, what: finding, text });
      if (outcome === undefined) return;
      next = line.index + 1;
      inputs++;
      options.onEnding?.(line.index, outcome);
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
      if (ms > longest.ms) Object.assign(longest, { ms, index: line.index });
      longest.cpuMs = Math.max(longest.cpuMs, cpuMs);
      longest.message = Math.max(longest.message, messageLength);
      longest.grownBytes = Math.max(longest.grownBytes, grownBytes);
      if (line.isSlow === true) pending.push({ index: line.index, what: `slow: ${cpuMs} ms`, text });
      if (grownBytes > MEMORY_BOUND_BYTES) {
        pending.push({ index: line.index, what: `memory: ${Math.round(grownBytes / 2 ** 20)} MiB`, text });
      }
    });
    for (const { index, what, text } of pending) await note(index, what, text);
    if (ending === undefined) continue;
    if (begun === undefined) throw new Error(`the worker does not start: ${ending.text}`);
    await note(begun, ending.what, ending.text);
    outcomes[ending.what] = (outcomes[ending.what] ?? 0) + 1;
    // One that ended before the process did has been counted.
    if (begun === next) inputs++;
    next = begun + 1;
  }
  return {
    kind: job.kind,
    inputs,
    seconds: Math.round(performance.now() - started) / 1000,
    outcomes,
    longestMs: longest.ms,
    longestIndex: longest.index,
    mostCpuMs: longest.cpuMs,
    longestMessage: longest.message,
    mostGrownBytes: longest.grownBytes,
    findings: found,
  };
}

/** One worker until it ends; undefined where it ended well. */
async function runWorker(
  job: WorkerJob,
  { worker, hangMs }: DriverOptions,
  onLine: (line: WorkerLine) => void,
): Promise<{ readonly what: string; readonly text: string } | undefined> {
  const child = spawn(process.execPath, [`--max-old-space-size=${HEAP_MIB}`, worker, JSON.stringify(job)], {
    stdio: ["ignore", "ignore", "pipe", "pipe"],
    env: { ...process.env, NODE_OPTIONS: "" },
  });
  let stderr = "";
  let isHung = false;
  const timer = setTimeout(() => {
    isHung = true;
    child.kill("SIGKILL");
  }, hangMs);
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr = (stderr + text).slice(-4000);
  });
  const lines = child.stdio[3];
  if (!(lines instanceof Readable)) throw new Error("the worker has no pipe");
  createInterface({ input: lines }).on("line", (text) => {
    timer.refresh();
    onLine(JSON.parse(text));
  });
  const { code, signal } = await new Promise<{ readonly code: number | null; readonly signal: string | null }>(
    (resolve) => child.on("close", (code, signal) => resolve({ code, signal })),
  );
  clearTimeout(timer);
  if (code === 0) return undefined;
  return isHung
    ? { what: "hang", text: stderr }
    : { what: "death", text: `${signal ?? `exit code ${code}`}\n${stderr}` };
}

/** The input that a worker makes for an index. */
async function inputAt(job: WorkerJob, options: DriverOptions): Promise<unknown> {
  let input: unknown;
  await runWorker({ ...job, show: true }, options, (line) => {
    input = line.input;
  });
  return input;
}
