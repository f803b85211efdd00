// Measures the kernel cases against the roofline of the same run.
import { throwIfAborted } from "../errors.ts";
import { GPU_STORAGE, type Gpu } from "../gpu/device.ts";
import { PreparedProgram } from "../gpu/prepared-program.ts";
import { Program } from "../gpu/program.ts";
import type { KernelCase } from "./kernel-cases.ts";
import { Operands } from "./operands.ts";
import { type Bar, type Ratio, rateRatio } from "./ratios.ts";
import { filledBuffer, fmaPerThread, fmaSize, type Roofline, recordFma, recordRead } from "./roofline.ts";
import { mapSpread, type Spread } from "./statistics.ts";
import { interleave, type RoundsOptions, type TimingOptions, timePrepared, timeProgram } from "./timing.ts";

/** One measured case. */
export interface KernelFigure {
  readonly name: string;
  readonly flops: number;
  readonly bytes: number;
  readonly ms: Spread;
  readonly gflops: Spread;
  /** GB/s of 10^9 bytes. */
  readonly gbps: Spread;
  /** The ceiling that limits this shape. */
  readonly limit: "compute" | "memory";
  /** Time at that ceiling divided by the measured time. */
  readonly share: Spread;
}

/** The ceilings that shares refer to, GFLOP/s and GB/s. */
export interface Ceilings {
  readonly gflops: number;
  readonly gbps: number;
}

/** The ceilings of a roofline. */
export function ceilingsOf(roofline: Roofline): Ceilings {
  return { gflops: roofline.fma.rate.median, gbps: roofline.read.rate.median };
}

/** Measures one case. @throws AbortError between samples; GpuError. */
export async function measureKernel(
  gpu: Gpu,
  kernel: KernelCase,
  how: { readonly ceilings: Ceilings; readonly timing: TimingOptions },
): Promise<KernelFigure> {
  throwIfAborted(how.timing.signal, "The bench");
  const operands = new Operands(gpu);
  const program = new Program("bench");
  try {
    const numRuns = recordCase(gpu, kernel, { operands, program });
    const ms = await gpu.guard(`measuring ${kernel.name}`, () => timeProgram(gpu, program, how.timing));
    return kernelFigure(
      kernel,
      mapSpread(ms, (value) => value / numRuns),
      how.ceilings,
    );
  } finally {
    operands.dispose();
  }
}

/**
 * Records a case several times, each run on separate operands, so that no cache still holds the first run's after the last.
 * @returns the number of runs
 */
export function recordCase(
  gpu: Gpu,
  kernel: KernelCase,
  into: { readonly operands: Operands; readonly program: Program },
): number {
  const numRuns = numCopies(gpu, kernel.coldBytes);
  for (let run = 0; run < numRuns; run++) kernel.prepare(into.operands)(into.program);
  return numRuns;
}

/** Number of copies of a case's `coldBytes` that caches do not hold. */
export function numCopies(gpu: Gpu, bytesOfCase: number): number {
  return bytesOfCase > 0 ? Math.min(Math.ceil(coldBytes(gpu) / bytesOfCase), MAX_COPIES) : 1;
}

/** Maximum number of copies of a case's weights: small models fit in every cache in real runs, too. */
const MAX_COPIES = 16;

/** Bytes of weights that do not fit in any cache. */
function coldBytes(gpu: Gpu): number {
  return gpu.isSoftware ? 2 ** 26 : 2 ** 28;
}

/** A case's figures from its time per run. */
export function kernelFigure(
  kernel: Pick<KernelCase, "name" | "flops" | "bytes">,
  ms: Spread,
  ceilings: Ceilings,
): KernelFigure {
  const { name, flops, bytes } = kernel;
  const computeMs = flops / (ceilings.gflops * 1e6);
  const memoryMs = bytes / (ceilings.gbps * 1e6);
  return {
    name,
    flops,
    bytes,
    ms,
    gflops: mapSpread(ms, (value) => flops / (value * 1e6)),
    gbps: mapSpread(ms, (value) => bytes / (value * 1e6)),
    limit: computeMs > memoryMs ? "compute" : "memory",
    share: mapSpread(ms, (value) => Math.max(computeMs, memoryMs) / value),
  };
}

/** One share to measure. */
export interface Share {
  readonly bar: Bar;
  readonly kernel: KernelCase;
  /** The ceiling that it is a share of. */
  readonly of: "fma" | "read";
}

/** Measures a share in interleaved rounds. @throws AbortError; GpuError. */
export async function measureShare(
  gpu: Gpu,
  share: Share,
  how: { readonly roofline: Roofline; readonly timing: TimingOptions; readonly rounds: RoundsOptions },
): Promise<Ratio> {
  const { bar, kernel, of } = share;
  const timing = { ...how.timing, targetMs: how.timing.targetMs / 2, minSamples: 2 };
  const operands = new Operands(gpu);
  const prepared: PreparedProgram[] = [];
  const prepare = async (program: Program) => {
    const ready = await PreparedProgram.prepare(gpu, program);
    prepared.push(ready);
    return ready;
  };
  const ceiling = of === "fma" ? fmaCeiling(gpu, how.roofline) : readCeiling(gpu, how.roofline);
  try {
    const kernelProgram = new Program("share");
    const numRuns = recordCase(gpu, kernel, { operands, program: kernelProgram });
    const ceilingProgram = new Program("ceiling");
    ceiling.record(ceilingProgram);
    const ours = await prepare(kernelProgram);
    const theirs = await prepare(ceilingProgram);
    const work = of === "fma" ? kernel.flops : kernel.bytes;
    const rate = async (program: PreparedProgram, amount: number) =>
      amount / ((await timePrepared(gpu, program, timing)).median * 1e6);
    const rates = await gpu.guard(`measuring ${kernel.name}`, () =>
      interleave({ ours: () => rate(ours, work * numRuns), theirs: () => rate(theirs, ceiling.work) }, how.rounds),
    );
    return rateRatio(bar, {
      ...rates,
      unit: of === "fma" ? "GFLOP/s" : "GB/s",
      reason: `${kernel.name} against the adapter's ${of === "fma" ? "multiply-adds" : "streaming read"}.`,
    });
  } finally {
    for (const program of prepared) program.dispose();
    operands.dispose();
    ceiling.dispose();
  }
}

interface CeilingRun {
  /** Operations or bytes of one run. */
  readonly work: number;
  record(program: Program): void;
  dispose(): void;
}

function fmaCeiling(gpu: Gpu, { winners }: Roofline): CeilingRun {
  const { numThreads, steps } = fmaSize(gpu);
  const output = gpu.createBuffer("fma", numThreads * 4, GPU_STORAGE);
  return {
    work: 2 * fmaPerThread(winners.fma, steps) * numThreads,
    record: (program) => recordFma(program, winners.fma, { output, numThreads, steps }),
    dispose: () => gpu.destroyBuffer(output),
  };
}

function readCeiling(gpu: Gpu, { winners, streamBytes }: Roofline): CeilingRun {
  const data = filledBuffer(gpu, streamBytes);
  const output = gpu.createBuffer("read", winners.read.numThreads * 4, GPU_STORAGE);
  return {
    work: streamBytes,
    record: (program) => recordRead(program, winners.read, { data, output, numVectors: streamBytes / 16 }),
    dispose: () => {
      gpu.destroyBuffer(data);
      gpu.destroyBuffer(output);
    },
  };
}
