// What the goldens' checks let pass and what not, also after a way through JSON.
import { expect, test } from "vitest";
import { type ParityCheck, parityProblems, same, within } from "../setup/parity-check.ts";

test.each<readonly [what: string, check: ParityCheck, isRight: boolean]>([
  [
    "an error below its bound",
    within("a", 0.1, [
      [1, 2],
      [1.05, 2],
    ]),
    true,
  ],
  ["an error at its bound", within("a", 0.5, [[1], [1.5]]), false],
  ["NaN", within("a", 0.1, [[Number.NaN], [1]]), false],
  ["the same ids", same("a", [1, 2], [1, 2]), true],
  ["another id", same("a", [1, 3], [1, 2]), false],
  ["an id too few", same("a", [1], [1, 2]), false],
])("%s", (_, check, isRight) => {
  for (const sent of [check, JSON.parse(JSON.stringify(check)) as ParityCheck]) {
    expect(parityProblems([sent])).toHaveLength(isRight ? 0 : 1);
  }
});

test("tensors of two lengths are an error", () => {
  expect(() => within("a", 0.1, [[1], [1, 2]])).toThrow("expected 2 values, got 1");
});
