// Reads shell code without running it, and the arguments of our command by its own parser.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command, CommanderError } from "commander";
import { withReportFile } from "../../src/cli/bench.ts";
import type { CliCommand } from "../../src/cli/session.ts";
import { root } from "../cli/command.ts";
import { runProgram } from "../setup/run-program.ts";

/** What a piece of shell code would run. */
export interface ShellReading {
  /** Arguments of each call of the command. */
  readonly adaptvis: readonly (readonly string[])[];
  /** Names of npm scripts. */
  readonly scripts: readonly string[];
  /** Names of other programs. */
  readonly others: readonly string[];
}

/**
 * The shell itself splits the words; it finds no program, only functions of ours that print their arguments.
 * @throws when the code is not valid
 */
export async function readShell(code: string): Promise<ShellReading> {
  const prelude = [
    "PATH=/nowhere",
    // One write per call: calls in the background would mix otherwise.
    `said() { line=; for word in "$@"; do line="$line$word$(printf '\\002')"; done; printf '%s\\001' "$line"; }`,
    'adaptvis() { said adaptvis "$@"; }',
    'npm() { said npm "$@"; }',
    'npx() { said npx "$@"; }',
    'sbatch() { while [ $# -gt 1 ]; do shift; done; eval "$1"; }', // --wrap COMMAND
    "",
  ].join("\n");
  const syntax = await runProgram("sh", ["-n", "-c", code]);
  if (syntax.ending !== 0) throw new Error(`not valid for sh: ${syntax.stderr}`);
  const folder = await mkdtemp(join(tmpdir(), "adaptvis-docs-"));
  const { stdout, stderr } = await runProgram("sh", ["-c", prelude + code], { cwd: folder });
  await rm(folder, { recursive: true });
  const calls = stdout.split("\u0001").map((call) => call.split("\u0002").slice(0, -1));
  const ours: string[][] = [];
  const scripts: string[] = [];
  for (const [program, ...args] of calls) {
    if (program === "adaptvis") ours.push(args);
    else if (program === "npx" && args[3] === "dist/cli.js") ours.push(args.slice(4));
    else if (program === "npm") {
      const [command, ...rest] = args.filter((arg) => arg !== "-s");
      const [script = "", dashes, ...own] = command === "run" ? rest : [];
      if (command === "run") scripts.push(script);
      const forwarded = dashes === "--" ? own : [];
      if (script === "adaptvis") ours.push(forwarded);
      else if (script === "isa" || script === "bench") ours.push([script, ...forwarded]);
    }
  }
  const others = Array.from(stderr.matchAll(/(?:^|: )(\S+): (?:not found|No such file)/gm), ([, name = ""]) => name);
  return { adaptvis: ours, scripts, others };
}

/** Thrown in place of the command's work: its arguments are right. */
class Parsed extends Error {}

let commands: readonly CliCommand[] | undefined;

/** Parses arguments as the command does, without doing its work. @throws when it would refuse them */
export async function parseArguments(args: readonly string[]): Promise<void> {
  commands ??= await loadCommands();
  const program = new Command("adaptvis")
    .option("--adapter <name>")
    .option("--dawn-toggle <name>")
    .option("--json")
    .option("--debug")
    .configureOutput({ writeErr: () => undefined, writeOut: () => undefined })
    .exitOverride();
  for (const { name, add } of commands) {
    add(program.command(name).copyInheritedSettings(program), () => {
      throw new Parsed();
    });
  }
  try {
    await program.parseAsync(withReportFile(args), { from: "user" });
  } catch (error) {
    if (error instanceof Parsed) return;
    if (error instanceof CommanderError) throw new Error(`adaptvis ${args.join(" ")}: ${error.message}`);
    throw error;
  }
  throw new Error(`adaptvis ${args.join(" ")}: no command was run`);
}

/** What src/cli has of commands, as main.ts lists them. */
async function loadCommands(): Promise<readonly CliCommand[]> {
  const main = await readFile(join(root, "src", "cli", "main.ts"), "utf8");
  const [, list = ""] = /COMMANDS: readonly CliCommand\[\] = \[(.*?)\]/s.exec(main) ?? [];
  const names = list.split(",").flatMap((name) => name.trim() || []);
  const imports = Array.from(main.matchAll(/^import \{ (.*) \} from "(\..*)";$/gm));
  return await Promise.all(
    names.map(async (name) => {
      const [, , file = ""] = imports.find(([, what = ""]) => what.split(", ").includes(name)) ?? [];
      const module: Record<string, unknown> = await import(join(root, "src", "cli", file));
      const command = module[name];
      if (!isCommand(command)) throw new Error(`main.ts: ${name} is not a command`);
      return command;
    }),
  );
}

function isCommand(value: unknown): value is CliCommand {
  return typeof value === "object" && value !== null && "name" in value && "add" in value;
}
