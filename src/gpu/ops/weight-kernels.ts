// Variants of a kernel for the forms in which weights are stored.
import columnsWgsl from "../../../shaders/shared/columns.wgsl";
import columnsQuadWgsl from "../../../shaders/shared/columns-quad.wgsl";
import columnsReduceWgsl from "../../../shaders/shared/columns-reduce.wgsl";
import groupQ4Wgsl from "../../../shaders/shared/group-q4.wgsl";
import groupQ8Wgsl from "../../../shaders/shared/group-q8.wgsl";
import weightBf16Wgsl from "../../../shaders/shared/weight-bf16.wgsl";
import weightF16Wgsl from "../../../shaders/shared/weight-f16.wgsl";
import weightF32Wgsl from "../../../shaders/shared/weight-f32.wgsl";
import weightQ4Wgsl from "../../../shaders/shared/weight-q4.wgsl";
import weightQ8Wgsl from "../../../shaders/shared/weight-q8.wgsl";
import { GpuError } from "../../errors.ts";
import type { KernelContext } from "../device.ts";
import { defineKernel, type Kernel } from "../kernel.ts";
import {
  type FloatDtype,
  isQuantized,
  type Matrix,
  type MatrixPiece,
  type QuantizedDtype,
  type WeightDtype,
} from "../tensor.ts";
import type { KernelEntry, Plan } from "./kernel-list.ts";
import { hasQuads } from "./quads.ts";

/** Texts that load one vec4 of weights at a time (`loadWeight`). */
const WEIGHT_HELPERS: Record<WeightDtype, string> = {
  f32: weightF32Wgsl,
  f16: weightF16Wgsl,
  bf16: weightBf16Wgsl,
  q8: weightQ8Wgsl,
  q4: weightQ4Wgsl,
};

/** A kernel's variant for every dtype. @param weights texts that load weights, `loadWeight` unless given */
export function perDtype(
  name: string,
  source: string,
  helpers: readonly string[] = [],
  weights: Record<WeightDtype, string> = WEIGHT_HELPERS,
): Record<WeightDtype, Kernel> {
  const variant = (dtype: WeightDtype) => defineKernel(name, source, [weights[dtype], ...helpers], dtype);
  return {
    f32: variant("f32"),
    f16: variant("f16"),
    bf16: variant("bf16"),
    q8: variant("q8"),
    q4: variant("q4"),
  };
}

/** A kernel of one thread a sum for quantised weights, which are read a group at a time by quads that share the input. */
export function perQuantized(name: string, source: string, helpers: readonly string[]): Record<QuantizedDtype, Kernel> {
  const variant = (dtype: QuantizedDtype, group: string) =>
    defineKernel(name, source, [group, columnsQuadWgsl, ...helpers], dtype);
  return { q8: variant("q8", groupQ8Wgsl), q4: variant("q4", groupQ4Wgsl) };
}

/** What the kernel of an op over a weight matrix is chosen by, among others. */
export interface WeightShape {
  readonly weight: Pick<Matrix, "dtype">;
}

/** The parts of a list's entry that are variants by dtype: of all, or of quantised weights only. */
export function byDtype(kernels: Readonly<Partial<Record<WeightDtype, Kernel>>>) {
  return {
    variants: Object.values(kernels),
    kernel: ({ weight: { dtype } }: WeightShape): Kernel => {
      const kernel = kernels[dtype];
      if (kernel === undefined) throw new GpuError("shader", `This kernel does not read weights in ${dtype}.`);
      return kernel;
    },
  };
}

/**
 * The kernels of an op that a decode step fuses with what follows: a workgroup per few sums on GPUs; a thread per sum
 * elsewhere, by quads of threads for quantised weights where the adapter has quads.
 */
export function fusedEntries<Shape extends WeightShape, Name extends string>(
  name: Name,
  sources: { readonly threads: string; readonly reduce: string; readonly helpers: readonly string[] },
  plans: { readonly threads: (shape: Shape) => Plan; readonly reduce: (shape: Shape) => Plan },
) {
  const { threads, reduce, helpers } = sources;
  const reduceName = `${name}-reduce` as const;
  return [
    {
      name: reduceName,
      ...byDtype(perDtype(reduceName, reduce, [columnsReduceWgsl, ...helpers])),
      supports: (gpu: KernelContext) => !gpu.isSoftware,
      plan: plans.reduce,
    },
    {
      name: `${name}-quad` as const,
      ...byDtype(perQuantized(name, threads, helpers)),
      supports: (gpu: KernelContext, { weight }: Shape) => hasQuads(gpu) && isQuantized(weight.dtype),
      plan: plans.threads,
    },
    {
      name,
      ...byDtype(perDtype(name, threads, [columnsWgsl, ...helpers])),
      supports: () => true,
      plan: plans.threads,
    },
  ] as const satisfies readonly KernelEntry<Shape>[];
}

/** The variants of what reads a checkpoint's own weights, before they are quantised. */
export function perFloat(name: string, source: string): Record<FloatDtype, Kernel> {
  const { f32, f16, bf16 } = perDtype(name, source);
  return { f32, f16, bf16 };
}

/** The bindings of shared/weight-*: quantised weights have their scales beside them. */
export function weightBindings(piece: MatrixPiece): { readonly weight: GPUBuffer; readonly scales?: GPUBuffer } {
  return { weight: piece.buffer, ...(piece.scales !== undefined && { scales: piece.scales }) };
}
