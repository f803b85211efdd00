// Runs the kernel cases and sets each against the roofline of the same run.
import { throwIfAborted } from "../errors.ts";
import type { Gpu } from "../gpu/device.ts";
import { Program } from "../gpu/program.ts";
import type { KernelCase } from "./kernel-cases.ts";
import { Operands } from "./operands.ts";
import type { Roofline } from "./roofline.ts";
import { mapSpread, type Spread } from "./spread.ts";
import { type TimingOptions, timeProgram } from "./timing.ts";

/** One measured case. */
export interface KernelFigure {
  readonly name: string;
  readonly flops: number;
  readonly bytes: number;
  readonly ms: Spread;
  readonly gflops: Spread;
  /** GB/s of 10^9 bytes. */
  readonly gbps: Spread;
  /** Which ceiling is the nearer one at this shape. */
  readonly limit: "compute" | "memory";
  /** Time at that ceiling over the measured time. */
  readonly share: Spread;
}

/** What of the roofline a share needs, GFLOP/s and GB/s. */
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
 * Records a case as often as it takes, each run on operands of its own, that no cache still holds the first when the last is done.
 * @returns the number of runs
 */
export function recordCase(
  gpu: Gpu,
  kernel: KernelCase,
  into: { readonly operands: Operands; readonly program: Program },
): number {
  const numCopies = kernel.coldBytes > 0 ? Math.ceil(coldBytes(gpu) / kernel.coldBytes) : 1;
  const numRuns = Math.min(numCopies, MAX_COPIES);
  for (let run = 0; run < numRuns; run++) kernel.prepare(into.operands)(into.program);
  return numRuns;
}

/** Copies of a case's weights at most: small models fit every cache in real runs, too. */
const MAX_COPIES = 16;

/** Bytes of weights that no cache holds. */
function coldBytes(gpu: Gpu): number {
  return gpu.isSoftware ? 2 ** 26 : 2 ** 28;
}

/** A case's figures from its time a run. */
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
