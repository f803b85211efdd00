// What the names in a report mean, for readers who do not know the code. Tables link their column titles here.

import type { AnswerChange } from "../answer-changes.ts";
import { CHANGE_DEFINITIONS } from "../answer-changes.ts";
import { PAIRED_DEFINITIONS } from "../paired-test.ts";
import { RULES } from "../verdicts.ts";
import type { ReportRun } from "./report-run.ts";
import { capital } from "./table.ts";

/** A defined term. */
export interface Definition {
  /** What column titles link to. */
  readonly key: string;
  readonly term: string;
  /** One or more texts; several where data sets differ. */
  readonly texts: readonly string[];
}

/** Titles of changes, for badges and columns. */
export const CHANGE_TITLES: Readonly<Record<AnswerChange, string>> = {
  fixed: "fixed",
  broken: "broken",
  formatOnly: "format only",
  unchanged: "unchanged",
};

/** The definitions that a report about these runs needs, in the order of its sections. */
export function definitionsOf(runs: readonly ReportRun[]): readonly Definition[] {
  const hasPairs = runs.some(({ dataSet }) => dataSet.pairAxes.length > 0);
  const hasYesNo = runs.some(({ dataSet }) => dataSet.isYesNo);
  const [first] = runs;
  const bootstrap = first?.scores.bootstrap;
  return [
    ...RULES.map(({ name, title, definition }) => ({
      key: name,
      term: capital(title),
      texts: perDataSet(runs, ({ dataSet }) => definition(dataSet)),
    })),
    entry(
      "bare",
      "Bare options",
      "Answers that are one option and nothing else, apart from case, white space and a full stop.",
    ),
    entry(
      "majority",
      "Majority answer",
      "What one would score by always giving the most frequent right answer. A method below it has learnt less than the answers’ frequencies.",
    ),
    {
      key: "interval",
      term: "Interval (small numbers below a percentage)",
      texts: [
        `A ${100 * (bootstrap?.level ?? 0.95)} % bootstrap interval from ${bootstrap?.numResamples ?? 2000} resamples that draw whole clusters with replacement (seed ${bootstrap?.seed ?? 0}).`,
        ...perDataSet(runs, ({ scores }) => scores.bootstrap.clusters),
      ],
    },
    entry(
      "difference",
      "Points",
      `Difference in percentage points. ${PAIRED_DEFINITIONS.difference} Here A is greedy.`,
    ),
    entry(
      "mcnemar",
      "McNemar p",
      "How often two equally good methods would differ at least this much by chance, question by question: two-sided and exact, from the questions that only one of the two answers right.",
    ),
    ...(["fixed", "broken", "formatOnly", "unchanged"] as const).map((change) =>
      entry(change, capital(CHANGE_TITLES[change]), CHANGE_DEFINITIONS[change]),
    ),
    ...(hasPairs
      ? [
          {
            key: "pairs",
            term: "Pairs",
            texts: [
              ...perDataSet(runs, ({ dataSet: { pairAxes } }) =>
                pairAxes.length === 0
                  ? undefined
                  : `Object pairs whose ${pairAxes.map((axis) => axis.join(" and ")).join(" questions are both right, and those whose ")} questions are both right, as a share of n/2 for n questions.`,
              ),
            ],
          },
          entry(
            "sets",
            "Sets",
            "Object pairs whose questions with all four relations are right, as a share of n/4 for n questions.",
          ),
          entry(
            "ceiling",
            "Ceiling",
            "The highest possible share: pairs or sets with all their questions among the scored ones. The halves separate questions about the same objects, so 100 % cannot be reached there. “Of complete” divides by these instead.",
          ),
        ]
      : []),
    ...(hasYesNo
      ? [
          entry(
            "rates",
            "Rates of yes and no",
            "“Yes” is positive, and an answer that is not right counts as the other one. True positive rate: right answers to true captions. True negative rate: right answers to false captions. Balanced accuracy is their mean. F1 is 2 TP / (2 TP + FP + FN).",
          ),
          entry(
            "harmonic",
            "Harmonic mean of the rates",
            "Of true positive and true negative rate. The authors’ code, and so the published table, calls it F1; it calls the two rates precision and recall.",
          ),
        ]
      : []),
    entry(
      "relation",
      "Relation",
      "The relation that the right answer names, such as left; of VSR, the relation in the caption.",
    ),
    entry(
      "confidence",
      "Confidence",
      "The largest probability of the answer’s first token over the whole vocabulary, in a pass that no method modifies. AdaptVis compares it with its threshold β.",
    ),
    entry(
      "ece",
      "Expected calibration error (ECE)",
      "Mean over the questions of |accuracy − mean confidence| within their bin, of ten bins of equal width. 0 means that answers given with confidence 0.7 are right in 70 % of the cases.",
    ),
    entry(
      "brier",
      "Brier score",
      "Mean of (confidence − verdict)², with 1 for a right answer and 0 for a wrong one; smaller is better.",
    ),
    entry(
      "auroc",
      "AUROC",
      "The probability that a right answer has the larger value than a wrong one, ties counted half. 0.5: the value says nothing; 1: it separates right from wrong; below 0.5: right answers have the smaller values. Undefined where all answers are right or all are wrong.",
    ),
    entry(
      "share",
      "Image share",
      "How much of the attention of the prompt’s last token is on the picture’s patches, as a share of all its attention; mean over the heads of a layer, in the pass that gave the answer.",
    ),
    entry(
      "entropy",
      "Image entropy",
      "How evenly that attention is spread over the patches, in bits: 0 if all is on one patch, log₂ of the number of patches if it is even.",
    ),
    ...(runs.some(({ methods }) => methods.some(({ method }) => method === "scaling"))
      ? [
          entry(
            "factor",
            "Factor",
            "What the attention scores of the prompt’s last token on the picture are multiplied with, before the softmax, in every layer and head. Most of these scores are negative in LLaVA-1.5, so that a factor below 1 there moves attention to the picture and flattens it, and a factor above 1 takes some away and sharpens the rest.",
          ),
        ]
      : []),
  ];
}

function entry(key: string, term: string, text: string): Definition {
  return { key, term, texts: [text] };
}

/** Removes duplicate texts, and names the data sets of each text where there are several. */
function perDataSet(runs: readonly ReportRun[], textOf: (run: ReportRun) => string | undefined): readonly string[] {
  const names = new Map<string, Set<string>>();
  for (const run of runs) {
    const text = textOf(run);
    if (text === undefined) continue;
    names.set(text, (names.get(text) ?? new Set()).add(run.dataSet.name));
  }
  if (names.size === 1) return [...names.keys()];
  return [...names].map(([text, of]) => `${[...of].join(", ")}: ${text}`);
}
