// How much of a gain under the paper's rule is the choice of another option, and how much only the answer's format.
//
// The paper's rule looks for the right answer anywhere in the text, so a sentence, or a text that names two options, may count
// where a bare word did not, although the model chooses no better.
import { at } from "../../errors.ts";
import type { DataSet, Question } from "../datasets/dataset.ts";
import { type Answer, bestOption, optionsIn } from "../verdicts.ts";

/** A way to read the option that an answer chooses. */
export type ChoiceReading = "onlyOption" | "firstOption" | "wholeString";

/** A gain in right answers under the paper's rule, and what it consists of; all are numbers of questions. */
export interface FormatGain {
  readonly reading: ChoiceReading;
  /** Questions of which both answers have what the reading needs. */
  readonly n: number;
  /** Right answers beyond those of the unmodified pass: fixed − broken + formatFixed − formatBroken. */
  readonly gain: number;
  /** Wrong became right, as did the chosen option. */
  readonly fixed: number;
  /** Right became wrong, as did the chosen option. */
  readonly broken: number;
  /** Wrong became right, although the chosen option did not become right. */
  readonly formatFixed: number;
  /** Right became wrong, although the chosen option did not become wrong. */
  readonly formatBroken: number;
  /** The chosen option became right, and the paper's rule did not notice. */
  readonly unseenFixed: number;
  /** The chosen option became wrong, and the paper's rule did not notice. */
  readonly unseenBroken: number;
}

/** What the members of a {@link FormatGain} mean, in one sentence each. */
export const FORMAT_DEFINITIONS = {
  format:
    "The change in right answers under the paper's rule against the unmodified pass: gain = fixed − broken + formatFixed − formatBroken.",
  fixed:
    "Questions that became right under the paper's rule and whose chosen option was wrong and became right; broken is the opposite.",
  formatFixed:
    "Questions that became right under the paper's rule although the chosen option did not become right: only the format changed, such as a sentence in place of a word, or a second option that the text also names; formatBroken is the opposite.",
  unseenFixed:
    "Questions whose chosen option was wrong and became right without a change under the paper's rule; unseenBroken is the opposite.",
  "reading onlyOption":
    "The chosen option is the only one that the text contains as a whole word; none where it contains several.",
  "reading firstOption":
    'The chosen option is the first one that the text contains as a whole word; "on" is also found in "on the left".',
  "reading wholeString":
    "The chosen option is the one whose whole string has the largest log-probability, whatever the text says: independent of the format.",
} as const;

const READINGS: Readonly<Record<ChoiceReading, (answer: Answer, options: readonly string[]) => string | null>> = {
  onlyOption: ({ text }, options) => {
    const [only, ...others] = optionsIn(text ?? "", options);
    return others.length === 0 ? (only ?? null) : null;
  },
  firstOption: ({ text }, options) => firstOption(text ?? "", options),
  wholeString: ({ wholeString }) => (wholeString === null ? null : (bestOption(wholeString) ?? null)),
};

/**
 * Splits the gain of some answers over those of the unmodified pass, once per reading that any question allows.
 * @param greedy [n]
 * @param answers [n]
 */
export function formatGains(
  greedy: readonly (Answer | null)[],
  answers: readonly (Answer | null)[],
  of: { readonly questions: readonly Question[]; readonly dataSet: DataSet },
): readonly FormatGain[] {
  const readings = Object.keys(READINGS) as ChoiceReading[]; // its own keys
  return readings.flatMap((reading) => {
    const rows = of.questions.flatMap((question, place) => {
      const pair = { before: at(greedy, place), after: at(answers, place) };
      return pair.before === null || pair.after === null || !isReadable(reading, pair.before, pair.after)
        ? []
        : [changeOf(pair.before, pair.after, { question, dataSet: of.dataSet, reading })];
    });
    if (rows.length === 0) return [];
    const count = (verdict: Change, choice: readonly Change[]) =>
      rows.filter((row) => row.verdict === verdict && choice.includes(row.choice)).length;
    const kinds = {
      fixed: count("became right", ["became right"]),
      broken: count("became wrong", ["became wrong"]),
      formatFixed: count("became right", ["same", "became wrong"]),
      formatBroken: count("became wrong", ["same", "became right"]),
      unseenFixed: count("same", ["became right"]),
      unseenBroken: count("same", ["became wrong"]),
    };
    const gain = kinds.fixed - kinds.broken + kinds.formatFixed - kinds.formatBroken;
    return [{ reading, n: rows.length, gain, ...kinds }];
  });
}

type Change = "became right" | "became wrong" | "same";

function isReadable(reading: ChoiceReading, ...answers: readonly Answer[]): boolean {
  return answers.every(({ text, wholeString }) => text !== null && (reading !== "wholeString" || wholeString !== null));
}

function changeOf(
  before: Answer,
  after: Answer,
  of: { readonly question: Question; readonly dataSet: DataSet; readonly reading: ChoiceReading },
): { readonly verdict: Change; readonly choice: Change } {
  const { question, dataSet, reading } = of;
  const { gold, options } = question;
  const isRight = ({ text }: Answer) => text !== null && dataSet.authorsRule.isRight(text, gold, question);
  const isChosen = (answer: Answer) => READINGS[reading](answer, options) === gold.toLowerCase();
  return {
    verdict: change(isRight(before), isRight(after)),
    choice: change(isChosen(before), isChosen(after)),
  };
}

function change(before: boolean, after: boolean): Change {
  if (before === after) return "same";
  return after ? "became right" : "became wrong";
}

/** The option that the text names first as a whole word. */
function firstOption(text: string, options: readonly string[]): string | null {
  // The first beginning of the text, word by word, that contains an option ends with that option.
  const said = text.toLowerCase();
  const ends = [...said.matchAll(/[\p{L}\p{N}_]+/gu)].map((word) => word.index + word[0].length);
  for (const end of ends) {
    const found = optionsIn(said.slice(0, end), options);
    if (found.length > 0) return at(found, 0);
  }
  return null;
}
