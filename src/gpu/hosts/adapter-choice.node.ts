// Which adapter, on any machine: a real GPU, else the system's lavapipe, else SwiftShader. How a host asks for one is the
// host's own: adapter.node.ts (npm `webgpu`, Dawn) and adapter.deno.ts (Deno's built-in WebGPU).

import { described, GpuError, InputError } from "../../errors.ts";
import { isSoftwareAdapter } from "../device.ts";
import { unpackSwiftShader } from "./swiftshader.node.ts";
import {
  type DriverEnvironment,
  hasGpuDevice,
  hasVulkanDriver,
  lavapipeIcdFile,
  withVulkanDriver,
} from "./vulkan-drivers.node.ts";

/** Which adapter the caller wants; `auto` takes the best one there is. */
export type AdapterChoice = "auto" | "gpu" | "lavapipe" | "swiftshader";

/** What an adapter turned out to be; `software` is a CPU adapter of another make, such as Windows' WARP. */
export type AdapterKind = "gpu" | "lavapipe" | "swiftshader" | "software";

/** All values of AdapterChoice, for a command line's help and checks. */
export const adapterChoices: readonly AdapterChoice[] = ["auto", "gpu", "lavapipe", "swiftshader"];

/** An open adapter. */
export interface OpenedAdapter {
  readonly gpu: GPU;
  readonly adapter: GPUAdapter;
  readonly kind: AdapterKind;
  /** Whether it computes on the CPU. */
  readonly isSoftware: boolean;
  /** One line for people: which adapter, and whether it is software. */
  readonly description: string;
}

/** A host's way to WebGPU. */
export interface AdapterHost {
  /** Whose WebGPU it is, for messages. */
  readonly name: string;
  /** Asks under the environment of the moment. @returns null when there is no adapter. */
  request(): Promise<{ readonly gpu: GPU; readonly adapter: GPUAdapter } | null>;
  /** Whether the first request fixes the drivers, so that others found no adapter either. */
  readonly isAskedOnce: boolean;
  /** Loads a shared library into the process for good. @throws GpuError `no-adapter` when that fails. */
  loadLibrary(path: string): void;
  /** What to do, as a sentence, where the environment that this process sets may not be heard; "" where it is. */
  environmentHint(environment: DriverEnvironment): string;
}

/**
 * Opens the adapter of the caller's choice.
 * @throws GpuError `no-adapter` when there is none; the message says what to install or set. InputError for another choice.
 */
export async function openChosenAdapter(host: AdapterHost, choice: AdapterChoice): Promise<OpenedAdapter> {
  switch (choice) {
    case "auto":
      return await openAnyAdapter(host);
    case "gpu": {
      const found = await openSystemAdapter(host);
      if (found?.kind === "gpu") return found;
      const instead = found === undefined ? "no adapter" : `only ${found.description}`;
      throw new GpuError(
        "no-adapter",
        `Adapter "gpu": expected a GPU with a Vulkan, Metal or D3D12 driver, found ${instead}; install the driver or choose "auto".`,
      );
    }
    case "lavapipe":
      return await openLavapipe(host);
    case "swiftshader":
      return await openSwiftShader(host);
    default:
      throw new InputError(`Adapter must be ${adapterChoices.join(", ")}, got ${described(choice)}.`);
  }
}

/** What the system's own drivers give, undefined when nothing that the host accepts. */
async function openSystemAdapter(host: AdapterHost): Promise<OpenedAdapter | undefined> {
  // Dawn prints several lines about a missing Vulkan; where there can be no driver it need not look.
  return mayHaveDriver() ? await request(host) : undefined;
}

function mayHaveDriver(): boolean {
  return process.platform !== "linux" || hasVulkanDriver() || hasGpuDevice();
}

async function openLavapipe(host: AdapterHost): Promise<OpenedAdapter> {
  const icdFile = lavapipeIcdFile();
  const found = await withVulkanDriver(icdFile, () => request(host));
  if (found?.kind === "lavapipe") return found;
  throw new GpuError(
    "no-adapter",
    `Adapter "lavapipe": ${host.name} refused the driver of ${icdFile}; Mesa 23 or newer is needed (22, Debian 12's, lacks a feature).` +
      host.environmentHint({ VK_ICD_FILENAMES: icdFile, VK_DRIVER_FILES: icdFile }),
  );
}

/** SwiftShader where nothing else is; without it the driver that was hoped for is what the user should hear of first. */
async function openAnyAdapter(host: AdapterHost): Promise<OpenedAdapter> {
  const found = await openSystemAdapter(host);
  if (found !== undefined) return found;
  if (host.isAskedOnce && mayHaveDriver()) {
    throw new GpuError(
      "no-adapter",
      `Adapter "auto": ${host.name} found no adapter with this system's drivers; install or mend a GPU's driver, or choose "swiftshader".`,
    );
  }
  try {
    return await openSwiftShader(host);
  } catch (cause) {
    if (!(cause instanceof GpuError)) throw cause;
    const message = `Adapter "auto": found no driver of Vulkan, Metal or D3D12 that ${host.name} accepts, nor one in software: ${cause.message}`;
    throw new GpuError(cause.reason, message, { cause });
  }
}

async function openSwiftShader(host: AdapterHost): Promise<OpenedAdapter> {
  const files = await unpackSwiftShader();
  host.loadLibrary(files.loader);
  const found = await withVulkanDriver(files.icdFile, () => request(host));
  if (found?.kind === "swiftshader") return found;
  const hint = host.environmentHint({
    LD_LIBRARY_PATH: files.folder,
    VK_ICD_FILENAMES: files.icdFile,
    VK_DRIVER_FILES: files.icdFile,
  });
  throw new GpuError(
    "no-adapter",
    `Adapter "swiftshader": ${host.name} did not accept the driver in ${files.folder}${hint === "" ? "; remove that folder to have it unpacked again." : `.${hint}`}`,
  );
}

async function request(host: AdapterHost): Promise<OpenedAdapter | undefined> {
  const found = await host.request();
  if (found === null) return undefined;
  const { info } = found.adapter;
  const kind = adapterKindOf(info);
  return { ...found, kind, isSoftware: kind !== "gpu", description: describe(info, kind) };
}

function adapterKindOf(info: GPUAdapterInfo): AdapterKind {
  // Dawn names the architecture; Deno has the driver's name for the device in `description` alone.
  if (info.architecture === "swiftshader" || info.description.startsWith("SwiftShader Device")) return "swiftshader";
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
