// How much tuned settings, and the accuracy that they reach on other questions, vary with the questions that they are tuned on.
import { at, InputError } from "../../errors.ts";
import { type AdaptVisSettings, chooseFactor } from "../../interventions/adaptvis.ts";
import { RandomIndices } from "../metrics/bootstrap.ts";
import { chooseAdaptVis, chooseScaling, type FactorPair, type SweepVerdicts } from "./search.ts";

/** How the questions are divided. */
export interface CrossValidationOptions {
  /** Number of parts; each is held out once. */
  readonly numFolds: number;
  /** Number of random divisions. */
  readonly numRepeats: number;
  /** Seed of the first division; the others have the numbers after it. */
  readonly seed: number;
}

/** The options unless others are given. */
export const CROSS_VALIDATION_DEFAULTS: CrossValidationOptions = { numFolds: 5, numRepeats: 10, seed: 0 };

/** A mean and its sample standard deviation, which is null for a single value. */
export interface Spread {
  readonly mean: number;
  readonly deviation: number | null;
}

/** Settings and in how many folds they were the best. */
export interface ChosenSettings<Settings> {
  readonly settings: Settings;
  readonly count: number;
}

/** A method tuned on all folds but one and judged on that one. */
export interface HeldOut<Settings> {
  /** Accuracy on a held-out fold, 0 to 1; over all folds of all divisions. */
  readonly accuracy: Spread;
  /** The same minus the accuracy of the unmodified pass on the fold. */
  readonly gain: Spread;
  /** Share of right answers over all held-out folds of a division, which are all questions; over the divisions. */
  readonly pooled: Spread;
  /** Most frequent first. */
  readonly chosen: readonly ChosenSettings<Settings>[];
}

/** One fold of one division. */
export interface FoldResult {
  readonly seed: number;
  readonly fold: number;
  /** Number of held-out questions and their right answers. */
  readonly n: number;
  readonly greedy: number;
  readonly scaling: number;
  readonly adaptvis: number | null;
  readonly factor: number;
  readonly settings: AdaptVisSettings | null;
}

/** The result of a cross-validation. */
export interface CrossValidation extends CrossValidationOptions {
  readonly numQuestions: number;
  readonly numClusters: number;
  readonly greedy: { readonly accuracy: Spread };
  readonly scaling: HeldOut<number>;
  /** Null where AdaptVis cannot be searched. */
  readonly adaptvis: HeldOut<AdaptVisSettings> | null;
  readonly folds: readonly FoldResult[];
}

/** Questions of a sweep. */
export interface CrossValidationRows {
  /** Factor 1, the unmodified pass, is among them. */
  readonly verdicts: SweepVerdicts;
  /** [n]; null where AdaptVis cannot be searched. */
  readonly confidences: readonly number[] | null;
  readonly pairs: readonly FactorPair[];
  /** [n], the cluster of each question: all of one are in the same fold. */
  readonly clusters: readonly string[];
}

/** What the members of a {@link CrossValidation} mean, in one sentence each. */
export const CROSS_VALIDATION_DEFINITIONS = {
  crossValidation:
    "Per division, the clusters are shuffled (Fisher and Yates, xoshiro128** with the division's seed) and dealt to the folds in turn; settings are tuned on all folds but one and judged on that one.",
  accuracy: "Accuracy on a held-out fold: mean and sample standard deviation over all folds of all divisions.",
  pooled:
    "Right answers over all held-out folds of a division, of all questions: mean and standard deviation over divisions.",
  chosen: "In how many folds these settings were chosen.",
} as const;

/**
 * Tunes and judges on random folds.
 * @throws InputError for options out of range, or fewer clusters than folds.
 */
export function crossValidate(rows: CrossValidationRows, options: CrossValidationOptions): CrossValidation {
  const { numFolds, numRepeats, seed } = options;
  const numClusters = new Set(rows.clusters).size;
  checkOptions(options, numClusters);
  const folds = Array.from({ length: numRepeats }, (_, repeat) => {
    const foldOf = dealClusters(rows.clusters, { numFolds, seed: seed + repeat });
    return Array.from({ length: numFolds }, (__, fold) => runFold(rows, foldOf, { fold, seed: seed + repeat }));
  }).flat();
  const adaptvis = folds.flatMap(({ adaptvis: right, settings, ...fold }) =>
    right === null || settings === null ? [] : [{ ...fold, right, settings }],
  );
  return {
    ...options,
    numQuestions: rows.clusters.length,
    numClusters,
    greedy: { accuracy: spreadOf(folds.map(({ greedy, n }) => greedy / n)) },
    scaling: heldOut(folds.map(({ scaling: right, factor: settings, ...fold }) => ({ ...fold, right, settings }))),
    adaptvis: adaptvis.length === 0 ? null : heldOut(adaptvis),
    folds,
  };
}

