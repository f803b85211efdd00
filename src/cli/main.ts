// The command line: parses the arguments, runs a command, and reports the result as text or JSON with an exit code.
//   0  success      1  the work failed: a file, a picture, a checkpoint, the GPU
//   2  wrong usage: unknown or contradictory options, a value out of range, a missing question
//   130 and 143  stopped by Ctrl-C or SIGTERM
import { inspect } from "node:util";
import { Command, CommanderError, Option } from "commander";
import { AbortError, CheckpointError, GpuError, InputError, oneLine, reasonOf } from "../errors.ts";
import { adapterChoices } from "../gpu/hosts/adapter-choice.node.ts";
import { askCommand } from "./ask.ts";
import { attributeCommand } from "./attribute.ts";
import { benchCommand, withReportFile } from "./bench.ts";
import { chatCommand } from "./chat.ts";
import { collected } from "./checks.ts";
import { compareCommand } from "./compare.ts";
import { demoCommand } from "./demo.ts";
import { DoctorError, doctorCommand } from "./doctor.ts";
import { evalCommand } from "./eval.ts";
import { explainCommand } from "./explain.ts";
import { gpuSessionCommand } from "./gpu-session.ts";
import { inspectCommand } from "./inspect.ts";
import { isaCommand, isaCompileCommand } from "./isa.ts";
import { lensCommand } from "./lens.ts";
import { modelsCommand } from "./models.ts";
import { examples, packageVersion } from "./package-files.ts";
import { patchCommand } from "./patch.ts";
import { planCommand } from "./plan.ts";
import { pullCommand } from "./pull.ts";
import { quantizeCommand } from "./quantize.ts";
import { reportCommand } from "./report.ts";
import { serveCommand } from "./serve.ts";
import { type CliCommand, type GlobalFlags, jsonText, printable, Session, UsageError } from "./session.ts";
import { sweepCommand } from "./sweep.ts";
import { traceCommand } from "./trace.ts";
import { workerCommand } from "./worker.ts";

/** Every command, in the order of the help. A new one is a file in this folder and a line here. */
const COMMANDS: readonly CliCommand[] = [
  askCommand,
  chatCommand,
  serveCommand,
  sweepCommand,
  traceCommand,
  patchCommand,
  lensCommand,
  attributeCommand,
  explainCommand,
  doctorCommand,
  inspectCommand,
  compareCommand,
  planCommand,
  pullCommand,
  modelsCommand,
  quantizeCommand,
  evalCommand,
  workerCommand,
  reportCommand,
  benchCommand,
  gpuSessionCommand,
  isaCommand,
  demoCommand,
];

const SIGNAL_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

/** How long a command may take to end after a signal: files are whole at any time, and what it has printed remains. */
const GRACE_MS = 3000;

const IMPORTED_MS = performance.now();

await main(withReportFile(process.argv.slice(2)));

async function main(args: readonly string[]): Promise<void> {
  const stop = new AbortController();
  let signalCode: number | undefined;
  let hasEnded = false;
  let session: Session | undefined;
  for (const [signal, code] of Object.entries(SIGNAL_CODES)) {
    process.on(signal, () => {
      if (signal === "SIGINT" && signalCode === undefined && session?.onInterrupt?.() === true) return;
      if (signalCode !== undefined) {
        end(signal);
        return;
      }
      signalCode = code;
      stop.abort();
      // What cannot be interrupted, such as the compilation of a kernel, is left alone.
      setTimeout(() => {
        const isJson = args.includes("--json");
        // A command that has ended is alive only while its driver compiles.
        if (!hasEnded)
          report(new AbortError("The command", "by a signal"), { session, isJson, isDebug: false, signalCode });
        end(signal);
      }, session?.graceMs ?? GRACE_MS).unref();
    });
  }
  process.stdout.on("error", leaveOnBrokenPipe);
  process.stderr.on("error", () => undefined); // notes that nobody can read are no reason to leave out the answer
  const onOpen = (opened: Session) => {
    session = opened;
  };
  try {
    await buildProgram(stop.signal, onOpen).parseAsync([...args], { from: "user" });
    session?.writeResult();
    // All output is written; a device or driver thread that is still alive must not keep the process running.
    process.exitCode = session?.isEndedBySignal === true ? 0 : (signalCode ?? 0);
  } catch (error) {
    const isDebug = args.includes("--debug");
    process.exitCode = report(error, { session, isJson: args.includes("--json"), isDebug, signalCode });
  } finally {
    hasEnded = true;
  }
}

