// LLaVA's question and answer files, JSON lines, and POPE's label files, which have the same form.
//
// | file | fields of a line |
// |---|---|
// | questions | question_id, image, text, and category for POPE |
// | POPE's labels (`coco_pope_random.json`) | question_id, image, text, label (yes or no) |
// | answers | question_id, prompt (the question's text), text, answer_id, model_id, metadata |
//
// Source: haotian-liu/LLaVA c121f043, llava/eval/model_vqa_loader.py and eval_pope.py.
import { InputError, isObject } from "../../errors.ts";
import { type JsonObject, readAllJsonLines } from "../json-lines.ts";

/** What LLaVA's files append to a question to get a short answer. */
export const SHORT_ANSWER_SUFFIX = "\nAnswer the question using a single word or phrase.";

/** What LLaVA's files append to a multiple-choice question. */
export const CHOICE_SUFFIX = "\nAnswer with the option's letter from the given choices directly.";

/** One question. */
export interface LlavaQuestion {
  readonly line: number;
  readonly questionId: string | number;
  /** The picture's file name, relative to the picture folder; undefined for a question without a picture. */
  readonly image: string | undefined;
  readonly text: string;
  readonly category: string | undefined;
}

/** One question of POPE with its true answer. */
export interface PopeQuestion extends LlavaQuestion {
  readonly label: "yes" | "no";
}

/** One answer. */
export interface LlavaAnswer {
  readonly line: number;
  readonly questionId: string | number;
  /** The question's text. */
  readonly prompt: string | undefined;
  readonly text: string;
  readonly answerId: string | undefined;
  readonly modelId: string | undefined;
  readonly metadata: Readonly<Record<string, unknown>>;
}

/**
 * Reads a question file.
 * @throws InputError naming file and line when a line is not a JSON object, or a field is missing or has another type.
 */
export function parseLlavaQuestions(text: string, file: string): readonly LlavaQuestion[] {
  return fieldLines(text, file).map(readQuestion);
}

/**
 * Reads a label file of POPE. In it, ids start again at 1, and repeat in the files of the other two samplings.
 * @throws InputError as `parseLlavaQuestions`, and when a label is not yes or no.
 */
export function parsePopeQuestions(text: string, file: string): readonly PopeQuestion[] {
  return fieldLines(text, file).map((line) => {
    const label = line.text("label");
    if (label !== "yes" && label !== "no") throw line.fail("label", "yes or no");
    return { ...readQuestion(line), label };
  });
}

/**
 * Reads a line of a question file or of a label file of POPE.
 * @throws InputError as `parsePopeQuestions`.
 */
export function readLlavaQuestion(
  object: JsonObject,
  place: { readonly file: string; readonly lineNumber: number },
): LlavaQuestion & { readonly label: "yes" | "no" | undefined } {
  const line = fieldLine({ object, lineNumber: place.lineNumber }, place.file);
  const label = line.optionalText("label");
  if (label !== undefined && label !== "yes" && label !== "no") throw line.fail("label", "yes or no");
  return { ...readQuestion(line), label };
}

function readQuestion(line: FieldLine): LlavaQuestion {
  return {
    line: line.number,
    questionId: line.id("question_id"),
    image: line.optionalText("image"),
    text: line.text("text"),
    category: line.optionalText("category"),
  };
}

/**
 * Reads an answer file.
 * @throws InputError naming file and line when a line is not a JSON object, a field is missing or has another type, or a
 *   question is answered twice.
 */
export function parseLlavaAnswers(text: string, file: string): readonly LlavaAnswer[] {
  const lineOf = new Map<string | number, number>();
  return fieldLines(text, file).map((line) => {
    const questionId = line.id("question_id");
    const earlier = lineOf.get(questionId);
    if (earlier !== undefined) throw line.fail("question_id", `an id that line ${earlier} does not have`);
    lineOf.set(questionId, line.number);
    const metadata = line.values.metadata ?? {};
    if (!isObject(metadata)) throw line.fail("metadata", "an object");
    return {
      line: line.number,
      questionId,
      prompt: line.optionalText("prompt"),
      text: line.text("text"),
      answerId: line.optionalText("answer_id"),
      modelId: line.optionalText("model_id"),
      metadata,
    };
  });
}

/**
 * The verdict of an answer to a question of POPE by LLaVA's rule: "no" if No, no or not is a word of the first sentence, and
 * "yes" for everything else, an empty answer and "NO" included.
 *
 * The first sentence ends at the first full stop, commas are removed, and words are separated by single spaces only.
 */
export function llavaPopeAnswer(answer: string): "yes" | "no" {
  const [sentence = ""] = answer.split(".");
  const words = sentence.replaceAll(",", "").split(" ");
  return ["No", "not", "no"].some((word) => words.includes(word)) ? "no" : "yes";
}

/**
 * Whether an answer to a question of POPE is right by lmms-eval's rule: the whole answer, in lower case and without space
 * around it, is the label. "Yes." with its full stop is wrong. In lmms-eval's recall, answers other than yes and no are left
 * out of the denominator, and its yes ratio is that of the labels.
 * Source: lmms_eval 0.7.3, tasks/pope/utils.py.
 */
export function isRightByLmmsEval(answer: string, label: "yes" | "no"): boolean {
  return answer.toLowerCase().trim() === label;
}

/** One line of a JSON lines file, with access to its fields that names the place in messages. */
interface FieldLine {
  readonly number: number;
  readonly values: JsonObject;
  readonly fail: (key: string, expected: string) => InputError;
  readonly id: (key: string) => string | number;
  readonly text: (key: string) => string;
  readonly optionalText: (key: string) => string | undefined;
}

function fieldLines(text: string, file: string): readonly FieldLine[] {
  return readAllJsonLines(text, file).map((line) => fieldLine(line, file));
}

function fieldLine(
  { lineNumber: number, object: values }: { readonly lineNumber: number; readonly object: JsonObject },
  file: string,
): FieldLine {
  const fail = (key: string, expected: string) =>
    new InputError(`${file}, line ${number}: ${key} must be ${expected}, got ${show(values[key])}.`);
  const optionalText = (key: string) => {
    const value = values[key] ?? undefined;
    if (value !== undefined && typeof value !== "string") throw fail(key, "a text");
    return value;
  };
  return {
    number,
    values,
    fail,
    optionalText,
    text: (key) => {
      const value = optionalText(key);
      if (value === undefined) throw fail(key, "a text");
      return value;
    },
    id: (key) => {
      const value = values[key];
      if (typeof value !== "string" && !isNumber(value)) throw fail(key, "a text or a number");
      return value;
    },
  };
}

function isNumber(value: unknown): value is number {
  return Number.isFinite(value);
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}
