// What JSON.parse hides, in texts that it accepts.
import { describe, expect, it } from "vitest";
import { scanJson } from "../../src/checkpoint/json-scan.ts";

type Duplicate = readonly string[];

/** The paths of duplicate keys, and each number's path and text. */
function scan(text: string): { readonly duplicates: readonly Duplicate[]; readonly numbers: readonly string[] } {
  JSON.parse(text);
  const duplicates: Duplicate[] = [];
  const numbers: string[] = [];
  scanJson(text, {
    duplicateKey: (path) => duplicates.push(path()),
    number: (path, literal) => numbers.push(`${path().join(".")} ${literal}`),
  });
  return { duplicates, numbers };
}

describe("duplicate keys", () => {
  it.each<[text: string, duplicates: readonly Duplicate[]]>([
    ['{"a":1,"a":2}', [["a"]]],
    ['{"a":1,"b":2,"a":3,"a":4}', [["a"], ["a"]]],
    ['{"a":{"b":{"c":1,"c":2}}}', [["a", "b", "c"]]],
    ['{"a":[{"b":1},{"c":1,"c":2}]}', [["a", "c"]]],
    ['{"a":{"x":1},"b":{"x":1},"b":2}', [["b"]]],
    ['[{"a":1,"a":2},[{"b":1,"b":2}]]', [["a"], ["b"]]],
    ['{"":1,"":2}', [[""]]],
    ['{"a" \t\n\r:1,"a" :2}', [["a"]]],
    ['{ "a":1, "\\u0061":2}', [["a"]]],
    ['{"a\\"b":1,"a\\u0022b":2}', [['a"b']]],
    ['{"\\\\":1,"\\u005c":2}', [["\\"]]],
  ])("are found in %s", (text, duplicates) => {
    expect(scan(text).duplicates).toEqual(duplicates);
  });

  it.each([
    '{"a":"a","b":"a"}',
    '{"a":"a\\":1","b":"\\"a\\":1"}',
    '{"a":["a","a"],"b":["a"]}',
    '{"a":{"a":{"a":1}}}',
    '{"a":{"b":1},"b":{"a":1}}',
    '[{"a":1},{"a":1}]',
    '{"a":"\\\\","b":"\\\\"}',
    '"a"',
    '["a","a"]',
    "[]",
    "null",
  ])("are not seen in %s", (text) => {
    expect(scan(text).duplicates).toEqual([]);
  });
});

describe("numbers", () => {
  it.each<[text: string, numbers: readonly string[]]>([
    ["0", [" 0"]],
    ["[9,-1]", [" 9", " -1"]],
    ['{"a":1.50,"b":[2e+07,3E-2]}', ["a 1.50", "b 2e+07", "b 3E-2"]],
    ['{"a":{"b":1234567890},"c":-0}', ["a.b 1234567890", "c -0"]],
    ['{"a":{"b":1},"c":[{"d":2},3],"e":4}', ["a.b 1", "c.d 2", "c 3", "e 4"]],
    ['{"1":"2","a":[true,false,null,"-3"]}', []],
  ])("are given as written in %s", (text, numbers) => {
    expect(scan(text).numbers).toEqual(numbers);
  });
});

it("needs no visitor for what a caller ignores", () => {
  const text = '{"a":1,"a":2}';
  const seen: string[] = [];
  scanJson(text, { number: (_, literal) => seen.push(literal) });
  scanJson(text, { duplicateKey: (path) => seen.push(path().join()) });
  expect(seen).toEqual(["1", "2", "a"]);
});
