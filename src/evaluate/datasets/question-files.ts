// Question files: JSON lines of {"id", "question", "answer"}, and what the text of a question says about its objects.

import { InputError, kindOf } from "../../errors.ts";
import { type JsonObject, readAllJsonLines } from "../json-lines.ts";
import type { DataSet, Question, QuestionObjects, RowPlace } from "./dataset.ts";

const TWO_OBJECTS = /\bwhere\s+(?:is|are)\s+(?:the\s+)?(\S.*?)\s+in\s+relation\s+to\s+(?:the\s+)?(\S.*?)\s*\?/is;
const ONE_OBJECT = /\bwhere\s+(?:is|are)\s+(?:the\s+)?(\S.*?)\s+in\s+the\s+(?:photo|picture|image)\s*\?/is;
const CLAUSE = /\bwhere\s+(?:is|are)\s[^?]*\?/i;

/**
 * Reads a data set's question file, one question per line in the order of the data set's rows.
 * @param file name for messages
 * @throws InputError for a malformed line, a missing part, an unknown answer, ids that are not the row numbers, or no row.
 */
export function readQuestions(text: string, file: string, dataSet: DataSet): readonly Question[] {
  const lines = readAllJsonLines(text, file);
  if (lines.length === 0) throw new InputError(`${file} has no questions: expected one JSON object per line.`);
  return lines.map(({ object, lineNumber }, id) => {
    const place: RowPlace = { file, lineNumber, id };
    if (object.question !== undefined && object.id !== undefined && object.id !== id) {
      throw new InputError(
        `${where(place)}: expected "id" to be the row number ${id}, got ${JSON.stringify(object.id)}; ` +
          "keep all rows of the file, in their order.",
      );
    }
    return dataSet.readQuestion(object, place);
  });
}

/** A member that has to be text. @throws InputError when it is missing, empty or something else. */
export function readText(row: JsonObject, name: string, place: RowPlace): string {
  const value = row[name];
  if (typeof value === "string" && value.trim() !== "") return value;
  const got = value === "" ? "empty text" : kindOf(value);
  throw new InputError(`${where(place)}: expected "${name}" to be text, got ${got}; correct the line.`);
}

/** The right answer: the member `answer`, or its first element where it is a list. @throws InputError for anything else. */
export function readAnswer(row: JsonObject, place: RowPlace): string {
  const value: unknown = Array.isArray(row.answer) ? row.answer[0] : row.answer;
  if (typeof value === "string" && value.trim() !== "") return value.trim();
  throw new InputError(
    `${where(place)}: expected "answer" to be text or a list that begins with text, got ${kindOf(row.answer)}; correct the line.`,
  );
}

/** Objects of `Where is the X in relation to the Y?` and `Where is the X in the photo?`; null for any other text. */
export function objectsOf(text: string): QuestionObjects | null {
  const two = TWO_OBJECTS.exec(text);
  if (two?.[1] !== undefined && two[2] !== undefined) return { first: oneSpaced(two[1]), second: oneSpaced(two[2]) };
  const one = ONE_OBJECT.exec(text);
  return one?.[1] === undefined ? null : { first: oneSpaced(one[1]), second: null };
}

/** The part from "Where" to the question mark in lower case and with single spaces, without the mark; null where there is none. */
export function clauseOf(text: string): string | null {
  const clause = CLAUSE.exec(text)?.[0];
  return clause === undefined
    ? null
    : oneSpaced(clause)
        .replace(/\s*\?$/, "")
        .toLowerCase();
}

/** Text with every run of white space as one space, and none at the ends. */
export function oneSpaced(text: string): string {
  return text.replaceAll(/\s+/g, " ").trim();
}

/** The file and line of a row. */
export function where({ file, lineNumber }: RowPlace): string {
  return `${file}, line ${lineNumber}`;
}
