// The compile lab's results: every kernel of the GPU class as a real compiler translates it.
import type { Constant, Kernel } from "../gpu/kernel.ts";
import type { WeightDtype } from "../gpu/tensor.ts";
import { type CompilerStatistics, parseDisassembly } from "./disassembly.ts";
import { type LoopPart, loopParts, nestMix } from "./hot-loops.ts";
import { type InstructionMix, sumOfMixes } from "./instruction-mix.ts";
import { type Prediction, predict, type WeightUse } from "./prediction.ts";
import type { RecordedPipeline } from "./recorded-passes.ts";
import type { IsaTarget } from "./targets.ts";

/** One pipeline on one target. */
export interface IsaKernel {
  readonly kernel: string;
  readonly weightDtype: WeightDtype | null;
  readonly constants: Readonly<Record<string, Constant>>;
  /** Passes that run it. */
  readonly passes: readonly string[];
  readonly statistics: CompilerStatistics;
  /** The two loops that run the most instructions, the hot loop first; empty where the driver lists no instructions. */
  readonly loops: readonly HotLoop[];
  readonly numLoops: number;
  /** The hot loop with all loops around and beside it; null without instructions. */
  readonly nest: InstructionMix | null;
  /** Index clamps in one iteration of every loop. */
  readonly numClamps: number | null;
  /** Of the nest. */
  readonly prediction: Prediction | null;
}

/** A loop of a report. */
export type HotLoop = Pick<LoopPart, "label" | "depth" | "share" | "mix">;

/** One target's kernels. */
export interface IsaTargetReport {
  readonly target: IsaTarget;
  readonly kernels: readonly IsaKernel[];
}

/** The whole report. */
export interface IsaReport {
  readonly format: 1;
  /** The driver's version, as it describes itself. */
  readonly driver: string;
  /** False where Dawn was told not to clamp indices. */
  readonly isRobust: boolean;
  readonly targets: readonly IsaTargetReport[];
}

/** Kernels whose loops read every weight once for all rows that a workgroup computes. */
const STREAMING = /^(matvec|gated-matvec|qkv-rope)-(subgroup|reduce)$/;

/** A pipeline's line of the report, from what the driver printed. @throws GpuError `shader` for text of another form. */
export function isaKernel(pipeline: RecordedPipeline, text: string, target: IsaTarget): IsaKernel {
  const { kernel, constants, passes } = pipeline;
  const disassembly = parseDisassembly(text);
  const parts = loopParts(disassembly);
  const nest = nestMix(disassembly);
  return {
    kernel: kernel.name,
    weightDtype: kernel.weightDtype ?? null,
    constants,
    passes,
    statistics: disassembly.statistics,
    loops: parts.slice(0, 2).map(({ label, depth, share, mix }) => ({ label, depth, share, mix })),
    numLoops: disassembly.loops.length,
    nest,
    numClamps: nest && sumOfMixes(parts.map(({ mix }) => ({ mix, times: 1 }))).counts.clamp,
    prediction: nest && predict(nest, target, weightUse(kernel, constants)),
  };
}

/** The weights that a kernel streams; undefined for a kernel whose loads other workgroups repeat. */
export function weightUse(
  { name, weightDtype }: Pick<Kernel, "name" | "weightDtype">,
  constants: RecordedPipeline["constants"],
): WeightUse | undefined {
  if (weightDtype === undefined || !STREAMING.test(name)) return undefined;
  return { dtype: weightDtype, multiplyAddsPerWeight: Number(constants.BATCH) };
}

/** A pipeline's name: the kernel, how its weights are stored, and the constants that change its loops. */
export function isaName({ kernel, weightDtype, constants }: IsaKernel): string {
  const shown = Object.entries(constants).filter(([name, value]) => !UNSHOWN.has(name) && value !== false);
  const text = shown.map(([name, value]) => (value === true ? name : `${name} ${value}`)).join(", ");
  return [kernel, weightDtype, text === "" ? null : `(${text})`].filter((part) => part !== null).join(" ");
}

/** Constants that do not change a kernel's loops. */
const UNSHOWN: ReadonlySet<string> = new Set([
  "HAS_BIAS",
  "ADD_TO_OUTPUT",
  "ACTIVATION",
  "NUM_HEADS",
  "NUM_KEY_VALUE_HEADS",
]);

/** Vector instructions of the hot loop for one of its multiply-adds; null without any. */
export function vectorPerMultiplyAdd({ multiplyAdds, vector }: InstructionMix): number | null {
  return multiplyAdds === 0 ? null : vector / multiplyAdds;
}

/** Share of a mix's vector instructions that multiply and add, from 0 to 1; null without vector instructions. */
export function multiplyAddShare({ counts, vector }: InstructionMix): number | null {
  return vector === 0 ? null : counts["multiply-add"] / vector;
}
