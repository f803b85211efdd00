// Tunes ScalingVis and AdaptVis over the stored answers of a sweep: no model and no GPU.
//
// Settings are searched on the validation half and reported on the test half, beside those that were published, and beside the
// best ones of the test half itself, which bound what tuning can reach.
import { at, InputError } from "../errors.ts";
import { type AdaptVisSettings, chooseFactor } from "../interventions/adaptvis.ts";
import type { DataSet, Question } from "./datasets/dataset.ts";
import { BOOTSTRAP_DEFAULTS, type BootstrapInterval, clusteredBootstrap } from "./metrics/bootstrap.ts";
import { clusterOf, describeClusters } from "./metrics/question-clusters.ts";
import { comparePaired, PAIRED_DEFINITIONS, type PairedResult } from "./paired-test.ts";
import type { BootstrapFacts } from "./rescore.ts";
import { type Share, share, verdictsOf } from "./scores.ts";
import {
  CROSS_VALIDATION_DEFAULTS,
  CROSS_VALIDATION_DEFINITIONS,
  type CrossValidation,
  type CrossValidationOptions,
  crossValidate,
} from "./tuning/cross-validation.ts";
import { FORMAT_DEFINITIONS, type FormatGain, formatGains } from "./tuning/format-gain.ts";
import {
  ADAPTVIS_TIE_RULE,
  type AdaptVisChoice,
  BETA_RULE,
  chooseAdaptVis,
  chooseScaling,
  type FactorPair,
  pairsOf,
  SCALING_TIE_RULE,
  type ScalingChoice,
  type SweepVerdicts,
} from "./tuning/search.ts";
import { GREEDY_FACTOR, type SweepRows } from "./tuning/sweep-rows.ts";
import { type Answer, isBareOption, RULES, type RuleName } from "./verdicts.ts";

/** What to tune. */
export interface TuneRequest {
  readonly dataSet: DataSet;
  /** The rows that settings are chosen on; null where there are none, and then only folds are possible. */
  readonly validation: SweepRows | null;
  /** The rows that they are reported on; null where there are none. */
  readonly test: SweepRows | null;
  /** The rule that decides what is right in the search; the paper's by default. */
  readonly rule?: RuleName;
  /** How the gate compares the confidence with beta: rounded to two decimals, as the authors' code, or not. */
  readonly confidence?: "rounded" | "unrounded";
  /** Whether AdaptVis may take the unmodified answer on one side. */
  readonly withOne?: boolean;
  /** By default those of `CROSS_VALIDATION_DEFAULTS`. */
  readonly crossValidation?: Partial<CrossValidationOptions>;
}

/** The rows of a half. */
export interface HalfRows {
  readonly file: string;
  readonly numQuestions: number;
  /** Questions that are searched or reported. */
  readonly n: number;
  /** Ids of the others, each in the first list that applies. */
  readonly leftOut: {
    /** Without an answer under every factor. */
    readonly unanswered: readonly number[];
    /** With an answer that the rule cannot judge. */
    readonly unjudged: readonly number[];
    /** Without the confidence of the unmodified pass. */
    readonly withoutConfidence: readonly number[];
  };
}

/** Where the settings of a row of a report come from. */
export type SettingsOrigin = "unmodified" | "tuned" | "published" | "oracle";

/** A method with settings, judged on the rows of a half. */
export interface TunedMethod {
  readonly method: "greedy" | "scaling" | "adaptvis";
  /** tuned: on the validation half; oracle: on these rows themselves, a bound and not a result. */
  readonly origin: SettingsOrigin;
  /** Null for greedy, and where there are no settings to judge. */
  readonly settings: { readonly factor: number } | AdaptVisSettings | null;
  /** Why it is not judged; null where it is. */
  readonly reason: string | null;
  /** Questions that take alpha1; null but for AdaptVis. */
  readonly below: Share | null;
  /** By rule; null where the method is not judged, or the answers lack what the rule needs. */
  readonly rules: Readonly<Record<RuleName, MethodScore | null>>;
  /** Answers that are an option and nothing else; null where the method is not judged. */
  readonly bareOption: Share | null;
  /** Gain over greedy under the paper's rule; empty for greedy and where the method is not judged. */
  readonly format: readonly FormatGain[];
}

/** The right answers of a method under a rule. */
export interface MethodScore {
  readonly right: Share;
  /** Interval of the accuracy, clusters drawn with replacement. */
  readonly interval: BootstrapInterval;
  /** A is greedy, B this method; null for greedy. */
  readonly againstGreedy: PairedResult | null;
}

