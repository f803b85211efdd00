// Predicts a loop's performance from its instructions: which resource of the GPU is busy longest, and which share of peak arithmetic
// and memory bandwidth that allows. Assumes that other waves hide latencies and that all loads but those of weights hit a cache. RDNA 3 can start two operations per cycle under conditions; that is not counted.
import type { WeightDtype } from "../gpu/tensor.ts";
import type { InstructionMix } from "./instruction-mix.ts";
import { type IsaTarget, WAVE_LANES } from "./targets.ts";

/** What limits a loop. */
export type Limit = "vector instructions" | "workgroup memory" | "first cache" | "memory";

/** Predicted performance of one loop on one GPU. */
export interface Prediction {
  readonly limit: Limit;
  /** Share of the multiply-adds that the vector ALUs could do, from 0 to 1. */
  readonly arithmeticShare: number;
  /** Share of the memory bandwidth that weights are read with, from 0 to 1; null for a kernel without weights. */
  readonly memoryShare: number | null;
}

/** Cycles of a transcendental operation relative to an ordinary one. */
const TRANSCENDENTAL_CYCLES = 4;

/** Bytes of a weight, a quantised one's share of its scale and minimum included. */
const WEIGHT_BYTES: Readonly<Record<WeightDtype, number>> = {
  f32: 4,
  f16: 2,
  bf16: 2,
  q8: 1 + 2 / 32,
  q4_1: 0.5 + 4 / 32,
  q4: 0.5 + 2 / 32,
};

/** Loads of weights: how they are stored, and how many multiply-adds each serves. */
export interface WeightUse {
  readonly dtype: WeightDtype;
  readonly multiplyAddsPerWeight: number;
}

/** Predicts from the mix of a loop. @param weights undefined for a kernel that does not stream weights */
export function predict(mix: InstructionMix, target: IsaTarget, weights: WeightUse | undefined): Prediction {
  const perInstruction = WAVE_LANES / target.lanes;
  const operations = mix.vector - mix.numDual + (TRANSCENDENTAL_CYCLES - 1) * mix.counts.transcendental;
  const weightBytes =
    weights === undefined ? 0 : (mix.multiplyAdds / weights.multiplyAddsPerWeight) * WEIGHT_BYTES[weights.dtype];
  const memoryBytesPerCycle = target.memoryGbps / (target.numSimds * target.clockGhz);
  const cycles: Readonly<Record<Limit, number>> = {
    "vector instructions": operations * perInstruction,
    "workgroup memory": ((mix.ldsReads.bytes + mix.ldsWrites.bytes) * WAVE_LANES) / target.ldsBytesPerCycle,
    "first cache": ((mix.loads.bytes + mix.stores.bytes) * WAVE_LANES) / target.cacheBytesPerCycle,
    memory: (weightBytes * WAVE_LANES) / memoryBytesPerCycle,
  };
  const limits = Object.keys(cycles) as Limit[]; // exactly the record's names
  const limit = limits.reduce((most, each) => (cycles[each] > cycles[most] ? each : most));
  const longest = Math.max(1, cycles[limit]);
  return {
    limit,
    arithmeticShare: (mix.counts["multiply-add"] * perInstruction) / longest,
    memoryShare: weights === undefined ? null : cycles.memory / longest,
  };
}
