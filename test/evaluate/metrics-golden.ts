// The goldens of test/golden/evaluate, made by tools/goldens/evaluate_metrics.py.
import { readFileSync } from "node:fs";
import { expect } from "vitest";

/** Largest difference of a metric from NumPy's, scipy's or scikit-learn's: both sum up to some hundred terms in f64. */
const METRIC_BOUND = 1e-12;

/** A golden JSON file, whose shape the caller knows from its generator. */
export function readEvaluateGolden<T>(name: string): T & { readonly versions: Readonly<Record<string, string>> } {
  return JSON.parse(readFileSync(new URL(`../golden/evaluate/${name}`, import.meta.url), "utf8"));
}

/** "numpy 2.4.6, scipy 1.17.1", for test titles. */
export function versionsOf(
  { versions }: { readonly versions: Readonly<Record<string, string>> },
  ...names: readonly string[]
): string {
  return names.map((name) => `${name} ${versions[name]}`).join(", ");
}

/** Compares values of any shape: numbers up to METRIC_BOUND, everything else exactly, members absent in `expected` not at all. */
export function expectMetric(actual: unknown, expected: unknown, path = "value"): void {
  if (typeof expected === "number") {
    expect(typeof actual, path).toBe("number");
    expect(Math.abs(Number(actual) - expected), `${path}: ${actual}, expected ${expected}`).toBeLessThanOrEqual(
      METRIC_BOUND * Math.max(1, Math.abs(expected)),
    );
  } else if (Array.isArray(expected)) {
    expect(actual, path).toHaveLength(expected.length);
    for (const [index, value] of expected.entries()) {
      expectMetric((actual as ArrayLike<unknown>)[index], value, `${path}[${index}]`); // which has a length, see above
    }
  } else if (typeof expected === "object" && expected !== null) {
    expect(actual, path).toBeTypeOf("object");
    for (const [key, value] of Object.entries(expected)) {
      expectMetric((actual as Readonly<Record<string, unknown>>)[key], value, `${path}.${key}`); // an object, see above
    }
  } else {
    expect(actual, path).toBe(expected);
  }
}

/** The message of the error that a call throws or rejects with. */
export async function messageOf(call: () => unknown): Promise<string> {
  try {
    await call();
  } catch (error) {
    return `${error instanceof Error ? `${error.name}: ${error.message}` : error}`;
  }
  throw new Error("Expected an error, got none.");
}
