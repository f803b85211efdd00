// Values and texts of strangers in messages and on the terminal.

import { expect, test } from "vitest";
import { jsonText, printable, styled } from "../../src/cli/session.ts";
import { shown } from "../../src/errors.ts";

test.each([
  ["a\tb\nc\r\nd", "a\tb\nc\r\nd"],
  ["\u001b[8mhidden\u001b[0m", "\\u001b[8mhidden\\u001b[0m"],
  ["half \ud800 of a pair", "half \\ud800 of a pair"],
  ["\u001b]0;title\u0007", "\\u001b]0;title\\u0007"],
  ["\u001b[2J\u001b[H", "\\u001b[2J\\u001b[H"],
  ["hidden\rshown", "hidden\\u000dshown"],
  ["\u009b31m \u202eback", "\\u009b31m \\u202eback"],
  ["é 猫 🦙 \u00a0", "é 猫 🦙 \u00a0"],
])("%j is printed as %j", (text, printed) => {
  expect(printable(text)).toBe(printed);
});

test.each<[unknown, string]>([
  [undefined, "nothing"],
  [null, "null"],
  [Number.POSITIVE_INFINITY, "Infinity"],
  ["a\u001b]0;b\u0007\u202e", '"a\\u001b]0;b\\u0007\\u202e"'],
  [["x".repeat(100)], `["${"x".repeat(78)}…`],
  [{ toJSON: () => JSON.parse("{") }, "Object"],
  [() => 1, "a function"],
  [2n, "a bigint"],
])("a value %o in a message", (value, text) => {
  expect(shown(value)).toBe(text);
});

test("a cycle in a message", () => {
  const list: unknown[] = [];
  list.push(list);
  expect(shown(list)).toBe("Array");
});

test("only the command's own styles reach a terminal", () => {
  const stream = { isTTY: true, hasColors: () => true };
  const text = `${styled("bold", "a\u001b[8mb", stream)} c`;
  expect(printable(text)).toBe("\u001b[1ma\\u001b[8mb\u001b[22m c");
  expect(styled("bold", "a", { ...stream, isTTY: false })).toBe("a");
});

test("JSON holds no character that a terminal obeys", () => {
  const value = { text: "\u009b31m\u007f\u202e\u2028\ud800" };
  expect(jsonText(value)).toMatch(/^[ -~]+\n$/);
  expect(JSON.parse(jsonText(value))).toEqual(value);
});
