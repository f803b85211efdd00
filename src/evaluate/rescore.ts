// Applies the rules to recorded answers anew: no model and no GPU.

import { at, InputError } from "../errors.ts";
import type { AdaptVisSettings } from "../interventions/adaptvis.ts";
import type { ConfidenceField } from "./answers/confidence-fields.ts";
import type { NamedResult } from "./answers/file-names.ts";
import { type PromptCheck, readAnswers } from "./answers/read-answers.ts";
import { type AnswerForm, type Half, isEmptyRun, type RecordedRun } from "./answers/recorded.ts";
import { compareVerdicts, type OwnRun, readVerdictFile, type VerdictComparison } from "./answers/verdict-files.ts";
import type { DataSet, Question } from "./datasets/dataset.ts";
import { readQuestions } from "./datasets/question-files.ts";
import { applyGate, type BelowBeta, countBelow } from "./gate.ts";
import { BOOTSTRAP_DEFAULTS } from "./metrics/bootstrap.ts";
import { describeClusters } from "./metrics/question-clusters.ts";
import { comparePaired, PAIRED_DEFINITIONS, type PairedResult } from "./paired-test.ts";
import { split } from "./python-random.ts";
import { confidencesFor, METRIC_DEFINITIONS, measureRun, type RunMetrics } from "./run-metrics.ts";
import { areYesNo, type RunScores, scoreRun, verdictsOf } from "./scores.ts";
import { RULES, type RuleName } from "./verdicts.ts";

/** A part of a data set: one of the halves, or all rows. */
export type SplitName = (typeof SPLITS)[number];

/** The parts of a data set. */
export const SPLITS = ["test", "validation", "all"] as const;

/** A file as it was read. */
export interface NamedText {
  readonly name: string;
  readonly text: string;
}

/** One file of recorded answers with what is known about it. */
export interface AnswersInput extends NamedText {
  /** Verdicts that were recorded beside the answers. */
  readonly scores?: NamedText;
  /** What the file's name says. */
  readonly named: NamedResult | null;
  /** Settings of the gate. */
  readonly gate: AdaptVisSettings;
}

/** What to rescore. */
export interface RescoreRequest {
  readonly dataSet: DataSet;
  readonly split: SplitName;
  readonly questions: NamedText;
  readonly answers: readonly AnswersInput[];
  /** Ids of the validation half in place of those that CPython's random.sample gives. */
  readonly validationIds?: readonly number[];
  /** What else the report's notes should say, one sentence each. */
  readonly notes?: readonly string[];
}

/** A run and its scores. */
export interface ScoredRun extends RunScores {
  readonly run: string;
  readonly meaning: string;
  readonly factor: number | null;
  readonly metrics: RunMetrics;
}

/** A run that is not scored, and why. */
export interface RefusedRun {
  readonly run: string;
  readonly reason: string;
}

/** The report on one file of answers. */
export interface FileReport {
  readonly file: string;
  readonly named: NamedResult | null;
  readonly form: AnswerForm;
  /** Number of answered questions, and of questions in the half. */
  readonly n: number;
  readonly expected: number;
  readonly isComplete: boolean;
  /** Requests that failed, by kind: counted, never scored. */
  readonly failed: Readonly<Record<string, number>>;
  readonly prompts: PromptCheck;
  readonly confidence: {
    readonly roundedField: string | null;
    readonly unroundedField: string | null;
    /** The field that the runs' metrics take the confidence from. */
    readonly metricsField: string | null;
    readonly belowBeta: BelowBeta | null;
    readonly fields: readonly ConfidenceField[];
  };
  readonly gate: AdaptVisSettings & {
    /** Name of the run of the gate; null where it could not be applied. */
    readonly run: string | null;
    readonly reason: string | null;
    /** Rows whose recorded gated answer is that of the gate applied anew; null without either. */
    readonly equalToRecorded: { readonly count: number; readonly of: number } | null;
  };
  readonly runs: readonly ScoredRun[];
  readonly refused: readonly RefusedRun[];
  readonly recordedScores: (VerdictComparison & { readonly file: string }) | null;
  readonly notes: readonly string[];
}

/** Two runs compared under one rule, over the questions that both answer. */
export interface PairedTest extends PairedResult {
  readonly a: RunName;
  readonly b: RunName;
  readonly rule: RuleName;
}

