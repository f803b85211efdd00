// The best that an adapter can do, measured in the same run as everything that is compared with it: multiply-adds, streaming
// reads, copies, and the cost of a dispatch, a submit and a readback.
import copyWgsl from "../../shaders/bench/copy.wgsl";
import countUpWgsl from "../../shaders/bench/count-up.wgsl";
import fmaChainsWgsl from "../../shaders/bench/fma-chains.wgsl";
import fmaChainsVec4Wgsl from "../../shaders/bench/fma-chains-vec4.wgsl";
import readSumWgsl from "../../shaders/bench/read-sum.wgsl";
import { throwIfAborted } from "../errors.ts";
import { GPU_READBACK, GPU_STORAGE, type Gpu } from "../gpu/device.ts";
import { SubmitExecutor } from "../gpu/executor.ts";
import { defineKernel } from "../gpu/kernel.ts";
import type { PreparedProgram } from "../gpu/prepared-program.ts";
import { Program } from "../gpu/program.ts";
import { mapSpread, type Spread } from "./statistics.ts";
import { flush, type TimingOptions, timePrepared, timeProgram, timeWork } from "./timing.ts";

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

/** The value that thread `thread` has to write: the sum of its chains' first values and of every addend. */
export function expectedFma(variant: FmaVariant, thread: number, steps: number): number {
  const first =
    variant.shape === "scalar"
      ? 0 + 1 + 2 + 3 + 4 + 5 + 6 + (thread % 8)
      : 0 + 1 + 2 + 3 + (4 + 5 + 6 + 7) + 2 + 4 * (thread % 8);
  return first + fmaPerThread(variant, steps);
}

/** How reads are distributed over threads. */
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

/** One measured ceiling and the variant that reached it. */
export interface Ceiling {
  readonly rate: Spread;
  /** The best variant, in words. */
  readonly variant: string;
  /** Rates of all variants in the first, short measurement. */
  readonly tried: Readonly<Record<string, number>>;
}

/** The adapter's ceilings. */
export interface Roofline {
  /** Multiply-adds in f32, two operations each, GFLOP/s. */
  readonly fma: Ceiling;
  /** GB/s of 10^9 bytes. */
  readonly read: Ceiling;
  /** GB/s, read and written bytes together. */
  readonly copy: Ceiling;
  /** Microseconds per dispatch that waits for the one before it, within one pass. */
  readonly dispatchUs: Spread;
  /** Microseconds per submit of one dispatch. */
  readonly submitUs: Spread;
  /** Milliseconds from a submit to the mapped bytes of its result. */
  readonly readbackMs: Spread;
  /** Bytes that the read and copy figures are measured with. */
  readonly streamBytes: number;
  /** The fastest variants, which run again in turns with the kernels that are compared with them. */
  readonly winners: { readonly fma: FmaVariant; readonly read: ReadVariant };
}

/** Measures everything. @throws AbortError between variants; GpuError. */
export async function measureRoofline(gpu: Gpu, options: TimingOptions): Promise<Roofline> {
  const streamBytes = streamSize(gpu);
  const fma = await bestFma(gpu, options);
  const source = filledBuffer(gpu, streamBytes);
  const target = gpu.createBuffer("stream copy", streamBytes, GPU_STORAGE);
  try {
    const read = await bestRead(gpu, options, { source, target, streamBytes });
    const copy = await bestCopy(gpu, options, { source, target, streamBytes });
    const winners = { fma: fma.winner, read: read.winner };
    const costs = await measureCosts(gpu, options);
    return { fma: fma.ceiling, read: read.ceiling, copy: copy.ceiling, ...costs, streamBytes, winners };
  } finally {
    gpu.destroyBuffer(source);
    gpu.destroyBuffer(target);
  }
}

/** Bytes to stream: a whole binding; for a CPU adapter, 64 MiB suffice to measure memory bandwidth. */
function streamSize(gpu: Gpu): number {
  const { maxStorageBufferBindingSize, maxBufferSize } = gpu.device.limits;
  const wanted = gpu.isSoftware ? 2 ** 26 : 2 ** 30;
  // A power of two, so that every number of threads divides it.
  return 2 ** Math.floor(Math.log2(Math.min(wanted, maxStorageBufferBindingSize, maxBufferSize)));
}

