// The compile lab's results: every kernel of the GPU class as a real compiler translates it.
import type { Constant, Kernel } from "../gpu/kernel.ts";
import type { WeightDtype } from "../gpu/tensor.ts";
import { type CompilerStatistics, type Disassembly, parseDisassembly } from "./disassembly.ts";
import { hotBlocks, type InstructionMix, mixOf } from "./instruction-mix.ts";
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
  /** Of the hot loop; null where Mesa cannot disassemble the target. */
  readonly mix: InstructionMix | null;
  readonly numLoops: number;
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

/** Kernels whose loops read every weight once for all rows that a workgroup computes. */
const STREAMING = /^(matvec|gated-matvec|qkv-rope)-(subgroup|reduce)$/;

/** A pipeline's line of the report, from what the driver printed. @throws GpuError `shader` for text of another form. */
export function isaKernel(pipeline: RecordedPipeline, text: string, target: IsaTarget): IsaKernel {
  const { kernel, constants, passes } = pipeline;
  const disassembly = parseDisassembly(text);
  const mix = hotMix(disassembly);
  return {
    kernel: kernel.name,
    weightDtype: kernel.weightDtype ?? null,
    constants,
    passes,
    statistics: disassembly.statistics,
    mix,
    numLoops: disassembly.loops.length,
    prediction: mix && predict(mix, target, weightUse(kernel, constants)),
  };
}

function hotMix(disassembly: Disassembly): InstructionMix | null {
  return disassembly.blocks.length === 0 ? null : mixOf(hotBlocks(disassembly));
}

function weightUse({ name, weightDtype }: Kernel, constants: RecordedPipeline["constants"]): WeightUse | undefined {
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
export function vectorPerMultiplyAdd(mix: InstructionMix | null): number | null {
  return mix === null || mix.multiplyAdds === 0 ? null : mix.vector / mix.multiplyAdds;
}
