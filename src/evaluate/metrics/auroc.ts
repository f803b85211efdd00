// Area under the receiver operating characteristic curve.
import { at, InputError } from "../../errors.ts";

/**
 * The probability that a random positive scores above a random negative, ties counted half; null where a class is missing.
 *
 * Computed from the rank sum of the positives with midranks, which equals the trapezoidal area that scikit-learn's
 * `roc_auc_score` returns.
 * Source: Hanley and McNeil, Radiology 143 (1982).
 * @param scores [n], such as the overlap of a layer's attention with the boxes
 * @param labels [n], true for positives, such as right answers
 * @throws InputError when the lists differ in length or a score is not finite.
 */
export function auroc(scores: readonly number[], labels: readonly boolean[]): number | null {
  if (scores.length !== labels.length) {
    throw new InputError(`labels: expected one for each of the ${scores.length} scores, got ${labels.length}.`);
  }
  const bad = scores.findIndex((score) => !Number.isFinite(score));
  if (bad >= 0) throw new InputError(`scores[${bad}]: expected a finite number, got ${scores[bad]}.`);
  const numPositives = labels.filter(Boolean).length;
  const numNegatives = labels.length - numPositives;
  if (numPositives === 0 || numNegatives === 0) return null;

  const order = scores.map((_, index) => index).sort((a, b) => at(scores, a) - at(scores, b));
  let rankSum = 0;
  for (let start = 0; start < order.length; ) {
    const score = at(scores, at(order, start));
    let end = start + 1;
    while (end < order.length && at(scores, at(order, end)) === score) end += 1;
    const midrank = (start + 1 + end) / 2; // mean of the ranks start + 1 … end
    for (const index of order.slice(start, end)) if (at(labels, index)) rankSum += midrank;
    start = end;
  }
  return (rankSum - (numPositives * (numPositives + 1)) / 2) / (numPositives * numNegatives);
}
