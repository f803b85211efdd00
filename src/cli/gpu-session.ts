// adaptvis gpu-session: measures a GPU that is available for a few minutes only, most important results first, into one file.
import type { Command } from "commander";
import { parseSteps, SESSION_STEPS, type StepResult, sessionBars, sessionTuning } from "../bench/gpu-session.ts";
import { runSession } from "../bench/gpu-session-run.node.ts";
import type { Ratio } from "../bench/ratios.ts";
import { ratioTable } from "../bench/report.ts";
import { readFileText } from "../checkpoint/read-file.node.ts";
import { writeFileWhole } from "../checkpoint/write-file.node.ts";
import { InputError } from "../errors.ts";
import type { TuningTable } from "../gpu/tunables.ts";
import { checkOutput, numberFrom, someText } from "./checks.ts";
import { examples } from "./package-files.ts";
import { defineCommand, type Session, styled, table } from "./session.ts";

/** Parsed options of `gpu-session`. */
interface GpuSessionFlags {
  readonly budget: number;
  readonly out: string;
  readonly anyAdapter?: boolean;
  readonly judge?: string;
  readonly tuning?: string;
}

const DEFAULT_BUDGET_SECONDS = 540;

/** `adaptvis gpu-session`. */
export const gpuSessionCommand = defineCommand("gpu-session", describeGpuSession, gpuSession);

/** Describes `gpu-session` to commander. */
function describeGpuSession(command: Command): Command {
  return command
    .description(
      "Check and measure a GPU that is lent for minutes: parity, roofline, tuning's candidates, models, Dawn's toggles.",
    )
    .option("--budget <seconds>", "time for everything", numberFrom({ least: 10 }), DEFAULT_BUDGET_SECONDS)
    .option("--out <folder>", "folder for the results", someText, "gpu-session")
    .option("--any-adapter", "accept a CPU adapter, for a rehearsal")
    .option("--judge <file>", "measure nothing: print the bars of a session's file", someText)
    .option("--tuning <file>", "write the tuning table that the results give", someText)
    .addHelpText(
      "after",
      `
Each step runs in a separate process within its share of the time. Results are appended to lines.jsonl in the folder at once, and
merged into a file with the adapter's name after every step. Without --adapter or --any-adapter only a GPU is accepted.`,
    )
    .addHelpText(
      "after",
      examples(() => [
        "gpu-session",
        "gpu-session --adapter lavapipe --budget 60 --out rehearsal",
        "gpu-session --judge gpu-session/nvidia-h100-80gb-hbm3.json --tuning tuning.json",
      ]),
    );
}

/** Runs `gpu-session`. */
async function gpuSession(session: Session, flags: GpuSessionFlags): Promise<void> {
  await checkOutput("--tuning", flags.tuning, [flags.judge]);
  if (flags.judge !== undefined) {
    const steps = parseSteps(await readJson(flags.judge));
    await show(session, { file: flags.judge, steps, bars: sessionBars(steps), tuning: sessionTuning(steps) }, flags);
    return;
  }
  const { file, session: found } = await runSession({
    steps: SESSION_STEPS,
    program: String(process.argv[1]),
    adapter: session.adapter === "auto" && flags.anyAdapter !== true ? "gpu" : session.adapter,
    folder: flags.out,
    budgetSeconds: flags.budget,
    signal: session.signal,
    onProgress: (what) => session.note(styled("dim", `adaptvis gpu-session: ${what}`, process.stderr)),
  });
  await show(session, { file, ...found }, flags);
}

interface Shown {
  readonly file: string;
  readonly steps: readonly StepResult[];
  readonly bars: readonly Ratio[];
  readonly tuning: TuningTable | null;
}

async function show(session: Session, shown: Shown, { tuning: target }: GpuSessionFlags): Promise<void> {
  const { file, steps, bars, tuning } = shown;
  const head = ["step", "ended", "s", "of", "results", "why"];
  const rows = steps.map(({ name, ending, seconds, limitSeconds, results, message }) => [
    name,
    ending,
    seconds.toFixed(1),
    limitSeconds.toFixed(1),
    String(results.length),
    message,
  ]);
  const { title, head: barsHead, rows: barRows } = ratioTable(bars);
  session.print(`${styled("bold", "Steps")}\n${table(head, rows).join("\n")}\n\n`);
  session.print(`${styled("bold", title)}\n${table(barsHead, barRows).join("\n")}\n\n`);
  session.print(`The results are in ${file}.\n`);
  session.result({ file, steps: steps.map(({ results, ...step }) => ({ ...step, numResults: results.length })), bars });
  if (target === undefined) return;
  if (tuning === null)
    throw new InputError(`${file} has no sweep that tuning could choose by: there is no tuning table to write.`);
  await writeFileWhole(target, `${JSON.stringify(tuning, undefined, 1)}\n`);
}

async function readJson(path: string): Promise<unknown> {
  const text = await readFileText(path).catch((cause: unknown) => {
    throw new InputError(`${path} cannot be read.`, { cause });
  });
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new InputError(`${path} is not JSON.`, { cause });
  }
}
