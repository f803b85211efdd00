// Two runs compared question by question: McNemar's test and the difference in accuracy.
import { at } from "../errors.ts";
import type { Question } from "./datasets/dataset.ts";
import { type BootstrapInterval, clusteredBootstrap } from "./metrics/bootstrap.ts";
import { exactMcNemar } from "./metrics/mcnemar.ts";
import { type McNemarTable, mcNemarTable } from "./metrics/mcnemar-table.ts";
import { clusterOf } from "./metrics/question-clusters.ts";

/** McNemar's test on two lists of verdicts, A and B, over the questions that both judge. */
export interface PairedResult extends McNemarTable {
  readonly n: number;
  /** Two-sided and exact. */
  readonly p: number;
  /** Accuracy of B minus accuracy of A, with its interval from clusters drawn with replacement. */
  readonly difference: BootstrapInterval;
}

/** What the members of a {@link PairedResult} mean, in one sentence each. */
export const PAIRED_DEFINITIONS = {
  mcNemar:
    "Over the rows that both runs answer; p is two-sided and exact: min(1, 2 P(X ≤ min(onlyA, onlyB))), X binomial with p = 1/2.",
  difference:
    "Accuracy of B minus accuracy of A over the same rows, with a bootstrap interval that keeps the two verdicts of a row and the rows of a cluster together.",
} as const;

/**
 * Compares two lists of verdicts over the questions that both judge; null where there is no such question.
 * @param a [n], whether each question is answered right; null where there is no verdict
 * @param b [n], the same questions in the same order
 * @param questions [n]
 */
export function comparePaired(
  a: readonly (boolean | null)[],
  b: readonly (boolean | null)[],
  questions: readonly Question[],
): PairedResult | null {
  const rows = questions.flatMap((question, position) => {
    const [ofA, ofB] = [at(a, position), at(b, position)];
    return ofA === null || ofB === null ? [] : [{ ofA, ofB, cluster: clusterOf(question) }];
  });
  const cells = mcNemarTable(
    rows.map(({ ofA }) => ofA),
    rows.map(({ ofB }) => ofB),
  );
  const difference = clusteredBootstrap(
    rows.map(({ ofA, ofB }) => Number(ofB) - Number(ofA)),
    rows.map(({ cluster }) => cluster),
  );
  if (difference === null) return null;
  return { n: rows.length, ...cells, p: exactMcNemar(cells.onlyA, cells.onlyB), difference };
}
