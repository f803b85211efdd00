// One comparison of the engine with a golden, as data: vitest's tests assert it where it was made, other hosts print it.
import { largestError } from "./golden.ts";

/** Numbers within a bound, or values that must be the same. */
export type ParityCheck =
  | { readonly what: string; readonly error: number; readonly bound: number }
  | { readonly what: string; readonly actual: readonly number[]; readonly expected: readonly number[] };

/** The largest difference of two tensors. @param tensors actual and expected */
export function within(
  what: string,
  bound: number,
  tensors: readonly [actual: ArrayLike<number>, expected: ArrayLike<number>],
): ParityCheck {
  return { what, error: largestError(...tensors), bound };
}

/** Ids, or other values without rounding. */
export function same(what: string, actual: Iterable<number>, expected: Iterable<number>): ParityCheck {
  return { what, actual: [...actual], expected: [...expected] };
}

/** What is wrong, a line each; none when every check holds. NaN, which JSON writes as null, is within no bound. */
export function parityProblems(checks: readonly ParityCheck[]): string[] {
  return checks.flatMap((check) => {
    if ("bound" in check) {
      const isWithin = typeof check.error === "number" && check.error < check.bound;
      return isWithin ? [] : [`${check.what}: largest error ${check.error}, the bound is ${check.bound}`];
    }
    const [actual, expected] = [check.actual.join(), check.expected.join()];
    return actual === expected ? [] : [`${check.what}: got ${actual}, expected ${expected}`];
  });
}
