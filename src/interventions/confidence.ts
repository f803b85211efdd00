// Confidence of the first generated token, as a gate reads it from the logits. Computed in f64 on the CPU.
import type { ConfidenceMeasure } from "./intervention.ts";

/**
 * Rounds to two decimals, halves to even, as numpy.round(x, 2) does in the reference.
 * @param confidence in [0, 1], or a logit
 */
export function roundConfidence(confidence: number): number {
  const hundredths = confidence * 100;
  const floor = Math.floor(hundredths);
  const rest = hundredths - floor;
  const isUp = rest > 0.5 || (rest === 0.5 && floor % 2 === 1);
  return (isUp ? floor + 1 : floor) / 100;
}

/**
 * The confidence of a distribution. From 0 to 1: its largest probability, the margin between its two largest, or its entropy divided
 * by that of the uniform distribution. Without bounds: the largest logit, which the reference's code compares on VSR.
 * @param logits unnormalised log-probabilities, at least one
 */
export function confidenceOf(logits: ArrayLike<number>, measure: ConfidenceMeasure): number {
  const values = Array.from(logits);
  const largest = values.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
  if (measure === "logit") return largest;
  const weights = values.map((value) => Math.exp(value - largest));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  if (measure === "probability") return 1 / total;
  if (measure === "margin") {
    const top = values.indexOf(largest);
    const second = weights.reduce((most, weight, index) => (index === top ? most : Math.max(most, weight)), 0);
    return (1 - second) / total;
  }
  if (values.length < 2) return 0;
  const entropy = weights.reduce((sum, weight) => {
    const probability = weight / total;
    return probability === 0 ? sum : sum - probability * Math.log(probability);
  }, 0);
  return entropy / Math.log(values.length);
}

/**
 * Confidence among given options only: that of the softmax over their logits.
 * @param logits of the whole vocabulary, [V]
 * @param optionIds first token of each option
 * @param measure the largest probability unless given
 */
export function optionConfidence(
  logits: ArrayLike<number>,
  optionIds: readonly number[],
  measure: ConfidenceMeasure = "probability",
): number {
  return confidenceOf(
    optionIds.map((id) => logits[id] ?? Number.NEGATIVE_INFINITY),
    measure,
  );
}