/** A buffer of small whole numbers, written in blocks. */
export function filledBuffer(gpu: Gpu, byteLength: number): GPUBuffer {
  const buffer = gpu.createBuffer("stream", byteLength, GPU_STORAGE);
  const block = Float32Array.from({ length: Math.min(2 ** 18, byteLength / 4) }, (_, i) => i % 4);
  for (let at = 0; at < byteLength; at += block.byteLength) gpu.write(buffer, block, at);
  return buffer;
}

/** Number of variants that are measured in full after the first, short measurement. */
const NUM_FINALISTS = 3;

/** Measures each variant once, then the best few in full, so that a disturbance in the first measurement does not decide. */
async function best<Variant>(
  variants: readonly Variant[],
  how: {
    readonly gpu: Gpu;
    readonly options: TimingOptions;
    readonly nameOf: (variant: Variant) => string;
    readonly record: (program: Program, variant: Variant) => void;
    /** Milliseconds of one run → rate. */
    readonly rate: (ms: number, variant: Variant) => number;
  },
): Promise<{ readonly ceiling: Ceiling; readonly winner: Variant }> {
  const time = async (variant: Variant, options: TimingOptions): Promise<Spread> => {
    throwIfAborted(options.signal, "The bench");
    const program = new Program("roofline");
    how.record(program, variant);
    return mapSpread(await timeProgram(how.gpu, program, options), (ms) => how.rate(ms, variant));
  };
  const looks: { readonly variant: Variant; readonly median: number }[] = [];
  for (const variant of variants) {
    const { median } = await time(variant, { ...how.options, targetMs: 0, minSamples: 1 });
    looks.push({ variant, median });
  }
  looks.sort((a, b) => b.median - a.median);
  const finals: { readonly variant: Variant; readonly rate: Spread }[] = [];
  for (const { variant } of looks.slice(0, NUM_FINALISTS)) {
    finals.push({ variant, rate: await time(variant, how.options) });
  }
  const [winner] = finals.sort((a, b) => b.rate.median - a.rate.median);
  if (winner === undefined) throw new RangeError("variants: expected at least one, got none.");
  const tried = Object.fromEntries(looks.map(({ variant, median }) => [how.nameOf(variant), median]));
  const ceiling = { rate: winner.rate, variant: how.nameOf(winner.variant), tried };
  return { ceiling, winner: winner.variant };
}

/** Threads and steps of the multiply-add kernels: some milliseconds on either class of adapter. */
export function fmaSize(gpu: Gpu): { readonly numThreads: number; readonly steps: number } {
  return gpu.isSoftware ? { numThreads: 2 ** 12, steps: 256 } : { numThreads: 2 ** 20, steps: 1024 };
}

async function bestFma(gpu: Gpu, options: TimingOptions) {
  const { numThreads, steps } = fmaSize(gpu);
  const workgroups = [32, 64, 256].filter((size) => size <= gpu.device.limits.maxComputeInvocationsPerWorkgroup);
  const variants = (["scalar", "vec4"] as const).flatMap((shape) =>
    [true, false].flatMap((isFused) => workgroups.map((workgroup): FmaVariant => ({ shape, isFused, workgroup }))),
  );
  const output = gpu.createBuffer("fma", numThreads * 4, GPU_STORAGE);
  try {
    return await best(variants, {
      gpu,
      options,
      nameOf: ({ shape, isFused, workgroup }) => `${shape}, ${isFused ? "fma()" : "x · a + b"}, ${workgroup} threads`,
      record: (program, variant) => recordFma(program, variant, { output, numThreads, steps }),
      rate: (ms, variant) => (2 * fmaPerThread(variant, steps) * numThreads) / (ms * 1e6),
    });
  } finally {
    gpu.destroyBuffer(output);
  }
}

interface Streams {
  readonly source: GPUBuffer;
  readonly target: GPUBuffer;
  readonly streamBytes: number;
}

const readVariants = (
  pattern: ReadPattern,
  workgroups: readonly number[],
  threadCounts: readonly number[],
): readonly ReadVariant[] =>
  workgroups.flatMap((workgroup) => threadCounts.map((numThreads) => ({ pattern, workgroup, numThreads })));

