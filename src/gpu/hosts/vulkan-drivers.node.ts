// The Vulkan drivers of this machine, and the loader's environment variables that choose one: for Node's WebGPU, Deno's, and
// programs of their own.

import { existsSync, readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { GpuError } from "../../errors.ts";
import { MESA, unpackSwiftShader } from "./swiftshader.node.ts";
import { homeFolder } from "./user-folders.node.ts";

/** The environment variables that make any program's Vulkan use one driver. */
export interface DriverEnvironment {
  readonly LD_LIBRARY_PATH?: string;
  readonly VK_ICD_FILENAMES: string;
  readonly VK_DRIVER_FILES: string;
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

/** The variables as a shell takes them before a command. */
export function environmentText(environment: DriverEnvironment): string {
  return Object.entries(environment)
    .map(([name, value]) => `${name}=${value}`)
    .join(" ");
}

/**
 * Runs `open` while the Vulkan loader is told to use one driver only. Node and Deno write `process.env` through to the C
 * environment, where the loader reads it when a Vulkan instance is made; no restart of the process is needed.
 */
export async function withVulkanDriver<T>(icdFile: string, open: () => Promise<T>): Promise<T> {
  // The loader's old name and its new one; and Deno would look for OpenGL's adapters too.
  const variables = { VK_ICD_FILENAMES: icdFile, VK_DRIVER_FILES: icdFile, DENO_WEBGPU_BACKEND: "vulkan" };
  const before = Object.keys(variables).map((name) => [name, process.env[name]] as const);
  Object.assign(process.env, variables);
  try {
    return await open();
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }
}

/** The manifest whose file name begins with `prefix`; undefined where the system has none. */
export function icdFileNamed(prefix: string): string | undefined {
  return icdFiles().find((path) => basename(path).startsWith(prefix));
}

/** lavapipe's manifest. @throws GpuError `no-adapter` when there is none. */
export function lavapipeIcdFile(): string {
  const file = icdFileNamed("lvp_icd");
  if (file !== undefined) return file;
  throw new GpuError(
    "no-adapter",
    `Adapter "lavapipe": expected its manifest lvp_icd*.json in ${icdFolders().join(", ")}, found none; install ${MESA} or choose "swiftshader".`,
  );
}

/** Whether the system has a manifest of any driver, or the user's variables name one. */
export function hasVulkanDriver(): boolean {
  const { VK_ICD_FILENAMES, VK_DRIVER_FILES, VK_ADD_DRIVER_FILES } = process.env;
  return [VK_ICD_FILENAMES, VK_DRIVER_FILES, VK_ADD_DRIVER_FILES].some((files) => files) || icdFiles().length > 0;
}

/** Whether Linux has a GPU's device file. */
export function hasGpuDevice(): boolean {
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
  const home = homeFolder() ?? "/";
  const roots = [
    XDG_CONFIG_HOME || join(home, ".config"),
    ...(XDG_CONFIG_DIRS || "/etc/xdg").split(":"),
    "/usr/local/etc",
    "/etc",
    XDG_DATA_HOME || join(home, ".local", "share"),
    ...(XDG_DATA_DIRS || "/usr/local/share:/usr/share").split(":"),
  ];
  return [...new Set(roots.map((root) => join(root, "vulkan", "icd.d")))];
}
