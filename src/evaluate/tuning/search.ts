// Exact search for ScalingVis' factor and AdaptVis' three numbers over the verdicts of a sweep.
//
// AdaptVis takes alpha1 where the confidence is below beta, so its verdicts change only where beta passes a confidence: with m
// distinct confidences, m + 1 betas stand for all. After one sort, the right answers of a pair of factors at every beta are
// sums of prefix counts, so that the search takes O(pairs × n).
import { at, InputError } from "../../errors.ts";
import type { AdaptVisSettings } from "../../interventions/adaptvis.ts";
import { type Share, share } from "../scores.ts";

/** Verdicts of a sweep: factor → [n], whether each question is answered right. */
export type SweepVerdicts = ReadonlyMap<number, readonly boolean[]>;

/** Factors of AdaptVis below and above 1. */
export type FactorPair = readonly [alpha1: number, alpha2: number];

/** The best factor of ScalingVis. */
export interface ScalingChoice {
  readonly factor: number;
  readonly right: Share;
  /** Every factor with as many right answers, ascending; the chosen one is among them. */
  readonly ties: readonly number[];
}

/** A range of betas within which no verdict changes the number of right answers. */
export interface Plateau {
  readonly alpha1: number;
  readonly alpha2: number;
  /** Beta is above this confidence; null: from 0 on, 0 included. */
  readonly above: number | null;
  /** Beta is at most this. */
  readonly upTo: number;
  /** Number of searched betas in the range. */
  readonly numBetas: number;
}

/** The best settings of AdaptVis. */
export interface AdaptVisChoice extends AdaptVisSettings {
  readonly right: Share;
  /** Questions whose confidence is below beta, which take alpha1. */
  readonly below: Share;
  /** The range of betas that the chosen one is from. */
  readonly plateau: Plateau;
  /** Every range with as many right answers, in the order of preference; the chosen one is among them. */
  readonly ties: readonly Plateau[];
  /** Number of pairs of factors, and of betas per pair, that were compared. */
  readonly numPairs: number;
  readonly numBetas: number;
}

/** Differences of betas below this are rounding. */
const EPSILON = 1e-12;

/** How ties between factors of ScalingVis are broken, in a sentence. */
export const SCALING_TIE_RULE =
  "Of the factors with the most right answers, the one nearest 1 by its logarithm; the smaller of two equally near.";

/** How ties between settings of AdaptVis are broken, in a sentence. */
export const ADAPTVIS_TIE_RULE =
  "Of all settings with the most right answers, the widest range of betas, and of equally wide ones that whose factors are nearest 1 (by the sum of |ln|), then the smaller alpha1, then the lower range. Within the range, the searched beta nearest its middle, the lower of two equally near.";

/** Which betas are searched, in a sentence. */
export const BETA_RULE =
  "The midpoint of every two neighbouring distinct confidences, half of the least (all questions take alpha2), and the midpoint of the largest and 1 (all take alpha1), which a largest of 1 leaves out.";

/**
 * The factor with the most right answers.
 * @throws InputError without factors.
 */
export function chooseScaling(verdicts: SweepVerdicts): ScalingChoice {
  const counts = [...verdicts].map(([factor, rights]) => ({ factor, count: numRight(rights), of: rights.length }));
  const most = Math.max(...counts.map(({ count }) => count));
  const ties = counts.filter(({ count }) => count === most).sort((a, b) => a.factor - b.factor);
  const [best] = [...ties].sort((a, b) => compareNumbers(distanceFrom1(a.factor), distanceFrom1(b.factor)));
  if (best === undefined) throw new InputError("The sweep has no factor: nothing can be chosen.");
  return { factor: best.factor, right: share(best.count, best.of), ties: ties.map(({ factor }) => factor) };
}

/**
 * The pairs of AdaptVis: alpha1 < 1 < alpha2, from the factors of a sweep.
 * @param withOne also pairs in which one of the two is 1, and so leaves the answer of the unmodified pass
 */
export function pairsOf(factors: readonly number[], withOne = false): readonly FactorPair[] {
  const lower = factors.filter((factor) => factor < 1 || (withOne && factor === 1));
  const upper = factors.filter((factor) => factor > 1 || (withOne && factor === 1));
  const pairs = lower.flatMap((alpha1) => upper.map((alpha2): FactorPair => [alpha1, alpha2]));
  return pairs.filter(([alpha1, alpha2]) => alpha1 !== alpha2);
}

/**
 * The pair and beta with the most right answers.
 * @param confidences [n], as the gate compares them
 * @param pairs at least one, of factors in `verdicts`
 * @throws InputError without pairs or questions.
 */
export function chooseAdaptVis(
  verdicts: SweepVerdicts,
  confidences: readonly number[],
  { pairs }: { readonly pairs: readonly FactorPair[] },
): AdaptVisChoice {
  if (pairs.length === 0 || confidences.length === 0) {
    throw new InputError(
      `AdaptVis: nothing to search, with ${pairs.length} pairs and ${confidences.length} questions.`,
    );
  }
  const cuts = cutsOf(confidences);
  const prefixes = new Map(
    [...new Set(pairs.flat())].map((factor) => [factor, prefixCounts(verdictsOf(verdicts, factor), cuts)]),
  );
  const countsOf = ([alpha1, alpha2]: FactorPair): readonly number[] => {
    const [below, above] = [prefixOf(prefixes, alpha1), prefixOf(prefixes, alpha2)];
    const total = at(above, above.length - 1);
    return cuts.betas.map(({ numBelow }) => at(below, numBelow) + total - at(above, numBelow));
  };
  const preferred = [...pairs].sort(
    (a, b) =>
      compareNumbers(pairDistance(a), pairDistance(b)) || compareNumbers(a[0], b[0]) || compareNumbers(a[1], b[1]),
  );
  const counted = preferred.map((pair) => ({ pair, counts: countsOf(pair) }));
  const most = Math.max(...counted.map(({ counts }) => Math.max(...counts)));
  const ties = counted.flatMap(({ pair, counts }) => plateausAt(most, counts, { pair, cuts }));
  let best = at(ties, 0);
  for (const tie of ties) if (widthOf(tie.plateau) > widthOf(best.plateau) + EPSILON) best = tie;
  const chosen = nearestMiddle(best.betas, best.plateau);
  return {
    alpha1: best.plateau.alpha1,
    alpha2: best.plateau.alpha2,
    beta: chosen.beta,
    right: share(most, confidences.length),
    below: share(at(cuts.numRowsBelow, chosen.numBelow), confidences.length),
    plateau: best.plateau,
    ties: ties.map(({ plateau }) => plateau),
    numPairs: pairs.length,
    numBetas: cuts.betas.length,
  };
}

