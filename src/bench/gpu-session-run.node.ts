// Runs a GPU session: finds the driver, runs each step in a process within its share of the time, and keeps the results on disk as
// they come.
import { spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readdirSync, readFileSync } from "node:fs";
import { appendFile, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { writeFileWhole } from "../checkpoint/write-file.node.ts";
import { GpuError, InputError, isObject, throwIfAborted } from "../errors.ts";
import { makeFolder } from "../gpu/hosts/user-folders.node.ts";
import {
  cardName,
  type GpuSession,
  ROOFLINE_STEP,
  type SessionResult,
  type SessionStep,
  type StepResult,
  sessionBars,
  sessionTuning,
} from "./gpu-session.ts";

/** How a session runs. */
export interface SessionOptions {
  readonly steps: readonly SessionStep[];
  /** The command line's own file, which every step runs. */
  readonly program: string;
  /** `--adapter` of the steps; "gpu" also looks for an NVIDIA driver that the system does not list. */
  readonly adapter: string;
  /** Folder of the results, made if missing. */
  readonly folder: string;
  /** Time for everything. */
  readonly budgetSeconds: number;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((what: string) => void) | undefined;
}

/** The results of a session and the file that holds them. */
export interface FinishedSession {
  readonly session: GpuSession;
  readonly file: string;
}

/** Between asking a step to stop and ending it. */
const GRACE_MS = 2000;
/** Time that is kept for ending the last step and writing the results. */
const RESERVE_SECONDS = 5;
const DOCTOR_SECONDS = 20;

/**
 * Runs all steps one after the other.
 * @throws GpuError `no-adapter` when there is no such adapter, saying what is missing; AbortError between steps; InputError when the
 *   folder cannot be written.
 */
export async function runSession(options: SessionOptions): Promise<FinishedSession> {
  const deadline = performance.now() + (options.budgetSeconds - RESERVE_SECONDS) * 1000;
  const { folder, steps, onProgress } = options;
  await makeFolder(folder).catch((cause: unknown) => {
    throw new InputError(`The folder ${folder} cannot be created; choose another one with --out.`, { cause });
  });
  const started = new Date().toISOString();
  const lines = join(folder, "lines.jsonl");
  await writeFile(lines, "");
  onProgress?.("the adapter");
  const { doctor, driver, device } = await findAdapter(options);
  const file = join(folder, `${cardName(device)}.json`);
  const done: StepResult[] = [];
  const write = async (): Promise<GpuSession> => {
    const found = { bars: sessionBars(done), tuning: sessionTuning(done) };
    const { budgetSeconds } = options;
    const session: GpuSession = { format: 1, date: started, doctor, driver, budgetSeconds, steps: done, ...found };
    await writeFileWhole(file, `${JSON.stringify(session, undefined, 1)}\n`);
    return session;
  };
  for (const [index, step] of steps.entries()) {
    throwIfAborted(options.signal, "The session");
    const left = Math.max(0, (deadline - performance.now()) / 1000);
    const weight = steps.slice(index).reduce((sum, each) => sum + each.weight, 0);
    const limitSeconds = (left * step.weight) / weight;
    onProgress?.(`${step.name}, at most ${limitSeconds.toFixed(0)} s (${left.toFixed(0)} s left)`);
    await appendFile(lines, `${JSON.stringify({ kind: "step", result: { name: step.name } })}\n`);
    const result = await runStep(step, { ...options, lines, driver, limitSeconds });
    onProgress?.(`  ${result.ending} after ${result.seconds.toFixed(1)} s${result.message && `: ${result.message}`}`);
    done.push(result);
    await write(); // also what a machine that is taken away leaves
  }
  return { session: await write(), file };
}

interface StepRun extends SessionOptions {
  readonly lines: string;
  readonly driver: Readonly<Record<string, string>>;
  readonly limitSeconds: number;
}

async function runStep(step: SessionStep, run: StepRun): Promise<StepResult> {
  const { name, args } = step;
  const { limitSeconds, lines, folder } = run;
  const result = { name, args, limitSeconds, seconds: 0, results: [] };
  const beside = dirname(run.program);
  const needed = step.program ?? step.folder;
  if (needed !== undefined && !existsSync(join(beside, needed))) {
    return { ...result, ending: "left out", message: `There is no ${needed} beside ${run.program}.` };
  }
  if (limitSeconds < 1) return { ...result, ending: "left out", message: "The time was used up before." };
  const roofline = join(folder, "roofline.json");
  const files = [
    ...(step.folder === undefined ? [] : [join(beside, step.folder)]),
    ...(step.program === undefined ? ["--lines", lines] : [lines]),
    ...(name === ROOFLINE_STEP ? ["--report", roofline] : []),
    ...(step.usesRoofline === true && existsSync(roofline) ? ["--roofline", roofline] : []),
  ];
  const program = step.program === undefined ? run.program : join(beside, step.program);
  const offset = (await readFile(lines)).byteLength;
  const startedMs = performance.now();
  const ended = await runChild([program, "--adapter", run.adapter, ...args, ...files], {
    env: run.driver,
    log: join(folder, "log.txt"),
    limitMs: limitSeconds * 1000,
    signal: run.signal,
  });
  const seconds = (performance.now() - startedMs) / 1000;
  const results = linesFrom(lines, offset);
  return { ...result, ...endingOf(ended, results), seconds, results };
}

interface ChildEnding {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly isLate: boolean;
  readonly stdout: string;
  /** The last line of stderr. */
  readonly lastLine: string;
}

function endingOf(ended: ChildEnding, results: readonly SessionResult[]): Pick<StepResult, "ending" | "message"> {
  const { code, signal, isLate, lastLine } = ended;
  const failures = results.flatMap((line) =>
    line.kind === "failure" ? [`${line.result.part}: ${line.result.message}`] : [],
  );
  if (isLate) return { ending: "time", message: "Its time was used up; the results until then are kept." };
  if (code === 0) return { ending: failures.length === 0 ? "done" : "failed", message: failures.join(" ") };
  if (code === 1 || code === 2) return { ending: "failed", message: lastLine };
  return { ending: "crashed", message: `It ended with ${signal ?? `exit code ${code}`}: ${lastLine}` };
}

/** Runs a program of this Node; its stderr is appended to `log`. */
async function runChild(
  args: readonly string[],
  how: {
    readonly env: Readonly<Record<string, string>>;
    readonly log: string;
    readonly limitMs: number;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<ChildEnding> {
  await appendFile(how.log, `== ${args.slice(1).join(" ")}\n`);
  const log = openSync(how.log, "a");
  const offset = readFileSync(how.log).byteLength;
  const child = spawn(process.execPath, [...args], {
    stdio: ["ignore", "pipe", log],
    env: { ...process.env, ...how.env },
  });
  let stdout = "";
  let isLate = false;
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  const stop = () => {
    child.kill("SIGTERM");
    setTimeout(() => child.kill("SIGKILL"), GRACE_MS).unref();
  };
  const timer = setTimeout(() => {
    isLate = true;
    stop();
  }, how.limitMs);
  how.signal?.addEventListener("abort", stop, { once: true });
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) => {
    child.on("error", () => resolve([null, null]));
    child.on("close", (...ending) => resolve(ending));
  });
  clearTimeout(timer);
  how.signal?.removeEventListener("abort", stop);
  closeSync(log);
  const written = readFileSync(how.log).subarray(offset).toString("utf8").trim().split("\n");
  return { code, signal, isLate, stdout, lastLine: written.at(-1) ?? "" };
}

/** The lines of a file from a byte on; a last one that was cut off is left out. */
function linesFrom(file: string, offset: number): readonly SessionResult[] {
  const text = readFileSync(file).subarray(offset).toString("utf8");
  return text.split("\n").flatMap((line) => {
    try {
      return line === "" ? [] : [JSON.parse(line) as SessionResult]; // as the bench wrote it
    } catch {
      return [];
    }
  });
}

/** Runs `doctor` with each candidate for the driver until it finds the adapter. @throws GpuError `no-adapter`. */
async function findAdapter(options: SessionOptions) {
  const { adapter, folder, program, signal } = options;
  const messages: string[] = [];
  for (const driver of adapter === "gpu" ? await driverCandidates(folder) : [{}]) {
    throwIfAborted(signal, "The session");
    const ended = await runChild([program, "--adapter", adapter, "doctor", "--json"], {
      env: driver,
      log: join(folder, "log.txt"),
      limitMs: DOCTOR_SECONDS * 1000,
      signal,
    });
    const doctor = parseObject(ended.stdout);
    const found: unknown = doctor.adapter;
    if (ended.code === 0 && isObject(found)) return { doctor, driver, device: String(found.device) };
    messages.push(ended.isLate ? "doctor did not end in time" : ended.lastLine.replace(/^adaptvis: /, ""));
  }
  const [first = ""] = messages;
  const libraries = adapter === "gpu" ? await missingLibraries(folder) : "";
  throw new GpuError("no-adapter", [first, libraries].filter((text) => text !== "").join(" "));
}

function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? { ...value } : {};
  } catch {
    return {};
  }
}