/** Accuracy under one factor. */
export interface CurvePoint {
  readonly factor: number;
  readonly validation: Readonly<Record<RuleName, Share | null>> | null;
  readonly test: Readonly<Record<RuleName, Share | null>> | null;
}

/** The result of a tuning, all of it plain JSON. */
export interface TuneReport {
  readonly dataSet: string;
  readonly rule: RuleName;
  readonly confidence: "rounded" | "unrounded";
  /** Ascending; 1 is the unmodified pass. */
  readonly factors: readonly number[];
  /** Pairs of alpha1 and alpha2 that were searched. */
  readonly pairs: readonly FactorPair[];
  /** Settings besides the factor that the sweep was answered with; null where the files do not say them. */
  readonly settings: Readonly<Record<string, unknown>> | null;
  readonly validation: HalfRows | null;
  readonly test: HalfRows | null;
  /** The choice on the validation half; null without it. */
  readonly scaling: ScalingChoice | null;
  readonly adaptvis: AdaptVisChoice | null;
  /** Why AdaptVis is not searched; null where it is. */
  readonly adaptvisReason: string | null;
  /** Why nothing is reported on a test half; null where it is. */
  readonly testReason: string | null;
  /** On the rows that the settings were chosen on. */
  readonly onValidation: readonly TunedMethod[];
  /** On rows that the settings were not chosen on, oracles apart. */
  readonly onTest: readonly TunedMethod[];
  readonly curve: readonly CurvePoint[];
  /** Over the rows of both halves. */
  readonly crossValidation: CrossValidation;
  readonly bootstrap: BootstrapFacts;
  readonly definitions: Readonly<Record<string, string>>;
  readonly notes: readonly string[];
}

/** The rows of a half that take part, and what is left out. */
interface JudgedRows {
  readonly questions: readonly Question[];
  /** Factor → [n]. */
  readonly answers: ReadonlyMap<number, readonly Answer[]>;
  readonly verdicts: SweepVerdicts;
  /** [n]; null where the rows have none. */
  readonly confidences: readonly number[] | null;
  readonly facts: HalfRows;
}

/**
 * Tunes ScalingVis and AdaptVis on the validation half of a sweep, and reports them on the test half.
 * @throws InputError when no half has rows that can be judged, for halves of different sweeps, or fewer clusters than folds.
 */
export function tuneSweep(request: TuneRequest): TuneReport {
  const { dataSet, rule = "paper", confidence = "rounded", withOne = false } = request;
  const given = [request.validation, request.test].filter((rows) => rows !== null);
  checkSame(given);
  const factors = commonFactors(given);
  if (factors.length < 2) {
    throw new InputError(
      `${given.map(({ file }) => file).join(" and ")}: expected answers under factors besides 1 in both halves, got ${factors.join(", ") || "none"}.`,
    );
  }
  const confidenceReason = missingConfidence(given, confidence);
  const pairs = pairsOf(factors, withOne);
  const pairReason =
    pairs.length > 0 ? null : `the sweep has no factor ${factors.some((factor) => factor < 1) ? "above" : "below"} 1`;
  const adaptvisReason = confidenceReason ?? pairReason;
  const judge = (rows: SweepRows | null) =>
    rows === null
      ? null
      : judgeRows(rows, { dataSet, rule, factors, confidence: confidenceReason === null ? confidence : null });
  const [validation, test] = [judge(request.validation), judge(request.test)];
  const search = (rows: JudgedRows) => ({
    scaling: chooseScaling(rows.verdicts),
    adaptvis:
      adaptvisReason !== null || rows.confidences === null
        ? null
        : chooseAdaptVis(rows.verdicts, rows.confidences, { pairs }),
  });
  const tuned = validation === null ? null : search(validation);
  const describe = (rows: JudgedRows, oracle: Found | null) =>
    methodsOn(rows, { dataSet, factors, tuned, oracle, adaptvisReason });
  const all = [validation, test].filter((rows) => rows !== null);
  return {
    dataSet: dataSet.name,
    rule,
    confidence,
    factors,
    pairs: adaptvisReason === null ? pairs : [],
    settings: given.find(({ settings }) => settings !== null)?.settings ?? null,
    validation: validation?.facts ?? null,
    test: test?.facts ?? null,
    scaling: tuned?.scaling ?? null,
    adaptvis: tuned?.adaptvis ?? null,
    adaptvisReason,
    testReason: whyNoTest(request),
    onValidation: validation === null ? [] : describe(validation, null),
    onTest: test === null || tuned === null ? [] : describe(test, search(test)),
    curve: factors.map((factor) => ({
      factor,
      validation: validation === null ? null : sharesOf(validation, factor, dataSet),
      test: test === null ? null : sharesOf(test, factor, dataSet),
    })),
    crossValidation: acrossFolds(all, { pairs, options: { ...CROSS_VALIDATION_DEFAULTS, ...request.crossValidation } }),
    bootstrap: {
      ...BOOTSTRAP_DEFAULTS,
      clusters: describeClusters(
        all.flatMap(({ questions }) => questions),
        dataSet,
      ),
    },
    definitions: definitionsFor(dataSet),
    notes: notesOn(given, factors, { validation, test }),
  };
}

