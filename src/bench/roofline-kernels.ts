// The kernels of the roofline as programs, each with the work it does and a check of what it computed.
import copyWgsl from "../../shaders/bench/copy.wgsl";
import countUpWgsl from "../../shaders/bench/count-up.wgsl";
import fmaChainsWgsl from "../../shaders/bench/fma-chains.wgsl";
import fmaChainsVec4Wgsl from "../../shaders/bench/fma-chains-vec4.wgsl";
import readSumWgsl from "../../shaders/bench/read-sum.wgsl";
import { defineKernel } from "../gpu/kernel.ts";
import type { Program } from "../gpu/program.ts";

const FMA_CHAINS = defineKernel("bench/fma-chains", fmaChainsWgsl);
const FMA_CHAINS_VEC4 = defineKernel("bench/fma-chains-vec4", fmaChainsVec4Wgsl);
const READ_SUM = defineKernel("bench/read-sum", readSumWgsl);
const COPY = defineKernel("bench/copy", copyWgsl);
const COUNT_UP = defineKernel("bench/count-up", countUpWgsl);

/** One way to do multiply-adds. */
export interface FmaVariant {
  readonly shape: "scalar" | "vec4";
  readonly isFused: boolean;
  readonly workgroup: number;
}

/** Chains of f32 in a thread, by the shape of its numbers. */
const CHAINS = { scalar: 8, vec4: 16 } as const;

/** Multiply-adds of one thread. */
export function fmaPerThread(variant: FmaVariant, steps: number): number {
  return CHAINS[variant.shape] * 4 * steps;
}

/** Records `steps` · 4 multiply-adds on every chain of `numThreads` threads; output [numThreads] f32. */
export function recordFma(
  program: Program,
  variant: FmaVariant,
  call: { readonly output: GPUBuffer; readonly numThreads: number; readonly steps: number },
): void {
  program.dispatch(variant.shape === "scalar" ? FMA_CHAINS : FMA_CHAINS_VEC4, {
    constants: { WORKGROUP: variant.workgroup, FUSED: variant.isFused },
    bindings: { output: call.output },
    params: { steps: call.steps, factor: 1, addend: 1 },
    grid: [call.numThreads / variant.workgroup],
  });
}

/** What thread `thread` must have written: the sum of its chains' first values and of every addend. */
export function expectedFma(variant: FmaVariant, thread: number, steps: number): number {
  const first =
    variant.shape === "scalar"
      ? 0 + 1 + 2 + 3 + 4 + 5 + 6 + (thread % 8)
      : 0 + 1 + 2 + 3 + (4 + 5 + 6 + 7) + 2 + 4 * (thread % 8);
  return first + fmaPerThread(variant, steps);
}

/** Which thread reads what. */
export type ReadPattern = "strided" | "run-per-thread" | "block-per-workgroup" | "run-per-workgroup";

/** All ways to read. */
export const READ_PATTERNS: readonly ReadPattern[] = [
  "strided",
  "run-per-thread",
  "block-per-workgroup",
  "run-per-workgroup",
];

/** One way to read. */
export interface ReadVariant {
  readonly pattern: ReadPattern;
  readonly workgroup: number;
  readonly numThreads: number;
}

/**
 * Records a read of the whole of data [numVectors, 4] f32, each byte once (by all lanes of a workgroup together for
 * `run-per-workgroup`); output [numThreads] f32. numVectors must be a multiple of 4 · numThreads.
 */
export function recordRead(
  program: Program,
  variant: ReadVariant,
  call: { readonly data: GPUBuffer; readonly output: GPUBuffer; readonly numVectors: number },
): void {
  const { pattern, workgroup, numThreads } = variant;
  const numGroups = numThreads / workgroup;
  const perThread = call.numVectors / (pattern === "run-per-workgroup" ? numGroups : numThreads);
  const layouts = {
    strided: { groupStride: workgroup, laneStride: 1, step: numThreads },
    "run-per-thread": { groupStride: workgroup * perThread, laneStride: perThread, step: 1 },
    "block-per-workgroup": { groupStride: workgroup * perThread, laneStride: 1, step: workgroup },
    "run-per-workgroup": { groupStride: perThread, laneStride: 0, step: 1 },
  };
  const { step, ...strides } = layouts[pattern];
  program.dispatch(READ_SUM, {
    constants: { WORKGROUP: workgroup, STEP: step },
    bindings: { data: call.data, output: call.output },
    params: { ...strides, perThread },
    grid: [numGroups],
  });
}

/** Records a copy of [numVectors, 4] f32 by a kernel; numVectors must be a multiple of numThreads. */
export function recordCopy(
  program: Program,
  call: {
    readonly source: GPUBuffer;
    readonly target: GPUBuffer;
    readonly numVectors: number;
    readonly numThreads: number;
    readonly workgroup: number;
  },
): void {
  const { numThreads, workgroup } = call;
  program.dispatch(COPY, {
    constants: { WORKGROUP: workgroup },
    bindings: { source: call.source, destination: call.target },
    params: { numThreads, perThread: call.numVectors / numThreads },
    grid: [numThreads / workgroup],
  });
}

/** Records `numDispatches` dispatches of one thread that adds 1 to counter [1] u32. */
export function recordCountUp(program: Program, counter: GPUBuffer, numDispatches: number): void {
  for (let i = 0; i < numDispatches; i++) program.dispatch(COUNT_UP, { bindings: { counter }, grid: [1] });
}
