// Which option was given for which: confusion matrix, accuracy per class, majority baseline, and the rates of yes/no data.
import { at, InputError } from "../../errors.ts";

/** Counts of answers per gold option. */
export interface ConfusionMatrix {
  readonly options: readonly string[];
  /**
   * [options][options + 1]: row is the gold option, column the answered one; the last column counts answers that name no
   * option or several.
   */
  readonly counts: readonly (readonly number[])[];
  readonly numAnswers: number;
  /** Answers in the last column. */
  readonly numOther: number;
  /** Share of right answers; null without answers. */
  readonly accuracy: number | null;
}

/**
 * The confusion matrix of some answers.
 * @param golds [n], each one of `options`
 * @param answers [n], the option that each answer names; null or any other text counts as other
 * @throws InputError when the lists differ in length, an option appears twice or a gold answer is not an option.
 */
export function confusionMatrix(
  golds: readonly string[],
  answers: readonly (string | null)[],
  { options }: { readonly options: readonly string[] },
): ConfusionMatrix {
  if (golds.length !== answers.length) {
    throw new InputError(`answers: expected one for each of the ${golds.length} gold answers, got ${answers.length}.`);
  }
  const indexOf = new Map(options.map((option, index) => [option, index]));
  if (indexOf.size !== options.length) {
    throw new InputError(`options: expected distinct options, got ${options.join(", ")}.`);
  }
  const counts = options.map(() => Array.from({ length: options.length + 1 }, () => 0));
  for (const [row, gold] of golds.entries()) {
    const goldIndex = indexOf.get(gold);
    if (goldIndex === undefined) {
      throw new InputError(`golds[${row}]: expected one of ${options.join(", ")}, got ${gold}.`);
    }
    const answer = at(answers, row);
    const column = (answer === null ? undefined : indexOf.get(answer)) ?? options.length;
    const line = at(counts, goldIndex);
    line[column] = at(line, column) + 1;
  }
  const numRight = counts.reduce((sum, line, index) => sum + at(line, index), 0);
  return {
    options,
    counts,
    numAnswers: golds.length,
    numOther: counts.reduce((sum, line) => sum + at(line, options.length), 0),
    accuracy: ratio(numRight, golds.length),
  };
}

/** Answers to the questions of one gold option. */
export interface ClassAccuracy {
  readonly option: string;
  /** Questions whose gold answer is this option. */
  readonly count: number;
  readonly numRight: number;
  /** Null where no question has this gold answer. */
  readonly accuracy: number | null;
}

/** Accuracy per gold option, in the order of the options. */
export function accuracyByClass({ options, counts }: ConfusionMatrix): readonly ClassAccuracy[] {
  return options.map((option, index) => {
    const line = at(counts, index);
    const count = sum(line);
    const numRight = at(line, index);
    return { option, count, numRight, accuracy: ratio(numRight, count) };
  });
}

/** The option that is the gold answer most often; of equally frequent ones, the first. Null without answers. */
export function majorityBaseline({
  options,
  counts,
  numAnswers,
}: ConfusionMatrix): { readonly option: string; readonly count: number; readonly accuracy: number } | null {
  if (numAnswers === 0) return null;
  const totals = counts.map(sum);
  const count = Math.max(...totals);
  return { option: at(options, totals.indexOf(count)), count, accuracy: count / numAnswers };
}

/** Counts and rates of answers to yes/no questions; a rate is null where its denominator is 0. */
export interface BinaryRates {
  readonly truePositives: number;
  readonly falsePositives: number;
  readonly trueNegatives: number;
  readonly falseNegatives: number;
  /** Answers with neither yes nor no, to questions whose gold answer is yes. */
  readonly undecidedPositives: number;
  /** The same, where the gold answer is no. */
  readonly undecidedNegatives: number;
  /** Share of right answers; an undecided answer is wrong. */
  readonly accuracy: number | null;
  /** True positive rate (recall, sensitivity): right answers among all questions whose gold answer is yes. */
  readonly tpr: number | null;
  /** True negative rate (specificity): right answers among all questions whose gold answer is no. */
  readonly tnr: number | null;
  /** Mean of tpr and tnr. */
  readonly balancedAccuracy: number | null;
  /** Right answers among all that say yes. */
  readonly precision: number | null;
  /** Harmonic mean of precision and tpr, as 2·TP / (number of golds that are yes + number of answers that say yes). */
  readonly f1: number | null;
  /** 2·tpr·tnr / (tpr + tnr), 0 where both are 0: the number that AdaptVis' tables call F1. */
  readonly harmonicMean: number | null;
  /** Share of all answers that say yes. */
  readonly yesRatio: number | null;
}

/**
 * Rates of answers to yes/no questions.
 * Source: Chen et al., ICML 2025 (arXiv 2503.01773), whose code names tpr "precision" and tnr "recall".
 * @param golds [n], true for yes
 * @param answers [n], true for yes, null for neither or both
 * @throws InputError when the lists differ in length.
 */
export function binaryRates(golds: readonly boolean[], answers: readonly (boolean | null)[]): BinaryRates {
  if (golds.length !== answers.length) {
    throw new InputError(`answers: expected one for each of the ${golds.length} gold answers, got ${answers.length}.`);
  }
  const count = (gold: boolean, answer: boolean | null): number =>
    golds.filter((value, index) => value === gold && answers[index] === answer).length;
  const truePositives = count(true, true);
  const falseNegatives = count(true, false);
  const undecidedPositives = count(true, null);
  const trueNegatives = count(false, false);
  const falsePositives = count(false, true);
  const undecidedNegatives = count(false, null);

  const numPositives = truePositives + falseNegatives + undecidedPositives;
  const numNegatives = trueNegatives + falsePositives + undecidedNegatives;
  const saidYes = truePositives + falsePositives;
  const tpr = ratio(truePositives, numPositives);
  const tnr = ratio(trueNegatives, numNegatives);
  return {
    truePositives,
    falsePositives,
    trueNegatives,
    falseNegatives,
    undecidedPositives,
    undecidedNegatives,
    accuracy: ratio(truePositives + trueNegatives, golds.length),
    tpr,
    tnr,
    balancedAccuracy: tpr === null || tnr === null ? null : (tpr + tnr) / 2,
    precision: ratio(truePositives, saidYes),
    f1: ratio(2 * truePositives, numPositives + saidYes),
    harmonicMean: tpr === null || tnr === null ? null : tpr + tnr === 0 ? 0 : (2 * tpr * tnr) / (tpr + tnr),
    yesRatio: ratio(saidYes, golds.length),
  };
}

function ratio(part: number, whole: number): number | null {
  return whole === 0 ? null : part / whole;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
