// Runs the command line in a fresh process and reads from its answer when each part of the start ended.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AbortError, isObject } from "../errors.ts";
import { isDeno } from "../gpu/hosts/adapter.deno.ts";
import { makeFolder } from "../gpu/hosts/user-folders.node.ts";
import { START_PARTS, type StartProcess, type StartSample } from "./start.ts";

/** A starter of processes, and the folder of the driver caches that it makes. */
export interface Starter {
  readonly start: StartProcess;
  /** Removes the caches. */
  close(): Promise<void>;
}

/** What is started. */
export interface StartCommand {
  /** The command's file, dist/cli.js. */
  readonly command: string;
  /** Options before the command's name, such as the adapter. */
  readonly options: readonly string[];
  readonly picture: string;
  readonly question: string;
  readonly signal?: AbortSignal | undefined;
}

/** Prepares to start a command that asks about a picture. */
export async function openStarter(ask: StartCommand): Promise<Starter> {
  const caches = await mkdtemp(join(tmpdir(), "adaptvis-start-"));
  const start: StartProcess = async (folder, cache) => {
    const cacheFolder = cache === "kept" ? join(caches, "kept") : await mkdtemp(join(caches, "empty-"));
    await makeFolder(cacheFolder);
    try {
      return await startOnce(ask, folder, cacheFolder);
    } finally {
      if (cache === "empty") await rm(cacheFolder, { recursive: true, force: true });
    }
  };
  return { start, close: () => rm(caches, { recursive: true, force: true }) };
}

async function startOnce(ask: StartCommand, folder: string, cacheFolder: string): Promise<StartSample> {
  if (!existsSync(ask.command)) throw new Error(`${ask.command} does not exist: npm run build makes it.`);
  const host = isDeno() ? ["run", "-A"] : [];
  // Two tokens: the second one needs the last of the kernels.
  const length = ["--max-new-tokens", "2", "--ignore-eos"];
  const words = ["ask", "--model", folder, "--image", ask.picture, ...length, ask.question];
  // Mesa's cache (lavapipe, RADV, ANV) and NVIDIA's; Dawn has none in Node.
  const env = { ...process.env, MESA_SHADER_CACHE_DIR: cacheFolder, __GL_SHADER_DISK_CACHE_PATH: cacheFolder };
  const started = performance.now();
  const child = spawn(process.execPath, [...host, ask.command, ...ask.options, "--json", ...words], {
    stdio: ["ignore", "pipe", "pipe"],
    env,
    signal: ask.signal,
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const ending = await new Promise<number | string>((resolve) => {
    child.on("error", (error) => resolve(error.message));
    child.on("close", (code, signal) => resolve(code ?? String(signal)));
  });
  const wallMs = performance.now() - started;
  if (ask.signal?.aborted) throw new AbortError("The bench");
  if (ending !== 0) {
    const last = stderr.trim().split("\n").at(-1) ?? "";
    throw new Error(`A start of ${folder} ended with ${ending}: ${last}`);
  }
  return sampleOf(JSON.parse(stdout), wallMs);
}

/** @throws Error when the answer lacks a part. */
function sampleOf(answer: unknown, wallMs: number): StartSample {
  const timings = isObject(answer) && isObject(answer.timings) ? answer.timings.start : undefined;
  const parts = isObject(timings) ? timings : {};
  const sample = { ...parts, process: wallMs };
  const missing = START_PARTS.find((part) => typeof Reflect.get(sample, part) !== "number");
  if (missing !== undefined) throw new Error(`A start's answer lacks timings.start.${missing}.`);
  return sample as StartSample; // every part is a number
}
