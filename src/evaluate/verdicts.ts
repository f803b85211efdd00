// The rules by which an answer counts as right. Each has a name, under which reports show it.

import type { DataSet, Question } from "./datasets/dataset.ts";

/** Scores of options: option in lower case → probability or log-probability, in the order of the file. */
export type OptionScores = ReadonlyMap<string, number>;

/** What is known of one answer. */
export interface Answer {
  /** The decoded text; null where only the scores of the options were recorded. */
  readonly text: string | null;
  /** Probabilities or log-probabilities of the options' first tokens at the first generated position. */
  readonly firstToken: OptionScores | null;
  /** Log-probabilities of the whole option strings. */
  readonly wholeString: OptionScores | null;
}

/** A rule. */
export interface Rule {
  readonly name: RuleName;
  /** Column title of tables. */
  readonly title: string;
  /** The rule in one sentence. */
  readonly definition: (dataSet: DataSet) => string;
  /** Whether the answer is right; null where the answer lacks what the rule needs. */
  readonly judge: (answer: Answer, question: Question, dataSet: DataSet) => boolean | null;
}

/** The name of a rule. */
export type RuleName = (typeof RULE_NAMES)[number];

const RULE_NAMES = ["paper", "exactlyOne", "firstToken", "wholeString"] as const;

/** Rules as they judge questions that have a right answer. */
const JUDGING_RULES: readonly Rule[] = [
  {
    name: "paper",
    title: "paper's rule",
    definition: ({ authorsRule }) => authorsRule.definition,
    judge: ({ text }, question, { authorsRule }) =>
      text === null ? null : authorsRule.isRight(text, question.gold, question),
  },
  {
    name: "exactlyOne",
    title: "exactly one option",
    definition: ({ options }) =>
      `Of the ${options.length === 0 ? "question's options" : `options ${options.join(", ")}`}, the text contains the gold answer as a whole word and no other, without regard to case; the same option may occur several times.${
        options.length === 0
          ? " An option of a multiple-choice question is named by its capital letter or by its text; a text within a longer option's text does not count."
          : ""
      }`,
    judge: ({ text }, question) => {
      if (text === null) return null;
      const [only, ...others] = optionsNamed(text, question);
      return others.length === 0 && only === question.gold.toLowerCase();
    },
  },
  {
    name: "firstToken",
    title: "best first token",
    definition: () =>
      "The gold answer is the option whose first token has the largest recorded probability at the first generated position; the first listed of equal ones counts. Unfair to answers that do not begin with an option: see the share of bare options.",
    judge: ({ firstToken }, { gold }) => (firstToken === null ? null : bestOption(firstToken) === gold.toLowerCase()),
  },
  {
    name: "wholeString",
    title: "best whole option",
    definition: () =>
      "The gold answer is the option whose whole string has the largest recorded log-probability; the first listed of equal ones counts.",
    judge: ({ wholeString }, { gold }) =>
      wholeString === null ? null : bestOption(wholeString) === gold.toLowerCase(),
  },
];

/** Every rule, in the order of reports; none judges the answer to a question without a right answer. */
export const RULES: readonly Rule[] = JUDGING_RULES.map((rule) => ({
  ...rule,
  judge: (answer, question, dataSet) => (question.gold === "" ? null : rule.judge(answer, question, dataSet)),
}));

/**
 * The options of a question that a text names, each once. Those of a multiple-choice question are named by their letter, as a
 * capital or as the whole text, or by their text as whole words; longer texts first, so that "top left" does not name "left".
 */
export function optionsNamed(text: string, { options, choices }: Question): readonly string[] {
  if (choices === undefined) return optionsIn(text, options);
  const bare = bareText(text);
  if (options.includes(bare)) return [bare];
  const named = new Set(choices.filter(({ letter }) => wholeWord(letter).test(text)).map(({ letter }) => letter));
  let rest = text.toLowerCase();
  for (const choice of choices.toSorted((a, b) => b.text.length - a.text.length)) {
    const pattern = wholeWord(choice.text.toLowerCase());
    if (!pattern.test(rest)) continue;
    named.add(choice.letter);
    rest = rest.replaceAll(new RegExp(pattern, "gu"), " ");
  }
  return choices.filter(({ letter }) => named.has(letter)).map(({ letter }) => letter.toLowerCase());
}

/** The title of a rule for a data set: the authors' rule has the name that its authors are known by. */
export function titleOfRule(rule: RuleName, { authorsRule }: Pick<DataSet, "authorsRule">): string {
  const title = RULES.find(({ name }) => name === rule)?.title ?? rule;
  return rule === "paper" ? (authorsRule.title ?? title) : title;
}

/** The options that occur in `text` as whole words, without regard to case, each once and in the order of `options`. */
export function optionsIn(text: string, options: readonly string[]): readonly string[] {
  const said = text.toLowerCase();
  return options.filter((option) => wholeWord(option).test(said));
}

/** Whether `text` is one of the options and nothing else, apart from case, white space and a full stop at the end. */
export function isBareOption(text: string, options: readonly string[]): boolean {
  return options.includes(bareText(text));
}

/** Whether the first word of `text` is one of the options, without regard to case. */
export function beginsWithOption(text: string, options: readonly string[]): boolean {
  const said = text.trimStart().toLowerCase();
  return options.some((option) => said.startsWith(option) && wholeWord(option).exec(said)?.index === 0);
}

/** The option with the largest score, the first of equal ones; undefined without options. */
export function bestOption(scores: OptionScores): string | undefined {
  let best: readonly [string, number] | undefined;
  for (const entry of scores) if (best === undefined || entry[1] > best[1]) best = entry;
  return best?.[0];
}

function bareText(text: string): string {
  return text
    .trim()
    .toLowerCase()
    .replace(/\s*\.$/, "");
}

const wholeWords = new Map<string, RegExp>();

/** Matches a word that has no letter, digit or underscore beside it, in any script, as Python's \b sees words. */
function wholeWord(word: string): RegExp {
  const known = wholeWords.get(word);
  if (known !== undefined) return known;
  const literal = word.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const pattern = new RegExp(`(?<![\\p{L}\\p{N}_])${literal}(?![\\p{L}\\p{N}_])`, "u");
  wholeWords.set(word, pattern);
  return pattern;
}
