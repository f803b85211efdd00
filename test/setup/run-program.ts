// Runs a program to its end and collects what it printed.

import { spawn } from "node:child_process";

/** What a program may take, in ms, before it counts as stuck: far more than any does, since a busy machine is no failure. */
export const STUCK_MS = 300_000;

/** How a program ended. */
export interface ProgramResult {
  readonly stdout: string;
  readonly stderr: string;
  /** The exit code, or the signal that ended it. */
  readonly ending: number | NodeJS.Signals;
}

/**
 * Runs a program; after {@link STUCK_MS} it is ended by SIGKILL.
 * @param options.input its standard input; none unless given.
 * @param options.env variables on top of this process's; undefined removes one.
 */
export async function runProgram(
  command: string,
  args: readonly string[],
  options: {
    readonly env?: Readonly<Record<string, string | undefined>>;
    readonly cwd?: string;
    readonly input?: string;
  } = {},
): Promise<ProgramResult> {
  const child = spawn(command, args, {
    env: { ...process.env, ...options.env },
    ...(options.cwd !== undefined && { cwd: options.cwd }),
    stdio: ["pipe", "pipe", "pipe"],
    timeout: STUCK_MS,
    killSignal: "SIGKILL",
  });
  child.stdin.on("error", () => undefined); // a program that ends early leaves it unread
  child.stdin.end(options.input);
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const ending = await new Promise<number | NodeJS.Signals>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve(code ?? signal ?? 1));
  });
  return { stdout, stderr, ending };
}
