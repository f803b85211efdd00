// Tensors in block characters.
import { expect, test } from "vitest";
import { textPicture } from "../../src/cli/explain-text.ts";

test("one row is bars", () => {
  const values = Float32Array.from({ length: 8 }, (_, index) => index);
  expect(textPicture({ width: 8, height: 1, values })).toEqual(["▁▂▃▄▅▆▇█", "▁ 0 to █ 7"]);
});

test("a narrow picture has two characters a cell, in shades", () => {
  const values = Float32Array.of(-1, 0, 1, 0);
  expect(textPicture({ width: 2, height: 2, values })).toEqual(["  ▒▒", "██▒▒", "blank -1 to █ 1"]);
});

test("a high picture is at most 16 lines of means", () => {
  const values = Float32Array.from({ length: 64 * 64 }, (_, index) => Math.floor(index / 64));
  const lines = textPicture({ width: 64, height: 64, values });
  expect(lines).toHaveLength(17);
  expect(lines[0]).toBe(" ".repeat(64));
  expect(lines[15]).toBe("█".repeat(64));
  expect(lines[16]).toBe("blank 1.5 to █ 61.5");
  expect(textPicture({ width: 64, height: 17, values: values.slice(0, 64 * 17) })).toHaveLength(10);
});

test("equal values, and those that are no numbers", () => {
  expect(textPicture({ width: 3, height: 1, values: Float32Array.of(2, 2, 2) })).toEqual(["▁▁▁", "▁ 2 to █ 2"]);
  const values = Float32Array.of(Number.NaN, 1, Number.POSITIVE_INFINITY);
  expect(textPicture({ width: 3, height: 1, values })).toEqual(["?▁?", "▁ 1 to █ 1"]);
  expect(textPicture({ width: 1, height: 1, values: Float32Array.of(Number.NaN) })).toEqual(["?", "no finite values"]);
});
