// Scores of a run: counts beside fractions, under every rule, with ceilings and baselines.

import { at } from "../errors.ts";
import type { RecordedRun } from "./answers/recorded.ts";
import type { BenchmarkScores, DataSet, Question } from "./datasets/dataset.ts";
import { objectPairOf } from "./metrics/question-clusters.ts";
import { beginsWithOption, isBareOption, optionsNamed, RULES, type RuleName } from "./verdicts.ts";

/** A count among `of`, also as a fraction and in percent; both are null where `of` is 0. */
export interface Share {
  readonly count: number;
  readonly of: number;
  readonly fraction: number | null;
  /** 100 · count / of. */
  readonly percent: number | null;
}

/** Pairs or sets of questions about the same two objects. */
export interface GroupScores {
  /** Groups whose questions are all right, of n/2 pairs or n/4 sets: the paper's pair and set accuracy. */
  readonly right: Share;
  /** Groups with all their relations among the scored rows, of n/2 or n/4: the most that `right` can be. */
  readonly ceiling: Share;
  /** Right groups among the complete ones. */
  readonly rightOfComplete: Share;
  /** Complete groups among those with at least one scored row. */
  readonly completeOfStarted: Share;
}

/** Scores of yes and no questions, "yes" being positive. An answer that is not right counts as the other one. */
export interface YesNoScores {
  readonly truePositives: number;
  readonly falseNegatives: number;
  readonly trueNegatives: number;
  readonly falsePositives: number;
  /** True positive rate, recall, sensitivity: what the authors' code calls precision. */
  readonly truePositiveRate: Share;
  /** True negative rate, specificity: what the authors' code calls recall. */
  readonly trueNegativeRate: Share;
  /** Mean of the two rates. */
  readonly balancedAccuracy: number | null;
  /** TP / (TP + FP), the usual precision. */
  readonly precision: number | null;
  /** 2 TP / (2 TP + FP + FN), the usual F1. */
  readonly f1: number | null;
  /** Harmonic mean of the two rates: what the authors' code calls f1. Null where both rates are 0. */
  readonly harmonicMeanOfRates: number | null;
}

/** Scores under one rule. */
export interface RuleScores {
  /** Number of rows that the rule could judge. */
  readonly n: number;
  readonly individual: Share;
  /** Null where the data set has no pairs. */
  readonly pairs: GroupScores | null;
  readonly sets: GroupScores | null;
  /** By relation or category; by right answer where the rows have neither. In the order of the options, then of the rows. */
  readonly byRelation: Readonly<Record<string, Share>>;
  /** Null unless the answers are yes and no. */
  readonly yesNo: YesNoScores | null;
}

/** The form of the answers' texts. */
export interface TextScores {
  readonly empty: Share;
  /** The text is an option and nothing else, apart from case, white space and a full stop at the end. */
  readonly bareOption: Share;
  /** The first word is an option. */
  readonly beginsWithOption: Share;
  /** Number of different options that occur as whole words. */
  readonly noOption: Share;
  readonly oneOption: Share;
  readonly severalOptions: Share;
}

/** Scores of a run. */
export interface RunScores {
  /** Number of answered rows. */
  readonly n: number;
  /** Null where the run has no texts. */
  readonly text: TextScores | null;
  /** The most frequent right answer among the answered rows, the first option of equally frequent ones. */
  readonly majority: { readonly answer: string | null; readonly share: Share };
  /** Null where the answers lack what the rule needs. */
  readonly rules: Readonly<Record<RuleName, RuleScores | null>>;
  /** The benchmark's own numbers; absent for data sets without any. */
  readonly benchmark?: BenchmarkScores;
}

/** A row and whether its answer is right. */
interface Judged {
  readonly question: Question;
  readonly isRight: boolean;
}

/** A share; `of` may be a fraction, such as half of an odd number of rows. */
export function share(count: number, of: number): Share {
  const isDefined = of > 0;
  return { count, of, fraction: isDefined ? count / of : null, percent: isDefined ? (100 * count) / of : null };
}

/**
 * Whether each answer is right under a rule, by position.
 * @param questions of the half, in its order
 * @returns null for positions that have no answer, or not what the rule needs.
 */
