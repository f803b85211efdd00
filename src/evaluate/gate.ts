// AdaptVis' gate, applied to the recorded answers of a sweep.

import { type AdaptVisSettings, chooseFactor } from "../interventions/adaptvis.ts";
import type { Confidences } from "./answers/confidence-fields.ts";
import { isEmptyRun, type RecordedAnswers, type RecordedRun } from "./answers/recorded.ts";
import { type Share, share } from "./scores.ts";

/** Confidences below beta, among the rows that have one. */
export interface BelowBeta {
  readonly beta: number;
  /** As the gate compares: rounded to two decimals. */
  readonly rounded: Share;
  /** Null where the file has only rounded values. */
  readonly unrounded: Share | null;
}

/** The gate's outcome: a run, or why there is none. */
export type Gated =
  | { readonly run: RecordedRun; readonly reason: null }
  | { readonly run: null; readonly reason: string };

/** Counts the confidences below beta; null where the file has none. */
export function countBelow({ rounded, unrounded }: Confidences, beta: number): BelowBeta | null {
  const below = (values: readonly (number | null)[]): Share | null => {
    const present = values.filter((value) => value !== null);
    return present.length === 0 ? null : share(present.filter((value) => value < beta).length, present.length);
  };
  const ofRounded = below(rounded);
  return ofRounded === null ? null : { beta, rounded: ofRounded, unrounded: below(unrounded) };
}

/** The answers that the gate takes from a sweep: those of alpha1 where the rounded confidence is below beta, else of alpha2. */
export function applyGate(recorded: RecordedAnswers, settings: AdaptVisSettings): Gated {
  const { alpha1, alpha2, beta } = settings;
  if (recorded.form !== "sweep") return refused("the file is not a sweep over factors");
  const factors = recorded.runs.filter(({ factor }) => factor !== null);
  const runOf = (factor: number) => factors.find((run) => run.factor === factor);
  const missing = [alpha1, alpha2].filter((factor) => runOf(factor) === undefined);
  if (missing.length > 0) {
    return refused(
      `the sweep has no factor ${missing.join(" and ")}, only ${factors.map(({ name }) => name).join(", ")}`,
    );
  }
  const empty = factors.filter((run) => (run.factor === alpha1 || run.factor === alpha2) && isEmptyRun(run));
  if (empty.length > 0)
    return refused(`every answer of factor ${empty.map(({ name }) => name).join(" and ")} is empty`);
  const { rounded } = recorded.confidences;
  const numMissing = rounded.filter((value) => value === null).length;
  if (numMissing > 0) {
    return refused(
      numMissing === rounded.length
        ? "the file has no confidence of the first token"
        : `${numMissing} of ${rounded.length} rows have no confidence of the first token`,
    );
  }
  const answers = rounded.map((confidence, position) =>
    confidence === null ? null : (runOf(chooseFactor(confidence, settings))?.answers[position] ?? null),
  );
  const meaning = `the gate applied anew: factor ${alpha1} where the rounded confidence is below ${beta}, else ${alpha2}`;
  return { run: { name: `gate ${alpha1}/${alpha2} at ${beta}`, meaning, factor: null, answers }, reason: null };
}

function refused(reason: string): Gated {
  return { run: null, reason };
}
