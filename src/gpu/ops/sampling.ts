// The ops from logits to tokens. Letters: R rows, V vocabulary.
import chooseTokenWgsl from "../../../shaders/choose-token.wgsl";
import maskTokensWgsl from "../../../shaders/mask-tokens.wgsl";
import repetitionPenaltyWgsl from "../../../shaders/repetition-penalty.wgsl";
import topKWgsl from "../../../shaders/top-k.wgsl";
import { defineKernel } from "../kernel.ts";
import type { Program } from "../program.ts";
import { descriptions } from "./descriptions-loader.ts";

/** The kernel of {@link repetitionPenalty}. */
export const REPETITION_PENALTY = defineKernel("repetition-penalty", repetitionPenaltyWgsl);
/** The kernel of {@link chooseToken}. */
export const CHOOSE_TOKEN = defineKernel("choose-token", chooseTokenWgsl);
/** The kernel of {@link maskTokens}. */
export const MASK_TOKENS = defineKernel("mask-tokens", maskTokensWgsl);
/** The kernel of {@link topK}. */
export const TOP_K = defineKernel("top-k", topKWgsl);

/** The logit of a token that is ruled out: its probability is 0 in f32, and it stays finite under a repetition penalty. */
export const EXCLUDED_LOGIT = -1e9;

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

/** Rules out the tokens of R rows from `firstRow` on whose bit is not set in allowed [R, ceil(V / 32)] u32. */
export function maskTokens(
  program: Program,
  view: LogitsView,
  options: { readonly allowed: GPUBuffer; readonly firstRow: number },
): void {
  const { vocabSize, stride, numRows } = view;
  const { allowed, firstRow } = options;
  program.dispatch(MASK_TOKENS, {
    bindings: { allowed, logits: view.logits },
    params: { vocabSize, stride, firstRow },
    grid: [Math.ceil(vocabSize / 64), numRows],
    describe: async (read) => (await descriptions()).maskTokens(view, firstRow, read),
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
