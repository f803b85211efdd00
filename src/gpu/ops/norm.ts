// The normalisations. Letters: R rows.
import headNormWgsl from "../../../shaders/head-norm.wgsl";
import layerNormWgsl from "../../../shaders/layer-norm.wgsl";
import rmsNormWgsl from "../../../shaders/rms-norm.wgsl";
import { defineKernel } from "../kernel.ts";
import type { Program } from "../program.ts";
import { descriptions } from "./descriptions-loader.ts";
import type { HeadLayout } from "./rope.ts";

/** The kernel of {@link rmsNorm}. */
export const RMS_NORM = defineKernel("rms-norm", rmsNormWgsl);
/** The kernel of {@link layerNorm}. */
export const LAYER_NORM = defineKernel("layer-norm", layerNormWgsl);
/** The kernel of {@link headNorm}. */
export const HEAD_NORM = defineKernel("head-norm", headNormWgsl);

/** The call of {@link headNorm}. */
export interface HeadNormCall {
  readonly heads: HeadLayout;
  /** [R, H + 2·Hkv, headDim] */
  readonly qkv: GPUBuffer;
  /** [headDim] */
  readonly queryWeight: GPUBuffer;
  /** [headDim] */
  readonly keyWeight: GPUBuffer;
  readonly numRows: number;
  readonly eps: number;
}

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

/** RMSNorm of every head of the queries and keys of R rows, in place. */
export function headNorm(program: Program, call: HeadNormCall): void {
  const { qkv, queryWeight, keyWeight, numRows, eps } = call;
  const { numHeads, numKeyValueHeads, headDim, paddedHeadDim } = call.heads;
  program.dispatch(HEAD_NORM, {
    bindings: { qkv, queryWeight, keyWeight },
    params: { numHeads, headsPerRow: numHeads + 2 * numKeyValueHeads, headDim4: paddedHeadDim / 4, headDim, eps },
    grid: [numHeads + numKeyValueHeads, numRows],
    describe: async () => (await descriptions()).headNorm(call),
  });
}
