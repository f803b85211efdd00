// Answers as the authors' code and its forks write them: one JSON array whose row i belongs to the i-th question of the half.

import { InputError, isObject, kindOf } from "../../errors.ts";
import { type JsonObject, parseJsonFile } from "../json-lines.ts";
import type { Answer, OptionScores } from "../verdicts.ts";
import { isProbability, readConfidences } from "./confidence-fields.ts";
import type { Half, RecordedAnswers, RecordedRun } from "./recorded.ts";

/** The answer of chain-of-thought forks, in the order of preference: their verdicts are on it, not on the whole text. */
const THOUGHT_ANSWERS = ["Answer", "Final Answer"];
/** The factor that leaves the scores as they are. */
const GREEDY_FACTOR = 1;

/**
 * Reads an array of answers.
 * @param file name for messages
 * @throws InputError when it is not an array of objects, has more rows than the half, or a row that cannot be read.
 */
export function readAnswerArray(text: string, file: string, half: Half): RecordedAnswers {
  const value = parseJsonFile(text, file);
  if (!Array.isArray(value)) {
    throw new InputError(
      `${file}: expected a JSON array of answers or JSON lines with "doc_id", got ${kindOf(value)}.`,
    );
  }
  const elements: readonly unknown[] = value;
  if (elements.length === 0) throw new InputError(`${file} has no answers: its array is empty.`);
  if (elements.length > half.ids.length) {
    throw new InputError(
      `${file} has ${elements.length} rows, but ${half.name} has ${half.ids.length} questions: check --dataset and --split.`,
    );
  }
  const rows = elements.map((element, position) => {
    if (isObject(element)) return element;
    throw new InputError(`${rowName(file, position)}: expected an object, got ${kindOf(element)}.`);
  });
  const sweepField = sweepFieldOf(rows, file);
  const thoughtField = THOUGHT_ANSWERS.find((field) => rows.some((row) => row[field] !== undefined));
  const read = sweepField !== undefined ? readSweep(rows, sweepField, file) : readPlain(rows, thoughtField, file);
  return {
    form: sweepField !== undefined ? "sweep" : thoughtField !== undefined ? "chain-of-thought" : "plain",
    runs: read.runs,
    numAnswered: rows.length,
    isPositional: true,
    prompts: rows.map(({ Prompt }) => (typeof Prompt === "string" ? Prompt : null)),
    golds: rows.map(({ Golden }) => (typeof Golden === "string" ? Golden : null)),
    confidences: readConfidences(rows),
    failed: {},
    notes: read.notes,
  };
}

interface ReadRuns {
  readonly runs: readonly RecordedRun[];
  readonly notes: readonly string[];
}

/** The field that holds the answers by factor, if the file is a sweep. @throws InputError when only some rows have it. */
function sweepFieldOf(rows: readonly JsonObject[], file: string): "Generation_map" | "Generation" | undefined {
  for (const field of ["Generation_map", "Generation"] as const) {
    const missing = rows.findIndex((row) => !isObject(row[field]));
    if (missing < 0) return field;
    if (rows.some((row) => isObject(row[field]))) {
      throw new InputError(
        `${rowName(file, missing)}: expected "${field}" to be a map of factors, as in other rows, got ${kindOf(rows[missing]?.[field])}.`,
      );
    }
  }
  return undefined;
}

function readPlain(rows: readonly JsonObject[], thoughtField: string | undefined, file: string): ReadRuns {
  const field = thoughtField ?? "Generation";
  const answers = rows.map((row, position): Answer => {
    const place = rowName(file, position);
    return {
      text: textOf(row[field], field, place),
      firstToken: scoresOf(row, "Distribution", place),
      wholeString: null,
    };
  });
  const greedy = rows.map((row, position) => scoresOf(row, "distribution_map", rowName(file, position)));
  const meaning =
    thoughtField === undefined ? 'the text in "Generation"' : `the text in "${field}", not the whole "Generation"`;
  return {
    runs: [{ name: "answer", meaning, factor: null, answers }, ...greedyScores(greedy)],
    notes: rows.some(({ Distribution_map }) => Distribution_map !== undefined)
      ? ['"Distribution_map" belongs to the last factor of a sweep that the file does not hold: not used.']
      : [],
  };
}

/** The run of the greedy pass that a plain file holds the option probabilities of, if it does. */
function greedyScores(scores: readonly (OptionScores | null)[]): readonly RecordedRun[] {
  if (scores.every((each) => each === null)) return [];
  const answers = scores.map((firstToken) => ({ text: null, firstToken, wholeString: null }));
  const meaning = 'option probabilities of the unmodified pass, in "distribution_map"';
  return [{ name: "1.0 (options only)", meaning, factor: GREEDY_FACTOR, answers }];
}

