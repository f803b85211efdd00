// The normalisations. Letters: R rows.
import layerNormWgsl from "../../../shaders/layer-norm.wgsl";
import rmsNormWgsl from "../../../shaders/rms-norm.wgsl";
import { defineKernel } from "../kernel.ts";
import type { Program } from "../program.ts";
import { descriptions } from "./descriptions-loader.ts";

/** The kernel of {@link rmsNorm}. */
export const RMS_NORM = defineKernel("rms-norm", rmsNormWgsl);
/** The kernel of {@link layerNorm}. */
export const LAYER_NORM = defineKernel("layer-norm", layerNormWgsl);

/** The call of a normalisation. */
export interface NormCall {
  readonly input: GPUBuffer;
  readonly weight: GPUBuffer;
  /** Of a LayerNorm. */
  readonly bias?: GPUBuffer;
  readonly output: GPUBuffer;
  readonly numRows: number;
  readonly columns: number;
  readonly eps: number;
}

/** RMSNorm of R rows of `columns` real values, each row padded to a multiple of 4. */
export function rmsNorm(program: Program, call: NormCall): void {
  const { numRows, columns, eps } = call;
  program.dispatch(RMS_NORM, {
    bindings: { input: call.input, weight: call.weight, output: call.output },
    params: { columns4: Math.ceil(columns / 4), columns, eps },
    grid: [numRows],
    describe: async () => (await descriptions()).norm(call),
  });
}

/** LayerNorm of R rows of `columns` real values, each row padded to a multiple of 4. */
export function layerNorm(program: Program, call: NormCall & { readonly bias: GPUBuffer }): void {
  const { numRows, columns, eps } = call;
  program.dispatch(LAYER_NORM, {
    bindings: { input: call.input, weight: call.weight, bias: call.bias, output: call.output },
    params: { columns4: Math.ceil(columns / 4), columns, eps },
    grid: [numRows],
    describe: async () => (await descriptions()).norm(call),
  });
}
