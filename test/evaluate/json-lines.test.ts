import { describe, expect, test } from "vitest";
import { parseJsonFile, readAllJsonLines, readJsonLines } from "../../src/evaluate/json-lines.ts";

describe("Python's JSON", () => {
  test("has NaN and Infinity, which are read as null, outside of strings", () => {
    const text = '[{"a": NaN, "b": [Infinity, -Infinity, 1], "c": "NaN, \\"Infinity\\" -Infinity"}]';
    expect(parseJsonFile(text, "f")).toEqual([{ a: null, b: [null, null, 1], c: 'NaN, "Infinity" -Infinity' }]);
    expect(readAllJsonLines('{"a": NaN}\n\n{"a": 2}', "f").map(({ object }) => object)).toEqual([
      { a: null },
      { a: 2 },
    ]);
  });

  test.each(['[{"a": NaN]', '["NaN"', "[NaNs]", "[Infinit]"])("%s is not JSON all the same", (text) => {
    expect(() => parseJsonFile(text, "f.json")).toThrow(/^f\.json is not JSON/);
    expect(readJsonLines(`{"b": 1}\n${text}`)[1]).toMatchObject({ lineNumber: 2, problem: "text that is not JSON" });
  });
});
