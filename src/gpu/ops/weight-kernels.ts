// Variants of a kernel for the forms in which weights are stored.
import columnsWgsl from "../../../shaders/shared/columns.wgsl";
import columnsQuadWgsl from "../../../shaders/shared/columns-quad.wgsl";
import columnsWideWgsl from "../../../shaders/shared/columns-wide.wgsl";
import dotNibblesWgsl from "../../../shaders/shared/dot-nibbles.wgsl";
import dotQ4Wgsl from "../../../shaders/shared/dot-q4.wgsl";
import dotQ41Wgsl from "../../../shaders/shared/dot-q4-1.wgsl";
import dotQ8Wgsl from "../../../shaders/shared/dot-q8.wgsl";
import dotsWgsl from "../../../shaders/shared/dots.wgsl";
import groupQ4Wgsl from "../../../shaders/shared/group-q4.wgsl";
import groupQ41Wgsl from "../../../shaders/shared/group-q4-1.wgsl";
import groupQ8Wgsl from "../../../shaders/shared/group-q8.wgsl";
import inputWgsl from "../../../shaders/shared/input.wgsl";
import matvecSumsWgsl from "../../../shaders/shared/matvec-sums.wgsl";
import matvecSumsInt8Wgsl from "../../../shaders/shared/matvec-sums-int8.wgsl";
import matvecTotalsWgsl from "../../../shaders/shared/matvec-totals.wgsl";
import unpackNibblesWgsl from "../../../shaders/shared/unpack-nibbles.wgsl";
import weightBf16Wgsl from "../../../shaders/shared/weight-bf16.wgsl";
import weightF16Wgsl from "../../../shaders/shared/weight-f16.wgsl";
import weightF32Wgsl from "../../../shaders/shared/weight-f32.wgsl";
import weightQ4Wgsl from "../../../shaders/shared/weight-q4.wgsl";
import weightQ41Wgsl from "../../../shaders/shared/weight-q4-1.wgsl";
import weightQ8Wgsl from "../../../shaders/shared/weight-q8.wgsl";
import wideBf16Wgsl from "../../../shaders/shared/wide-bf16.wgsl";
import wideF16Wgsl from "../../../shaders/shared/wide-f16.wgsl";
import wideF32Wgsl from "../../../shaders/shared/wide-f32.wgsl";
import wideLoadWgsl from "../../../shaders/shared/wide-load.wgsl";
import wideLoadMinimumWgsl from "../../../shaders/shared/wide-load-minimum.wgsl";
import wideLoadScaledWgsl from "../../../shaders/shared/wide-load-scaled.wgsl";
import wideNarrowWgsl from "../../../shaders/shared/wide-narrow.wgsl";
import wideQ4Wgsl from "../../../shaders/shared/wide-q4.wgsl";
import wideQ41Wgsl from "../../../shaders/shared/wide-q4-1.wgsl";
import wideQ8Wgsl from "../../../shaders/shared/wide-q8.wgsl";
import { GpuError } from "../../errors.ts";
import { defineKernel, type Kernel } from "../kernel.ts";
import {
  type FloatDtype,
  type Matrix,
  type MatrixPiece,
  type QuantizedDtype,
  type WeightDtype,
  weightStride4,
} from "../tensor.ts";

/** Texts that load one vec4 of weights at a time (`loadWeight`). */
const WEIGHT_HELPERS: Record<WeightDtype, string> = {
  f32: weightF32Wgsl,
  f16: weightF16Wgsl,
  bf16: weightBf16Wgsl,
  q8: weightQ8Wgsl,
  q4_1: weightQ41Wgsl,
  q4: weightQ4Wgsl,
};

/** Texts that load 16 bytes of weights at a time (`loadPacked`, `unpackPart`). */
const WIDE: Record<WeightDtype, string> = {
  f32: wideF32Wgsl + wideLoadWgsl,
  f16: wideF16Wgsl + wideLoadWgsl,
  bf16: wideBf16Wgsl + wideLoadWgsl,
  q8: wideQ8Wgsl + wideLoadScaledWgsl,
  q4_1: wideQ41Wgsl + unpackNibblesWgsl + wideLoadMinimumWgsl,
  q4: wideQ4Wgsl + unpackNibblesWgsl + wideLoadScaledWgsl,
};

/** Vec4s of weights in a load of shared/wide-*. */
const LOAD_WIDTH: Record<WeightDtype, number> = { f32: 1, f16: 2, bf16: 2, q8: 4, q4_1: 8, q4: 8 };