/** Ends the process as if the signal had never been handled: exiting would wait for drivers' threads. */
function end(signal: string): void {
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
}

function buildProgram(signal: AbortSignal, onOpen: (session: Session) => void): Command {
  const program = new Command("adaptvis")
    .description("Vision-language models on WebGPU, with attention that can be read and steered (AdaptVis).")
    .version(packageVersion(), "--version", "print the version")
    .helpOption("-h, --help", "print this help")
    .addOption(new Option("--adapter <name>", "adapter to compute on").choices([...adapterChoices]).default("auto"))
    .addOption(
      new Option(
        "--dawn-toggle <name>",
        "enable a Dawn toggle, such as vulkan_enable_f16_on_nvidia; repeatable",
      ).argParser(collected),
    )
    .option("--json", "print one JSON object on stdout and nothing else there")
    .option("--debug", "print the stack trace of errors and what caused them")
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({ outputError: () => undefined, writeErr: (text) => process.stderr.write(text) })
    .exitOverride()
    .addHelpText(
      "after",
      `
Exit codes: 0 success; 1 the work failed (a file, a picture, a checkpoint, the GPU); 2 wrong usage.
With --json, an error is {"error": {"name", "message", …}} on stdout, and one sentence on stderr.`,
    )
    .addHelpText(
      "after",
      examples(({ picture }) => ["demo", `ask --image ${picture} "What is in the picture?"`, "ask --help"]),
    );
  const open = () => {
    const session = new Session(program.opts<GlobalFlags>(), signal);
    session.reach("imported", IMPORTED_MS);
    onOpen(session);
    return session;
  };
  for (const { name, add } of COMMANDS) {
    add(program.command(name).copyInheritedSettings(program).helpOption("-h, --help", "print this help"), open);
  }
  isaCompileCommand.add(program.command(isaCompileCommand.name, { hidden: true }).copyInheritedSettings(program), open);
  return program;
}

/** Reports an error on stderr, and with --json on stdout. @returns the exit code. */
function report(
  error: unknown,
  run: {
    /** Undefined when the arguments were wrong already. */
    readonly session: Session | undefined;
    readonly isJson: boolean;
    readonly isDebug: boolean;
    readonly signalCode: number | undefined;
  },
): number {
  if (error instanceof CommanderError && error.exitCode === 0) return 0; // --help and --version
  const isUsage = error instanceof CommanderError || error instanceof UsageError;
  const message = oneLine(messageOf(error));
  const fields = { ...fieldsOf(error), message };
  if (run.session !== undefined) run.session.writeResult(fields);
  else if (run.isJson) process.stdout.write(jsonText({ error: fields }));
  process.stderr.write(`adaptvis: ${printable(message)}\n`);
  if (run.isDebug) process.stderr.write(printable(`${inspect(error, { maxStringLength: null })}\n`));
  if (error instanceof AbortError) return run.signalCode ?? 1;
  return isUsage ? 2 : 1;
}

function messageOf(error: unknown): string {
  if (error instanceof CommanderError) {
    if (error.code === "commander.help") return "The command is missing: adaptvis --help lists all commands.";
    const text = error.message.replace(/^error: /, "").replaceAll("\n", " ");
    return /[.?)]$/.test(text) ? text : `${text}; see --help.`;
  }
  if (error instanceof AbortError) return "stopped.";
  const message = reasonOf(error);
  // Deno's error for a missing permission; it names the flag.
  if (error instanceof Error && error.name === "NotCapable") return `${message}, or with -A.`;
  const isOurs = [CheckpointError, InputError, GpuError, UsageError].some((kind) => error instanceof kind);
  return isOurs ? message : `internal error: ${message}; run the command again with --debug and report its output.`;
}

/** The fields of an error besides its message. */
function fieldsOf(error: unknown): object {
  if (error instanceof CommanderError) return { name: "UsageError" };
  if (error instanceof CheckpointError) return { name: error.name, file: error.file, tensor: error.tensor };
  if (error instanceof DoctorError) return { name: error.name, reason: error.reason, ...error.report };
  if (error instanceof GpuError) return { name: error.name, reason: error.reason };
  return { name: error instanceof Error ? error.name : "Error" };
}

/** Exits silently when the reader of a pipe is gone, as in `adaptvis inspect … | head`. */
function leaveOnBrokenPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== "EPIPE") process.stderr.write(`adaptvis: stdout cannot be written (${error.code}).\n`);
  process.exit(1);
}
