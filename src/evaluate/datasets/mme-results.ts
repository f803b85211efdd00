// MME's result files, one per category (`existence.txt`), and its scores.
//
// A line has picture, question, true answer and given answer, separated by tabs; every picture has two lines, one whose true
// answer is yes and one whose it is no. The score of a category is 100 · (accuracy + accuracy+), 0 to 200, where accuracy+ is
// the share of pictures with both answers right.
// Source: Fu et al., MME (arXiv 2306.13394), section 2.3; its calculation.py as copied in public repositories.
import { at, InputError } from "../../errors.ts";

/** Categories of MME by group. */
export const MME_GROUPS = {
  perception: [
    "existence",
    "count",
    "position",
    "color",
    "posters",
    "celebrity",
    "scene",
    "landmark",
    "artwork",
    "OCR",
  ],
  cognition: ["commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning"],
} as const;

/** One answered question of MME. */
export interface MmeResult {
  readonly line: number;
  readonly picture: string;
  readonly question: string;
  readonly gold: "yes" | "no";
  /** The text that the model gave. */
  readonly answer: string;
}

/**
 * Reads one category's result file, two lines per picture, in the order of the file.
 * @throws InputError naming file and line when a line has another form, the true answer is not yes or no, or the two lines of
 *   a pair name different pictures.
 */
export function parseMmeResults(text: string, file: string): readonly MmeResult[] {
  const lines = text.split("\n").map((line) => line.replace(/\r$/, ""));
  while (lines.at(-1) === "") lines.pop();
  const results = lines.map((line, index): MmeResult => {
    const fields = line.split("\t");
    const [picture = "", question = "", truth = "", answer = ""] = fields;
    if (fields.length !== 4) {
      throw new InputError(
        `${file}:${index + 1}: expected picture, question, true answer and answer, separated by tabs, got ${fields.length} fields; an answer may contain neither tabs nor line ends.`,
      );
    }
    const gold = truth.toLowerCase();
    if (gold !== "yes" && gold !== "no") {
      throw new InputError(`${file}:${index + 1}: expected the true answer Yes or No in field 3, got "${truth}".`);
    }
    return { line: index + 1, picture, question, gold, answer };
  });
  for (let index = 0; index < results.length; index += 2) {
    const { picture } = at(results, index);
    const partner = results[index + 1]?.picture;
    if (partner !== picture) {
      throw new InputError(
        `${file}:${index + 2}: expected the second question about ${picture}, got ${partner === undefined ? "the end of the file" : `one about ${partner}`}.`,
      );
    }
  }
  return results;
}

/**
 * What an answer says: yes or no if it is that, or if its first four characters contain it (yes first); other if neither.
 *
 * "Not sure" is a no by this rule, and "  Yes" with two spaces before it is other.
 */
export function mmeAnswer(answer: string): "yes" | "no" | "other" {
  const start = answer.toLowerCase().slice(0, 4);
  if (start.includes("yes")) return "yes";
  return start.includes("no") ? "no" : "other";
}

/**
 * What an answer says by lmms-eval's rule: as `mmeAnswer`, after the space around it and all full stops are removed; a single
 * y or n counts too.
 * Source: lmms_eval 0.7.3, tasks/mme/utils.py.
 */
export function mmeAnswerByLmmsEval(answer: string): "yes" | "no" | "other" {
  const text = answer.toLowerCase().trim().replaceAll(".", "");
  if (text === "y") return "yes";
  return text === "n" ? "no" : mmeAnswer(text);
}

/** One verdict of MME, from its result files or from VLMEvalKit's rows. */
export interface MmeVerdict {
  readonly category: string;
  /** What the two questions of a pair have in common: the picture's name or path. */
  readonly picture: string;
  readonly isRight: boolean;
}

/** The verdicts of a category's result file, whose pairs are consecutive lines. */
export function mmeVerdicts(results: readonly MmeResult[], category: string): readonly MmeVerdict[] {
  return results.map(({ picture, gold, answer }) => ({ category, picture, isRight: mmeAnswer(answer) === gold }));
}

/** The score of one category. */
export interface MmeScore {
  readonly category: string;
  readonly numPictures: number;
  /** Share of right answers, 0 to 1. */
  readonly accuracy: number;
  /** Share of pictures with both answers right, 0 to 1. */
  readonly accuracyPlus: number;
  /** 100 · (accuracy + accuracyPlus), 0 to 200. */
  readonly score: number;
}

/**
 * Scores per category, in the order in which categories first appear, pairs joined by picture.
 * @throws InputError when a picture has not exactly two verdicts in its category.
 */
export function scoreMme(verdicts: readonly MmeVerdict[]): readonly MmeScore[] {
  return [...new Set(verdicts.map(({ category }) => category))].map((category) => {
    const members = verdicts.filter((verdict) => verdict.category === category);
    const pairs = new Map<string, boolean[]>();
    for (const { picture, isRight } of members) pairs.set(picture, [...(pairs.get(picture) ?? []), isRight]);
    for (const [picture, pair] of pairs) {
      if (pair.length === 2) continue;
      throw new InputError(`MME, ${category}: expected two questions about ${picture}, got ${pair.length}.`);
    }
    const accuracy = members.filter(({ isRight }) => isRight).length / members.length;
    const accuracyPlus = [...pairs.values()].filter((pair) => pair.every(Boolean)).length / pairs.size;
    return { category, numPictures: pairs.size, accuracy, accuracyPlus, score: 100 * (accuracy + accuracyPlus) };
  });
}

/** The sum of the scores of a group's categories, 0 to 2,000 or 800; null where one of them is missing. */
export function mmeGroupScore(scores: readonly MmeScore[], group: keyof typeof MME_GROUPS): number | null {
  let sum = 0;
  for (const category of MME_GROUPS[group]) {
    const score = scores.find((entry) => entry.category === category)?.score;
    if (score === undefined) return null;
    sum += score;
  }
  return sum;
}
