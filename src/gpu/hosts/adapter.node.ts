// Opens a WebGPU adapter in Node (npm `webgpu`, Dawn) on any machine.

import { isMainThread } from "node:worker_threads";
import { GpuError } from "../../errors.ts";
import { listOf, readOptions, type Schema, text } from "../../options.ts";
import { type AdapterChoice, type AdapterHost, type OpenedAdapter, openChosenAdapter } from "./adapter-choice.node.ts";
import { checkDawnToggles } from "./dawn-toggles.node.ts";
import { isMissingPackage } from "./missing-package.node.ts";
import { environmentText } from "./vulkan-drivers.node.ts";

/** How an adapter is opened. */
export interface AdapterOptions {
  /**
   * Toggles of Dawn's to switch on, by the names in its src/dawn/native/Toggles.cpp: `vulkan_enable_f16_on_nvidia`, say, since
   * Dawn hides shader-f16 on NVIDIA's Vulkan driver.
   */
  readonly dawnToggles?: readonly string[];
}

const ADAPTER: Schema<AdapterOptions> = { dawnToggles: listOf(text, "a list of texts") };

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
): Promise<OpenedAdapter> {
  const { dawnToggles = [] } = readOptions("openNodeAdapter", options, ADAPTER);
  checkDawnToggles(dawnToggles);
  return await openChosenAdapter(dawnHost(dawnToggles), choice);
}

function dawnHost(toggles: readonly string[]): AdapterHost {
  return {
    name: "Dawn",
    isAskedOnce: false,
    async request() {
      const { create } = await loadDawn();
      // Dawn rounds GPU times to 65.5 µs to keep web pages from spying by them; a program of the user's own need not be kept.
      const enabled = toggles.length === 0 ? [] : [`enable-dawn-features=${toggles.join(",")}`];
      const gpu = create(["disable-dawn-features=timestamp_quantization", ...enabled]);
      heldGpus.push(gpu);
      const adapter = (await gpu.requestAdapter({ powerPreference: "high-performance" })) ?? null;
      return adapter && { gpu, adapter };
    },
    loadLibrary: loadForGood,
    environmentHint(environment) {
      // There, `process.env` is a copy that the loader does not see.
      const place = "bun" in process.versions ? "Bun" : isMainThread ? undefined : "a worker thread";
      return place === undefined ? "" : ` In ${place}, start the program with ${environmentText(environment)}.`;
    },
  };
}

async function loadDawn(): Promise<{ create(options: string[]): GPU }> {
  try {
    return await import("webgpu");
  } catch (cause) {
    if (isMissingPackage(cause, "webgpu")) {
      const message =
        "WebGPU in Node comes from the npm package webgpu, which is not installed: run npm install webgpu.";
      throw new GpuError("no-adapter", message, { cause });
    }
    const need =
      process.platform === "linux"
        ? "; it needs x64 or arm64 with glibc 2.34 and the libstdc++ of GCC 12 or newer, as in Debian 12 and Ubuntu 22.04 (Alpine has musl)"
        : "";
    throw new GpuError(
      "no-adapter",
      `The npm package webgpu (Dawn) cannot be loaded on ${process.platform} ${process.arch} (${String(cause)})${need}.`,
      { cause },
    );
  }
}

/**
 * Loads a shared library and keeps it, so that a later lookup of its name (Dawn's of libvulkan.so.1) finds it on systems
 * without one. `process.dlopen` is meant for add-ons and says that this is none, each runtime in words of its own, but the library stays.
 */
function loadForGood(library: string): void {
  const rtldNow = 2;
  const rtldNoDelete = 0x1000; // glibc's; Node does not name it
  try {
    process.dlopen({ exports: {} }, library, rtldNow | rtldNoDelete);
  } catch (error) {
    if (!/did not self-register|napi_register_module_v1/.test(String(error))) {
      throw new GpuError("no-adapter", `${library} cannot be loaded: ${String(error)}`, { cause: error });
    }
  }
}