/** A run of a file. */
export interface RunName {
  readonly file: string;
  readonly run: string;
}

/** The result of a rescoring, all of it plain JSON. */
export interface RescoreReport {
  readonly dataSet: string;
  readonly options: readonly string[];
  readonly split: {
    readonly name: SplitName;
    readonly numQuestions: number;
    readonly numValidation: number;
    readonly numTest: number;
    /** Number of questions that answers can belong to. */
    readonly numExpected: number;
    /** Whether the validation half is that of CPython's random.sample. */
    readonly isPapers: boolean;
  };
  readonly published: DataSet["published"];
  /** How every interval of the report was computed. */
  readonly bootstrap: BootstrapFacts;
  /** What the names in the report mean. */
  readonly definitions: Readonly<Record<string, string>>;
  readonly files: readonly FileReport[];
  readonly mcNemar: readonly PairedTest[];
  readonly notes: readonly string[];
}

/** How intervals were computed. */
export interface BootstrapFacts {
  readonly numResamples: number;
  /** Share of the resampled means that an interval contains. */
  readonly level: number;
  /** Seed of the random numbers. */
  readonly seed: number;
  /** What a cluster is. */
  readonly clusters: string;
}

interface RescoredFile {
  readonly report: FileReport;
  readonly runs: readonly RecordedRun[];
}

/**
 * Rescores recorded answers.
 * @throws InputError when a file cannot be read, or does not belong to the questions, or has only empty answers.
 */
export function rescore(request: RescoreRequest): RescoreReport {
  const { dataSet } = request;
  const questions = readQuestions(request.questions.text, request.questions.name, dataSet);
  const { numRows, pairAxes } = dataSet;
  const validation = request.validationIds ?? split(questions.length).validation;
  checkIds(validation, questions.length);
  const isValidation = new Set(validation);
  const test = questions.flatMap(({ id }) => (isValidation.has(id) ? [] : [id]));
  const ids = { test, validation, all: questions.map(({ id }) => id) }[request.split];
  const half: Half = { ids, name: nameOfHalf(request.split, dataSet) };
  const ofHalf = ids.map((id) => at(questions, id));
  const context = { dataSet, questions, half, ofHalf };
  const files = request.answers.map((input) => rescoreFile(input, context));
  const unanswered = ofHalf.filter(({ gold }) => gold === "");
  const strangers = ofHalf.filter(({ gold, options }) => gold !== "" && !options.includes(gold.toLowerCase()));
  const pairless = pairAxes.length === 0 ? [] : ofHalf.filter(({ objects }) => (objects?.second ?? null) === null);
  return {
    dataSet: dataSet.name,
    options: dataSet.options,
    split: {
      name: request.split,
      numQuestions: questions.length,
      numValidation: validation.length,
      numTest: test.length,
      numExpected: ids.length,
      isPapers: validation.join() === split(questions.length).validation.join(),
    },
    published: dataSet.published,
    bootstrap: { ...BOOTSTRAP_DEFAULTS, clusters: describeClusters(ofHalf, dataSet) },
    definitions: definitionsFor(dataSet, ofHalf),
    files: files.map(({ report }) => report),
    mcNemar: pairedTests(files, ofHalf, dataSet),
    notes: [
      ...(request.notes ?? []),
      ...(numRows === undefined || numRows === questions.length
        ? []
        : [
            `${request.questions.name} has ${questions.length} rows where ${dataSet.name} has ${numRows}: the halves are those of ${questions.length} rows.`,
          ]),
      ...(strangers.length === 0
        ? []
        : [
            `Right answers that are not options of ${dataSet.name}: ${strangers.length}, such as ${JSON.stringify(strangers[0]?.gold)}.`,
          ]),
      ...(unanswered.length === 0
        ? []
        : [`Questions without a right answer, whose answers no rule judges: ${unanswered.length}.`]),
      ...(pairless.length === 0
        ? []
        : [`Questions that do not name two objects, and so belong to no pair or set: ${pairless.length}.`]),
    ],
  };
}

/** A part of a data set's questions; the validation half is that of CPython's random.sample. */
export function halfOf(of: {
  readonly dataSet: DataSet;
  readonly questions: readonly Question[];
  readonly split: SplitName;
}): Half {
  return { ids: idsOfSplit(of.split, of.questions.length), name: nameOfHalf(of.split, of.dataSet) };
}