export function verdictsOf(
  run: RecordedRun,
  ruleName: RuleName,
  { questions, dataSet }: { readonly questions: readonly Question[]; readonly dataSet: DataSet },
): readonly (boolean | null)[] {
  const rule = at(
    RULES.filter(({ name }) => name === ruleName),
    0,
  );
  return run.answers.map((answer, position) =>
    answer === null ? null : rule.judge(answer, at(questions, position), dataSet),
  );
}

/**
 * Scores a run.
 * @param questions of the half, in its order
 */
export function scoreRun(run: RecordedRun, questions: readonly Question[], dataSet: DataSet): RunScores {
  const answered = run.answers.flatMap((answer, position) =>
    answer === null ? [] : [{ answer, question: at(questions, position) }],
  );
  const texts = answered.flatMap(({ answer: { text }, question }) => (text === null ? [] : [{ text, question }]));
  const rules = RULES.map(({ name }) => {
    const verdicts = verdictsOf(run, name, { questions, dataSet });
    const judged = verdicts.flatMap((isRight, position) =>
      isRight === null ? [] : [{ question: at(questions, position), isRight }],
    );
    return [name, judged.length === 0 ? null : scoreRule(judged, dataSet)] as const;
  });
  return {
    n: answered.length,
    text: texts.length === 0 ? null : scoreTexts(texts),
    majority: majorityOf(
      answered.map(({ question }) => question),
      dataSet,
    ),
    rules: Object.fromEntries(rules) as RunScores["rules"], // one entry per rule
    ...(dataSet.benchmark !== undefined && {
      benchmark: dataSet.benchmark.score(
        run.answers.map((answer, position) => ({ question: at(questions, position), text: answer?.text ?? null })),
      ),
    }),
  };
}

function scoreTexts(texts: readonly { readonly text: string; readonly question: Question }[]): TextScores {
  const shareOf = (holds: (text: string, question: Question) => boolean) =>
    share(texts.filter(({ text, question }) => holds(text, question)).length, texts.length);
  return {
    empty: shareOf((text) => text.trim() === ""),
    bareOption: shareOf((text, { options, choices = [] }) =>
      isBareOption(text, [...options, ...choices.map((choice) => choice.text.toLowerCase())]),
    ),
    beginsWithOption: shareOf(beginsWithAnswer),
    noOption: shareOf((text, question) => optionsNamed(text, question).length === 0),
    oneOption: shareOf((text, question) => optionsNamed(text, question).length === 1),
    severalOptions: shareOf((text, question) => optionsNamed(text, question).length > 1),
  };
}

/** A letter counts only alone or before punctuation: "A cup" begins with an article. */
function beginsWithAnswer(text: string, { options, choices }: Question): boolean {
  if (choices === undefined) return beginsWithOption(text, options);
  const [, letter] = /^\s*\(?([A-Z])(?:[.):,]|\s*$)/.exec(text) ?? [];
  const texts = choices.map((choice) => choice.text.toLowerCase());
  return (letter !== undefined && options.includes(letter.toLowerCase())) || beginsWithOption(text, texts);
}

function majorityOf(questions: readonly Question[], dataSet: DataSet): RunScores["majority"] {
  const golds = questions.flatMap(({ gold }) => (gold === "" ? [] : [gold.toLowerCase()]));
  let answer: string | null = null;
  let most = 0;
  for (const option of new Set([...dataSet.options, ...golds])) {
    const count = golds.filter((gold) => gold === option).length;
    if (count > most) [answer, most] = [option, count];
  }
  return { answer, share: share(most, golds.length) };
}

function scoreRule(rows: readonly Judged[], dataSet: DataSet): RuleScores {
  const [axis, otherAxis] = dataSet.pairAxes;
  const hasPairs = axis !== undefined && otherAxis !== undefined;
  return {
    n: rows.length,
    individual: share(rows.filter(({ isRight }) => isRight).length, rows.length),
    pairs: hasPairs ? scoreGroups(rows, dataSet.pairAxes) : null,
    sets: hasPairs ? scoreGroups(rows, [[...axis, ...otherAxis]]) : null,
    byRelation: scoreRelations(rows, dataSet),
    yesNo: areYesNo(
      rows.map(({ question }) => question),
      dataSet,
    )
      ? scoreYesNo(rows)
      : null,
  };
}

