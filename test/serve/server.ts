// Starts the server as a user does, and asks it over HTTP.
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { root } from "../cli/command.ts";
import { adapterOfEnvironment } from "../setup/device.ts";

/** A server that runs. */
export interface RunningServer {
  /** Without a slash at the end. */
  readonly url: string;
  readonly child: ChildProcess;
  /** What it has written to stderr. */
  log(): string;
  /** Ends it by SIGTERM. @returns its exit code or signal. */
  stop(): Promise<number | NodeJS.Signals | null>;
}

/** Runs `adaptvis serve --port 0 ARGS` and waits until it listens. */
export function startServer(...args: readonly string[]): Promise<RunningServer> {
  const program = join(root, "tools", "adaptvis.mjs");
  return startedBy(process.execPath, [program, "--adapter", adapterOfEnvironment(), "serve", "--port", "0", ...args]);
}

/** Waits until a command that is `adaptvis serve` listens. @param env variables on top of this process's */
export async function startedBy(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<RunningServer> {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env } });
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill); // a test that fails leaves no server
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    log += text;
  });
  const ended = new Promise<number | NodeJS.Signals | null>((resolve) => {
    child.on("close", (code, signal) => {
      process.off("exit", kill);
      resolve(code ?? signal);
    });
  });
  const base = await new Promise<string>((resolve, reject) => {
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      const [, url] = /(http:\/\/\S+)\/v1\n/.exec(text) ?? [];
      if (url !== undefined) resolve(url);
    });
    void ended.then((ending) => reject(new Error(`the server ended with ${ending}: ${log}`)));
  });
  return {
    url: base,
    child,
    log: () => log,
    async stop() {
      child.kill("SIGTERM");
      return ended;
    },
  };
}
