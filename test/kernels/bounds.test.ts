import { expect, test } from "vitest";
import { BOUNDS, CEILING, LARGEST_INNER, linearBound } from "../setup/bounds.ts";

test.each([...Object.values(BOUNDS), linearBound(LARGEST_INNER)])("bound $name stays below the ceiling", (bound) => {
  expect(bound.relative).toBeLessThanOrEqual(CEILING.relative);
  expect(bound.absolute).toBeLessThanOrEqual(CEILING.absolute);
  expect(bound.nmse).toBeLessThanOrEqual(CEILING.nmse);
  expect(bound.reason).not.toBe("");
});
