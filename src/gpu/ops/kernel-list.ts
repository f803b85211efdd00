// The kernels that can compute an op, as a list: the first whose `supports` says yes runs, unless a caller names one.
import { GpuError } from "../../errors.ts";
import type { KernelContext } from "../device.ts";
import type { Constant, Kernel } from "../kernel.ts";

/** How one dispatch of a kernel runs. */
export interface Plan {
  /** Values of the overrides that only this kernel has. */
  readonly constants: Readonly<Record<string, Constant>>;
  /** Values of the parameters that only this kernel has. */
  readonly params?: Readonly<Record<string, number>>;
  readonly grid: readonly [number, number?, number?];
}

/** One kernel that computes an op. @template Shape what the choice depends on: sizes and dtypes of the call */
export interface KernelEntry<Shape> {
  /** The shader's file name, or that with a suffix where two entries share a file. */
  readonly name: string;
  /** Every variant of its text. */
  readonly variants: readonly Kernel[];
  /** The variant for a call. */
  readonly kernel: (shape: Shape) => Kernel;
  /** Whether this kernel is the choice, where none before it in the list is. */
  readonly supports: (gpu: KernelContext, shape: Shape) => boolean;
  readonly plan: (shape: Shape, gpu: KernelContext) => Plan;
}

/**
 * The first entry that supports the call, or the one called `name`.
 * @throws GpuError `shader` when there is none.
 */
export function chooseEntry<Shape, Entry extends KernelEntry<Shape> = KernelEntry<Shape>>(
  entries: readonly Entry[],
  gpu: KernelContext,
  call: { readonly shape: Shape; readonly name: string | undefined },
): Entry {
  const { shape, name } = call;
  const entry = entries.find((each) => (name === undefined ? each.supports(gpu, shape) : each.name === name));
  if (entry !== undefined) return entry;
  const names = entries.map((each) => each.name).join(", ");
  throw new GpuError("shader", `No kernel computes this call: expected one of ${names}, got ${name ?? "none"}.`);
}
