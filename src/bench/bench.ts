// The bench: its parts in order, each on the same device in the same run.
import { AbortError, throwIfAborted } from "../errors.ts";
import type { Gpu } from "../gpu/device.ts";
import { barsFor } from "./bars.ts";
import { BENCH_DTYPES, GEMM_CASE, GEMV_CASE, type KernelCase, kernelCases } from "./kernel-cases.ts";
import { ceilingsOf, type KernelFigure, measureKernel } from "./kernels.ts";
import { missingRatio, type Ratio, rateRatio } from "./ratios.ts";
import type { BenchReport, Stamp } from "./report.ts";
import { measureRoofline, type Roofline } from "./roofline.ts";
import { clocked, type TimingOptions } from "./timing.ts";

/** What to run and how. */
export interface BenchOptions {
  /** Parts by name, a whole name or its beginning up to a "/"; all when empty. */
  readonly only: readonly string[];
  /** Kernel cases whose name holds this text; all when undefined. */
  readonly filter?: string | undefined;
  readonly isQuick: boolean;
  readonly rounds: number;
  readonly signal?: AbortSignal | undefined;
  /** Told what is about to be measured. */
  readonly onProgress?: ((what: string) => void) | undefined;
}

/** Names of all parts. */
export function partNames(isSoftware: boolean): readonly string[] {
  const groups = kernelCases({ isSoftware, dtypes: BENCH_DTYPES }).map(kernelGroup);
  return ["roofline", ...new Set(groups)];
}

/** Whether a part, or a part of it, is asked for. */
export function isAsked(name: string, only: readonly string[]): boolean {
  if (only.length === 0) return true;
  return only.some((asked) => name === asked || name.startsWith(`${asked}/`) || asked.startsWith(`${name}/`));
}

/** Runs the bench. @throws AbortError; GpuError when the adapter cannot even do the roofline. */
export async function runBench(gpu: Gpu, stamp: Stamp, options: BenchOptions): Promise<BenchReport> {
  const timing: TimingOptions = {
    targetMs: options.isQuick ? 100 : 300,
    minSamples: options.isQuick ? 3 : 5,
    signal: options.signal,
  };
  const seconds: Record<string, number> = {};
  const failures: { part: string; message: string }[] = [];
  const part = async <T>(name: string, work: () => Promise<T>): Promise<T | null> => {
    throwIfAborted(options.signal, "The bench");
    let result: T | null = null;
    const ms = await clocked(async () => {
      try {
        result = await work();
      } catch (error) {
        if (error instanceof AbortError) throw error;
        failures.push({ part: name, message: error instanceof Error ? error.message : String(error) });
      }
    });
    seconds[name] = ms / 1000;
    return result;
  };

  const wantsKernels = isAsked("kernels", options.only);
  let roofline: Roofline | null = null;
  if (wantsKernels || isAsked("roofline", options.only)) {
    options.onProgress?.("roofline");
    roofline = await part("roofline", () => gpu.guard("measuring the roofline", () => measureRoofline(gpu, timing)));
  }
  let kernels: readonly KernelFigure[] | null = null;
  if (wantsKernels && roofline !== null) {
    const ceilings = ceilingsOf(roofline);
    const figures: KernelFigure[] = [];
    for (const kernel of askedKernels(gpu.isSoftware, options)) {
      options.onProgress?.(kernel.name);
      const figure = await part(`kernels: ${kernel.name}`, () => measureKernel(gpu, kernel, { ceilings, timing }));
      if (figure !== null) figures.push(figure);
    }
    kernels = figures;
  }
  const ratios = kernelRatios(gpu.isSoftware, { roofline, kernels });
  return { stamp, roofline, kernels, ratios, failures, seconds };
}

function kernelGroup({ name }: KernelCase): string {
  return `kernels/${name.split(" ")[0]}`;
}

function askedKernels(isSoftware: boolean, options: BenchOptions): readonly KernelCase[] {
  return kernelCases({ isSoftware, dtypes: BENCH_DTYPES }).filter(
    (kernel) =>
      isAsked(kernelGroup(kernel), options.only) &&
      (kernel.isQuick || !options.isQuick || options.filter !== undefined) &&
      (options.filter === undefined || kernel.name.includes(options.filter)),
  );
}

function kernelRatios(
  isSoftware: boolean,
  found: { readonly roofline: Roofline | null; readonly kernels: readonly KernelFigure[] | null },
): readonly Ratio[] {
  const bars = barsFor(isSoftware);
  const dtype = isSoftware ? "f32" : "f16";
  const share = (bar: typeof bars.gemm, name: string, of: "gflops" | "gbps"): Ratio => {
    const figure = found.kernels?.find((candidate) => candidate.name.startsWith(`${name} ${dtype}`));
    if (figure === undefined || found.roofline === null) return missingRatio(bar, `${name} was not measured.`);
    const ceiling = of === "gflops" ? found.roofline.fma.rate : found.roofline.read.rate;
    const rate = figure[of];
    return rateRatio(bar, {
      ours: [rate.lowerQuartile, rate.median, rate.upperQuartile],
      theirs: [ceiling.median, ceiling.median, ceiling.median],
      unit: of === "gflops" ? "GFLOP/s" : "GB/s",
      reason: `${figure.name} against ${of === "gflops" ? "the adapter's multiply-adds" : "its streaming read"}.`,
    });
  };
  return [share(bars.gemm, GEMM_CASE, "gflops"), share(bars.gemv, GEMV_CASE, "gbps")];
}
