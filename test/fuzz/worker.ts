// The process that runs fuzzed inputs. It may hang or die: its parent (driver.ts) knows from file descriptor 3 which input it was at.
//   node worker.mjs '{"kind": …, "seed": …, "start": …, "end": …}'     inputs of a seed
//   node worker.mjs '{"kind": …, "cases": [FILE, …], "start": …}'      corpus files
//   with "show": true, prints the input at `start` and runs nothing

import { readFileSync, writeSync } from "node:fs";
import { at } from "../../src/errors.ts";
import { caseOf, type Ending, endingOf, type FuzzCase } from "./kind.ts";
import { kindNamed } from "./kinds.ts";
import { MEMORY_BOUND_BYTES, TIME_BOUND_MS, type WorkerJob, type WorkerLine } from "./worker-lines.ts";

const job: WorkerJob = JSON.parse(process.argv[2] ?? "{}");
const kind = await kindNamed(job.kind);
let current = job.start;

process.on("unhandledRejection", (reason) => {
  const text = reason instanceof Error ? (reason.stack ?? reason.message) : String(reason);
  write({ index: current, finding: "unhandled rejection", text });
});

if (job.show === true) write({ index: job.start, input: caseAt(job.start) });
else await runAll();
process.exit(0); // whatever an input has left open

async function runAll(): Promise<void> {
  // What is loaded at the first use is no input's doing.
  const warmUp = caseOf(kind, 0, 0);
  await endingOf(kind, warmUp.input);
  const end = job.cases?.length ?? job.end ?? 0;
  const known = new WeakMap<object, Ending>();
  for (current = job.start; current < end; current++) {
    const fuzzCase = caseAt(current);
    write({ index: current });
    const before = process.resourceUsage().maxRSS;
    const cpuBefore = process.cpuUsage();
    const started = performance.now();
    const ending = await endingOf(kind, fuzzCase.input);
    const ms = performance.now() - started;
    const cpu = process.cpuUsage(cpuBefore);
    const grownBytes = (process.resourceUsage().maxRSS - before) * 1024;
    const finding = ending.finding ?? (await differenceOf(fuzzCase, ending, known));
    const cpuMs = Math.round((cpu.user + cpu.system) / 1000);
    write({
      index: current,
      outcome: ending.outcome,
      ms: Math.round(ms),
      cpuMs,
      isSlow: cpuMs > (kind.maxCpuMs ?? TIME_BOUND_MS),
      grownBytes,
      messageLength: ending.outcome === "ok" ? 0 : ending.text.length,
      ...(finding !== undefined && { finding, text: ending.text.slice(0, 4000) }),
    });
    // The next input's growth would not show above this one's peak.
    if (grownBytes > MEMORY_BOUND_BYTES) return;
  }
}

/** Whether an input ended otherwise than the one that means the same. */
async function differenceOf(
  { sameAs }: FuzzCase,
  ending: Ending,
  known: WeakMap<object, Ending>,
): Promise<string | undefined> {
  if (typeof sameAs !== "object" || sameAs === null) return undefined;
  const expected = known.get(sameAs) ?? (await endingOf(kind, sameAs));
  known.set(sameAs, expected);
  if (expected.outcome === ending.outcome && (ending.outcome !== "ok" || expected.text === ending.text))
    return undefined;
  return `other answer than ${expected.outcome}: ${expected.text.slice(0, 1000)}`;
}

function caseAt(index: number): FuzzCase {
  if (job.cases === undefined) return caseOf(kind, job.seed ?? 0, index);
  return JSON.parse(readFileSync(at(job.cases, index), "utf8"));
}

function write(line: WorkerLine): void {
  writeSync(3, `${JSON.stringify(line)}\n`);
}
