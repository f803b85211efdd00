// ScalingVis and AdaptVis (https://arxiv.org/abs/2503.01773): the confidence of the first generated token chooses the
// factor that multiplies the last prompt row's image scores, in every layer and head. No GPU code here.
import { InputError } from "./errors.ts";

/** How an answer is made: unmodified, with one fixed factor, or with the factor that the confidence chooses. */
export type Method = "greedy" | "scaling" | "adaptvis";

/** AdaptVis' three numbers: below `beta` the factor is `alpha1` (< 1: look wider), else `alpha2` (> 1: look harder). */
export interface AdaptVisSettings {
  readonly alpha1: number;
  readonly alpha2: number;
  readonly beta: number;
}

/** The settings of the paper's final run for Controlled_A on LLaVA-1.5-7B. */
export const DEFAULT_ADAPTVIS: AdaptVisSettings = { alpha1: 0.5, alpha2: 1.5, beta: 0.4 };

/** ScalingVis' factor for Controlled_A on LLaVA-1.5-7B. */
export const DEFAULT_FACTOR = 0.8;

/** Query rows whose image scores are scaled. */
export type ScaledRows = "last" | "generated" | { readonly last: number };

/**
 * Rounds to two decimals, halves to even, as numpy.round(x, 2) does in the reference.
 * @param confidence a probability in [0, 1]
 */
export function roundConfidence(confidence: number): number {
  const hundredths = confidence * 100;
  const floor = Math.floor(hundredths);
  const rest = hundredths - floor;
  const isUp = rest > 0.5 || (rest === 0.5 && floor % 2 === 1);
  return (isUp ? floor + 1 : floor) / 100;
}

/** The factor for this confidence: alpha1 if confidence < beta, else alpha2. */
export function chooseFactor(confidence: number, settings: AdaptVisSettings): number {
  return confidence < settings.beta ? settings.alpha1 : settings.alpha2;
}

/**
 * Confidence among given options only: the largest softmax probability over their logits.
 * @param logits of the whole vocabulary, [V]; @param optionIds first token of each option
 */
export function optionConfidence(logits: ArrayLike<number>, optionIds: readonly number[]): number {
  const values = optionIds.map((id) => logits[id] ?? Number.NEGATIVE_INFINITY);
  const largest = Math.max(...values);
  return 1 / values.reduce((sum, value) => sum + Math.exp(value - largest), 0);
}

/**
 * Positions [start, end) of the query rows that are scaled for a prompt of `promptLength` positions.
 * @throws InputError when `last` is no count of prompt rows.
 */
export function scaledRowRange(rows: ScaledRows, promptLength: number): [start: number, end: number] {
  if (rows === "last") return [promptLength - 1, promptLength];
  if (rows === "generated") return [promptLength - 1, 0xffffffff];
  if (!Number.isInteger(rows.last) || rows.last < 1 || rows.last > promptLength) {
    throw new InputError(`rows: last must be a whole number from 1 to the prompt's ${promptLength}, got ${rows.last}.`);
  }
  return [promptLength - rows.last, promptLength];
}

/** @throws InputError when a factor or threshold is not usable. */
export function checkSettings(settings: AdaptVisSettings): void {
  checkFactor("alpha1", settings.alpha1);
  checkFactor("alpha2", settings.alpha2);
  if (!(settings.beta >= 0 && settings.beta <= 1)) {
    throw new InputError(`beta must be a probability from 0 to 1, got ${settings.beta}.`);
  }
}

/** Largest factor: scores reach some hundreds, and far beyond this their products overflow f32. */
export const MAX_FACTOR = 10_000;

/** @throws InputError when `factor` is not a number from 0 to {@link MAX_FACTOR}. */
export function checkFactor(name: string, factor: number): void {
  if (typeof factor !== "number" || !(factor >= 0 && factor <= MAX_FACTOR)) {
    throw new InputError(`${name} must be a number from 0 to ${MAX_FACTOR}, got ${factor}.`);
  }
}
