// Variants of a kernel for the forms in which weights are stored.
import weightBf16Wgsl from "../../../shaders/shared/weight-bf16.wgsl";
import weightF16Wgsl from "../../../shaders/shared/weight-f16.wgsl";
import weightF32Wgsl from "../../../shaders/shared/weight-f32.wgsl";
import weightQ4Wgsl from "../../../shaders/shared/weight-q4.wgsl";
import weightQ8Wgsl from "../../../shaders/shared/weight-q8.wgsl";
import { defineKernel, type Kernel } from "../kernel.ts";
import type { FloatDtype, MatrixPiece, WeightDtype } from "../tensor.ts";

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
  const variant = (dtype: WeightDtype) => defineKernel(name, source, [weights[dtype], ...helpers]);
  return {
    f32: variant("f32"),
    f16: variant("f16"),
    bf16: variant("bf16"),
    q8: variant("q8"),
    q4: variant("q4"),
  };
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
