// What a method changes in an answer beside another one: whether it is right, or only how it is worded.
import { at } from "../errors.ts";
import type { DataSet, Question } from "./datasets/dataset.ts";
import { type Answer, bestOption, optionsIn, RULES } from "./verdicts.ts";

/**
 * How an answer changes under the paper's rule: wrong to right (fixed), right to wrong (broken), a new verdict on the same chosen
 * option (format only), or the same verdict (unchanged).
 */
export type AnswerChange = (typeof ANSWER_CHANGES)[number];

/** Every change, those of the answer first. */
export const ANSWER_CHANGES = ["fixed", "broken", "formatOnly", "unchanged"] as const;

/** What the changes mean, in one sentence each. */
export const CHANGE_DEFINITIONS: Readonly<Record<AnswerChange, string>> = {
  fixed: "Wrong before, right with the method, and another option is chosen.",
  broken: "Right before, wrong with the method, and another option is chosen.",
  formatOnly:
    "The verdict under the paper’s rule changes, but not the chosen option: only the wording does. The chosen option is the only one that each text names as a whole word; where a text names no option or several, it is the option whose whole string is most probable.",
  unchanged: "Right in both, or wrong in both.",
};

/** Numbers of questions by change; the two kinds of format-only changes are counted apart. */
export interface ChangeCounts {
  /** Questions that the paper's rule judges in both. */
  readonly n: number;
  readonly fixed: number;
  readonly broken: number;
  /** Wrong to right by the wording alone. */
  readonly formatGained: number;
  /** Right to wrong by the wording alone. */
  readonly formatLost: number;
  readonly unchanged: number;
}

/**
 * Classifies the change from one answer to another one to the same question.
 * @returns null where the paper's rule cannot judge one of them.
 */
export function classifyChange(
  before: Answer,
  after: Answer,
  { question, dataSet }: { readonly question: Question; readonly dataSet: DataSet },
): AnswerChange | null {
  const [wasRight, isRight] = [before, after].map((answer) => isRightByPaper(answer, question, dataSet));
  if (typeof wasRight !== "boolean" || typeof isRight !== "boolean") return null;
  if (wasRight === isRight) return "unchanged";
  if (chooseSameOption(before, after, question)) return "formatOnly";
  return isRight ? "fixed" : "broken";
}

/**
 * Counts the changes between two lists of answers.
 * @param before [n]; null where a question has no answer
 * @param after [n], to the same questions in the same order
 * @param of `questions` [n]
 */
export function countChanges(
  before: readonly (Answer | null)[],
  after: readonly (Answer | null)[],
  { questions, dataSet }: { readonly questions: readonly Question[]; readonly dataSet: DataSet },
): ChangeCounts {
  const counts = { n: 0, fixed: 0, broken: 0, formatGained: 0, formatLost: 0, unchanged: 0 };
  for (const [position, question] of questions.entries()) {
    const [one, other] = [at(before, position), at(after, position)];
    if (one === null || other === null) continue;
    const change = classifyChange(one, other, { question, dataSet });
    if (change === null) continue;
    counts.n++;
    if (change !== "formatOnly") counts[change]++;
    else if (isRightByPaper(other, question, dataSet) === true) counts.formatGained++;
    else counts.formatLost++;
  }
  return counts;
}

function isRightByPaper(answer: Answer, question: Question, dataSet: DataSet): boolean | null {
  const [paper] = RULES.filter(({ name }) => name === "paper");
  return paper?.judge(answer, question, dataSet) ?? null;
}

/** Whether both answers choose the same option; false where that cannot be said. */
function chooseSameOption(before: Answer, after: Answer, { options }: Question): boolean {
  const [named, namedAfter] = [before, after].map(({ text }) => (text === null ? [] : optionsIn(text, options)));
  if (named?.length === 1 && namedAfter?.length === 1) return named[0] === namedAfter[0];
  if (before.wholeString === null || after.wholeString === null) return false;
  return bestOption(before.wholeString) === bestOption(after.wholeString);
}
