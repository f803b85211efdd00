// Writing commands that are killed (SIGKILL) at random moments: afterwards every file is the old one or the new one, whole, and the same
// command, run again, succeeds and leaves what a run that nobody killed leaves, and nothing else.

import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { watch } from "node:fs";
import { cp, lstat, mkdir, mkdtemp, readdir, readFile, readlink, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Random } from "../reference/random.ts";

/** A command that writes below a folder. */
export interface WritingCommand {
  readonly name: string;
  /** The arguments for a run that writes into `folder`. */
  args(folder: string): readonly string[];
  readonly env?: (folder: string) => Readonly<Record<string, string | undefined>>;
  /** What is in the folder before. */
  readonly before?: string;
  /** Files, from the folder, that are replaced as a whole; each holds "old" before. */
  readonly files: readonly string[];
  /** Names of files whose contents differ from run to run, such as those with times. */
  readonly varying?: RegExp;
}

/** Where the command is. */
export interface KillHost {
  /** The program and its first arguments. */
  readonly program: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly random: Random;
}

/** What was seen of one command. */
export interface KillReport {
  readonly command: string;
  /** Runs that a signal ended. */
  readonly killed: number;
  /** Milliseconds of the run that nobody killed. */
  readonly wholeMs: number;
  readonly problems: readonly string[];
}

/** Kills a command `count` times. */
export async function killAtRandom(command: WritingCommand, count: number, host: KillHost): Promise<KillReport> {
  const base = await mkdtemp(join(tmpdir(), "adaptvis-kill-"));
  const problems: string[] = [];
  let killed = 0;
  try {
    const folder = join(base, "work"); // always the same, since outputs may hold paths
    const started = performance.now();
    await prepare(command, folder);
    const first = await run(command, folder, { ...host, killAfterMs: undefined });
    const wholeMs = performance.now() - started;
    if (first.code !== 0) throw new Error(`${command.name} fails by itself: ${first.stderr}`);
    const expected = await contentsOf(folder);
    for (let index = 0; index < count; index++) {
      await prepare(command, folder);
      // Half of the kills come soon after something is written, where little time passes.
      const isAtWrite = host.random.integer(2) === 0;
      const killAfterMs = isAtWrite ? host.random.next() * 60 : host.random.next() * wholeMs;
      const { signal } = await run(command, folder, { ...host, killAfterMs, isAtWrite });
      if (signal === "SIGKILL") killed++;
      const when = `${command.name}, killed ${killAfterMs.toFixed(1)} ms after ${isAtWrite ? "its first file" : "its start"}`;
      for (const file of command.files) {
        const now = (await contentsOf(folder)).get(file);
        const isWhole = now === OLD || now === expected.get(file) || command.varying?.test(file) === true;
        if (!isWhole) problems.push(`${when}: ${file} is neither the old nor the new one.`);
      }
      // Killed after its last file, the command has done its work, and some of them do not do it twice.
      if (differences(await contentsOf(folder), expected, command.varying).length === 0) continue;
      const again = await run(command, folder, { ...host, killAfterMs: undefined });
      if (again.code !== 0)
        problems.push(`${when}: run again, it ended with ${again.code}: ${again.stderr.slice(-400)}`);
      problems.push(
        ...differences(await contentsOf(folder), expected, command.varying).map((text) => `${when}: ${text}`),
      );
    }
    return { command: command.name, killed, wholeMs: Math.round(wholeMs), problems };
  } finally {
    await rm(base, { recursive: true, force: true });
  }
}

const OLD = hashOf(Buffer.from("old"));

async function prepare({ before, files }: WritingCommand, folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  if (before !== undefined) await cp(before, folder, { recursive: true });
  for (const file of files) await writeFile(join(folder, file), "old");
}

async function run(
  command: WritingCommand,
  folder: string,
  {
    program,
    env,
    killAfterMs,
    isAtWrite,
  }: KillHost & { readonly killAfterMs: number | undefined; readonly isAtWrite?: boolean },
): Promise<{ readonly code: number | null; readonly signal: string | null; readonly stderr: string }> {
  const [file, ...start] = program;
  const child = spawn(file, [...start, ...command.args(folder)], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, ...env, ...command.env?.(folder) },
  });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  let timer: NodeJS.Timeout | undefined;
  const kill = () => {
    timer ??= setTimeout(() => child.kill("SIGKILL"), killAfterMs);
  };
  const watcher = isAtWrite === true ? watch(folder, { recursive: true }, kill) : undefined;
  watcher?.on("error", () => undefined); // of a folder that is gone again
  if (killAfterMs !== undefined && isAtWrite !== true) kill();
  const ending = await new Promise<{ readonly code: number | null; readonly signal: string | null }>(
    (resolve, reject) => {
      child.on("error", reject);
      child.on("close", (code, signal) => resolve({ code, signal }));
    },
  );
  watcher?.close();
  clearTimeout(timer);
  return { ...ending, stderr };
}

/** The hash of every file below a folder, and the target of every link. */
async function contentsOf(folder: string): Promise<ReadonlyMap<string, string>> {
  const contents = new Map<string, string>();
  for (const name of (await readdir(folder, { recursive: true })).sort()) {
    const stats = await lstat(join(folder, name));
    if (stats.isSymbolicLink()) contents.set(name, `link to ${await readlink(join(folder, name))}`);
    else if (stats.isFile()) contents.set(name, hashOf(await readFile(join(folder, name))));
    else contents.set(name, "folder");
  }
  return contents;
}

function hashOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function differences(
  found: ReadonlyMap<string, string>,
  expected: ReadonlyMap<string, string>,
  varying: RegExp | undefined,
): readonly string[] {
  const missing = [...expected.keys()].filter((name) => !found.has(name)).map((name) => `${name} is missing.`);
  const extra = [...found.keys()].filter((name) => !expected.has(name)).map((name) => `${name} is left over.`);
  const other = [...expected].flatMap(([name, hash]) => {
    const isOther = found.has(name) && found.get(name) !== hash && varying?.test(name) !== true;
    return isOther ? [`${name} differs.`] : [];
  });
  return [...missing, ...extra, ...other];
}