function nameOfHalf(name: SplitName, dataSet: DataSet): string {
  return name === "all" ? `the whole of ${dataSet.name}` : `the ${name} half of ${dataSet.name}`;
}

/** Ids of a part of a data set of so many rows, ascending; the validation half is that of CPython's random.sample. */
export function idsOfSplit(name: SplitName, numRows: number): readonly number[] {
  return name === "all" ? Array.from({ length: numRows }, (_, id) => id) : split(numRows)[name];
}

function checkIds(ids: readonly number[], numQuestions: number): void {
  const last = ids.at(-1);
  if (last === undefined || last < numQuestions) return;
  throw new InputError(
    `The validation ids go up to ${last}, but the question file has ${numQuestions} rows: they do not belong together.`,
  );
}

function rescoreFile(
  input: AnswersInput,
  context: {
    readonly dataSet: DataSet;
    readonly questions: readonly Question[];
    readonly half: Half;
    readonly ofHalf: readonly Question[];
  },
): RescoredFile {
  const { dataSet, half, ofHalf } = context;
  const recorded = readAnswers(input.text, input.name, context);
  const gated = applyGate(recorded, input.gate);
  const all = gated.run === null ? recorded.runs : [...recorded.runs, gated.run];
  const refused = all.filter(isEmptyRun).map(({ name }) => ({ run: name, reason: EMPTY_REASON }));
  const runs = all.filter((run) => !isEmptyRun(run));
  if (runs.every(({ answers }) => answers.every((answer) => answer === null || answer.text === null))) {
    throw new InputError(
      recorded.numAnswered === 0
        ? `${input.name}: every request failed, so there is nothing to score; ask the questions again.`
        : `${input.name}: ${EMPTY_REASON}; ask the questions again.`,
    );
  }
  const kept = recorded.runs.find(({ name }) => name === "gated");
  const { field: metricsField, values: confidences } = confidencesFor(recorded.confidences);
  const scored = runs.map((run) => {
    const { name, meaning, factor } = run;
    const metrics = measureRun(run, ofHalf, { dataSet, confidences });
    return { run: name, meaning, factor, ...scoreRun(run, ofHalf, dataSet), metrics };
  });
  const numMissing = half.ids.length - recorded.numAnswered;
  const failed = Object.values(recorded.failed).reduce((sum, count) => sum + count, 0);
  return {
    runs,
    report: {
      file: input.name,
      named: input.named,
      form: recorded.form,
      n: recorded.numAnswered,
      expected: half.ids.length,
      isComplete: numMissing === 0,
      failed: recorded.failed,
      prompts: recorded.promptCheck,
      confidence: {
        roundedField: recorded.confidences.roundedField,
        unroundedField: recorded.confidences.unroundedField,
        metricsField,
        belowBeta: countBelow(recorded.confidences, input.gate.beta),
        fields: recorded.confidences.fields,
      },
      gate: {
        ...input.gate,
        run: gated.run?.name ?? null,
        reason: gated.reason,
        equalToRecorded: gated.run === null || kept === undefined ? null : equalTexts(gated.run, kept),
      },
      runs: scored,
      refused,
      recordedScores: compareRecorded(input, { runs, scored, numRows: recorded.numAnswered }, context),
      notes: [
        ...(numMissing > 0 ? [`Answered questions: ${recorded.numAnswered} of ${half.ids.length}.`] : []),
        ...(failed > 0 ? [`Failed requests: ${failed}, counted but not scored.`] : []),
        ...recorded.notes,
      ],
    },
  };
}

const EMPTY_REASON = "every answer is empty, as of a model that could not generate";

function equalTexts(a: RecordedRun, b: RecordedRun): { readonly count: number; readonly of: number } {
  const count = a.answers.filter((answer, position) => answer?.text === b.answers[position]?.text).length;
  return { count, of: a.answers.length };
}

