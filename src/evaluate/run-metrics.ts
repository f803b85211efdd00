// What a report says of a run beyond its scores: intervals, confusion, confidence against accuracy, familiarity.
import { at } from "../errors.ts";
import type { Confidences } from "./answers/confidence-fields.ts";
import type { RecordedRun } from "./answers/recorded.ts";
import type { DataSet, Question } from "./datasets/dataset.ts";
import { accuracyByConfidence, type ConfidenceBin, quantileEdges } from "./metrics/accuracy-by-confidence.ts";
import { auroc } from "./metrics/auroc.ts";
import { type BootstrapInterval, clusteredBootstrap } from "./metrics/bootstrap.ts";
import { type Calibration, calibration } from "./metrics/calibration.ts";
import { accuracyByClass, type ClassAccuracy, type ConfusionMatrix, confusionMatrix } from "./metrics/confusion.ts";
import { compareFamiliarity, type Familiarity, type FamiliarityGroup } from "./metrics/familiarity.ts";
import { clusterOf } from "./metrics/question-clusters.ts";
import { verdictsOf } from "./scores.ts";
import { optionsNamed } from "./verdicts.ts";

/** Rules under which metrics are computed; the scores have all rules. */
export const METRIC_RULES = ["paper", "exactlyOne"] as const;

/** Number of bins of equal width in a reliability diagram. */
const NUM_BINS = 10;
/** Number of bins of about equal counts. */
const NUM_QUANTILE_BINS = 4;

/** Metrics of a run. */
export interface RunMetrics {
  /** Null where the run has no texts. */
  readonly confusion: ConfusionReport | null;
  /** Null where the run has no texts. */
  readonly rules: Readonly<Record<(typeof METRIC_RULES)[number], RuleMetrics | null>>;
}

/** Which option was given for which. */
export interface ConfusionReport extends ConfusionMatrix {
  /** By gold option, in the order of `options`. */
  readonly byClass: readonly ClassAccuracy[];
}

/** Metrics of a run under one rule. */
export interface RuleMetrics {
  /** Share of right answers with its interval, clusters drawn with replacement; 0 to 1. */
  readonly individual: BootstrapInterval;
  /** Null where the file has no confidence for any judged row. */
  readonly confidence: ConfidenceMetrics | null;
  /** Null where the rows have no relation. */
  readonly familiarity: Readonly<Record<Familiarity, FamiliarityGroup>> | null;
}

/** The confidence of the first token in the unmodified pass against right and wrong, over the rows that have one. */
export interface ConfidenceMetrics extends Calibration {
  /** Bins of about equal counts; none where all confidences are equal. */
  readonly byConfidence: readonly ConfidenceBin[];
  /** Area under the curve of confidence as a predictor of right answers; null where all are right or all are wrong. */
  readonly auroc: number | null;
}

/** What the members of {@link RunMetrics} mean, in one sentence each. */
export const METRIC_DEFINITIONS = {
  interval:
    "Share of right answers with the percentile bootstrap interval of resamples that draw whole clusters with replacement (see bootstrap).",
  confusion:
    "Rows are right answers and columns are given ones, read as the only option that the text contains as a whole word; the last column counts texts with no option or several. byClass is the share of each row that is on the diagonal.",
  confidence:
    "The confidence of a row is that of the unmodified pass, also for runs that modify the scores, from the field that confidence.metricsField names: unrounded where the file has it.",
  calibration:
    "bins has 10 bins of equal width, (lower, upper]; expectedCalibrationError is the mean over rows of |accuracy − mean confidence| of their bin, and brierScore that of (confidence − verdict)², with 1 for a right answer.",
  byConfidence: "Accuracy in up to 4 bins of about equal counts; rows with equal confidences are in the same bin.",
  auroc:
    "The probability that a right answer has a larger confidence than a wrong one, ties counted half; null where all answers are right or all are wrong.",
  familiarity:
    "Relations with the word left or right are called familiar and all others unfamiliar, after the paper's finding that models are confident about the former.",
} as const;

/** Confidences by position with the field that they come from: unrounded where any row has that. */
export function confidencesFor({ rounded, unrounded, roundedField, unroundedField }: Confidences): {
  readonly field: string | null;
  readonly values: readonly (number | null)[];
} {
  return unroundedField === null
    ? { field: roundedField, values: rounded }
    : { field: unroundedField, values: unrounded };
}

/**
 * Measures a run.
 * @param questions of the half, in its order
 * @param confidences by position; null where there is none
 */
export function measureRun(
  run: RecordedRun,
  questions: readonly Question[],
  { dataSet, confidences }: { readonly dataSet: DataSet; readonly confidences: readonly (number | null)[] },
): RunMetrics {
  const rules = METRIC_RULES.map((name) => {
    const verdicts = verdictsOf(run, name, { questions, dataSet });
    const rows = verdicts.flatMap((isRight, position): readonly MeasuredRow[] =>
      isRight === null
        ? []
        : [{ question: at(questions, position), isRight, confidence: confidences[position] ?? null }],
    );
    return [name, measureRule(rows)] as const;
  });
  return {
    confusion: confusionOf(run, questions, dataSet),
    rules: Object.fromEntries(rules) as RunMetrics["rules"], // one entry per rule
  };
}

interface MeasuredRow {
  readonly question: Question;
  readonly isRight: boolean;
  readonly confidence: number | null;
}

function measureRule(rows: readonly MeasuredRow[]): RuleMetrics | null {
  const individual = clusteredBootstrap(
    rows.map(({ isRight }) => Number(isRight)),
    rows.map(({ question }) => clusterOf(question)),
  );
  if (individual === null) return null;
  const related = rows.flatMap(({ question: { relation }, isRight, confidence }) =>
    relation === null ? [] : [{ relation, isRight, confidence }],
  );
  return {
    individual,
    confidence: measureConfidence(rows),
    familiarity: related.length === 0 ? null : compareFamiliarity(related),
  };
}

function measureConfidence(rows: readonly MeasuredRow[]): ConfidenceMetrics | null {
  const known = rows.flatMap(({ confidence, isRight }) => (confidence === null ? [] : [{ confidence, isRight }]));
  if (known.length === 0) return null;
  const confidences = known.map(({ confidence }) => confidence);
  const verdicts = known.map(({ isRight }) => isRight);
  const edges = quantileEdges(confidences, NUM_QUANTILE_BINS);
  return {
    ...calibration(confidences, verdicts, { numBins: NUM_BINS }),
    byConfidence: edges.length === 0 ? [] : accuracyByConfidence(confidences, verdicts, { edges }),
    auroc: auroc(confidences, verdicts),
  };
}

function confusionOf(run: RecordedRun, questions: readonly Question[], dataSet: DataSet): ConfusionReport | null {
  const rows = run.answers.flatMap((answer, position) => {
    const question = at(questions, position);
    const { gold } = question;
    const text = answer?.text ?? null;
    if (text === null || gold === "") return [];
    const [only, ...others] = optionsNamed(text, question);
    return [{ gold: gold.toLowerCase(), said: others.length === 0 ? (only ?? null) : null }];
  });
  if (rows.length === 0) return null;
  const golds = rows.map(({ gold }) => gold);
  // A question file may have right answers that are no option of the data set; they get rows of their own.
  const options = [...new Set([...dataSet.options, ...questions.flatMap((question) => question.options), ...golds])];
  const matrix = confusionMatrix(
    golds,
    rows.map(({ said }) => said),
    { options },
  );
  return { ...matrix, byClass: accuracyByClass(matrix) };
}