interface Found {
  readonly scaling: ScalingChoice;
  readonly adaptvis: AdaptVisChoice | null;
}

/** Checks that two halves belong to one sweep. @throws InputError when their other settings differ, or a question is in both. */
function checkSame(halves: readonly SweepRows[]): void {
  const [a, b] = halves;
  if (a === undefined) throw new InputError("Nothing to tune: expected the rows of the validation or the test half.");
  if (b === undefined || a.settings === null || b.settings === null) return;
  const [ofA, ofB] = [JSON.stringify(a.settings), JSON.stringify(b.settings)];
  if (ofA === ofB) return;
  throw new InputError(
    `${a.file} and ${b.file} were answered with different settings, ${ofA} and ${ofB}: settings that are tuned on one say nothing about the other.`,
  );
}

function commonFactors(halves: readonly SweepRows[]): readonly number[] {
  const own = halves.map(({ arms }) => arms.map(({ factor }) => factor));
  return (own[0] ?? []).filter((factor) => own.every((factors) => factors.includes(factor)));
}

/** Why no confidence can be compared with beta; null where it can. */
function missingConfidence(halves: readonly SweepRows[], kind: "rounded" | "unrounded"): string | null {
  const without = halves.find((rows) => rows[kind].every((value) => value === null));
  if (without === undefined) return null;
  return kind === "unrounded" && without.rounded.some((value) => value !== null)
    ? `${without.file} has only rounded confidences`
    : `${without.file} has no confidence of the first token in the unmodified pass`;
}

function judgeRows(
  rows: SweepRows,
  of: {
    readonly dataSet: DataSet;
    readonly rule: RuleName;
    readonly factors: readonly number[];
    /** Null where rows without confidence take part. */
    readonly confidence: "rounded" | "unrounded" | null;
  },
): JudgedRows {
  const { dataSet, rule, factors } = of;
  const arms = rows.arms.filter(({ factor }) => factors.includes(factor));
  const verdicts = arms.map((arm) => verdictsOf({ ...arm, meaning: "" }, rule, { questions: rows.questions, dataSet }));
  const confidences = of.confidence === null ? null : rows[of.confidence];
  const leftOut = { unanswered: [] as number[], unjudged: [] as number[], withoutConfidence: [] as number[] };
  const places = rows.questions.flatMap(({ id }, place) => {
    const list = arms.some(({ answers }) => at(answers, place) === null)
      ? leftOut.unanswered
      : verdicts.some((own) => at(own, place) === null)
        ? leftOut.unjudged
        : confidences !== null && at(confidences, place) === null
          ? leftOut.withoutConfidence
          : null;
    list?.push(id);
    return list === null ? [place] : [];
  });
  const facts = { file: rows.file, numQuestions: rows.questions.length, n: places.length, leftOut };
  if (places.length === 0) throw new InputError(nothingLeft(facts, rule));
  const present = <T>(values: readonly (T | null)[]) =>
    places.flatMap((place) => {
      const value = at(values, place);
      return value === null ? [] : [value];
    });
  return {
    questions: places.map((place) => at(rows.questions, place)),
    answers: new Map(arms.map(({ factor, answers }) => [factor, present(answers)])),
    verdicts: new Map(arms.map(({ factor }, index) => [factor, present(at(verdicts, index))])),
    confidences: confidences === null ? null : present(confidences),
    facts,
  };
}

function nothingLeft({ file, numQuestions, leftOut }: HalfRows, rule: RuleName): string {
  const { unanswered, unjudged, withoutConfidence } = leftOut;
  return (
    `${file} has nothing to tune on: of ${numQuestions} questions, ${unanswered.length} lack an answer under some factor, ` +
    `${unjudged.length} cannot be judged by the rule ${rule}, and ${withoutConfidence.length} have no confidence.`
  );
}

