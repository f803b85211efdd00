// Where the comparisons of tests with their twins report the errors that they measure. The pages of the kernels have their own.
import { appendFileSync } from "node:fs";
import { expect } from "vitest";
import type { Bound } from "./bounds.ts";

/** What one comparison has measured. */
export interface MeasuredError {
  readonly bound: Bound;
  /** The error closest to, or furthest beyond, what is allowed: where it is, and both divided. */
  readonly index: number;
  readonly error: number;
  readonly allowed: number;
  readonly ratio: number;
  /** Values outside of the bound. */
  readonly outside: number;
  readonly nmse: number;
  /** What was compared, in the given shape. */
  readonly actual: ArrayLike<number>;
  readonly expected: ArrayLike<number>;
  readonly magnitudes: ArrayLike<number>;
  readonly shape: readonly number[];
}

/** Appends the figures to the file that ADAPTVIS_TEST_ERRORS names, one JSON object a line, where it names one. */
export function recordError({ bound, ratio, error, allowed, nmse }: MeasuredError): void {
  const file = process.env.ADAPTVIS_TEST_ERRORS;
  if (file === undefined) return;
  const measured = { bound: bound.name, ratio, error, allowed, nmse };
  appendFileSync(file, `${JSON.stringify({ test: expect.getState().currentTestName, ...measured })}\n`);
}
