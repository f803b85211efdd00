// adaptvis isa: the output of a real GPU's compiler for every GPU kernel, without that GPU.
import { text as textOf } from "node:stream/consumers";
import { type Command, Option } from "commander";
import { readFileText } from "../checkpoint/read-file.node.ts";
import { writeFileWhole } from "../checkpoint/write-file.node.ts";
import { GpuError, InputError } from "../errors.ts";
import { requestGpuDevice } from "../gpu/device.ts";
import { WEIGHT_DTYPES, type WeightDtype } from "../gpu/tensor.ts";
import { baselineOf, baselineText, type IsaBaseline, parseBaseline, regressions } from "../isa/baseline.ts";
import { COMPILE_COMMAND, type CompileJob, compileMarked, missingCompiler } from "../isa/compile-jobs.node.ts";
import { COLUMNS_TEXT, isaTables } from "../isa/report.ts";
import { isaHtml } from "../isa/report-html.node.ts";
import { labPipelines, runLab } from "../isa/run-lab.node.ts";
import { ISA_TARGETS } from "../isa/targets.ts";
import { checkOutput, someText } from "./checks.ts";
import { commandFile, examples } from "./package-files.ts";
import { defineCommand, type Session, styled, table, UsageError } from "./session.ts";

/** Parsed options of `isa`. */
interface IsaFlags {
  readonly target?: readonly string[];
  readonly dtype?: readonly WeightDtype[];
  readonly kernel?: string;
  readonly robustness: boolean;
  readonly report?: string;
  readonly html?: string;
  readonly baseline?: string;
  readonly writeBaseline?: string;
}

const TARGET_NAMES = ISA_TARGETS.map(({ name }) => name);

/** `adaptvis isa`. */
export const isaCommand = defineCommand("isa", describeIsa, isa);

/** The part of `adaptvis isa` that runs in a process with the driver; hidden from the help. */
export const isaCompileCommand = defineCommand(COMPILE_COMMAND, (command) => command, compile);

/** Describes `isa` to commander. */
function describeIsa(command: Command): Command {
  return command
    .description("Compile every kernel for GPUs with Mesa's driver for Radeons, which needs no GPU for that.")
    .addOption(new Option("--target <names...>", "GPUs to compile for (default: all)").choices(TARGET_NAMES))
    .addOption(new Option("--dtype <dtypes...>", "forms of weights (default: all)").choices([...WEIGHT_DTYPES]))
    .option("--kernel <text>", "only kernels whose name contains this text", someText)
    .option("--no-robustness", "compile without Dawn's clamps of indices, to see what they cost")
    .option("--report <file>", "write the report as JSON to a file", someText)
    .option("--html <file>", "write the report as a single HTML file", someText)
    .option("--baseline <file>", "compare with a baseline: exit code 1 where something is worse", someText)
    .option("--write-baseline <file>", "write the baseline", someText)
    .addHelpText(
      "after",
      `
It needs Linux on x86-64 with Debian's packages mesa-vulkan-drivers and mesa-drm-shim, version 25 or newer. Nothing is
executed. ${COLUMNS_TEXT}`,
    )
    .addHelpText(
      "after",
      examples(() => ["isa --target navi31 --kernel matmul", "isa --html isa.html"]),
    );
}

/** Runs `isa`. */
async function isa(session: Session, flags: IsaFlags): Promise<void> {
  checkFlags(flags);
  const outputs = [flags.report, flags.html, flags.writeBaseline];
  for (const [index, name] of ["--report", "--html", "--write-baseline"].entries()) {
    await checkOutput(name, outputs[index], [...outputs.slice(0, index), flags.baseline]);
  }
  const { target: names = TARGET_NAMES, dtype: dtypes = WEIGHT_DTYPES, kernel: filter } = flags;
  const pipelines = labPipelines(dtypes, filter);
  if (pipelines.length === 0) {
    throw new UsageError(
      `--kernel ${filter}: no kernel's name contains this; without --kernel, adaptvis isa lists all.`,
    );
  }
  const baseline = flags.baseline === undefined ? undefined : await readBaseline(flags.baseline);
  const missing = missingCompiler();
  if (missing !== undefined) throw new GpuError("no-adapter", `isa: ${missing}.`);
  const report = await runLab(pipelines, {
    targets: ISA_TARGETS.filter(({ name }) => names.includes(name)),
    program: commandFile(),
    dawnToggles: session.dawnToggles,
    isRobust: flags.robustness,
    signal: session.signal,
    onProgress: (what) => session.note(styled("dim", `adaptvis isa: ${what}`, process.stderr)),
  });
  for (const { title, head, rows } of isaTables(report)) {
    session.print(`${styled("bold", title)}\n${table(head, rows).join("\n")}\n\n`);
  }
  const problems = baseline === undefined ? [] : regressions(report, baseline);
  session.result({ ...report, problems });
  if (flags.report !== undefined) await writeFileWhole(flags.report, `${JSON.stringify(report, undefined, 1)}\n`);
  if (flags.html !== undefined) await writeFileWhole(flags.html, await isaHtml(report));
  if (flags.writeBaseline !== undefined) {
    await writeFileWhole(flags.writeBaseline, baselineText(baselineOf(report)));
  }
  if (baseline !== undefined && baseline.driver !== report.driver) {
    session.note(
      `adaptvis isa: ${flags.baseline} was written with ${baseline.driver}, this is ${report.driver}: only spills and scratch are judged`,
    );
  }
  for (const problem of problems) session.note(problem);
  if (problems.length > 0) {
    throw new InputError(
      `${problems.length} results are worse than ${flags.baseline} (above): change the kernels, or write the baseline again.`,
    );
  }
}

/** @throws InputError for a file that cannot be read or is not a baseline. */
async function readBaseline(file: string): Promise<IsaBaseline> {
  const text = await readFileText(file).catch((cause: Error) => {
    throw new InputError(`--baseline ${file} cannot be read (${cause.message}).`, { cause });
  });
  return parseBaseline(text, file);
}

/** @throws UsageError for options that contradict each other. */
function checkFlags(flags: IsaFlags): void {
  const isPart = flags.target !== undefined || flags.dtype !== undefined || flags.kernel !== undefined;
  if (flags.writeBaseline !== undefined && (isPart || !flags.robustness)) {
    throw new UsageError(
      "--write-baseline writes every kernel for every GPU: omit --target, --dtype, --kernel and --no-robustness.",
    );
  }
}

/** Runs `isa-compile`. */
async function compile(session: Session): Promise<void> {
  const jobs: readonly CompileJob[] = JSON.parse(await textOf(process.stdin));
  const { adapter } = await session.openAdapter();
  await compileMarked(await requestGpuDevice(adapter), jobs);
}
