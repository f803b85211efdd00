// The compile lab's results: what a real GPU's compiler makes of every GPU kernel.
import type { Constant, Kernel } from "../gpu/kernel.ts";
import type { ActivationDtype, WeightDtype } from "../gpu/tensor.ts";
import { type CompilerStatistics, parseDisassembly } from "./disassembly.ts";
import { type HotLoop, hotLoop, loopParts, nestMix } from "./hot-loops.ts";
import { type InstructionMix, sumOfMixes } from "./instruction-mix.ts";
import { type Prediction, predict, type WeightUse } from "./prediction.ts";
import type { RecordedPipeline } from "./recorded-passes.ts";
import type { IsaTarget } from "./targets.ts";

/** Results for one pipeline on one target. */
export interface IsaKernel {
  readonly kernel: string;
  readonly weightDtype: WeightDtype | null;
  /** Of the rows that are multiplied with quantised weights; null for f32. */
  readonly activationDtype: ActivationDtype | null;
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

/** Kernels that read each weight once for all rows of a workgroup. */
const STREAMING = /^(matvec|gated-matvec|qkv-rope)-(subgroup|reduce)$/;

/** Results for a pipeline, parsed from the driver's output. @throws GpuError `shader` for output in an unexpected format. */
export function isaKernel(pipeline: RecordedPipeline, text: string, target: IsaTarget): IsaKernel {
  const { kernel, constants, passes } = pipeline;
  const disassembly = parseDisassembly(text);
  const parts = loopParts(disassembly);
  const nest = nestMix(disassembly);
  return {
    kernel: kernel.name,
    weightDtype: kernel.weightDtype ?? null,
    activationDtype: kernel.activationDtype ?? null,
    constants,
    passes,
    statistics: disassembly.statistics,
    loops: parts.slice(0, 2).map(hotLoop),
    numLoops: disassembly.loops.length,
    nest,
    numClamps: nest && sumOfMixes(parts.map(({ mix }) => ({ mix, times: 1 }))).counts.clamp,
    prediction: nest && predict(nest, target, weightUse(kernel, constants)),
  };
}

/** How a kernel streams its weights; undefined for kernels in which several workgroups load the same ones. */
export function weightUse(
  { name, weightDtype }: Pick<Kernel, "name" | "weightDtype">,
  constants: RecordedPipeline["constants"],
): WeightUse | undefined {
  if (weightDtype === undefined || !STREAMING.test(name)) return undefined;
  return { dtype: weightDtype, multiplyAddsPerWeight: Number(constants.BATCH) };
}

/** A pipeline's name: the kernel, the formats of its weights and activations, and the constants that change its loops. */
export function isaName({ kernel, weightDtype, activationDtype, constants }: IsaKernel): string {
  const shown = Object.entries(constants).filter(([name, value]) => !UNSHOWN.has(name) && value !== false);
  const text = shown.map(([name, value]) => (value === true ? name : `${name} ${value}`)).join(", ");
  const formats = activationDtype === null ? weightDtype : `${weightDtype} × ${activationDtype}`;
  return [kernel, formats, text === "" ? null : `(${text})`].filter((part) => part !== null).join(" ");
}

/** Constants that do not change a kernel's loops. */
const UNSHOWN: ReadonlySet<string> = new Set([
  "HAS_BIAS",
  "ADD_TO_OUTPUT",
  "ACTIVATION",
  "NUM_HEADS",
  "NUM_KEY_VALUE_HEADS",
]);

/** Vector instructions per multiply-add; null without multiply-adds. */
export function vectorPerMultiplyAdd({ multiplyAdds, vector }: InstructionMix): number | null {
  return multiplyAdds === 0 ? null : vector / multiplyAdds;
}

/** Share of a mix's vector instructions that multiply and add, from 0 to 1; null without vector instructions. */
export function multiplyAddShare({ counts, vector }: InstructionMix): number | null {
  return vector === 0 ? null : counts["multiply-add"] / vector;
}
