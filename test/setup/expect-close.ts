// Comparison of f32 results with their f64 twin; a failure tells where the largest error is and how large.
import { BOUNDS, type Bound } from "./bounds.ts";
import { recordError } from "./record-error.ts";

/** How the compared arrays are to be read. */
export interface Comparison {
  /** Dimensions, the last one fastest, for the coordinates in a message. */
  readonly shape: readonly number[];
  /** What each value's `relative` bound relates to, where that is not the expected value itself: for a sum, Σ|terms|. */
  readonly magnitudes?: ArrayLike<number>;
}

/**
 * Expects |actual − expected| <= absolute + relative · magnitude for every value, and the bound's NMSE over all of them.
 * Where ADAPTVIS_TEST_ERRORS names a file, the measured errors are appended to it, one JSON object a line.
 * @throws Error that names the worst value's coordinates, both values, what was allowed and the NMSE.
 */
export function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  bound: Bound,
  { shape, magnitudes = expected }: Comparison,
): void {
  const length = shape.reduce((product, size) => product * size, 1);
  for (const array of [actual, expected, magnitudes]) {
    if (array.length !== length)
      throw new Error(`expectClose: expected ${length} values for shape [${shape}], got ${array.length}.`);
  }
  let worst = { index: 0, error: 0, allowed: 0, ratio: -1 };
  let outside = 0;
  let squaredError = 0;
  let squaredExpected = 0;
  for (let index = 0; index < length; index++) {
    const want = Number(expected[index]);
    const error = Math.abs(Number(actual[index]) - want);
    const allowed = bound.absolute + bound.relative * Math.abs(Number(magnitudes[index]));
    // NaN and infinite errors are outside of every bound; 0 is inside of every one.
    const ratio = error === 0 ? 0 : error <= Number.MAX_VALUE ? error / allowed : Number.POSITIVE_INFINITY;
    if (ratio > worst.ratio) worst = { index, error, allowed, ratio };
    if (ratio > 1) outside++;
    squaredError += error * error;
    squaredExpected += want * want;
  }
  const nmse = squaredError === 0 ? 0 : squaredError / squaredExpected;
  recordError({ bound, ...worst, outside, nmse, actual, expected, magnitudes, shape });
  if (outside === 0 && nmse <= bound.nmse) return;
  throw new Error(
    `${outside} of ${length} values outside of bound "${bound.name}": the worst at [${coordinates(worst.index, shape)}] is ` +
      `${actual[worst.index]}, expected ${expected[worst.index]}, an error of ${show(worst.error)} where ` +
      `${show(worst.allowed)} is allowed; NMSE ${show(nmse)}, allowed ${show(bound.nmse)}.`,
  );
}

/** Expects the same numbers, read as rows of `columns`. */
export function expectSame(actual: ArrayLike<number>, expected: ArrayLike<number>, columns = 1): void {
  expectClose(actual, expected, BOUNDS.exact, { shape: [expected.length / columns, columns] });
}

function coordinates(index: number, shape: readonly number[]): string {
  let rest = index;
  const reversed = shape.toReversed().map((size) => {
    const coordinate = rest % size;
    rest = Math.floor(rest / size);
    return coordinate;
  });
  return reversed.toReversed().join(", ");
}

function show(value: number): string {
  return value.toExponential(2);
}