const MANIFEST_FOLDERS = [
  "/usr/share/vulkan/icd.d",
  "/etc/vulkan/icd.d",
  "/usr/local/share/vulkan/icd.d",
  "/usr/local/nvidia/share/vulkan/icd.d",
];
const LIBRARY_FOLDERS = [
  "/usr/lib/x86_64-linux-gnu",
  "/usr/lib64",
  "/usr/local/nvidia/lib64",
  "/usr/local/nvidia/lib",
  "/usr/lib/wsl/lib",
];
/** NVIDIA's Vulkan driver, which one library also is for X11 and the other without. */
const DRIVER_LIBRARIES = ["libGLX_nvidia.so.0", "libEGL_nvidia.so.0"];

function driverLibraries(): readonly string[] {
  return DRIVER_LIBRARIES.flatMap((name) =>
    LIBRARY_FOLDERS.map((folder) => join(folder, name)).filter((path) => existsSync(path)),
  );
}

/** Environments to try: the system's, each manifest of NVIDIA's, and one written for each of the driver's libraries. */
async function driverCandidates(folder: string): Promise<readonly Readonly<Record<string, string>>[]> {
  const manifests = MANIFEST_FOLDERS.flatMap((place) =>
    existsSync(place)
      ? readdirSync(place)
          .filter((name) => /nvidia.*\.json$/.test(name))
          .map((name) => join(place, name))
      : [],
  );
  const written: { readonly manifest: string; readonly library: string }[] = [];
  for (const [index, library] of driverLibraries().entries()) {
    const manifest = join(folder, `nvidia-icd-${index}.json`);
    const ICD = { library_path: library, api_version: "1.3.277" };
    await writeFile(manifest, `${JSON.stringify({ file_format_version: "1.0.0", ICD })}\n`);
    written.push({ manifest, library });
  }
  const usual = process.env.LD_LIBRARY_PATH;
  return [
    {},
    ...manifests.map((manifest) => ({ VK_DRIVER_FILES: manifest, VK_ICD_FILENAMES: manifest })),
    ...written.map(({ manifest, library }) => ({
      VK_DRIVER_FILES: manifest,
      VK_ICD_FILENAMES: manifest,
      LD_LIBRARY_PATH: [...(usual ? [usual] : []), dirname(library)].join(":"),
    })),
  ];
}

/** Why the driver's libraries cannot be loaded, in one sentence; "" where they can. */
async function missingLibraries(folder: string): Promise<string> {
  const libraries = driverLibraries();
  if (libraries.length === 0) {
    return `NVIDIA's Vulkan driver (${DRIVER_LIBRARIES.join(" or ")}) is in none of ${LIBRARY_FOLDERS.join(", ")}: in a container, set NVIDIA_DRIVER_CAPABILITIES=all.`;
  }
  const problems: string[] = [];
  for (const library of libraries) {
    const load = `try { process.dlopen({ exports: {} }, ${JSON.stringify(library)}); } catch ({ message }) { process.stderr.write(message); }`;
    const ended = await runChild(["-e", load], { env: {}, log: join(folder, "log.txt"), limitMs: 10_000 });
    if (!/self-register/.test(ended.lastLine)) problems.push(`${library} does not load (${ended.lastLine})`);
  }
  return problems.length === 0 ? "" : `${problems.join("; ")}.`;
}