/** The mean and the sample standard deviation of at least one value. */
export function spreadOf(values: readonly number[]): Spread {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  if (values.length < 2) return { mean, deviation: null };
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, deviation: Math.sqrt(squares / (values.length - 1)) };
}

function checkOptions({ numFolds, numRepeats, seed }: CrossValidationOptions, numClusters: number): void {
  const check = (name: string, value: number, least: number) => {
    if (!Number.isSafeInteger(value) || value < least)
      throw new InputError(`${name} must be a whole number of at least ${least}, got ${value}.`);
  };
  check("numFolds", numFolds, 2);
  check("numRepeats", numRepeats, 1);
  check("seed", seed, 0);
  if (numClusters < numFolds) {
    throw new InputError(
      `Cross-validation: expected at least as many clusters of questions as folds, got ${numClusters} and ${numFolds}; take fewer folds.`,
    );
  }
}

/** [n], the fold of each row. */
function dealClusters(
  clusters: readonly string[],
  { numFolds, seed }: { readonly numFolds: number; readonly seed: number },
): readonly number[] {
  const shuffled = [...new Set(clusters)];
  const random = new RandomIndices(seed);
  for (let last = shuffled.length - 1; last > 0; last--) {
    const other = random.below(last + 1);
    [shuffled[last], shuffled[other]] = [at(shuffled, other), at(shuffled, last)];
  }
  const foldOf = new Map(shuffled.map((cluster, index) => [cluster, index % numFolds]));
  return clusters.map((cluster) => foldOf.get(cluster) ?? 0);
}

function runFold(
  { verdicts, confidences, pairs }: CrossValidationRows,
  foldOf: readonly number[],
  { fold, seed }: { readonly fold: number; readonly seed: number },
): FoldResult {
  const ownPlaces = foldOf.flatMap((own, place) => (own === fold ? [place] : []));
  const otherPlaces = foldOf.flatMap((own, place) => (own === fold ? [] : [place]));
  const others = new Map([...verdicts].map(([factor, rights]) => [factor, picked(rights, otherPlaces)]));
  const isRight = (factor: number, place: number) => verdicts.get(factor)?.[place] === true;
  const count = (factorOf: (place: number) => number) =>
    ownPlaces.filter((place) => isRight(factorOf(place), place)).length;
  const { factor } = chooseScaling(others);
  const chosen =
    confidences === null || pairs.length === 0
      ? null
      : chooseAdaptVis(others, picked(confidences, otherPlaces), { pairs });
  const settings = chosen === null ? null : { alpha1: chosen.alpha1, alpha2: chosen.alpha2, beta: chosen.beta };
  const gated =
    settings === null || confidences === null ? null : count((place) => chooseFactor(at(confidences, place), settings));
  return {
    seed,
    fold,
    n: ownPlaces.length,
    greedy: count(() => 1),
    scaling: count(() => factor),
    adaptvis: gated,
    factor,
    settings,
  };
}

function heldOut<Settings>(
  folds: readonly {
    readonly seed: number;
    readonly n: number;
    readonly greedy: number;
    readonly right: number;
    readonly settings: Settings;
  }[],
): HeldOut<Settings> {
  const bySettings = new Map<string, ChosenSettings<Settings>>();
  for (const { settings } of folds) {
    const key = JSON.stringify(settings);
    bySettings.set(key, { settings, count: (bySettings.get(key)?.count ?? 0) + 1 });
  }
  const seeds = [...new Set(folds.map(({ seed }) => seed))];
  const pooled = seeds.map((seed) => {
    const own = folds.filter((fold) => fold.seed === seed);
    const total = (of: (fold: (typeof folds)[number]) => number) => own.reduce((sum, fold) => sum + of(fold), 0);
    return total(({ right }) => right) / total(({ n }) => n);
  });
  return {
    accuracy: spreadOf(folds.map(({ right, n }) => right / n)),
    gain: spreadOf(folds.map(({ right, greedy, n }) => (right - greedy) / n)),
    pooled: spreadOf(pooled),
    chosen: [...bySettings.values()].sort((a, b) => b.count - a.count),
  };
}

function picked<T>(values: readonly T[], places: readonly number[]): readonly T[] {
  return places.map((place) => at(values, place));
}
