// Compiles pipelines with Mesa's RADV driver, which prints the instructions and statistics of each on stderr. The driver runs in a
// separate process, in which Mesa's shim simulates the presence of an AMD GPU; nothing can be executed there.
import { spawn } from "node:child_process";
import { existsSync, writeSync } from "node:fs";
import { mkdtemp, open, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GpuError, throwIfAborted } from "../errors.ts";
import { isDeno } from "../gpu/hosts/adapter.deno.ts";
import { icdFileNamed } from "../gpu/hosts/vulkan-drivers.node.ts";
import { type Constant, defineKernel, PipelineCache } from "../gpu/kernel.ts";

/** One pipeline to compile. */
export interface CompileJob {
  /** The kernel's name. */
  readonly name: string;
  /** Its whole text, as `defineKernel` made it. */
  readonly code: string;
  readonly constants: Readonly<Record<string, Constant>>;
}

/** How the jobs of one process are compiled. */
export interface CompileOptions {
  /** The GPU, as AMDGPU_GPU_ID of the shim names it. */
  readonly target: string;
  /** The file of the command line, whose {@link COMPILE_COMMAND} runs. */
  readonly program: string;
  readonly dawnToggles?: readonly string[] | undefined;
  /** Whether Dawn clamps indices, as it does in every browser; true unless given. */
  readonly isRobust?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** The driver's output. */
export interface CompiledJobs {
  /** Its version, as it describes itself: "radv: Mesa 25.0.7-2". */
  readonly driver: string;
  /** One text per job, in order. */
  readonly texts: readonly string[];
}

/** The hidden command of the command line that compiles the jobs on stdin. */
export const COMPILE_COMMAND = "isa-compile";

/** Starts the lines on stderr that separate the driver's output for one job from the next. */
const MARK = "@@adaptvis-isa";

const SHIM = "/usr/lib/x86_64-linux-gnu/libamdgpu_noop_drm_shim.so";

/** The properties of a machine that compiling depends on. */
export interface CompilerMachine {
  readonly isDeno: boolean;
  /** As in `process`. */
  readonly platform: string;
  readonly arch: string;
  readonly hasShim: boolean;
  readonly hasDriver: boolean;
}

/** Why a machine (default: this one) cannot compile for other GPUs; undefined if it can. */
export function missingCompiler(machine: CompilerMachine = thisMachine()): string | undefined {
  if (machine.isDeno) return "Deno's WebGPU is not Dawn; run the command in Node";
  if (machine.platform !== "linux" || machine.arch !== "x64") return "it needs Linux on x86-64";
  if (!machine.hasShim) return `${SHIM} is missing; install Debian's package mesa-drm-shim (25 or newer)`;
  if (!machine.hasDriver) return "Mesa's RADV driver is missing; install mesa-vulkan-drivers (25 or newer)";
  return undefined;
}

function thisMachine(): CompilerMachine {
  const { platform, arch } = process;
  return {
    isDeno: isDeno(),
    platform,
    arch,
    hasShim: existsSync(SHIM),
    hasDriver: icdFileNamed("radeon_icd") !== undefined,
  };
}

/**
 * Compiles one job after the other.
 * @throws GpuError `no-adapter` where the packages are missing, `shader` when a job does not compile; AbortError.
 */
export async function compileJobs(jobs: readonly CompileJob[], options: CompileOptions): Promise<CompiledJobs> {
  const missing = missingCompiler();
  if (missing !== undefined) throw new GpuError("no-adapter", `Compiling for ${options.target}: ${missing}.`);
  // A file instead of a pipe: Node's pipes are non-blocking, and the driver's output is lost when one is full.
  const folder = await mkdtemp(join(tmpdir(), "adaptvis-isa-"));
  const output = await open(join(folder, "stderr"), "w+");
  try {
    const code = await runChild(jobs, options, output.fd);
    return split(await readFile(join(folder, "stderr"), "utf8"), { jobs, options, code });
  } finally {
    await output.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** Runs the child with its stderr in an open file. @returns its exit code. */
async function runChild(jobs: readonly CompileJob[], options: CompileOptions, output: number): Promise<number | null> {
  const manifest = String(icdFileNamed("radeon_icd"));
  const toggles = [...(options.dawnToggles ?? []), ...(options.isRobust === false ? ["disable_robustness"] : [])];
  const flags = ["--adapter", "gpu", ...toggles.flatMap((name) => ["--dawn-toggle", name])];
  const child = spawn(process.execPath, [options.program, ...flags, COMPILE_COMMAND], {
    stdio: ["pipe", "ignore", output],
    signal: options.signal,
    env: {
      ...process.env,
      AMDGPU_GPU_ID: options.target,
      LD_PRELOAD: SHIM,
      VK_ICD_FILENAMES: manifest,
      VK_DRIVER_FILES: manifest,
      MESA_SHADER_CACHE_DISABLE: "1",
      RADV_DEBUG: "asm,shaderstats,nocache",
    },
  });
  const exit = new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  child.stdin?.on("error", () => undefined); // a child that ends early is reported by its exit code
  child.stdin?.end(JSON.stringify(jobs));
  return await exit.catch((error: unknown) => {
    throwIfAborted(options.signal, `Compiling for ${options.target}`);
    throw error;
  });
}

/** The driver's output by job. @throws GpuError `shader` if the child did not finish. */
function split(
  printed: string,
  run: { readonly jobs: readonly CompileJob[]; readonly options: CompileOptions; readonly code: number | null },
): CompiledJobs {
  const { jobs, options, code } = run;
  const [, driver = ""] = new RegExp(`^${MARK} driver (.*)$`, "m").exec(printed) ?? [];
  const parts = printed.split(new RegExp(`^${MARK}.*\n`, "m")).slice(2);
  if (code !== 0 || parts.length !== jobs.length + 1) {
    const reason = (parts.at(-1) ?? printed)
      .trim()
      .split("\n")
      .slice(-3)
      .join(" ")
      .replace(/^adaptvis: /, "")
      .replace(/\.$/, "");
    const what = parts.length === 0 ? "the driver did not start" : `pipeline ${parts.length} of ${jobs.length} failed`;
    throw new GpuError("shader", `Compiling for ${options.target}: ${what} (exit code ${code}; ${reason}).`);
  }
  return { driver, texts: parts.slice(0, -1) };
}

/** Runs in the child: compiles one pipeline after the other, with a mark before each. @throws GpuError `shader`. */
export async function compileMarked(device: GPUDevice, jobs: readonly CompileJob[]): Promise<void> {
  writeSync(2, `${MARK} driver ${device.adapterInfo.description}\n`);
  const pipelines = new PipelineCache(device);
  for (const [index, { name, code, constants }] of jobs.entries()) {
    writeSync(2, `${MARK} ${index}\n`);
    await pipelines.get(defineKernel(name, code), constants).ready;
  }
  writeSync(2, `${MARK} end\n`);
}
