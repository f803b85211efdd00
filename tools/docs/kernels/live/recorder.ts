// What a test measures while it runs in a page: stands in for test/setup/record-error.ts in the bundle.
import type { MeasuredError } from "../../../../test/setup/record-error.ts";
import type { ProgramRun } from "./program-run.ts";

/** How one case ended. */
export interface CaseResult {
  /** The sentence with which the test failed; undefined where it passed. */
  readonly failure: string | undefined;
  /** The comparisons with f64 twins that it made, the failing one last. */
  readonly comparisons: readonly MeasuredError[];
  /** The programs that it ran on the GPU. */
  readonly runs: readonly ProgramRun[];
}

let comparisons: MeasuredError[] = [];
let runs: ProgramRun[] = [];
let isTimed = false;

/** Called by expectClose for each comparison, before it fails. */
export function recordError(measured: MeasuredError): void {
  comparisons.push(measured);
}

/** Called for each program that has run. */
export function recordRun(run: ProgramRun): void {
  runs.push(run);
}

/** Whether the program that runs next is to be timed: the first one of a case. */
export function wantsTime(): boolean {
  return isTimed && runs.length === 0;
}

/** Runs one case, and measures its time when `timed`; only one may run at a time. */
export async function recordCase(run: () => unknown, { timed = false } = {}): Promise<CaseResult> {
  isTimed = timed;
  comparisons = [];
  runs = [];
  let failure: string | undefined;
  try {
    await run();
  } catch (error) {
    failure = error instanceof Error ? error.message : String(error);
  }
  return { failure, comparisons, runs };
}