function methodsOn(
  rows: JudgedRows,
  of: {
    readonly dataSet: DataSet;
    readonly factors: readonly number[];
    readonly tuned: Found | null;
    readonly oracle: Found | null;
    readonly adaptvisReason: string | null;
  },
): readonly TunedMethod[] {
  const { dataSet, factors, tuned, oracle, adaptvisReason } = of;
  const context = { rows, dataSet, factors, adaptvisReason };
  const { published } = dataSet;
  return [
    describeMethod({ method: "greedy", origin: "unmodified", settings: null }, context),
    ...(tuned === null ? [] : bothMethods("tuned", tuned, context)),
    ...(published === null
      ? []
      : [
          describeMethod({ method: "scaling", origin: "published", settings: { factor: published.factor } }, context),
          describeMethod({ method: "adaptvis", origin: "published", settings: published.adaptvis }, context),
        ]),
    ...(oracle === null ? [] : bothMethods("oracle", oracle, context)),
  ];
}

interface MethodContext {
  readonly rows: JudgedRows;
  readonly dataSet: DataSet;
  readonly factors: readonly number[];
  readonly adaptvisReason: string | null;
}

function bothMethods(
  origin: SettingsOrigin,
  { scaling: { factor }, adaptvis }: Found,
  context: MethodContext,
): readonly TunedMethod[] {
  const settings = adaptvis === null ? null : { alpha1: adaptvis.alpha1, alpha2: adaptvis.alpha2, beta: adaptvis.beta };
  return [
    describeMethod({ method: "scaling", origin, settings: { factor } }, context),
    describeMethod({ method: "adaptvis", origin, settings }, context),
  ];
}

function describeMethod(
  named: Pick<TunedMethod, "method" | "origin" | "settings">,
  { rows, dataSet, factors, adaptvisReason }: MethodContext,
): TunedMethod {
  const { questions, confidences } = rows;
  const { settings } = named;
  const needed = settings === null ? [] : "factor" in settings ? [settings.factor] : [settings.alpha1, settings.alpha2];
  const absent = needed.filter((factor) => !factors.includes(factor));
  const reason =
    named.method === "adaptvis" && (adaptvisReason !== null || confidences === null)
      ? adaptvisReason
      : absent.length > 0
        ? `the sweep has no factor ${absent.join(" and ")}`
        : null;
  if (reason !== null) {
    const none = RULES.map(({ name }) => [name, null]);
    return { ...named, reason, below: null, rules: Object.fromEntries(none), bareOption: null, format: [] };
  }
  const isGate = settings !== null && !("factor" in settings);
  const factorAt = (place: number): number =>
    settings === null
      ? GREEDY_FACTOR
      : "factor" in settings
        ? settings.factor
        : chooseFactor(at(confidences ?? [], place), settings);
  const answers = questions.map((_, place) => answerAt(rows, factorAt(place), place));
  const greedy = questions.map((_, place) => answerAt(rows, GREEDY_FACTOR, place));
  const isGreedy = named.method === "greedy";
  const rules = RULES.map(({ name }) => [
    name,
    scoreOf(answers, isGreedy ? null : greedy, { name, questions, dataSet }),
  ]);
  const numBelow = isGate ? questions.filter((_, place) => at(confidences ?? [], place) < settings.beta).length : 0;
  const texts = answers.flatMap(({ text }, place) =>
    text === null ? [] : [{ text, options: at(questions, place).options }],
  );
  const numBare = texts.filter(({ text, options }) => isBareOption(text, options)).length;
  return {
    ...named,
    reason: null,
    below: isGate ? share(numBelow, questions.length) : null,
    rules: Object.fromEntries(rules) as TunedMethod["rules"], // one entry per rule
    bareOption: share(numBare, texts.length),
    format: isGreedy ? [] : formatGains(greedy, answers, { questions, dataSet }),
  };
}

function answerAt({ answers }: JudgedRows, factor: number, place: number): Answer {
  return at(answers.get(factor) ?? [], place);
}

/** The score of answers under a rule; null where it can judge none. */
function scoreOf(
  answers: readonly Answer[],
  greedy: readonly Answer[] | null,
  of: { readonly name: RuleName; readonly questions: readonly Question[]; readonly dataSet: DataSet },
): MethodScore | null {
  const { name, questions } = of;
  const judge = (own: readonly Answer[]) => verdictsOf({ name, meaning: "", factor: null, answers: own }, name, of);
  const verdicts = judge(answers);
  const judged = verdicts.flatMap((isRight, place) =>
    isRight === null ? [] : [{ isRight, cluster: clusterOf(at(questions, place)) }],
  );
  const interval = clusteredBootstrap(
    judged.map(({ isRight }) => Number(isRight)),
    judged.map(({ cluster }) => cluster),
  );
  if (interval === null) return null;
  return {
    right: share(judged.filter(({ isRight }) => isRight).length, judged.length),
    interval,
    againstGreedy: greedy === null ? null : comparePaired(judge(greedy), verdicts, questions),
  };
}

