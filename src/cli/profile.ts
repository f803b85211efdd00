// --profile: times by stage and kernel, as tables on stderr, as fields of --json, and as a trace file for Perfetto.
import { type Command, InvalidArgumentError } from "commander";
import { writeFileWhole } from "../checkpoint/write-file.node.ts";
import { formatBytes } from "../gpu/device.ts";
import type { KernelTimes, ProfileReport } from "../gpu/profile/profile-report.ts";
import { Profiler } from "../gpu/profile/profiler.ts";
import { checkOutput, modelPath } from "./checks.ts";
import type { ModelFlags } from "./flags.ts";
import { type Session, styled, table } from "./session.ts";

/** Number of kernels in the table; --json and the trace contain all. */
const NUM_KERNELS_SHOWN = 12;

/** The parsed option: true without a file. */
export interface ProfileFlags {
  readonly profile?: string | true;
}

/** A profile of a command's run; inactive without --profile. */
export interface OpenProfile {
  /** Passed to `Llava.load`. */
  readonly profiler: Profiler | undefined;
  /**
   * Writes the trace and the tables.
   * @returns the fields for --json
   * @throws InputError when the file cannot be written.
   */
  finish(): Promise<{ readonly profile?: ProfileReport & { readonly file: string | null } }>;
}

/** Adds --profile. */
export function addProfileOption(command: Command): Command {
  return command.option(
    "--profile [file.json]",
    "print times by stage and kernel; with a file, also write a trace for ui.perfetto.dev",
    traceFile,
  );
}

/**
 * Starts a profile if --profile is given.
 * @param others files that the command reads or writes, which the trace must not overwrite
 * @throws InputError when the trace cannot be written; UsageError when it is one of `others`.
 */
export async function openProfile(
  session: Session,
  flags: ProfileFlags & Pick<ModelFlags, "model">,
  others: readonly (string | undefined)[],
): Promise<OpenProfile> {
  if (flags.profile === undefined) return { profiler: undefined, finish: () => Promise.resolve({}) };
  const file = flags.profile === true ? undefined : flags.profile;
  await checkOutput("--profile", file, [...others, modelPath(flags)]);
  const profiler = new Profiler();
  const finish = async () => {
    const report = await profiler.report();
    if (file !== undefined) await writeFileWhole(file, JSON.stringify(await profiler.chromeTrace()));
    if (!session.isJson) {
      for (const line of profileLines(report)) session.note(line);
      if (file !== undefined) session.note(`Trace: ${file} (open it in ui.perfetto.dev or chrome://tracing)`);
    }
    return { profile: { ...report, file: file ?? null } };
  };
  return { profiler, finish };
}

/** The tables as lines; times are in milliseconds. */
export function profileLines(report: ProfileReport): readonly string[] {
  const { phases, stages, kernels, pipelines } = report;
  const gpuMs = (value: number | undefined) => (value === undefined ? "–" : value.toFixed(2));
  const phaseRows = phases.map((times) => [
    times.phase,
    String(times.count),
    times.wallMs.toFixed(1),
    times.uploadMs.toFixed(2),
    formatBytes(times.uploadBytes),
  ]);
  const stageRows = stages.map((times) => [
    times.stage,
    String(times.numSubmits),
    String(times.numDispatches),
    times.recordMs.toFixed(2),
    times.pipelinesMs.toFixed(2),
    times.encodeMs.toFixed(2),
    gpuMs(times.gpuMs),
    times.readbackMs.toFixed(2),
  ]);
  const shown = kernels.slice(0, NUM_KERNELS_SHOWN);
  const kernelRows = shown.map((times) => [
    `${times.stage}: ${times.kernel}`,
    String(times.count),
    gpuMs(times.gpuMs),
    microseconds(times.meanUs),
    microseconds(times.leastUs),
    times.share === undefined ? "–" : `${(times.share * 100).toFixed(1)} %`,
    constantsText(times),
  ]);
  const rest = kernels.length - shown.length;
  return [
    "",
    ...table(["phase", "times", "wall ms", "upload ms", "uploaded"], phaseRows),
    `${pipelines.count} pipelines compiled in parallel, ${pipelines.totalMs.toFixed(0)} ms in total`,
    "",
    ...table(["stage", "submits", "kernels", "record", "pipelines", "encode", "GPU", "readback"], stageRows),
    "",
    ...table(["kernel", "calls", "GPU ms", "mean µs", "min µs", "share", "constants"], kernelRows),
    ...(rest > 0 ? [`and ${rest} more (--json lists all)`] : []),
    "",
    ...report.notes.map((note) => styled("dim", note, process.stderr)),
    "",
  ];
}

function microseconds(value: number | undefined): string {
  return value === undefined ? "–" : value.toFixed(1);
}

function constantsText({ constants }: KernelTimes): string {
  return Object.entries(constants)
    .map(([name, value]) => `${name} ${value}`)
    .join(", ");
}

/** A trace's file name has to end in .json, so that a question after `--profile` is not mistaken for it. */
function traceFile(text: string): string {
  if (/\.json$/i.test(text)) return text;
  throw new InvalidArgumentError(
    "Expected a file name that ends in .json; for the tables alone, put --profile after the question.",
  );
}
