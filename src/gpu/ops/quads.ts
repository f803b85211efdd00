// Kernels for CPU adapters in which the four threads of a quad, or the eight of a subgroup, share what they load.
import type { KernelContext } from "../device.ts";

/** Whether kernels that share loads over quads are the choice: on CPU adapters that have subgroups. */
export function hasQuads(gpu: KernelContext): boolean {
  return gpu.isSoftware && gpu.device.features.has("subgroups");
}

/** Whether the subgroups of a CPU adapter are of eight threads, for kernels that share loads over all of them. */
export function hasOctets(gpu: KernelContext): boolean {
  const info: Partial<GPUAdapterInfo> | undefined = gpu.device.adapterInfo; // some hosts do not tell
  return hasQuads(gpu) && info?.subgroupMinSize === 8 && info.subgroupMaxSize === 8;
}

/** Rows that each of a workgroup's 8 threads computes, of `numRows`: more would only repeat the last row. */
export function quadRows(numRows: number): number {
  if (numRows <= 8) return 1;
  return numRows <= 16 ? 2 : 4;
}