function compareRecorded(
  { scores }: AnswersInput,
  own: { readonly runs: readonly RecordedRun[]; readonly scored: readonly ScoredRun[]; readonly numRows: number },
  { dataSet, half, ofHalf }: { readonly dataSet: DataSet; readonly half: Half; readonly ofHalf: readonly Question[] },
): FileReport["recordedScores"] {
  if (scores === undefined) return null;
  const hasPairs = dataSet.pairAxes.length > 0;
  const runs = own.runs.flatMap((run, index): readonly OwnRun[] => {
    const rule = at(own.scored, index).rules.paper;
    if (rule === null) return [];
    const { yesNo } = rule;
    return [
      {
        name: run.name,
        verdicts: verdictsOf(run, "paper", { questions: ofHalf, dataSet }),
        individual: hasPairs ? rule.individual.percent : rule.individual.fraction,
        pair: rule.pairs?.right.percent ?? null,
        set: rule.sets?.right.percent ?? null,
        rates:
          yesNo === null
            ? null
            : {
                positive: yesNo.truePositiveRate.fraction,
                negative: yesNo.trueNegativeRate.fraction,
                mean: yesNo.harmonicMeanOfRates,
              },
      },
    ];
  });
  const names = [dataSet.name, ...dataSet.aliases];
  const comparison = compareVerdicts(readVerdictFile(scores.text, scores.name), runs, {
    numRows: own.numRows,
    numExpected: half.ids.length,
    isNamed: (name) => names.includes(name),
  });
  return { file: scores.name, ...comparison };
}

function pairedTests(
  files: readonly RescoredFile[],
  questions: readonly Question[],
  dataSet: DataSet,
): readonly PairedTest[] {
  const runs = files.flatMap(({ report, runs: own }) => own.map((run) => ({ file: report.file, run })));
  return RULES.flatMap(({ name: rule }) => {
    const judged = runs.map(({ file, run }) => ({
      name: { file, run: run.name },
      verdicts: verdictsOf(run, rule, { questions, dataSet }),
    }));
    return judged.flatMap((a, index) =>
      judged.slice(index + 1).flatMap((b) => {
        const result = comparePaired(a.verdicts, b.verdicts, questions);
        return result === null ? [] : [{ a: a.name, b: b.name, rule, ...result }];
      }),
    );
  });
}

/** What the names in a report mean. */
function definitionsFor(dataSet: DataSet, questions: readonly Question[]): Readonly<Record<string, string>> {
  const rules = RULES.map(({ name, definition }) => [`rule ${name}`, definition(dataSet)] as const);
  const axes = dataSet.pairAxes.map((axis) => axis.join(" and "));
  return {
    ...Object.fromEntries(rules),
    share: "count of all: fraction = count / of, percent = 100 · count / of; null where of is 0.",
    individual: "Right answers of all answered rows.",
    ...(axes.length > 0 && {
      pairs: `100 · (${axes.map((axis) => `number of object pairs whose ${axis} questions are all right`).join(" + ")}) / (n/2) percent. The objects are those of the question's text, in their order.`,
      sets: "100 · (number of object pairs whose questions with all four relations are right) / (n/4) percent.",
      ceiling:
        "Pairs or sets that are complete among the scored rows, of n/2 or n/4: the halves separate questions about the same objects, so 100 % cannot be reached.",
      rightOfComplete: "Right pairs or sets among the complete ones.",
      completeOfStarted: "Complete pairs or sets among those with at least one scored row.",
    }),
    ...(dataSet.benchmark !== undefined && { benchmark: dataSet.benchmark.definition }),
    ...(areYesNo(questions, dataSet) && {
      yesNo: `"Yes" is positive. An answer that is not right counts as the other one, also where it says neither. ${
        dataSet.authorsRule.title === undefined
          ? "The authors' code calls truePositiveRate precision, trueNegativeRate recall and harmonicMeanOfRates f1; f1 here is the usual one, 2 TP / (2 TP + FP + FN)."
          : "f1 is 2 TP / (2 TP + FP + FN)."
      }`,
    }),
    majority: "The share of the most frequent right answer: what always giving this answer scores.",
    bareOption: "Answers that are an option and nothing else, apart from case, white space and a full stop at the end.",
    belowBeta:
      "Rows whose confidence, the largest probability of the first token over the vocabulary, is below beta: rounded to two decimals, halves to even, as the gate compares it; and unrounded.",
    ...PAIRED_DEFINITIONS,
    ...METRIC_DEFINITIONS,
  };
}
