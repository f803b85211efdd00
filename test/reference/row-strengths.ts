// Twin of shaders/row-strengths.wgsl, and what its strengths make of a row's attention, written on the probabilities.
import { at } from "./rows.ts";

/** One row and head: edited scores of the keys that it sees, and which of them are columns and sinks. */
export interface ScoredRow {
  readonly scores: readonly number[];
  readonly isColumn: (index: number) => boolean;
  readonly isSink: (index: number) => boolean;
}

/** The numbers of a redistribution. */
export interface Redistribution {
  /** Share of the sinks' attention that is moved. */
  readonly share: number;
  readonly rho: number;
  readonly minimumShare: number;
}

/** c of a temperature: ln Σ exp(s) − ln Σ exp(factor · s) over the columns; 0 without any. */
export function temperatureStrength({ scores, isColumn }: ScoredRow, factor: number): number {
  const columns = scores.filter((_, index) => isColumn(index));
  if (columns.length === 0) return 0;
  return logSumExp(columns) - logSumExp(columns.map((score) => factor * score));
}

/** What is added to the scores of the sinks and of the other columns; 0 where the head does not redistribute. */
export function redistributionStrengths(row: ScoredRow, rule: Redistribution): readonly [number, number] {
  const before = softmax(row.scores);
  const after = redistributedProbs(row, rule);
  const changeOf = (isMeant: (index: number) => boolean) => {
    const index = before.findIndex((_, each) => isMeant(each));
    return index < 0 ? 0 : Math.log(at(after, index) / at(before, index));
  };
  return [changeOf(row.isSink), changeOf((index) => row.isColumn(index) && !row.isSink(index))];
}

/** Probabilities in which the columns keep their share, and are within it those of `factor` · scores. */
export function temperatureProbs({ scores, isColumn }: ScoredRow, factor: number): readonly number[] {
  const probs = softmax(scores);
  const share = sum(probs.filter((_, index) => isColumn(index)));
  const columns = scores.flatMap((score, index) => (isColumn(index) ? [factor * score] : []));
  const within = softmax(columns);
  let column = 0;
  return probs.map((prob, index) => (isColumn(index) ? share * at(within, column++) : prob));
}

/** Probabilities after the redistribution, as the paper has it. */
export function redistributedProbs({ scores, isColumn, isSink }: ScoredRow, rule: Redistribution): readonly number[] {
  const probs = softmax(scores);
  const total = (isMeant: (index: number) => boolean) => sum(probs.filter((_, index) => isMeant(index)));
  const columns = total(isColumn);
  const others = total((index) => isColumn(index) && !isSink(index));
  const hasSink = probs.some((_, index) => isColumn(index) && isSink(index));
  if (!hasSink || others === 0 || others / columns < rule.rho || columns < rule.minimumShare) return probs;
  const budget = rule.share * total(isSink);
  return probs.map((prob, index) => {
    if (isSink(index)) return (1 - rule.share) * prob;
    return isColumn(index) ? prob + (budget * prob) / others : prob;
  });
}

/** Probabilities of scores. */
export function softmax(scores: readonly number[]): readonly number[] {
  const whole = logSumExp(scores);
  return scores.map((score) => Math.exp(score - whole));
}

function logSumExp(scores: readonly number[]): number {
  const largest = Math.max(...scores);
  return largest + Math.log(sum(scores.map((score) => Math.exp(score - largest))));
}

function sum(terms: readonly number[]): number {
  return terms.reduce((total, term) => total + term, 0);
}