// CPU cores are fastest with few long runs; adjacent reads are gathers there, and tried only for completeness.
const SOFTWARE_READS: readonly ReadVariant[] = [
  ...readVariants("run-per-thread", [16, 32, 64], [2 ** 8, 2 ** 10, 2 ** 12]),
  ...readVariants("block-per-workgroup", [16, 64], [2 ** 10, 2 ** 14]),
  ...readVariants("strided", [64], [2 ** 14]),
  ...readVariants("run-per-workgroup", [8], [2 ** 10]),
];

const GPU_READS: readonly ReadVariant[] = [
  ...readVariants("strided", [64, 128, 256], [2 ** 16, 2 ** 18, 2 ** 20]),
  ...readVariants("block-per-workgroup", [64, 128, 256], [2 ** 16, 2 ** 18, 2 ** 20]),
  ...readVariants("run-per-thread", [64], [2 ** 18]),
  ...readVariants("run-per-workgroup", [64], [2 ** 18]),
];

async function bestRead(gpu: Gpu, options: TimingOptions, streams: Streams) {
  const numVectors = streams.streamBytes / 16;
  const variants = gpu.isSoftware ? SOFTWARE_READS : GPU_READS;
  return best(variants, {
    gpu,
    options,
    nameOf: ({ pattern, workgroup, numThreads }) => `${pattern}, ${workgroup} of ${numThreads} threads`,
    record: (program, variant) =>
      recordRead(program, variant, { data: streams.source, output: streams.target, numVectors }),
    rate: (ms) => streams.streamBytes / (ms * 1e6),
  });
}

async function bestCopy(gpu: Gpu, options: TimingOptions, streams: Streams) {
  const { source, target, streamBytes } = streams;
  const numThreads = gpu.isSoftware ? 2 ** 14 : 2 ** 20;
  return best(["driver", "kernel"] as const, {
    gpu,
    options,
    nameOf: (variant) => (variant === "driver" ? "copyBufferToBuffer" : `kernel, 64 of ${numThreads} threads`),
    record: (program, variant) => {
      if (variant === "driver") program.copy(source, target, { size: streamBytes });
      else recordCopy(program, { source, target, numVectors: streamBytes / 16, numThreads, workgroup: 64 });
    },
    rate: (ms) => (2 * streamBytes) / (ms * 1e6),
  });
}

const NUM_DISPATCHES = 512;
const NUM_SUBMITS = 64;

async function measureCosts(
  gpu: Gpu,
  options: TimingOptions,
): Promise<Pick<Roofline, "dispatchUs" | "submitUs" | "readbackMs">> {
  const counter = gpu.createBuffer("counter", 16, GPU_STORAGE);
  const readback = gpu.createBuffer("readback", 16, GPU_READBACK);
  const executor = new SubmitExecutor(gpu);
  const prepared: PreparedProgram[] = [];
  const prepare = async (label: string, numDispatches: number, target?: GPUBuffer) => {
    const program = new Program(label);
    recordCountUp(program, counter, numDispatches);
    if (target !== undefined) program.copy(counter, target, { size: 16 });
    const ready = await executor.prepare(program);
    prepared.push(ready);
    return ready;
  };
  try {
    const many = await prepare("many dispatches", NUM_DISPATCHES);
    const one = { program: await prepare("one dispatch", 1), stage: "one dispatch" };
    const mapped = { program: await prepare("dispatch and copy", 1, readback), stage: "dispatch and copy" };
    const dispatches = await timePrepared(gpu, many, options);
    const submits = await timeWork(async () => {
      for (let i = 0; i < NUM_SUBMITS; i++) executor.run([one]);
      await flush(gpu);
    }, options);
    const readbackMs = await timeWork(async () => {
      executor.run([mapped]);
      await gpu.readMapped(readback);
    }, options);
    return {
      dispatchUs: mapSpread(dispatches, (ms) => (ms * 1000) / NUM_DISPATCHES),
      submitUs: mapSpread(submits, (ms) => (ms * 1000) / NUM_SUBMITS),
      readbackMs,
    };
  } finally {
    for (const program of prepared) program.dispose();
    gpu.destroyBuffer(counter);
    gpu.destroyBuffer(readback);
  }
}
