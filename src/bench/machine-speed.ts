// How fast a machine runs the kernels of a model, as a bench measured it: kept per adapter, so that a plan can predict the speed of a
// model that is not there yet. model-speed.ts measures a model itself.
import { InputError, isObject } from "../errors.ts";
import type { WeightDtype } from "../gpu/tensor.ts";
import type { MemoryPlan } from "../memory-plan.ts";
import { BENCH_DTYPES, GEMM_CASE, GEMV_CASE } from "./kernel-cases.ts";
import type { KernelFigure } from "./kernels.ts";
import type { Roofline } from "./roofline.ts";

/** Rates of one adapter with the kernels of one version. */
export interface MachineSpeed {
  readonly format: 1;
  /** As `tuningKey`: adapter, driver and kernels. */
  readonly key: string;
  /** GB/s of a streaming read. */
  readonly readGbps: number;
  /** Microseconds per dispatch within one pass. */
  readonly dispatchUs: number;
  /** Milliseconds from a submit to the mapped bytes of its result. */
  readonly readbackMs: number;
  /** GB/s of weights of a product of a matrix and one row, by the dtype of the weights. */
  readonly matvecGbps: Readonly<Record<string, number>>;
  /** GFLOP/s of a product of matrices, by the dtype of the weights. */
  readonly matmulGflops: Readonly<Record<string, number>>;
}

/** The rates among a bench's figures; undefined where some are missing. */
export function speedOf(
  key: string,
  roofline: Roofline,
  figures: readonly Pick<KernelFigure, "name" | "gbps" | "gflops">[],
): MachineSpeed | undefined {
  const rates = (name: string, of: "gbps" | "gflops") =>
    Object.fromEntries(
      BENCH_DTYPES.flatMap((dtype) => {
        const figure = figures.find((each) => each.name.startsWith(`${name} ${dtype}`));
        return figure === undefined ? [] : [[dtype, figure[of].median]];
      }),
    );
  const matvecGbps = rates(GEMV_CASE, "gbps");
  const matmulGflops = rates(GEMM_CASE, "gflops");
  const isWhole = [matvecGbps, matmulGflops].every((each) => Object.keys(each).length === BENCH_DTYPES.length);
  if (!isWhole) return undefined;
  const { read, dispatchUs, readbackMs } = roofline;
  const costs = { readGbps: read.rate.median, dispatchUs: dispatchUs.median, readbackMs: readbackMs.median };
  return { format: 1, key, ...costs, matvecGbps, matmulGflops };
}

/** Checks rates that were kept. @throws InputError for others than {@link MachineSpeed}. */
export function parseSpeed(value: unknown): MachineSpeed {
  const isRate = (rate: unknown) => typeof rate === "number" && Number.isFinite(rate) && rate > 0;
  const isRates = (rates: unknown) => isObject(rates) && BENCH_DTYPES.every((dtype) => isRate(rates[dtype]));
  if (
    isObject(value) &&
    value.format === 1 &&
    typeof value.key === "string" &&
    [value.readGbps, value.dispatchUs, value.readbackMs].every(isRate) &&
    isRates(value.matvecGbps) &&
    isRates(value.matmulGflops)
  ) {
    return value as unknown as MachineSpeed; // every member was checked
  }
  throw new InputError("The rates are not those of this version: measure them again.");
}

/** Predicted speed. */
export interface PredictedSpeed {
  readonly promptMs: number;
  /** Rows of the prompt per second. */
  readonly promptRate: number;
  readonly tokenMs: number;
  /** New tokens per second. */
  readonly tokenRate: number;
}

/**
 * Predicts the time of a prompt, without its pictures' encoding, and of a new token behind it: weights at the rates of their dtypes,
 * attention at the rates of f32, and the cost of every dispatch and of reading a token back.
 */
export function predictSpeed(
  { work, cacheBytesPerToken, promptLength }: Pick<MemoryPlan, "work" | "cacheBytesPerToken" | "promptLength">,
  { matvecGbps, matmulGflops, ...speed }: MachineSpeed,
): PredictedSpeed {
  const sum = (amounts: Readonly<Partial<Record<WeightDtype, number>>>, rates: Readonly<Record<string, number>>) =>
    Object.entries(amounts).reduce((ms, [dtype, amount]) => ms + amount / (rateOf(rates, dtype) * 1e6), 0);
  const dispatchMs = speed.dispatchUs / 1000;
  const attentionFlops = work.attentionMacs * promptLength * (promptLength + 1);
  const promptMs =
    2 * promptLength * sum(work.rowMacs, matmulGflops) +
    attentionFlops / (rateOf(matmulGflops, "f32") * 1e6) +
    work.promptDispatches * dispatchMs +
    speed.readbackMs;
  const tokenMs =
    sum(work.stepBytes, matvecGbps) +
    (cacheBytesPerToken * promptLength) / (speed.readGbps * 1e6) +
    work.stepDispatches * dispatchMs +
    speed.readbackMs;
  return { promptMs, promptRate: (1000 * promptLength) / promptMs, tokenMs, tokenRate: 1000 / tokenMs };
}

/** Dtypes that are not measured, and those that have their kernels' rates. */
const ALIKE: Readonly<Record<string, string>> = { bf16: "f16", q4_1: "q4" };

function rateOf(rates: Readonly<Record<string, number>>, dtype: string): number {
  const rate = rates[ALIKE[dtype] ?? dtype];
  if (rate === undefined) throw new RangeError(`rates: expected one of ${dtype}, got none.`);
  return rate;
}
