// Accuracy within ranges of confidence, and accuracy when only the more confident answers are kept.
//
// Bins are open below and closed above, (lower, upper], and the first one includes its lower edge. So a confidence of 0.3, as
// the gate rounds it, lies in the bin that ends at 0.3.
import { at, InputError } from "../../errors.ts";
import { quantile } from "./quantile.ts";

/** The answers whose confidence lies in one range. */
export interface ConfidenceBin {
  /** Excluded, except in the first bin. */
  readonly lower: number;
  /** Included. */
  readonly upper: number;
  readonly count: number;
  readonly numRight: number;
  /** Share of right answers; null in an empty bin. */
  readonly accuracy: number | null;
  /** Null in an empty bin. */
  readonly meanConfidence: number | null;
}

/**
 * Accuracy within bins of confidence.
 * @param confidences [n], any scale
 * @param verdicts [n], whether each answer is right
 * @param edges at least two, strictly ascending; edge i and edge i + 1 bound bin i
 * @throws InputError when the lists differ in length, the edges do not ascend or a confidence lies outside of them.
 */
export function accuracyByConfidence(
  confidences: readonly number[],
  verdicts: readonly boolean[],
  { edges }: { readonly edges: readonly number[] },
): readonly ConfidenceBin[] {
  checkLengths(confidences, verdicts);
  if (edges.length < 2 || edges.some((edge, index) => !(index === 0 || edge > at(edges, index - 1)))) {
    throw new InputError(`edges: expected at least two ascending numbers, got ${edges.join(", ")}.`);
  }
  const [first, last] = [at(edges, 0), at(edges, edges.length - 1)];
  const bins = edges.slice(1).map(() => ({ count: 0, numRight: 0, sum: 0 }));
  for (const [index, confidence] of confidences.entries()) {
    if (!(confidence >= first && confidence <= last)) {
      throw new InputError(`confidences[${index}]: expected a number from ${first} to ${last}, got ${confidence}.`);
    }
    const upper = edges.findIndex((edge) => confidence <= edge);
    const bin = at(bins, Math.max(upper - 1, 0));
    bin.count += 1;
    bin.sum += confidence;
    if (at(verdicts, index)) bin.numRight += 1;
  }
  return bins.map(({ count, numRight, sum }, index) => ({
    lower: at(edges, index),
    upper: at(edges, index + 1),
    count,
    numRight,
    accuracy: count === 0 ? null : numRight / count,
    meanConfidence: count === 0 ? null : sum / count,
  }));
}

/**
 * Edges that split confidences into bins of about equal counts: their quantiles (NumPy's default rule), equal ones merged.
 *
 * Equal confidences are never split between bins, so fewer than `numBins` bins are possible.
 * @returns edges for `accuracyByConfidence`, at least two; none without confidences, or where all are equal
 * @throws InputError when `numBins` is not a whole number of at least 1.
 */
export function quantileEdges(confidences: readonly number[], numBins: number): readonly number[] {
  checkNumBins(numBins);
  if (confidences.length === 0) return [];
  const sorted = [...confidences].sort((a, b) => a - b);
  const edges = Array.from({ length: numBins + 1 }, (_, index) => quantile(sorted, index / numBins));
  const distinct = edges.filter((edge, index) => index === 0 || edge > at(edges, index - 1));
  return distinct.length > 1 ? distinct : [];
}

/** Accuracy when only the answers with at least some confidence are kept. */
export interface SelectivePoint {
  /** The least confidence that is kept. */
  readonly threshold: number;
  readonly numKept: number;
  /** Kept answers as a share of all. */
  readonly coverage: number;
  /** Share of right answers among those kept. */
  readonly accuracy: number;
}

/**
 * Selective accuracy at every distinct confidence, from the highest threshold (least coverage) to the lowest.
 * Source: El-Yaniv and Wiener, On the Foundations of Noise-free Selective Classification (JMLR 2010); risk is 1 − accuracy.
 * @param confidences [n], finite
 * @param verdicts [n], whether each answer is right
 * @throws InputError when the lists differ in length or a confidence is not finite.
 */
export function selectiveAccuracy(
  confidences: readonly number[],
  verdicts: readonly boolean[],
): readonly SelectivePoint[] {
  checkLengths(confidences, verdicts);
  const bad = confidences.findIndex((confidence) => !Number.isFinite(confidence));
  if (bad >= 0) throw new InputError(`confidences[${bad}]: expected a finite number, got ${confidences[bad]}.`);
  const order = confidences.map((_, index) => index).sort((a, b) => at(confidences, b) - at(confidences, a));
  const points: SelectivePoint[] = [];
  let numRight = 0;
  for (const [place, index] of order.entries()) {
    if (at(verdicts, index)) numRight += 1;
    const numKept = place + 1;
    const threshold = at(confidences, index);
    const next = order[numKept];
    if (next !== undefined && at(confidences, next) === threshold) continue; // ties are kept or dropped together
    points.push({ threshold, numKept, coverage: numKept / order.length, accuracy: numRight / numKept });
  }
  return points;
}

/** @throws InputError when the lists differ in length. */
export function checkLengths(confidences: readonly number[], verdicts: readonly boolean[]): void {
  if (confidences.length === verdicts.length) return;
  throw new InputError(
    `verdicts: expected one for each of the ${confidences.length} confidences, got ${verdicts.length}.`,
  );
}

/** @throws InputError when a number of bins is not a whole number of at least 1. */
export function checkNumBins(numBins: number): void {
  if (Number.isInteger(numBins) && numBins >= 1) return;
  throw new InputError(`numBins must be a whole number of at least 1, got ${numBins}.`);
}
