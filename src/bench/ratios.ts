// The bench's verdicts: one ratio per bar, where higher is better (costs are inverted), and the value wanted of each bar.
import { spreadOf } from "./statistics.ts";

/** A bar with the measured ratio. */
export interface Ratio {
  readonly name: string;
  /** Median of adaptvis' figure; null when it could not be measured. */
  readonly ours: number | null;
  /** Median of the figure that it is compared with; null when it could not be measured. */
  readonly theirs: number | null;
  readonly unit: string;
  /** Ours over theirs for rates, theirs over ours for costs. */
  readonly ratio: number | null;
  readonly wanted: number;
  /** Smallest and largest ratio of the rounds. */
  readonly spread: { readonly min: number; readonly max: number } | null;
  /** Whether the ratio reaches the wanted value; null without a ratio. */
  readonly isMet: boolean | null;
  /** What was compared, or why the comparison is missing. */
  readonly reason: string;
}

/** A bar: its name and the wanted ratio. */
export interface Bar {
  readonly name: string;
  readonly wanted: number;
}

/** Figures of the same rounds, in the order in which they were taken. */
export interface Comparison {
  readonly ours: readonly number[];
  readonly theirs: readonly number[];
  readonly unit: string;
  /** What was compared, one sentence. */
  readonly reason: string;
}

/** A bar on rates: ours over theirs. @throws RangeError without figures. */
export function rateRatio(bar: Bar, compared: Comparison): Ratio {
  return ratioOf(bar, compared, (ours, theirs) => ours / theirs);
}

/** A bar on costs, inverted: theirs over ours. @throws RangeError without figures. */
export function costRatio(bar: Bar, compared: Comparison): Ratio {
  return ratioOf(bar, compared, (ours, theirs) => theirs / ours);
}

/** A bar whose case could not run; `reason` is one sentence. */
export function missingRatio(bar: Bar, reason: string): Ratio {
  return { ...bar, ours: null, theirs: null, unit: "", ratio: null, spread: null, isMet: null, reason };
}

function ratioOf(bar: Bar, compared: Comparison, divide: (ours: number, theirs: number) => number): Ratio {
  const ours = spreadOf(compared.ours).median;
  const theirs = spreadOf(compared.theirs).median;
  const rounds = compared.ours.flatMap((value, round) => {
    const other = compared.theirs[round];
    return other === undefined ? [] : [divide(value, other)];
  });
  const { min, max } = spreadOf(rounds);
  const ratio = divide(ours, theirs);
  return {
    ...bar,
    ours,
    theirs,
    unit: compared.unit,
    ratio,
    spread: { min, max },
    isMet: ratio >= bar.wanted,
    reason: compared.reason,
  };
}

/** The bars of every adapter; some are higher on a GPU. */
export interface Bars {
  readonly decode: Bar;
  readonly prefill: Bar;
  readonly vision: Bar;
  readonly gemm: Bar;
  readonly gemv: Bar;
  readonly adaptvis16: Bar;
  readonly adaptvis64: Bar;
  readonly sweep6: Bar;
  readonly evaluation6: Bar;
  readonly secondQuestion: Bar;
  readonly patch32: Bar;
  /** Decode's share of the streaming read at 7B shapes, by weight dtype; empty on CPU adapters. */
  readonly decodeShares: readonly { readonly bar: Bar; readonly dtype: string }[];
}

/** The bars for one class of adapter. */
export function barsFor(isSoftware: boolean): Bars {
  return {
    decode: { name: "decode-over-onnxruntime", wanted: isSoftware ? 3 : 1.5 },
    prefill: { name: "prefill-over-onnxruntime", wanted: isSoftware ? 1.3 : 1.5 },
    vision: { name: "vision-over-onnxruntime", wanted: 1.3 },
    gemm: { name: "gemm-share-of-fma", wanted: isSoftware ? 0.35 : 0.6 },
    gemv: { name: "gemv-share-of-read", wanted: isSoftware ? 0.5 : 0.8 },
    adaptvis16: { name: "adaptvis-over-greedy-16", wanted: 1 / 1.05 },
    adaptvis64: { name: "adaptvis-over-greedy-64", wanted: 1 / 1.02 },
    sweep6: { name: "sweep6-over-one", wanted: 1 / 1.15 },
    evaluation6: { name: "evaluation6-over-one", wanted: 1 / 1.2 },
    secondQuestion: { name: "second-question", wanted: 4 },
    patch32: { name: "patch32-over-one", wanted: 1 / 3 },
    decodeShares: isSoftware
      ? []
      : ["f16", "q4"].map((dtype) => ({ dtype, bar: { name: `decode-7b-${dtype}-share-of-read`, wanted: 0.8 } })),
  };
}