function readSweep(rows: readonly JsonObject[], field: "Generation_map" | "Generation", file: string): ReadRuns {
  const maps = rows.map((row) => row[field]).filter(isObject);
  const keys = Object.keys(maps[0] ?? {});
  if (keys.length === 0) throw new InputError(`${rowName(file, 0)}: the map of factors in "${field}" is empty.`);
  const factors = keys.map((key) => factorOf(key, field, file));
  for (const [position, map] of maps.entries()) checkKeys(map, keys, rowName(file, position));
  const lastFactor = keys.at(-1);
  const runs = keys.map((key, index): RecordedRun => {
    const answers = maps.map((map, position): Answer => {
      const place = rowName(file, position);
      const answer = readEntry(map[key], `"${field}"["${key}"]`, place);
      if (answer.firstToken !== null) return answer;
      // Beside a map of texts, the row has the option probabilities of the last factor, or of the unmodified pass.
      const row = rows[position] ?? {};
      const isGreedy = factors[index] === GREEDY_FACTOR;
      const last = key === lastFactor ? scoresOf(row, "Distribution_map", place) : null;
      return { ...answer, firstToken: last ?? (isGreedy ? scoresOf(row, "distribution_map", place) : null) };
    });
    const factor = factors[index] ?? null;
    return { name: key, meaning: factor === GREEDY_FACTOR ? "greedy: factor 1" : `factor ${key}`, factor, answers };
  });
  return {
    runs: field === "Generation_map" ? [...runs, ...gatedRun(rows, file)] : runs,
    notes: rows.some(({ Distribution }) => Distribution !== undefined)
      ? ['"Distribution" beside a map of factors does not say which factor it belongs to: not used.']
      : [],
  };
}

/** The gated answers beside a map of factors, if the file has them. */
function gatedRun(rows: readonly JsonObject[], file: string): readonly RecordedRun[] {
  if (rows.every(({ Generation }) => Generation === undefined || Generation === null)) return [];
  const answers = rows.map((row, position): Answer => {
    const text = textOf(row.Generation, "Generation", rowName(file, position));
    return { text, firstToken: null, wholeString: null };
  });
  return [{ name: "gated", meaning: "the gated answer that the file holds beside the map", factor: null, answers }];
}

function factorOf(key: string, field: string, file: string): number {
  const factor = key.trim() === "" ? Number.NaN : Number(key);
  if (Number.isFinite(factor)) return factor;
  throw new InputError(`${rowName(file, 0)}: expected factors as keys of "${field}", got ${JSON.stringify(key)}.`);
}

function checkKeys(map: JsonObject, keys: readonly string[], place: string): void {
  const own = Object.keys(map);
  if (own.length === keys.length && keys.every((key) => Object.hasOwn(map, key))) return;
  throw new InputError(`${place}: expected the factors of the first row, ${keys.join(", ")}, got ${own.join(", ")}.`);
}

/** An entry of a sweep: a text, or an object with the text and the option probabilities, in either of its spellings. */
function readEntry(entry: unknown, field: string, place: string): Answer {
  if (!isObject(entry)) return { text: textOf(entry, field, place), firstToken: null, wholeString: null };
  const [textField, scoresField] =
    entry.generation === undefined ? ["Generation", "Distribution"] : ["generation", "distribution_map"];
  return {
    text: textOf(entry[textField], `${field}.${textField}`, place),
    firstToken: scoresOf(entry, scoresField, place),
    wholeString: null,
  };
}

/** Text; null and a missing member count as the empty answer. @throws InputError for anything else. */
function textOf(value: unknown, field: string, place: string): string {
  if (typeof value === "string") return value;
  if (value === null || value === undefined) return "";
  const name = field.startsWith('"') ? field : `"${field}"`;
  throw new InputError(`${place}: expected ${name} to be text, got ${kindOf(value)}.`);
}

/** Probabilities by option in lower case; null where the member is missing or null. @throws InputError for anything else. */
function scoresOf(row: JsonObject, field: string, place: string): OptionScores | null {
  const value = row[field];
  if (value === undefined || value === null) return null;
  const entries = isObject(value) ? Object.entries(value) : [];
  const scores = entries.flatMap(([option, score]) =>
    typeof score === "number" && isProbability(score) ? [[option.trim().toLowerCase(), score] as const] : [],
  );
  if (scores.length > 0 && scores.length === entries.length) return new Map(scores);
  throw new InputError(
    `${place}: expected "${field}" to map options to probabilities from 0 to 1, got ${JSON.stringify(value)}.`,
  );
}

function rowName(file: string, position: number): string {
  return `${file}, row ${position}`;
}
