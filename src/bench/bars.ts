// The project's bars on speed, and what is wanted of each. Those of a GPU are shown only on a GPU.
import type { Bar } from "./ratios.ts";

/** Bars on any adapter; on a GPU some want more. */
export interface Bars {
  readonly decode: Bar;
  readonly prefill: Bar;
  readonly vision: Bar;
  readonly gemm: Bar;
  readonly gemv: Bar;
  readonly adaptvis16: Bar;
  readonly adaptvis64: Bar;
  readonly sweep6: Bar;
  readonly secondQuestion: Bar;
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
    secondQuestion: { name: "second-question", wanted: 4 },
    decodeShares: isSoftware
      ? []
      : ["f16", "q4"].map((dtype) => ({ dtype, bar: { name: `decode-7b-${dtype}-share-of-read`, wanted: 0.8 } })),
  };
}
