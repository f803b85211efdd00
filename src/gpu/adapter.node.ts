// Opens a WebGPU adapter in Node (npm `webgpu`, Dawn) on any machine: a real GPU, else the system's lavapipe, else SwiftShader.
// A Vulkan driver is chosen by the loader's environment variables, which are set only while Dawn looks for adapters.

import { existsSync, readdirSync } from "node:fs";
import { homedir } from "node:os";
import { basename, join } from "node:path";
import { isMainThread } from "node:worker_threads";
import { GpuError } from "../errors.ts";
import { checkDawnToggles } from "./dawn-toggles.node.ts";
import { isSoftwareAdapter } from "./device.ts";
import { unpackSwiftShader } from "./swiftshader.node.ts";

/** Which adapter the caller wants; `auto` takes the best one there is. */
export type AdapterChoice = "auto" | "gpu" | "lavapipe" | "swiftshader";

/** What an adapter turned out to be; `software` is a CPU adapter of another make, such as Windows' WARP. */
export type AdapterKind = "gpu" | "lavapipe" | "swiftshader" | "software";

/** All values of AdapterChoice, for a command line's help and checks. */
export const adapterChoices: readonly AdapterChoice[] = ["auto", "gpu", "lavapipe", "swiftshader"];

/** An open adapter. */
export interface NodeAdapter {
  readonly gpu: GPU;
  readonly adapter: GPUAdapter;
  readonly kind: AdapterKind;
  /** Whether it computes on the CPU. */
  readonly isSoftware: boolean;
  /** One line for people: which adapter, and whether it is software. */
  readonly description: string;
}

/** The environment variables that make any program's Vulkan use one driver. */
export interface DriverEnvironment {
  readonly LD_LIBRARY_PATH?: string;
  readonly VK_ICD_FILENAMES: string;
  readonly VK_DRIVER_FILES: string;
}

/** How an adapter is opened. */
export interface AdapterOptions {
  /**
   * Toggles of Dawn's to switch on, by the names in its src/dawn/native/Toggles.cpp: `vulkan_enable_f16_on_nvidia`, say, since
   * Dawn hides shader-f16 on NVIDIA's Vulkan driver.
   */
  readonly dawnToggles?: readonly string[];
}

/** Dawn crashes when the object that `create()` returned is collected while its adapters live, so each is kept for good. */
const heldGpus: GPU[] = [];

/**
 * Opens the adapter of the caller's choice.
 * @throws GpuError `no-adapter` when there is none; the message says what to install or set. InputError for a toggle that
 *   Dawn does not have.
 */
export async function openNodeAdapter(
  choice: AdapterChoice = "auto",
  options: AdapterOptions = {},
): Promise<NodeAdapter> {
  const { dawnToggles = [] } = options;
  checkDawnToggles(dawnToggles);
  const request = () => requestAdapter(dawnToggles);
  switch (choice) {
    case "auto":
      return (await openSystemAdapter(request)) ?? (await openInstead(request));
    case "gpu": {
      const found = await openSystemAdapter(request);
      if (found?.kind === "gpu") return found;
      const instead = found === undefined ? "no adapter" : `only ${found.description}`;
      throw new GpuError(
        "no-adapter",
        `Adapter "gpu": expected a GPU with a Vulkan, Metal or D3D12 driver, found ${instead}; install the driver or choose "auto".`,
      );
    }
    case "lavapipe":
      return await openLavapipe(request);
    case "swiftshader":
      return await openSwiftShader(request);
  }
}

/**
 * The variables to start another program (Deno, a worker, a test process) with so that it finds a software driver.
 * @throws GpuError `no-adapter` when the driver is not on this machine.
 */
export async function driverEnvironment(driver: "lavapipe" | "swiftshader"): Promise<DriverEnvironment> {
  if (driver === "lavapipe") {
    const icdFile = lavapipeIcdFile();
    return { VK_ICD_FILENAMES: icdFile, VK_DRIVER_FILES: icdFile };
  }
  const { folder, icdFile } = await unpackSwiftShader();
  return {
    LD_LIBRARY_PATH: folder,
    VK_ICD_FILENAMES: icdFile,
    VK_DRIVER_FILES: icdFile,
  };
}

