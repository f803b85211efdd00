// Recorded answers as every file form is read: runs of answers by position in the half, and what was recorded beside them.

import type { Answer } from "../verdicts.ts";
import type { Confidences } from "./confidence-fields.ts";

/** How a file holds its answers. */
export type AnswerForm = "plain" | "sweep" | "chain-of-thought" | "samples";

/** Answers to the questions of a half by one method. */
export interface RecordedRun {
  /** Name within its file: "answer", a factor as the file spells it, "gated", or a method. */
  readonly name: string;
  /** What the run is, in one phrase. */
  readonly meaning: string;
  /** The factor of the image scores, where the file says it. */
  readonly factor: number | null;
  /** By position in the half; null where there is no answer, or a failed one. */
  readonly answers: readonly (Answer | null)[];
}

/** What one file holds. */
export interface RecordedAnswers {
  readonly form: AnswerForm;
  readonly runs: readonly RecordedRun[];
  /** Number of rows or lines with an answer for a question of the half, failed requests not among them. */
  readonly numAnswered: number;
  /** Whether the file's rows are positions, so that a short file is a prefix of its half. */
  readonly isPositional: boolean;
  /** Prompt of each position; null where none was recorded. */
  readonly prompts: readonly (string | null)[];
  /** Right answer of each position as the file has it; null where none was recorded. */
  readonly golds: readonly (string | null)[];
  readonly confidences: Confidences;
  /** Number of requests that failed, by kind; they are not scored. */
  readonly failed: Readonly<Record<string, number>>;
  /** What a reader should know about the file, one sentence each. */
  readonly notes: readonly string[];
}

/** The half that answers belong to. */
export interface Half {
  /** Its name in messages, such as "the test half of Controlled_A". */
  readonly name: string;
  /** Ids of its questions, ascending; the position in this list is the key of the answers. */
  readonly ids: readonly number[];
}

/** Whether every recorded text of a run is empty, as of a model that could not generate. */
export function isEmptyRun({ answers }: RecordedRun): boolean {
  const texts = answers.flatMap((answer) => (answer === null || answer.text === null ? [] : [answer.text]));
  return texts.length > 0 && texts.every((text) => text.trim() === "");
}