/** A beta, which stands for all between two neighbouring confidences. */
interface Cut {
  readonly beta: number;
  /** Number of distinct confidences below it. */
  readonly numBelow: number;
  /** The bounds: above the first, at most the second. */
  readonly above: number | null;
  readonly upTo: number;
}

interface Cuts {
  /** Ascending. */
  readonly betas: readonly Cut[];
  /** Rows by ascending confidence. */
  readonly order: readonly number[];
  /** By number of distinct confidences, the rows that have them. */
  readonly numRowsBelow: readonly number[];
}

function cutsOf(confidences: readonly number[]): Cuts {
  const order = confidences.map((_, row) => row).sort((a, b) => at(confidences, a) - at(confidences, b));
  const distinct: number[] = [];
  const numRowsBelow = [0];
  for (const [place, row] of order.entries()) {
    const value = at(confidences, row);
    if (distinct.at(-1) !== value) distinct.push(value);
    numRowsBelow[distinct.length] = place + 1;
  }
  const betas = numRowsBelow.flatMap((_, numBelow): readonly Cut[] => {
    const above = numBelow === 0 ? null : at(distinct, numBelow - 1);
    // Beta is at most 1; a confidence may exceed 1 by the rounding of an f32.
    const upTo = Math.min(1, distinct[numBelow] ?? 1);
    if (above !== null && above >= upTo) return [];
    return [{ beta: betweenOf(above ?? 0, upTo), numBelow, above, upTo }];
  });
  return { betas, order, numRowsBelow };
}

/** The middle of two confidences, such that the lower one is below it also where no f64 lies between. */
function betweenOf(lower: number, upper: number): number {
  // Rounded confidences are whole hundredths, which f64 does not hold exactly: 0.395 rather than 0.39499999999999996.
  const middle = Math.round(((lower + upper) / 2) * 1e12) / 1e12;
  return middle > lower && middle <= upper ? middle : upper;
}

/** By number of distinct confidences, the right answers among the rows that have them. */
function prefixCounts(rights: readonly boolean[], { order, numRowsBelow }: Cuts): readonly number[] {
  const sums = [0];
  for (const [place, row] of order.entries()) sums.push(at(sums, place) + Number(at(rights, row)));
  return numRowsBelow.map((numRows) => at(sums, numRows));
}

interface Tie {
  readonly plateau: Plateau;
  readonly betas: readonly Cut[];
}

/** Runs of neighbouring betas at which a pair has `most` right answers, ascending. */
function plateausAt(
  most: number,
  counts: readonly number[],
  { pair: [alpha1, alpha2], cuts }: { readonly pair: FactorPair; readonly cuts: Cuts },
): readonly Tie[] {
  const runs: Cut[][] = [];
  for (const [index, cut] of cuts.betas.entries()) {
    if (counts[index] !== most) continue;
    const open = runs.at(-1);
    if (open !== undefined && counts[index - 1] === most) open.push(cut);
    else runs.push([cut]);
  }
  return runs.map((betas) => {
    const { above } = at(betas, 0);
    const { upTo } = at(betas, betas.length - 1);
    return { plateau: { alpha1, alpha2, above, upTo, numBetas: betas.length }, betas };
  });
}

function nearestMiddle(betas: readonly Cut[], { above, upTo }: Plateau): Cut {
  const middle = ((above ?? 0) + upTo) / 2;
  let best = at(betas, 0);
  for (const cut of betas) {
    if (Math.abs(cut.beta - middle) < Math.abs(best.beta - middle) - EPSILON) best = cut;
  }
  return best;
}

function widthOf({ above, upTo }: Plateau): number {
  return upTo - (above ?? 0);
}

function pairDistance([alpha1, alpha2]: FactorPair): number {
  return Math.round((distanceFrom1(alpha1) + distanceFrom1(alpha2)) / EPSILON) * EPSILON;
}

/** |ln factor|, without the rounding by which those of 0.5 and 2 might differ. */
function distanceFrom1(factor: number): number {
  return Math.round(Math.abs(Math.log(factor)) / EPSILON) * EPSILON;
}

/** Also for infinite values, whose difference is no number. */
function compareNumbers(a: number, b: number): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function numRight(rights: readonly boolean[]): number {
  return rights.filter((isRight) => isRight).length;
}

function verdictsOf(verdicts: SweepVerdicts, factor: number): readonly boolean[] {
  const found = verdicts.get(factor);
  if (found === undefined)
    throw new InputError(`The sweep has no factor ${factor}, only ${[...verdicts.keys()].join(", ")}.`);
  return found;
}

function prefixOf(prefixes: ReadonlyMap<number, readonly number[]>, factor: number): readonly number[] {
  const found = prefixes.get(factor);
  if (found === undefined) throw new RangeError(`factor ${factor} has no prefix counts`);
  return found;
}