function sharesOf(
  { questions, answers }: JudgedRows,
  factor: number,
  dataSet: DataSet,
): Readonly<Record<RuleName, Share | null>> {
  const own = answers.get(factor) ?? [];
  const shares = RULES.map(({ name }) => {
    const verdicts = verdictsOf({ name, meaning: "", factor, answers: own }, name, { questions, dataSet });
    const judged = verdicts.filter((verdict) => verdict !== null);
    return [name, judged.length === 0 ? null : share(judged.filter((isRight) => isRight).length, judged.length)];
  });
  return Object.fromEntries(shares) as Record<RuleName, Share | null>; // one entry per rule
}

function acrossFolds(
  halves: readonly JudgedRows[],
  { pairs, options }: { readonly pairs: readonly FactorPair[]; readonly options: CrossValidationOptions },
): CrossValidation {
  const factors = [...at(halves, 0).verdicts.keys()];
  const confidences = halves.map((half) => half.confidences);
  return crossValidate(
    {
      verdicts: new Map(
        factors.map((factor) => [factor, halves.flatMap(({ verdicts }) => verdicts.get(factor) ?? [])]),
      ),
      confidences: confidences.some((own) => own === null) ? null : confidences.flatMap((own) => own ?? []),
      pairs,
      // Two halves may be two files, with the same ids for different questions.
      clusters: halves.flatMap(({ questions }, half) =>
        questions.map((question) => {
          const cluster = clusterOf(question);
          return typeof cluster === "string" ? cluster : `${half}: ${cluster}`;
        }),
      ),
    },
    options,
  );
}

function whyNoTest({ validation, test }: TuneRequest): string | null {
  if (test === null) return "Only the validation half is there, so that there is no test half to report on.";
  return validation === null ? "Only the test half is there: settings must not be chosen on it." : null;
}

function notesOn(
  given: readonly SweepRows[],
  factors: readonly number[],
  halves: Readonly<Record<"validation" | "test", JudgedRows | null>>,
): readonly string[] {
  const ofFiles = given.flatMap(({ file, notes, arms }) => {
    const others = arms.map(({ factor }) => factor).filter((factor) => !factors.includes(factor));
    const uncommon = others.length === 0 ? [] : [`Factors that the other half lacks, left out: ${others.join(", ")}.`];
    return [...notes, ...uncommon].map((note) => `${file}: ${note}`);
  });
  const leftOut = Object.entries(halves).flatMap(([half, rows]) => {
    if (rows === null) return [];
    const { file, leftOut: own } = rows.facts;
    return Object.entries({
      "Questions without an answer under every factor": own.unanswered,
      "Questions that the rule cannot judge": own.unjudged,
      "Questions without a confidence": own.withoutConfidence,
    }).flatMap(([what, ids]) => (ids.length === 0 ? [] : [`${file}, ${half} half: ${what}, left out: ${ids.length}.`]));
  });
  return [...new Set([...ofFiles, ...leftOut])];
}

function definitionsFor(dataSet: DataSet): Readonly<Record<string, string>> {
  return {
    ...Object.fromEntries(RULES.map(({ name, definition }) => [`rule ${name}`, definition(dataSet)])),
    tuned: "Settings with the most right answers on the validation half under the rule of the search.",
    published: "Settings that the method's authors published for this data set and LLaVA-1.5-7B.",
    oracle:
      "Settings with the most right answers on the test half itself: an upper bound of what tuning can reach, not a result to quote.",
    pairs: "alpha1 < 1 < alpha2, both from the sweep; with 1 on one side only where that was asked for.",
    betas: BETA_RULE,
    "ties of scaling": SCALING_TIE_RULE,
    "ties of adaptvis": ADAPTVIS_TIE_RULE,
    plateau: "Betas above `above` and at most `upTo` give the same number of right answers on the validation half.",
    below: "Questions whose confidence is below beta, and which take alpha1.",
    interval:
      "Bootstrap interval of the accuracy with these settings; that other validation questions would give other settings is not in it, see crossValidation.",
    bareOption: "Answers that are an option and nothing else, apart from case, white space and a full stop at the end.",
    ...PAIRED_DEFINITIONS,
    ...FORMAT_DEFINITIONS,
    ...CROSS_VALIDATION_DEFINITIONS,
  };
}
