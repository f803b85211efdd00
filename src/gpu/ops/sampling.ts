// The ops from logits to tokens. Letters: R rows, V vocabulary.
import chooseTokenWgsl from "../../../shaders/choose-token.wgsl";
import repetitionPenaltyWgsl from "../../../shaders/repetition-penalty.wgsl";
import topKWgsl from "../../../shaders/top-k.wgsl";
import { defineKernel } from "../kernel.ts";
import type { Program } from "../program.ts";
import { descriptions } from "./descriptions-loader.ts";

/** The kernel of {@link repetitionPenalty}. */
export const REPETITION_PENALTY = defineKernel("repetition-penalty", repetitionPenaltyWgsl);
/** The kernel of {@link chooseToken}. */
export const CHOOSE_TOKEN = defineKernel("choose-token", chooseTokenWgsl);
/** The kernel of {@link topK}. */
export const TOP_K = defineKernel("top-k", topKWgsl);

/** Logits that several kernels work on: [R, stride] f32 of which the first vocabSize are real. */
export interface LogitsView {
  readonly logits: GPUBuffer;
  readonly numRows: number;
  readonly vocabSize: number;
  readonly stride: number;
}

/** Applies the repetition penalty to the tokens whose bit is set in seen [R, ceil(V / 32)] u32. */
export function repetitionPenalty(
  program: Program,
  view: LogitsView,
  options: { readonly seen: GPUBuffer; readonly penalty: number },
): void {
  const { vocabSize, stride, numRows } = view;
  program.dispatch(REPETITION_PENALTY, {
    bindings: { seen: options.seen, logits: view.logits },
    params: { vocabSize, stride, penalty: options.penalty },
    grid: [Math.ceil(vocabSize / 64), numRows],
    describe: async (read) => (await descriptions()).repetitionPenalty(view, read),
  });
}

/** Argmax and log-sum-exp of each row: choice [R, 4] u32 of (token, logit bits, logSumExp bits, bad logits). */
export function chooseToken(program: Program, view: LogitsView, options: { readonly choice: GPUBuffer }): void {
  const { vocabSize, stride, numRows } = view;
  program.dispatch(CHOOSE_TOKEN, {
    bindings: { logits: view.logits, choice: options.choice },
    params: { vocabSize, stride },
    grid: [numRows],
    describe: async () => (await descriptions()).chooseToken(view),
  });
}

/** The k largest logits of each row in order: entries [R, k, 2] u32 of (token, logit bits); k <= V. */
export function topK(
  program: Program,
  view: LogitsView,
  options: { readonly entries: GPUBuffer; readonly k: number },
): void {
  const { vocabSize, stride, numRows } = view;
  const { k } = options;
  program.dispatch(TOP_K, {
    bindings: { logits: view.logits, entries: options.entries },
    params: { vocabSize, stride, k },
    grid: [numRows],
    describe: async () => (await descriptions()).topK(view, k),
  });
}
