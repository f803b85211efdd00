// How score edits are packed: the words that shaders/shared/score-edit.wgsl declares.
import { describe, expect, test } from "vitest";
import { InputError } from "../../src/errors.ts";
import { unpackScoreEdits } from "../../src/models/layers/describe-edits.ts";
import { packScoreEdits, type ScoreEdit } from "../../src/models/layers/score-edits.ts";

const SIZES = { numLayers: 2, numHeads: 3 };

function edit(changes: Partial<ScoreEdit> = {}): ScoreEdit {
  const strengths = Float32Array.of(0.5, 1, 1, 2, 2, -1);
  return { operation: "multiply", rows: [4, 9], columns: [[2, 5]], strengths, ...changes };
}

describe("packScoreEdits", () => {
  test("a header of 32 batch rows, edits, masks and strengths", () => {
    const holes = edit({
      operation: "knock-out",
      rows: [0, Number.POSITIVE_INFINITY],
      columns: [
        [0, 1],
        [31, 34],
      ],
    });
    const words = packScoreEdits([[], [edit(), holes]], SIZES);
    expect([...words.subarray(0, 6)]).toEqual([64, 0, 64, 2, 0, 0]);
    expect([...words.subarray(64, 72)]).toEqual([0, 4, 9, 80, 1, 81, 0, 0]);
    expect([...words.subarray(72, 80)]).toEqual([3, 0, 0xffffffff, 87, 2, 89, 0, 0]);
    expect(words[80]).toBe(0b11100);
    expect([...new Float32Array(words.buffer).subarray(81, 87)]).toEqual([...edit().strengths]);
    expect([...words.subarray(87, 89)]).toEqual([2 ** 31 + 1, 0b11]);
    expect(words).toHaveLength(95);
  });

  test("columns and strengths that edits share are stored once", () => {
    const shared = edit();
    const twice = [[shared], [{ ...shared, operation: "add" as const }]];
    expect(packScoreEdits(twice, SIZES)).toHaveLength(64 + 2 * 8 + 1 + 6);
  });

  test("no columns are no mask", () => {
    const words = packScoreEdits([[edit({ columns: [[7, 7]] })]], SIZES);
    expect(words[64 + 4]).toBe(0);
  });

  test.each([
    ["33 batch rows", Array.from({ length: 33 }, () => []), "at most 32"],
    ["too few strengths", [[edit({ strengths: new Float32Array(5) })]], "2 layers × 3 heads, got 5"],
    ["a strength that is no number", [[edit({ strengths: new Float32Array(6).fill(Number.NaN) })]], "finite"],
    ["columns that end before they start", [[edit({ columns: [[3, 2]] })]], "got [3, 2)"],
    ["columns without end", [[edit({ columns: [[3, Number.POSITIVE_INFINITY]] })]], "ranges [start, end)"],
    ["a row that is no whole number", [[edit({ rows: [0.5, 2] })]], "got [0.5, 2)"],
  ] as const)("refuses %s", (_, edits, message) => {
    expect(() => packScoreEdits(edits, SIZES)).toThrow(InputError);
    expect(() => packScoreEdits(edits, SIZES)).toThrow(message);
  });
});

test("unpackScoreEdits reads them back, one layer's strengths", () => {
  const second = edit({
    operation: "add-magnitude",
    columns: [
      [0, 3],
      [40, 64],
    ],
  });
  const words = packScoreEdits([[edit(), second], [second]], SIZES);
  const rows = unpackScoreEdits(words, { layer: 1, numHeads: 3 });
  const strengths = Float32Array.of(2, 2, -1);
  expect(rows.slice(0, 2)).toEqual([
    [
      { ...edit(), strengths },
      { ...second, strengths },
    ],
    [{ ...second, strengths }],
  ]);
  expect(rows.slice(2).flat()).toEqual([]);
});
