// How VLMEvalKit reads answers and groups questions: the option's letter, yes or no, POPE's categories, 3DSRBench's groups.
// Source: open-compass/VLMEvalKit, vlmeval/utils/matching_util.py (as public copies of d21c5e96 have it),
// vlmeval/dataset/utils/yorn.py (0c7163c9) and vqa_eval.py.
import { InputError } from "../../errors.ts";
import { type BinaryRates, binaryRates } from "../metrics/confusion.ts";
import type { ChoiceOption } from "./vlmevalkit-tsv.ts";

/** VLMEvalKit's mark of an answer that could not be had; such a row is asked again, never scored. */
export const FAILED_ANSWER = "Failed to obtain answer";

/** Whether an answer is a failed request instead of the model's text. */
export function isFailedAnswer(answer: string): boolean {
  return answer.includes(FAILED_ANSWER);
}

/** Phrases of refusals, for which the letter is Z. */
const REFUSALS = [
  "Sorry, I can't help with images of people yet.",
  "I can't process this file.",
  "I'm sorry, but without the image provided",
  "Cannot determine the answer",
];

/** A letter after "answer is", which need not be a word: "the answer is a cup" gives A. */
const STATED_LETTER = /answer\s+is\s+\**([ABCD])/i;

/** Words at the end of an answer among which its letter must be. */
const LAST_WORDS = 4;

/**
 * The option that an answer names; "Z" for a refusal, null where none or several are named.
 *
 * First by letter: after `. ( ) [ ] , : ; ! * # { }` became spaces, exactly one of the letters is a word, and its first
 * occurrence is among the last four words. Else by the first letter from A to D, in any case, that follows "answer is".
 * Otherwise by text: in lower case, exactly one option's text is part of the answer, which is at most twice as long as all
 * options together. Earlier versions of VLMEvalKit lack the second step and the two limits. With a judge model, VLMEvalKit
 * asks it about the remaining answers; without one, they count as wrong.
 */
