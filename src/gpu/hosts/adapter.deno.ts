// Opens a WebGPU adapter in Deno (its built-in WebGPU, wgpu) on any machine.
// Permissions: --allow-env and --allow-read to choose a driver, --allow-sys, --allow-write and --allow-ffi to unpack and load
// SwiftShader. Without any, `navigator.gpu.requestAdapter()` is all there is.

import { GpuError } from "../../errors.ts";
import { type AdapterChoice, type AdapterHost, type OpenedAdapter, openChosenAdapter } from "./adapter-choice.node.ts";
import { environmentText } from "./vulkan-drivers.node.ts";

/** The part of Deno's own API that is used here. */
interface DenoGlobal {
  readonly Deno: {
    readonly version: { readonly deno: string };
    dlopen(path: string, symbols: object): unknown;
  };
}

/** Whether this program runs in Deno. */
export function isDeno(): boolean {
  return "Deno" in globalThis;
}

/** Deno's version, such as "2.9.5"; only to be asked in Deno. */
export function denoVersion(): string {
  return denoGlobal().Deno.version.deno;
}

/**
 * Opens the adapter of the caller's choice. Deno reads the drivers' variables when a thread asks for its first adapter, and
 * never again: the first call of all has to be this one.
 * @throws GpuError `no-adapter` when there is none; the message says what to install or set.
 */
export async function openDenoAdapter(choice: AdapterChoice = "auto"): Promise<OpenedAdapter> {
  return await openChosenAdapter(denoHost, choice);
}

const denoHost: AdapterHost = {
  name: "Deno",
  isAskedOnce: true,
  async request() {
    const { gpu } = navigator as { readonly gpu?: GPU }; // checked with Node's types, which lack it
    const adapter = (await gpu?.requestAdapter({ powerPreference: "high-performance" })) ?? null;
    return gpu !== undefined && adapter !== null ? { gpu, adapter } : null;
  },
  loadLibrary(path) {
    try {
      denoGlobal().Deno.dlopen(path, {}); // never closed, so a later lookup of libvulkan.so.1 finds it
    } catch (cause) {
      throw new GpuError("no-adapter", `${path} cannot be loaded: ${String(cause)}`, { cause });
    }
  },
  environmentHint: (environment) =>
    ` If this program asked for another adapter before, start Deno with ${environmentText(environment)}.`,
};

function denoGlobal(): DenoGlobal {
  return globalThis as unknown as DenoGlobal; // in Deno, which callers have made sure of
}
