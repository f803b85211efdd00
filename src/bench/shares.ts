// The bars on shares of the roofline: the kernel and the ceiling it is held against run in turns.
import type { Gpu } from "../gpu/device.ts";
import { GPU_STORAGE } from "../gpu/device.ts";
import { PreparedProgram } from "../gpu/prepared-program.ts";
import { Program } from "../gpu/program.ts";
import { interleave, type RoundsOptions } from "./interleave.ts";
import type { KernelCase } from "./kernel-cases.ts";
import { recordCase } from "./kernels.ts";
import { Operands } from "./operands.ts";
import type { Bar, Ratio } from "./ratios.ts";
import { rateRatio } from "./ratios.ts";
import { filledBuffer, fmaSize, type Roofline } from "./roofline.ts";
import { fmaPerThread, recordFma, recordRead } from "./roofline-kernels.ts";
import { type TimingOptions, timePrepared } from "./timing.ts";

/** One share to measure. */
export interface Share {
  readonly bar: Bar;
  readonly kernel: KernelCase;
  /** Which ceiling it is a share of. */
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
