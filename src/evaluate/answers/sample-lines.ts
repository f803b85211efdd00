// Answers as lmms-eval logs them: one JSON object per line with doc_id, target, resps and filtered_resps. Our runs use this form too.

import { InputError, isObject, kindOf } from "../../errors.ts";
import { type JsonLine, type JsonObject, readJsonLines } from "../json-lines.ts";
import type { Answer, OptionScores } from "../verdicts.ts";
import { readConfidences } from "./confidence-fields.ts";
import type { Half, RecordedAnswers, RecordedRun } from "./recorded.ts";

/** Names of the members that our samples have besides lmms-eval's; whoever writes samples takes them from here. */
export const SAMPLE_FIELDS = {
  /** The method that answered; lmms-eval's files, which hold one run each, have none. */
  method: "method",
  /** Largest probability of the first token in an unmodified pass, unrounded. */
  confidence: "confidence",
  /** Option → log-probability of its first token. */
  firstToken: "option_first_token_logprobs",
  /** Option → log-probability of the whole option string. */
  wholeString: "option_logprobs",
} as const;

/** How the text of a request that failed begins, by kind (lmms-eval 0.7.3). */
const FAILURES = {
  failedRequest: "[LMMS_EVAL_REQUEST_FAILED after",
  budgetExceeded: "[LMMS_EVAL_BUDGET_EXCEEDED]",
} as const;

/** Whether `text` is sample lines: no array, and with a line that has a doc_id. */
export function areSampleLines(text: string): boolean {
  return !/^\uFEFF?\s*\[/.test(text) && readJsonLines(text).some(({ object }) => object?.doc_id !== undefined);
}

/**
 * Reads sample lines. The doc_id is the row in the question file; lines of questions outside the half are counted and left out.
 * @param file name for messages
 * @throws InputError for a malformed line before the last, a line without id or answer, an unknown or repeated id.
 */
export function readSampleLines(
  text: string,
  file: string,
  half: Half & { readonly numQuestions: number },
): RecordedAnswers {
  const lines = readJsonLines(text);
  const last = lines.at(-1);
  const isCut = last !== undefined && last.problem !== null && !text.endsWith("\n");
  const notes = isCut ? [`Line ${last.lineNumber} is cut off, as after an interrupted run, and left out.`] : [];
  const positions = new Map(half.ids.map((id, position) => [id, position]));
  const methods = new Map<string, (Sample | null)[]>();
  const failed = { failedRequest: 0, budgetExceeded: 0 };
  let numOutside = 0;
  for (const line of isCut ? lines.slice(0, -1) : lines) {
    const sample = readSample(line, file);
    if (sample.id >= half.numQuestions) {
      throw new InputError(
        `${file}, line ${line.lineNumber}: "doc_id" ${sample.id} is not in the question file, whose last row is ${half.numQuestions - 1}.`,
      );
    }
    const position = positions.get(sample.id);
    if (position === undefined) {
      numOutside++;
      continue;
    }
    const own = methods.get(sample.method) ?? half.ids.map(() => null);
    methods.set(sample.method, own);
    const earlier = own[position];
    if (earlier !== null && earlier !== undefined) {
      throw new InputError(
        `${file}, lines ${earlier.lineNumber} and ${line.lineNumber}: "doc_id" ${sample.id} occurs twice; keep one of the lines.`,
      );
    }
    own[position] = sample;
    if (sample.failure !== null) failed[sample.failure]++;
  }
  if (methods.size === 0) throw new InputError(`${file} has no answers to the questions of ${half.name}.`);
  if (numOutside > 0) notes.push(`Lines about questions outside ${half.name}, left out: ${numOutside}.`);
  const all = [...methods.values()];
  const ofPosition = <T>(read: (sample: Sample) => T | null) =>
    half.ids.map((_, position) => {
      const found = all.flatMap((samples) => samples[position] ?? []);
      // The confidence is the question's, but a method that runs no unmodified pass does not know it.
      const best = found.find(({ row }) => typeof row[SAMPLE_FIELDS.confidence] === "number") ?? found[0];
      return best === undefined ? null : read(best);
    });
  const runs = [...methods].map(([name, samples]): RecordedRun => {
    const answers = samples.map((sample) => (sample === null || sample.failure !== null ? null : sample.answer));
    return { name, meaning: "the filtered answer of the sample lines", factor: null, answers };
  });
  return {
    form: "samples",
    runs,
    numAnswered: Math.max(...runs.map(({ answers }) => answers.filter((answer) => answer !== null).length)),
    isPositional: false,
    prompts: ofPosition(({ row }) => (typeof row.input === "string" ? row.input : null)),
    golds: ofPosition(({ row }) => (typeof row.target === "string" ? row.target : null)),
    confidences: readConfidences(ofPosition(({ row }) => row)),
    failed: Object.fromEntries(Object.entries(failed).filter(([, count]) => count > 0)),
    notes,
  };
}

interface Sample {
  readonly lineNumber: number;
  readonly id: number;
  readonly method: string;
  readonly answer: Answer;
  readonly failure: keyof typeof FAILURES | null;
  readonly row: JsonObject;
}

function readSample(line: JsonLine, file: string): Sample {
  const place = `${file}, line ${line.lineNumber}`;
  if (line.problem !== null) {
    throw new InputError(`${place}: expected a JSON object, got ${line.problem}; correct or remove the line.`);
  }
  const row = line.object;
  const id = row.doc_id;
  if (typeof id !== "number" || !Number.isSafeInteger(id) || id < 0) {
    throw new InputError(`${place}: expected "doc_id" to be a row number, got ${JSON.stringify(id)}.`);
  }
  const text = filteredText(row, place);
  const failures = Object.entries(FAILURES).map(([kind, start]) => ({ kind: kind as keyof typeof FAILURES, start })); // its own keys
  const method = row[SAMPLE_FIELDS.method];
  return {
    lineNumber: line.lineNumber,
    id,
    method: typeof method === "string" ? method : "answer",
    answer: {
      text,
      firstToken: logProbsOf(row, SAMPLE_FIELDS.firstToken, place),
      wholeString: logProbsOf(row, SAMPLE_FIELDS.wholeString, place),
    },
    failure: failures.find(({ start }) => text.startsWith(start))?.kind ?? null,
    row,
  };
}

/** The text of `filtered_resps`, or of `resps` where that is missing; a list may hold one text, also nested. */
function filteredText(row: JsonObject, place: string): string {
  const field = row.filtered_resps === undefined ? "resps" : "filtered_resps";
  let value = row[field];
  while (Array.isArray(value) && value.length === 1) value = value[0];
  if (typeof value === "string") return value;
  const got = Array.isArray(value)
    ? `${value.length} responses, as of multiple choice by log-likelihood`
    : kindOf(value);
  throw new InputError(`${place}: expected "${field}" to hold one text, got ${got}.`);
}

function logProbsOf(row: JsonObject, field: string, place: string): OptionScores | null {
  const value = row[field];
  if (value === undefined || value === null) return null;
  const entries = isObject(value) ? Object.entries(value) : [];
  if (isObject(value) && entries.length === 0) return null; // a question without options
  const scores = entries.flatMap(([option, score]) =>
    typeof score === "number" && score <= 0 ? [[option.trim().toLowerCase(), score] as const] : [],
  );
  if (scores.length > 0 && scores.length === entries.length) return new Map(scores);
  throw new InputError(
    `${place}: expected "${field}" to map options to log-probabilities of at most 0, got ${JSON.stringify(value)}.`,
  );
}
