import { describe, expect, test } from "vitest";
import { WEIGHT_DTYPES } from "../../src/gpu/tensor.ts";
import { addErrors, weightError } from "../../src/models/weight-errors.ts";
import { createRandom } from "../reference/random.ts";
import { at } from "../reference/rows.ts";
import { storeWeights } from "../reference/weight-formats.ts";

describe.each(WEIGHT_DTYPES)("weightError in %s", (dtype) => {
  test.each([4, 32, 36, 100])("is that of the stored numbers, %d columns", (columns) => {
    const values = createRandom(columns).normals(50 * columns, 0.03);
    const { values: stored } = storeWeights(values, dtype, columns);
    const errors = Array.from(values, (value, index) => Math.abs(at(stored, index) - value));
    const sums = weightError(values, columns, dtype);
    expect(sums.largest).toBe(Math.max(...errors));
    expect(sums.errorSquares).toBeCloseTo(
      errors.reduce((sum, error) => sum + error * error, 0),
      12,
    );
    const half = values.length / 2;
    const [first, second] = [
      weightError(values.slice(0, half), columns, dtype),
      weightError(values.slice(half), columns, dtype),
    ];
    expect(addErrors(first, second).largest).toBe(sums.largest);
  });
});
