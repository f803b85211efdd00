// Reads a file of recorded answers in whichever form it has, and checks that it belongs to the questions.

import { at, InputError } from "../../errors.ts";
import type { DataSet, Question } from "../datasets/dataset.ts";
import { clauseOf, oneSpaced } from "../datasets/question-files.ts";
import { readAnswerArray } from "./answer-array.ts";
import type { Half, RecordedAnswers } from "./recorded.ts";
import { areSampleLines, readSampleLines } from "./sample-lines.ts";

/** How the recorded prompts compare with the questions, in numbers of rows. */
export interface PromptCheck {
  /** The question itself, bare or in the data set's prompt. */
  readonly equal: number;
  /** Something before the question, such as examples. */
  readonly endsWithQuestion: number;
  /** Only the data set's fixed head, without the question. */
  readonly headOnly: number;
  /** Reworded, but still with the question's "Where …" clause. */
  readonly containsClause: number;
  /** Anything else. */
  readonly other: number;
  /** No prompt recorded. */
  readonly absent: number;
}

/** Recorded answers that belong to the questions. */
export interface CheckedAnswers extends RecordedAnswers {
  readonly promptCheck: PromptCheck;
  /** Number of answers whose right answer was not recorded, so that nothing confirms that they belong to their questions. */
  readonly numGoldsAbsent: number;
}

/** Where answers belong: the questions of the whole file, and the half. */
export interface AnswerTarget {
  readonly dataSet: DataSet;
  /** Every question of the file. */
  readonly questions: readonly Question[];
  readonly half: Half;
}

/**
 * Reads recorded answers: an array (plain, sweep or chain of thought) or sample lines.
 * @param file name for messages
 * @throws InputError when the file cannot be read, or a recorded right answer is not that of the question at its position.
 */
export function readAnswers(text: string, file: string, target: AnswerTarget): CheckedAnswers {
  const { half, questions } = target;
  if (text.trim() === "") throw new InputError(`${file} is empty: expected recorded answers.`);
  const recorded = areSampleLines(text)
    ? readSampleLines(text, file, { ...half, numQuestions: questions.length })
    : readAnswerArray(text, file, half);
  checkGolds(recorded, file, target);
  const promptCheck = checkPrompts(recorded, target);
  const numGoldsAbsent = recorded.isPositional ? recorded.golds.filter((gold) => gold === null).length : 0;
  const numReworded = promptCheck.containsClause + promptCheck.other;
  const notes = [
    ...recorded.notes,
    ...(numReworded === 0
      ? []
      : [
          `Prompts that differ from the question: ${numReworded}, of which ${promptCheck.containsClause} reword it and ${promptCheck.other} do not contain it.`,
        ]),
    ...(numGoldsAbsent === 0 ? [] : [`Rows without a "Golden" that confirms their question: ${numGoldsAbsent}.`]),
    ...(recorded.confidences.numDisagreeing === 0
      ? []
      : [
          `Rounded confidences that differ from the unrounded ones beside them: ${recorded.confidences.numDisagreeing}; the rounded ones are used.`,
        ]),
  ];
  return { ...recorded, notes, promptCheck, numGoldsAbsent };
}

function checkGolds({ golds, isPositional }: RecordedAnswers, file: string, { half, questions }: AnswerTarget): void {
  for (const [position, gold] of golds.entries()) {
    const { gold: wanted, id } = at(questions, at(half.ids, position));
    if (gold === null || gold.trim().toLowerCase() === wanted.toLowerCase()) continue;
    const place = isPositional ? `row ${position} ("Golden")` : `doc_id ${id} ("target")`;
    throw new InputError(
      `${file}, ${place}: expected the right answer of question ${id}, ${JSON.stringify(wanted)}, got ${JSON.stringify(gold)}: ` +
        `the file does not belong to ${half.name}; check --dataset, --split and --questions.`,
    );
  }
}

function checkPrompts({ prompts, runs, isPositional }: RecordedAnswers, target: AnswerTarget): PromptCheck {
  const counts = { equal: 0, endsWithQuestion: 0, headOnly: 0, containsClause: 0, other: 0, absent: 0 };
  for (const [position, prompt] of prompts.entries()) {
    const isAnswered = isPositional || runs.some(({ answers }) => answers[position] !== null);
    const question = at(target.questions, at(target.half.ids, position));
    if (isAnswered) counts[prompt === null ? "absent" : kindOfPrompt(prompt, question, target.dataSet)]++;
  }
  return counts;
}

function kindOfPrompt(prompt: string, question: Question, dataSet: DataSet): Exclude<keyof PromptCheck, "absent"> {
  const wanted = [question.text, dataSet.prompt(question)];
  if (wanted.includes(prompt)) return "equal";
  // A chat template puts the question between others of its texts.
  if (dataSet.promptForm === "template" && prompt.includes(question.text)) return "equal";
  if (wanted.some((text) => prompt.endsWith(text))) return "endsWithQuestion";
  if (dataSet.promptHead !== undefined && oneSpaced(prompt) === oneSpaced(dataSet.promptHead)) return "headOnly";
  const clause = clauseOf(question.text);
  return clause !== null && oneSpaced(prompt).toLowerCase().includes(clause) ? "containsClause" : "other";
}
