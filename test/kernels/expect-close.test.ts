import { expect, test } from "vitest";
import { BOUNDS } from "../setup/bounds.ts";
import { expectClose, expectSame } from "../setup/expect-close.ts";

const BOUND = { name: "test", relative: 0.01, absolute: 0.1, nmse: 0.5, reason: "" };

test("what is within the bound passes", () => {
  expectClose([1, 2.11, -3], [1, 2, -3.1], BOUND, { shape: [3] });
});

test("the worst value is told with its coordinates, both values, what is allowed and the NMSE", () => {
  const compare = () => expectClose([1, 2, 3, 4, 9, 6], [1, 2, 3, 4, 5, 6.2], BOUND, { shape: [3, 2] });
  expect(compare).toThrow(/^2 of 6 values outside of bound "test": the worst at \[2, 0\] is 9, expected 5, /);
  expect(compare).toThrow(/an error of 4\.00e\+0 where 1\.50e-1 is allowed; NMSE 1\.72e-1, allowed 5\.00e-1\.$/);
});

test("errors within the bound that are too many fail by their NMSE", () => {
  const bound = { ...BOUND, nmse: 1e-4 };
  expect(() => expectClose([1.1, 1.1], [1, 1], bound, { shape: [2] })).toThrow(/^0 of 2 values.*NMSE 1\.00e-2/);
});

test.each([[Number.NaN], [Number.POSITIVE_INFINITY]])("%d is outside of every bound", (value) => {
  expect(() => expectClose([value], [1], BOUND, { shape: [1] })).toThrow("1 of 1 values");
});

test("magnitudes replace the expected values", () => {
  const call = { shape: [1], magnitudes: [1000] };
  const bound = { ...BOUND, nmse: 1000 };
  expectClose([9], [1], bound, call);
  expect(() => expectClose([12], [1], bound, call)).toThrow("1 of 1 values");
});

test("a shape that does not fit is refused", () => {
  expect(() => expectClose([1, 2], [1, 2], BOUND, { shape: [3] })).toThrow("expected 3 values for shape [3], got 2");
});

test("expectSame takes no error at all", () => {
  expectSame([1, 2], [1, 2]);
  expect(() => expectSame([1, 2 + 2 ** -50], [1, 2])).toThrow(`outside of bound "${BOUNDS.exact.name}"`);
});
