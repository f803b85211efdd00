// The reader's GPU: stands in for test/setup/device.ts in the bundle.
import { isSoftwareAdapter, requestGpuDevice } from "../../../../src/gpu/device.ts";

export { withErrorScopes } from "../../../../test/setup/error-scopes.ts";

/** The device that all cases of a page share. */
export interface LiveDevice {
  readonly device: GPUDevice;
  readonly isSoftware: boolean;
  /** For people. */
  readonly name: string;
}

/** Whether tests leave out cases: none here. */
export const isBrief = false;

let opened: Promise<LiveDevice> | undefined;

/** The device; opened at the first call, and again after one that failed or was lost. @throws GpuError where there is none. */
export function openTestDevice(): Promise<LiveDevice> {
  opened ??= open().catch((error: unknown) => {
    opened = undefined;
    throw error;
  });
  return opened;
}

async function open(): Promise<LiveDevice> {
  const adapter = (await globalThis.navigator.gpu?.requestAdapter({ powerPreference: "high-performance" })) ?? null;
  const device = await requestGpuDevice(adapter);
  device.lost.then(() => {
    opened = undefined;
  });
  const { vendor = "", architecture = "", description = "" } = adapter?.info ?? {};
  const name = description || [vendor, architecture].filter((part) => part !== "").join(" ") || "unnamed GPU";
  return { device, isSoftware: isSoftwareAdapter(adapter?.info), name };
}
