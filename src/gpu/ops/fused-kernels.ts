// The kernels of the ops in which a decode step fuses a linear layer with what follows it.
import sumsSharedWgsl from "../../../shaders/shared/sums-shared.wgsl";
import sumsSubgroupWgsl from "../../../shaders/shared/sums-subgroup.wgsl";
import type { KernelContext } from "../device.ts";
import { isQuantized } from "../tensor.ts";
import type { KernelEntry, Plan } from "./kernel-list.ts";
import { type MatvecShape, usesSubgroups, wideMatvec } from "./linear-kernels.ts";
import { hasQuads } from "./quads.ts";
import { byDtype, byDtypeAndWidth, perQuantized, perQuantizedInput, perThread } from "./weight-kernels.ts";

/** Texts of an op's kernels: one thread per four sums, or one workgroup per eight with and without subgroups. */
interface FusedSources {
  readonly threads: string;
  readonly subgroup: string;
  readonly reduce: string;
  /** What all of them call. */
  readonly helpers: readonly string[];
}

/**
 * The kernels of a fused op: one workgroup per eight sums on GPUs, with as many threads as tuning chose for the matrix × vector
 * kernel; one thread per four or eight sums elsewhere, by quads of threads for quantised weights where the adapter has quads.
 * @param plans.wide grid of the GPU kernels for a call's `batches` of rows
 */
export function fusedEntries<Shape extends MatvecShape, Name extends string>(
  name: Name,
  sources: FusedSources,
  plans: {
    readonly threads: (shape: Shape) => Plan;
    readonly wide: (shape: Shape, batches: number) => Plan["grid"];
  },
) {
  const { threads, subgroup, reduce, helpers } = sources;
  const planWide = (shape: Shape, gpu: KernelContext): Plan => {
    const { constants, batch } = wideMatvec(shape, gpu, 2);
    return { constants, grid: plans.wide(shape, Math.ceil(shape.numRows / batch)) };
  };
  const subgroupName = `${name}-subgroup` as const;
  const reduceName = `${name}-reduce` as const;
  return [
    {
      name: `${subgroupName}-int8` as const,
      ...byDtype(perQuantizedInput(subgroupName, subgroup, [sumsSubgroupWgsl, ...helpers])),
      supports: (gpu: KernelContext, shape: Shape) =>
        shape.hasQuantizedInput === true && !gpu.isSoftware && usesSubgroups(gpu, shape),
      plan: planWide,
    },
    {
      name: `${reduceName}-int8` as const,
      ...byDtype(perQuantizedInput(reduceName, reduce, [sumsSharedWgsl, ...helpers])),
      supports: (_: KernelContext, { hasQuantizedInput }: Shape) => hasQuantizedInput === true,
      plan: planWide,
    },
    {
      name: subgroupName,
      ...byDtypeAndWidth(subgroupName, subgroup, [sumsSubgroupWgsl, ...helpers]),
      supports: (gpu: KernelContext, shape: Shape) => !gpu.isSoftware && usesSubgroups(gpu, shape),
      plan: planWide,
    },
    {
      name: reduceName,
      ...byDtypeAndWidth(reduceName, reduce, [sumsSharedWgsl, ...helpers]),
      supports: (gpu: KernelContext) => !gpu.isSoftware,
      plan: planWide,
    },
    {
      name: `${name}-quad` as const,
      ...byDtype(perQuantized(name, threads, helpers)),
      supports: (gpu: KernelContext, { weight }: Shape) => hasQuads(gpu) && isQuantized(weight.dtype),
      plan: plans.threads,
    },
    {
      name,
      ...perThread(name, threads, helpers),
      supports: () => true,
      plan: plans.threads,
    },
  ] as const satisfies readonly KernelEntry<Shape>[];
}