/** Asks Dawn, under the Vulkan environment of the moment; undefined when there is no adapter. */
type AdapterRequest = () => Promise<NodeAdapter | undefined>;

/** What the system's own drivers give, undefined when nothing that Dawn accepts. */
async function openSystemAdapter(request: AdapterRequest): Promise<NodeAdapter | undefined> {
  // Dawn prints several lines about a missing Vulkan; where there can be no driver it need not look.
  if (process.platform === "linux" && !hasVulkanDriver() && !hasGpuDevice()) return undefined;
  return await request();
}

async function openLavapipe(request: AdapterRequest): Promise<NodeAdapter> {
  const icdFile = lavapipeIcdFile();
  const found = await withVulkanDriver(icdFile, request);
  if (found?.kind === "lavapipe") return found;
  throw new GpuError(
    "no-adapter",
    `Adapter "lavapipe": Dawn refused the driver of ${icdFile}; Mesa 23 or newer is needed (22, Debian 12's, lacks a feature).` +
      workerHint({ VK_ICD_FILENAMES: icdFile, VK_DRIVER_FILES: icdFile }),
  );
}

/** SwiftShader where nothing else is; without it the driver that was hoped for is what the user should hear of first. */
async function openInstead(request: AdapterRequest): Promise<NodeAdapter> {
  try {
    return await openSwiftShader(request);
  } catch (cause) {
    if (!(cause instanceof GpuError)) throw cause;
    const message = `Adapter "auto": found no driver of Vulkan, Metal or D3D12 that Dawn accepts, nor one in software: ${cause.message}`;
    throw new GpuError(cause.reason, message, { cause });
  }
}

async function openSwiftShader(request: AdapterRequest): Promise<NodeAdapter> {
  const files = await unpackSwiftShader();
  loadForGood(files.loader);
  const found = await withVulkanDriver(files.icdFile, request);
  if (found?.kind === "swiftshader") return found;
  throw new GpuError(
    "no-adapter",
    `Adapter "swiftshader": Dawn did not accept the driver in ${files.folder}; remove that folder to have it unpacked again.` +
      workerHint({
        LD_LIBRARY_PATH: files.folder,
        VK_ICD_FILENAMES: files.icdFile,
        VK_DRIVER_FILES: files.icdFile,
      }),
  );
}

async function requestAdapter(dawnToggles: readonly string[]): Promise<NodeAdapter | undefined> {
  const { create } = await loadDawn();
  // Dawn rounds GPU times to 65.5 µs to keep web pages from spying by them; a program of the user's own need not be kept.
  const enabled = dawnToggles.length === 0 ? [] : [`enable-dawn-features=${dawnToggles.join(",")}`];
  const gpu = create(["disable-dawn-features=timestamp_quantization", ...enabled]);
  heldGpus.push(gpu);
  const adapter = await gpu.requestAdapter({
    powerPreference: "high-performance",
  });
  if (adapter === null || adapter === undefined) return undefined;
  const kind = kindOf(adapter.info);
  const isSoftware = kind !== "gpu";
  return {
    gpu,
    adapter,
    kind,
    isSoftware,
    description: describe(adapter.info, kind),
  };
}

async function loadDawn(): Promise<{ create(options: string[]): GPU }> {
  try {
    return await import("webgpu");
  } catch (cause) {
    throw new GpuError(
      "no-adapter",
      `The npm package webgpu (Dawn) cannot be loaded on ${process.platform} ${process.arch}: ${String(cause)}`,
      { cause },
    );
  }
}

function kindOf(info: GPUAdapterInfo): AdapterKind {
  if (info.architecture === "swiftshader") return "swiftshader";
  if (info.device.startsWith("llvmpipe") || info.description.startsWith("llvmpipe")) return "lavapipe";
  return isSoftwareAdapter(info) ? "software" : "gpu";
}

