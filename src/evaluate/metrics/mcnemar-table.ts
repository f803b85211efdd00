// Two interventions' verdicts over the same questions, as the four cells that McNemar's test reads.
import { InputError } from "../../errors.ts";

/** How many questions each of two verdict lists got right. */
export interface McNemarTable {
  /** Right in both. */
  readonly both: number;
  /** Right in the first list only. */
  readonly onlyA: number;
  /** Right in the second list only. */
  readonly onlyB: number;
  /** Right in none of the two. */
  readonly neither: number;
}

/**
 * The four cells of two verdict lists; onlyA and onlyB are the discordant pairs of McNemar's test.
 * Source: McNemar, Psychometrika 12 (1947).
 * @param a [n], whether each question was answered right
 * @param b [n], the same questions in the same order
 * @throws InputError when the lists differ in length.
 */
export function mcNemarTable(a: readonly boolean[], b: readonly boolean[]): McNemarTable {
  if (a.length !== b.length) {
    throw new InputError(
      `The verdicts to compare: expected as many in both lists, got ${a.length} and ${b.length}; compare the questions that both runs answered.`,
    );
  }
  const count = (inA: boolean, inB: boolean): number =>
    a.filter((isRight, question) => isRight === inA && b[question] === inB).length;
  return {
    both: count(true, true),
    onlyA: count(true, false),
    onlyB: count(false, true),
    neither: count(false, false),
  };
}
