// Kernels for CPU adapters in which the four threads of a quad share what they load (quadBroadcast).
import type { KernelContext } from "../device.ts";

/** Whether kernels that share loads over quads are the choice: on CPU adapters that have subgroups. */
export function hasQuads(gpu: KernelContext): boolean {
  return gpu.isSoftware && gpu.device.features.has("subgroups");
}

/** Rows that each of a workgroup's 8 threads computes, of `numRows`: more would only repeat the last row. */
export function quadRows(numRows: number): number {
  if (numRows <= 8) return 1;
  return numRows <= 16 ? 2 : 4;
}