/**
 * Groups are the questions about one pair of objects with the relations of one kind: a kind has two relations for pairs and four
 * for sets. The denominator n/2 or n/4 is the number of groups that n rows would form if none were split between the halves.
 */
function scoreGroups(rows: readonly Judged[], kinds: readonly (readonly string[])[]): GroupScores {
  const byObjects = new Map<string, Judged[]>();
  for (const row of rows) {
    const key = objectPairOf(row.question);
    if (key === null) continue;
    byObjects.set(key, [...(byObjects.get(key) ?? []), row]);
  }
  let [right, complete, started] = [0, 0, 0];
  for (const ofObjects of byObjects.values()) {
    for (const relations of kinds) {
      const parts = relations.map((relation) => ofObjects.filter(({ question }) => question.relation === relation));
      if (parts.some((part) => part.length > 0)) started++;
      if (!parts.every((part) => part.length > 0)) continue;
      complete++;
      if (parts.every((part) => part.every(({ isRight }) => isRight))) right++;
    }
  }
  const size = kinds[0]?.length ?? 1;
  const numGroups = rows.length / size;
  return {
    right: share(right, numGroups),
    ceiling: share(complete, numGroups),
    rightOfComplete: share(right, complete),
    completeOfStarted: share(complete, started),
  };
}

function scoreRelations(rows: readonly Judged[], dataSet: DataSet): Readonly<Record<string, Share>> {
  return Object.fromEntries(
    [...byRelation(rows, dataSet)].map(([name, own]) => [
      name,
      share(own.filter(({ isRight }) => isRight).length, own.length),
    ]),
  );
}

/** Whether all questions are to be answered yes or no. */
export function areYesNo(questions: readonly Question[], { isYesNo }: DataSet): boolean {
  return isYesNo || (questions.length > 0 && questions.every(({ options }) => options.join() === "yes,no"));
}

/** Rows by relation or category, or by right answer where the rows have neither; in the order of the options, then of the rows. */
export function byRelation<Row extends { readonly question: Question }>(
  rows: readonly Row[],
  { options }: DataSet,
): ReadonlyMap<string, readonly Row[]> {
  const groups = new Map<string, Row[]>(options.map((option) => [option, []]));
  for (const row of rows) {
    const name = row.question.relation ?? row.question.category ?? row.question.gold.toLowerCase();
    const own = groups.get(name) ?? [];
    own.push(row);
    groups.set(name, own);
  }
  return new Map([...groups].filter(([, own]) => own.length > 0));
}

function scoreYesNo(rows: readonly Judged[]): YesNoScores {
  const isPositive = ({ question }: Judged) => question.gold.toLowerCase() === "yes";
  const positives = rows.filter(isPositive);
  const negatives = rows.filter((row) => !isPositive(row));
  const truePositives = positives.filter(({ isRight }) => isRight).length;
  const trueNegatives = negatives.filter(({ isRight }) => isRight).length;
  const falseNegatives = positives.length - truePositives;
  const falsePositives = negatives.length - trueNegatives;
  const truePositiveRate = share(truePositives, positives.length);
  const trueNegativeRate = share(trueNegatives, negatives.length);
  const [tpr, tnr] = [truePositiveRate.fraction, trueNegativeRate.fraction];
  const hasBoth = tpr !== null && tnr !== null;
  return {
    truePositives,
    falseNegatives,
    trueNegatives,
    falsePositives,
    truePositiveRate,
    trueNegativeRate,
    balancedAccuracy: hasBoth ? (tpr + tnr) / 2 : null,
    precision: share(truePositives, truePositives + falsePositives).fraction,
    f1: share(2 * truePositives, 2 * truePositives + falsePositives + falseNegatives).fraction,
    harmonicMeanOfRates: hasBoth && tpr + tnr > 0 ? (2 * tpr * tnr) / (tpr + tnr) : null,
  };
}
