// How well confidences agree with accuracy: reliability diagram, expected calibration error, Brier score.
import { InputError } from "../../errors.ts";
import { accuracyByConfidence, type ConfidenceBin, checkLengths, checkNumBins } from "./accuracy-by-confidence.ts";

/** Agreement of confidence and accuracy. */
export interface Calibration {
  /** Bins of equal width over [0, 1], empty ones included. */
  readonly bins: readonly ConfidenceBin[];
  /** Mean over the answers of |accuracy − mean confidence| of their bin; null without answers. */
  readonly expectedCalibrationError: number | null;
  /** Mean of (confidence − verdict)², with 1 for a right answer; null without answers. */
  readonly brierScore: number | null;
  readonly count: number;
}

/**
 * Reliability diagram, expected calibration error and Brier score of probabilities.
 *
 * Bin i of B is (i / B, (i + 1) / B], and the first one includes 0: scikit-learn's rule in `calibration_curve`. The edges
 * are the quotients i / B rounded once, so that a confidence given in decimals, such as 0.3, equals its edge.
 * Source: Guo et al., On Calibration of Modern Neural Networks (ICML 2017), equations 2 and 3; Brier (1950).
 * @param confidences [n], probabilities of the answer, 0 to 1
 * @param verdicts [n], whether each answer is right
 * @throws InputError when the lists differ in length, a confidence is not a probability or `numBins` is out of range.
 */
export function calibration(
  confidences: readonly number[],
  verdicts: readonly boolean[],
  { numBins = 10 }: { readonly numBins?: number } = {},
): Calibration {
  checkLengths(confidences, verdicts);
  checkNumBins(numBins);
  const bad = confidences.findIndex((confidence) => !(confidence >= 0 && confidence <= 1));
  if (bad >= 0) {
    throw new InputError(
      `confidences[${bad}]: expected a probability from 0 to 1, got ${confidences[bad]}; calibration is undefined for logits and entropies.`,
    );
  }
  const edges = Array.from({ length: numBins + 1 }, (_, index) => index / numBins);
  const bins = accuracyByConfidence(confidences, verdicts, { edges });
  const count = confidences.length;
  if (count === 0) return { bins, expectedCalibrationError: null, brierScore: null, count };
  const gaps = bins.map(({ count: inBin, accuracy, meanConfidence }) =>
    accuracy === null || meanConfidence === null ? 0 : (inBin / count) * Math.abs(accuracy - meanConfidence),
  );
  const squares = confidences.map((confidence, index) => (confidence - (verdicts[index] === true ? 1 : 0)) ** 2);
  return { bins, expectedCalibrationError: sum(gaps), brierScore: sum(squares) / count, count };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
