// Which form of a model fits a memory: the most exact of its forms that does.
import type { Checkpoint } from "./checkpoint/checkpoint.ts";
import { at } from "./errors.ts";
import { CAPACITY_STEP } from "./generate/sequence.ts";
import type { WeightDtype } from "./gpu/tensor.ts";
import { type MemoryPlan, type PlannedDevice, type PlanOptions, planMemory } from "./memory-plan.ts";
import type { Architecture } from "./models/architecture.ts";
import { otherForm, planWeights, weightMemory } from "./models/weight-table.ts";
import { leastContext } from "./planned-question.ts";

/** How matrices may be stored, the most exact first; undefined is as in the file. */
const FORMS: readonly (WeightDtype | undefined)[] = [undefined, "f16", "q8", "q4_1", "q4"];

/** A form, and whether it fits. */
export interface FormChoice {
  readonly plan: MemoryPlan;
  /** Whether the memory suffices, and no limit of the adapter forbids it. */
  readonly fits: boolean;
}

/**
 * The memory that a plan needs where the model runs: the GPU's, or the host's on an adapter that computes on the CPU, where that of
 * the GPU is part of it.
 */
export function neededBytes({ isSoftware, hostPeakBytes, peakBytes }: MemoryPlan): number {
  return isSoftware ? hostPeakBytes : peakBytes;
}

/** The forms that a checkpoint can be loaded in, each smaller than those before it. */
export function loadableForms(
  checkpoint: Checkpoint,
  architecture: Architecture,
): readonly (WeightDtype | undefined)[] {
  let least = Number.POSITIVE_INFINITY;
  return FORMS.filter((dtype) => {
    if (dtype !== undefined && planWeights(checkpoint, architecture, dtype).some(otherForm)) return false;
    const bytes = weightMemory(checkpoint, architecture, dtype);
    const isSmaller = bytes < least;
    least = Math.min(least, bytes);
    return isSmaller;
  });
}

/**
 * Chooses the most exact form that fits into `memoryBytes` with one question of the options; the smallest where none does. Where the
 * same limit forbids every form, such as one that a picture exceeds, it is the most exact that fits the memory.
 * @throws as `planMemory`.
 */
export async function chooseForm(
  checkpoint: Checkpoint,
  architecture: Architecture,
  options: Omit<PlanOptions, "dtype"> & { readonly device: PlannedDevice; readonly memoryBytes: number },
): Promise<FormChoice> {
  const { memoryBytes } = options;
  const plans: MemoryPlan[] = [];
  for (const dtype of loadableForms(checkpoint, architecture)) {
    const plan = await planMemory(checkpoint, architecture, { ...options, dtype });
    if (plan.problem === undefined && neededBytes(plan) <= memoryBytes) return { plan, fits: true };
    plans.push(plan);
  }
  const smallest = plans.at(-1);
  if (smallest === undefined) throw new RangeError("loadableForms: expected at least one form, got none.");
  const inMemory = plans.find((plan) => neededBytes(plan) <= memoryBytes);
  const isSameLimit = plans.every(({ problem }) => problem === smallest.problem);
  return { plan: (isSameLimit && inMemory) || smallest, fits: false };
}

/**
 * The nearest choice that fits into `memoryBytes`: the most exact form of the weights; else the smallest form with keys and values
 * in q8; else that with the longest context that fits. Undefined where nothing does.
 * @throws as `planMemory`.
 */
export async function nearestFit(
  checkpoint: Checkpoint,
  architecture: Architecture,
  options: Omit<PlanOptions, "dtype"> & { readonly device: PlannedDevice; readonly memoryBytes: number },
): Promise<MemoryPlan | undefined> {
  const { memoryBytes } = options;
  const isFit = (plan: MemoryPlan) => plan.problem === undefined && neededBytes(plan) <= memoryBytes;
  const { plan, fits } = await chooseForm(checkpoint, architecture, options);
  if (fits) return plan;
  const packed = await planMemory(checkpoint, architecture, { ...options, dtype: plan.dtype, kvDtype: "q8" });
  if (isFit(packed)) return packed;
  const { dtype, contextLength, numImages } = packed;
  const shorter = (length: number) =>
    planMemory(checkpoint, architecture, {
      ...options,
      dtype,
      kvDtype: "q8",
      contextLength: length,
      maxNewTokens: undefined,
    });
  // The memory grows with the context, in steps.
  const least = leastContext(architecture, numImages);
  const lengths = [least];
  for (let end = CAPACITY_STEP * (Math.floor(least / CAPACITY_STEP) + 1); end < contextLength; end += CAPACITY_STEP) {
    lengths.push(end);
  }
  let best: MemoryPlan | undefined;
  for (let low = 0, high = lengths.length; low < high && least < contextLength; ) {
    const middle = best === undefined ? 0 : Math.floor((low + high) / 2);
    const tried = await shorter(at(lengths, middle));
    if (isFit(tried)) {
      best = tried;
      low = middle + 1;
    } else high = middle;
  }
  return best;
}