/** A kernel's variant for every dtype. @param weights texts that load weights, `loadWeight` unless given */
export function perDtype(
  name: string,
  source: string,
  helpers: readonly string[] = [],
  weights: Record<WeightDtype, string> = WEIGHT_HELPERS,
): Record<WeightDtype, Kernel> {
  const variant = (dtype: WeightDtype) =>
    defineKernel(name, source, [weights[dtype], ...helpers], { weightDtype: dtype });
  return {
    f32: variant("f32"),
    f16: variant("f16"),
    bf16: variant("bf16"),
    q8: variant("q8"),
    q4_1: variant("q4_1"),
    q4: variant("q4"),
  };
}

/** A kernel of one thread a sum for quantised weights, which are read a group at a time by quads that share the input. */
export function perQuantized(name: string, source: string, helpers: readonly string[]): Record<QuantizedDtype, Kernel> {
  const variant = (dtype: QuantizedDtype, group: string) =>
    defineKernel(name, source, [group, columnsQuadWgsl, inputWgsl, ...helpers], { weightDtype: dtype });
  return { q8: variant("q8", groupQ8Wgsl), q4_1: variant("q4_1", groupQ41Wgsl), q4: variant("q4", groupQ4Wgsl) };
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

/** Variants of one thread per four sums; those of f16 and bf16 load 16 bytes at a time where rows are a whole number of such loads. */
export function perThread(name: string, source: string, helpers: readonly string[]) {
  const narrow = perDtype(name, source, [columnsWgsl, dotsWgsl, inputWgsl, ...helpers]);
  const variant = (weightDtype: "f16" | "bf16") =>
    defineKernel(name, source, [WIDE[weightDtype], columnsWideWgsl, dotsWgsl, inputWgsl, ...helpers], { weightDtype });
  const wide: Partial<Record<WeightDtype, Kernel>> = { f16: variant("f16"), bf16: variant("bf16") };
  return {
    variants: [...Object.values(narrow), ...Object.values(wide)],
    kernel: ({ weight }: { readonly weight: Pick<Matrix, "dtype" | "columns"> }) => {
      const { dtype } = weight;
      return (weightStride4(weight) % LOAD_WIDTH[dtype] === 0 ? wide[dtype] : undefined) ?? narrow[dtype];
    },
  };
}

/** Variants that load 16 bytes at a time, and narrow ones for rows that are not a whole number of such loads. */
export function byDtypeAndWidth(name: string, source: string, helpers: readonly string[]) {
  const sums = [matvecTotalsWgsl, matvecSumsWgsl, inputWgsl, ...helpers];
  const wide = perDtype(name, source, sums, WIDE);
  const narrow = perDtype(name, source, [wideNarrowWgsl, ...sums]);
  return {
    variants: [...Object.values(wide), ...Object.values(narrow)],
    kernel: ({ weight }: { readonly weight: Pick<Matrix, "dtype" | "columns"> }) =>
      (weightStride4(weight) % LOAD_WIDTH[weight.dtype] === 0 ? wide : narrow)[weight.dtype],
  };
}

/** Variants that multiply integers: quantised weights with an input that quantize-activations wrote. */
export function perQuantizedInput(
  name: string,
  source: string,
  helpers: readonly string[],
): Record<QuantizedDtype, Kernel> {
  const variant = (weightDtype: QuantizedDtype, dot: string) =>
    defineKernel(name, source, [dot, matvecTotalsWgsl, matvecSumsInt8Wgsl, ...helpers], {
      weightDtype,
      activationDtype: "q8",
    });
  return {
    q8: variant("q8", dotQ8Wgsl + wideLoadScaledWgsl),
    q4_1: variant("q4_1", dotQ41Wgsl + dotNibblesWgsl + wideLoadMinimumWgsl),
    q4: variant("q4", dotQ4Wgsl + dotNibblesWgsl + wideLoadScaledWgsl),
  };
}

/** The variants of what reads a checkpoint's own weights, before they are quantised. */
export function perFloat(name: string, source: string, helpers: readonly string[] = []): Record<FloatDtype, Kernel> {
  const { f32, f16, bf16 } = perDtype(name, source, helpers);
  return { f32, f16, bf16 };
}

/** The bindings of shared/weight-*: quantised weights have their scales beside them. */
export function weightBindings(piece: MatrixPiece): { readonly weight: GPUBuffer; readonly scales?: GPUBuffer } {
  return { weight: piece.buffer, ...(piece.scales !== undefined && { scales: piece.scales }) };
}