function describe(info: GPUAdapterInfo, kind: AdapterKind): string {
  const detail = info.description === "" ? `${info.vendor} ${info.device}` : info.description;
  switch (kind) {
    case "gpu":
      return detail;
    case "lavapipe":
      return `lavapipe, in software on the CPU (${detail})`;
    case "swiftshader":
      return `SwiftShader, in software on the CPU (${detail})`;
    case "software":
      return `${detail}, in software on the CPU`;
  }
}

/**
 * Runs `open` while the Vulkan loader is told to use one driver only. Node writes `process.env` through to the C environment,
 * where the loader reads it when Dawn makes its Vulkan instance; no restart of the process is needed.
 */
async function withVulkanDriver<T>(icdFile: string, open: () => Promise<T>): Promise<T> {
  const names = ["VK_ICD_FILENAMES", "VK_DRIVER_FILES"]; // the loader's old name and its new one
  const before = names.map((name) => process.env[name]);
  for (const name of names) process.env[name] = icdFile;
  try {
    return await open();
  } finally {
    for (const [nameIndex, name] of names.entries()) {
      const value = before[nameIndex];
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }
}

/**
 * Loads a shared library and keeps it, so that a later lookup of its name (Dawn's of libvulkan.so.1) finds it on systems
 * without one. `process.dlopen` is meant for add-ons and says that this is none, but the library stays.
 */
function loadForGood(library: string): void {
  const rtldNow = 2;
  const rtldNoDelete = 0x1000; // glibc's; Node does not name it
  try {
    process.dlopen({ exports: {} }, library, rtldNow | rtldNoDelete);
  } catch (error) {
    if (!String(error).includes("did not self-register")) {
      throw new GpuError("no-adapter", `${library} cannot be loaded: ${String(error)}`, { cause: error });
    }
  }
}

/** A worker's `process.env` is a copy that the loader does not see; the remedy differs there. */
function workerHint(environment: DriverEnvironment): string {
  if (isMainThread) return "";
  const assignments = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
  return ` In a worker thread, start the program with ${assignments.join(" ")}.`;
}

function lavapipeIcdFile(): string {
  const file = icdFiles().find((path) => basename(path).startsWith("lvp_icd"));
  if (file !== undefined) return file;
  throw new GpuError(
    "no-adapter",
    `Adapter "lavapipe": expected its manifest lvp_icd*.json in ${icdFolders().join(", ")}, found none; install Mesa's Vulkan drivers (23 or newer) or choose "swiftshader".`,
  );
}

function hasVulkanDriver(): boolean {
  const { VK_ICD_FILENAMES, VK_DRIVER_FILES, VK_ADD_DRIVER_FILES } = process.env;
  return [VK_ICD_FILENAMES, VK_DRIVER_FILES, VK_ADD_DRIVER_FILES].some((files) => files) || icdFiles().length > 0;
}

function hasGpuDevice(): boolean {
  return ["/dev/dri", "/dev/nvidiactl", "/dev/dxg"].some((path) => existsSync(path));
}

/** The manifests of the Vulkan drivers on this system. */
function icdFiles(): readonly string[] {
  return icdFolders().flatMap((folder) => {
    if (!existsSync(folder)) return [];
    return readdirSync(folder)
      .filter((name) => name.endsWith(".json"))
      .map((name) => join(folder, name));
  });
}

/** Where the Vulkan loader looks on Linux (Vulkan-Loader, LoaderDriverInterface.md, "Driver Discovery on Linux"). */
function icdFolders(): readonly string[] {
  const { XDG_CONFIG_HOME, XDG_CONFIG_DIRS, XDG_DATA_HOME, XDG_DATA_DIRS } = process.env;
  const roots = [
    XDG_CONFIG_HOME || join(homedir(), ".config"),
    ...(XDG_CONFIG_DIRS || "/etc/xdg").split(":"),
    "/usr/local/etc",
    "/etc",
    XDG_DATA_HOME || join(homedir(), ".local", "share"),
    ...(XDG_DATA_DIRS || "/usr/local/share:/usr/share").split(":"),
  ];
  return [...new Set(roots.map((root) => join(root, "vulkan", "icd.d")))];
}
