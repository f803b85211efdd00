// Measures sweeps: every variant of a case on the same operands, in turns, each compared with the first one's numbers.
import { throwIfAborted } from "../errors.ts";
import type { Gpu } from "../gpu/device.ts";
import { SubmitExecutor } from "../gpu/executor.ts";
import { PreparedProgram } from "../gpu/prepared-program.ts";
import { Program } from "../gpu/program.ts";
import type { WeightDtype } from "../gpu/tensor.ts";
import type { TunableChoice, TunableName } from "../gpu/tunables.ts";
import { type Ceilings, type KernelFigure, kernelFigure, numCopies } from "./kernels.ts";
import { Operands } from "./operands.ts";
import { spreadOf } from "./statistics.ts";
import type { SweepCase, SweepGroup, SweepRun, SweepVariant } from "./sweep-cases.ts";
import { interleave, type RoundsOptions, timePrepared } from "./timing.ts";

/** One measured variant. */
export interface VariantFigure extends Omit<KernelFigure, "flops" | "bytes"> {
  readonly kernel: string;
  readonly choice: TunableChoice | null;
  /** Largest difference from the first variant's numbers, relative to their largest magnitude. */
  readonly difference: number;
  /** Whether the difference is within the error of another order of summation. */
  readonly isSame: boolean;
}

/** One measured sweep. */
export interface SweepFigure {
  readonly name: string;
  readonly group: SweepGroup;
  readonly dtype: WeightDtype | null;
  readonly tunable: TunableName | null;
  readonly uses: number;
  readonly flops: number;
  readonly bytes: number;
  /** In the order of the candidates; the first is the default. */
  readonly variants: readonly VariantFigure[];
  /** Variants that did not run, and why. */
  readonly failures: readonly { readonly variant: string; readonly message: string }[];
}

/** How far a variant's numbers may be from the first one's, relative to the largest: another order of summation. */
const SAME_WITHIN = 1e-3;

/** Milliseconds that one round measures a variant. */
const ROUND_MS = { quick: 20, full: 40 } as const;

/**
 * Measures one sweep. A variant that fails is listed; the others are measured.
 * @throws AbortError between samples; GpuError when the device is lost, or the operands do not fit.
 */
export async function measureSweep(
  gpu: Gpu,
  sweep: SweepCase,
  how: { readonly ceilings: Ceilings; readonly rounds: RoundsOptions; readonly isQuick: boolean },
): Promise<SweepFigure> {
  throwIfAborted(how.rounds.signal, "The bench");
  const operands = new Operands(gpu);
  const failures: { variant: string; message: string }[] = [];
  const ready: ReadyVariant[] = [];
  try {
    const copies = numCopies(gpu, sweep.coldBytes);
    const runs = await gpu.guard(`preparing ${sweep.name}`, () =>
      Array.from({ length: copies }, () => sweep.prepare(operands)),
    );
    let expected: Float32Array | undefined;
    for (const variant of sweep.variants) {
      try {
        const { program, values } = await gpu.guard(variant.name, () => readyVariant(gpu, runs, variant));
        ready.push({ variant, program, difference: differenceOf(values, expected ?? values) });
        expected ??= values;
      } catch (error) {
        gpu.throwIfLost();
        failures.push({ variant: variant.name, message: error instanceof Error ? error.message : String(error) });
      }
    }
    const timing = { targetMs: ROUND_MS[how.isQuick ? "quick" : "full"], minSamples: 1, signal: how.rounds.signal };
    const timers = ready.map(({ variant, program }) => {
      const time = async () => (await timePrepared(gpu, program, timing)).median / copies;
      return [variant.name, time] as const;
    });
    const times = await gpu.guard(`measuring ${sweep.name}`, () => interleave(Object.fromEntries(timers), how.rounds));
    const { name, group, dtype = null, tunable = null, uses, flops, bytes } = sweep;
    const variants = ready.map(({ variant, difference }): VariantFigure => {
      const ms = spreadOf(times[variant.name] ?? []);
      const { flops: _, bytes: __, ...figure } = kernelFigure({ name: variant.name, flops, bytes }, ms, how.ceilings);
      const { kernel, choice = null } = variant;
      return { ...figure, kernel, choice, difference, isSame: difference <= SAME_WITHIN };
    });
    return { name, group, dtype, tunable, uses, flops, bytes, variants, failures };
  } finally {
    for (const { program } of ready) program.dispose();
    operands.dispose();
  }
}

interface ReadyVariant {
  readonly variant: SweepVariant;
  readonly program: PreparedProgram;
  readonly difference: number;
}

/** Prepares all copies' runs as one program, runs it once, and reads the first copy's output. */
async function readyVariant(gpu: Gpu, runs: readonly SweepRun[], variant: SweepVariant) {
  const recorded = new Program("sweep");
  for (const run of runs) run.record(recorded, variant);
  const program = await PreparedProgram.prepare(gpu, recorded);
  const [first] = runs;
  if (first === undefined) throw new RangeError("runs: expected at least one, got none.");
  const encoder = gpu.device.createCommandEncoder();
  encoder.clearBuffer(first.output); // what a variant does not write must not be the numbers of the one before
  gpu.device.queue.submit([encoder.finish()]);
  new SubmitExecutor(gpu).run([{ program, stage: "sweep" }]);
  const values = new Float32Array(await gpu.readBuffer(first.output, first.outputLength * 4));
  return { program, values };
}

/** Largest difference relative to the largest expected magnitude; Infinity where a value is not finite, or all expected are 0. */
export function differenceOf(values: Float32Array, expected: Float32Array): number {
  let largest = 0;
  let difference = 0;
  for (let i = 0; i < expected.length; i++) {
    const value = Number(values[i]);
    const wanted = Number(expected[i]);
    if (!Number.isFinite(value) || !Number.isFinite(wanted)) return Number.POSITIVE_INFINITY;
    largest = Math.max(largest, Math.abs(wanted));
    difference = Math.max(difference, Math.abs(value - wanted));
  }
  return largest === 0 ? Number.POSITIVE_INFINITY : difference / largest;
}
