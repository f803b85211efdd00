// Comparison of nested results, in which numbers may differ by rounding only.
import { expect } from "vitest";

const TOLERANCE = 1e-12;

/** Expects the same members in both: numbers within 1e-12 (relative above 1), anything else equal. */
export function expectClose(got: unknown, wanted: unknown, path = "result"): void {
  if (typeof wanted === "number" && typeof got === "number") {
    expect(Math.abs(got - wanted), `${path}: ${got} is not ${wanted}`).toBeLessThanOrEqual(
      TOLERANCE * Math.max(1, Math.abs(wanted)),
    );
    return;
  }
  if (typeof wanted !== "object" || wanted === null || typeof got !== "object" || got === null) {
    expect(got, path).toEqual(wanted);
    return;
  }
  expect(Object.keys(got).sort(), path).toEqual(Object.keys(wanted).sort());
  for (const [key, value] of Object.entries(wanted)) expectClose(Reflect.get(got, key), value, `${path}.${key}`);
}