export function extractOption(answer: string, options: readonly ChoiceOption[]): string | null {
  if (isFailedAnswer(answer)) return null;
  if (REFUSALS.some((phrase) => answer.includes(phrase))) return "Z";
  const words = answer
    .replace(/[.()[\],:;!*#{}]/g, " ")
    .split(/\s+/)
    .filter((word) => word !== "");
  const named = options.filter(({ letter }) => words.includes(letter));
  const [only] = named;
  if (named.length === 1 && only !== undefined) {
    if (words.indexOf(only.letter) >= words.length - LAST_WORDS) return only.letter;
  } else if (named.length === 0 && words.includes("Z")) {
    return "Z";
  }
  const stated = STATED_LETTER.exec(answer)?.[1]?.toUpperCase();
  if (stated !== undefined && options.some(({ letter }) => letter === stated)) return stated;
  const lower = answer.toLowerCase();
  const optionLength = options.reduce((sum, { text }) => sum + text.length, 0);
  if (lower.length > 2 * optionLength) return null;
  const [first, second] = options.filter(({ text }) => lower.includes(text.toLowerCase()));
  return first !== undefined && second === undefined ? first.letter : null;
}

/** Characters that VQA's evaluation removes or replaces. */
const PUNCTUATION = [";", "/", "[", "]", '"', "{", "}", "(", ")", "=", "+", "\\", "_", "-", ">", "<", "@", "`"].concat([
  ",",
  "?",
  "!",
]);

/** Most full stops that are removed: an argument that VQA's evaluation gives by mistake, re.UNICODE as a count. */
const MAX_STOPS = 32;

/**
 * The verdict of an answer to a yes/no question: "Yes" or "No" where exactly one of these is a word of it, else "Unknown".
 *
 * Words are those of the lower-case answer after VQA's treatment of punctuation: a character is removed where it has a space
 * beside it anywhere in the answer, or the answer has a number with a comma, and becomes a space otherwise; full stops that no
 * digit follows are removed.
 */
export function extractYesNo(answer: string): "Yes" | "No" | "Unknown" {
  const lower = answer.toLowerCase();
  const hasNumberWithComma = /\d,\d/.test(lower);
  let text = lower;
  for (const character of PUNCTUATION) {
    const isRemoved = hasNumberWithComma || lower.includes(`${character} `) || lower.includes(` ${character}`);
    text = text.replaceAll(character, isRemoved ? "" : " ");
  }
  let numStops = 0;
  text = text.replace(/\.(?!\d)/g, (stop) => (numStops++ < MAX_STOPS ? "" : stop));
  const words = text.split(/\s+/);
  const [saysYes, saysNo] = [words.includes("yes"), words.includes("no")];
  if (saysYes === saysNo) return "Unknown";
  return saysYes ? "Yes" : "No";
}

/** One answer to a question of POPE. */
export interface PopeAnswer {
  /** One category or several, separated by commas. */
  readonly category: string;
  readonly gold: "Yes" | "No";
  readonly answer: "Yes" | "No" | "Unknown";
}

/** Rates of one of POPE's categories, or of all rows after the explosion. */
export interface PopeScore {
  /** "Overall" comes first. */
  readonly category: string;
  readonly count: number;
  readonly rates: BinaryRates;
}

/**
 * POPE as VLMEvalKit scores it: a row with several categories counts once in each, and so more than once overall.
 *
 * A rate is null where VLMEvalKit writes 0 because its denominator is 0.
 */
export function popeScores(answers: readonly PopeAnswer[]): readonly PopeScore[] {
  const exploded = answers.flatMap((answer) => answer.category.split(",").map((category) => ({ ...answer, category })));
  const score = (category: string, rows: readonly PopeAnswer[]): PopeScore => ({
    category,
    count: rows.length,
    rates: binaryRates(
      rows.map(({ gold }) => gold === "Yes"),
      rows.map(({ answer }) => (answer === "Unknown" ? null : answer === "Yes")),
    ),
  });
  const categories = [...new Set(exploded.map(({ category }) => category))];
  return [
    score("Overall", exploded),
    ...categories.map((category) =>
      score(
        category,
        exploded.filter((row) => row.category === category),
      ),
    ),
  ];
}

/** How 3DSRBench's rows are grouped: a group is right when all its rows are. */
export type SrBenchGrouping = "vanilla" | "flip" | "circular" | "flip-circular";

/** Length of a key's common part: of a question, and of its mirrored version, whose key has "-flip" after it. */
const SR_KEY = 8;
const SR_FLIP_KEY = 13;

/**
 * The group of a row of 3DSRBench.
 *
 * "flip" joins a row and its mirrored version, "circular" the permutations of the options, "flip-circular" both.
 * Source: VLMEvalKit, vlmeval/dataset/image_mcq.py (_3DSRBench).
 * @param qid the row's column qid, such as "ABCDEFGH", "ABCDEFGH-flip" or "ABCDEFGH-flip-1"
 */
export function srBenchGroup(qid: string, grouping: SrBenchGrouping): string {
  switch (grouping) {
    case "vanilla":
      return qid;
    case "flip":
      return qid.replaceAll("-flip", "");
    case "circular":
      return qid.slice(0, qid.includes("-flip") ? SR_FLIP_KEY : SR_KEY);
    case "flip-circular":
      return qid.slice(0, SR_KEY);
  }
}

/**
 * 3DSRBench's accuracy under one grouping.
 * @param verdicts one per row, with distinct qids
 * @returns number of groups and of those whose rows are all right; accuracy is null without rows
 * @throws InputError when a qid appears twice.
 */
export function srBenchAccuracy(
  verdicts: readonly { readonly qid: string; readonly isRight: boolean }[],
  grouping: SrBenchGrouping,
): { readonly numGroups: number; readonly numRight: number; readonly accuracy: number | null } {
  const seen = new Set<string>();
  const groups = new Map<string, boolean>();
  for (const { qid, isRight } of verdicts) {
    if (seen.has(qid)) throw new InputError(`3DSRBench: expected every qid once, got ${qid} twice.`);
    seen.add(qid);
    const group = srBenchGroup(qid, grouping);
    groups.set(group, (groups.get(group) ?? true) && isRight);
  }
  const numRight = [...groups.values()].filter(Boolean).length;
  return { numGroups: groups.size, numRight, accuracy: groups.size === 0 ? null : numRight / groups.size };
}
