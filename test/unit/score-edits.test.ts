// How score edits are packed: the words that shaders/shared/score-edit.wgsl declares.
import { describe, expect, test } from "vitest";
import { InputError } from "../../src/errors.ts";
import { describeEdits, unpackScoreEdits } from "../../src/models/layers/describe-edits.ts";
import { packScoreEdits, rowStrengthNeeds, type ScoreEdit } from "../../src/models/layers/score-edits.ts";

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

  test("edits without columns have no mask", () => {
    const words = packScoreEdits([[edit({ columns: [[7, 7]] })]], SIZES);
    expect(words[64 + 4]).toBe(0);
  });

  test("32 batch rows are the most", () => {
    const words = packScoreEdits(
      Array.from({ length: 32 }, () => []),
      SIZES,
    );
    expect([...words]).toEqual(Array.from({ length: 64 }, (_, index) => (index % 2 === 0 ? 64 : 0)));
  });

  test("a range may be empty, and start at 0", () => {
    const words = packScoreEdits([[edit({ rows: [0, 0], columns: [[0, 0]] })]], SIZES);
    expect([...words.subarray(64, 72)]).toEqual([0, 0, 0, 72, 0, 72, 0, 0]);
  });

  const ranges = "multiply: rows and columns must be ranges [start, end) of slots, got";
  test.each([
    [
      "33 batch rows",
      Array.from({ length: 33 }, () => []),
      "edits: 33 batch rows were given, at most 32 run in one batch.",
    ],
    [
      "too few strengths",
      [[edit({ strengths: new Float32Array(5) })]],
      "multiply: expected a strength for each of 2 layers × 3 heads, got 5.",
    ],
    [
      "a strength that is not a number",
      [[edit({ operation: "add", strengths: Float32Array.of(0, 0, 0, 0, 0, Number.NaN) })]],
      "add: strengths must be finite numbers, got NaN.",
    ],
    ["columns that end before they start", [[edit({ columns: [[3, 2]] })]], `${ranges} [3, 2).`],
    ["columns without end", [[edit({ columns: [[3, Number.POSITIVE_INFINITY]] })]], `${ranges} [3, Infinity).`],
    ["columns that end within a slot", [[edit({ columns: [[3, 4.5]] })]], `${ranges} [3, 4.5).`],
    ["columns before slot 0", [[edit({ columns: [[-1, 2]] })]], `${ranges} [-1, 2).`],
    ["a row that is not a whole number", [[edit({ rows: [0.5, 2] })]], `${ranges} [0.5, 2).`],
    ["rows that end before they start", [[edit(), edit({ rows: [3, 2] })]], `${ranges} [3, 2).`],
  ] as const)("refuses %s", (_, edits, message) => {
    expect(() => packScoreEdits(edits, SIZES)).toThrow(new InputError(message));
  });
});

describe("edits with row strengths", () => {
  const rule = { dimensions: [7, 40], tau: 20, rho: 0.5, minimumShare: 0.25, numSlots: 40 };
  const temperature = edit({ operation: "temperature" });
  const redistribute = edit({ operation: "redistribute", sinks: rule });

  test("a temperature is a factor, and what keeps the share: a strength for each row and head behind the packed words", () => {
    const words = packScoreEdits([[temperature]], SIZES);
    expect([...words.subarray(0, 2)]).toEqual([64, 2]);
    expect([...words.subarray(64, 80)]).toEqual([0, 4, 9, 80, 1, 81, 0, 0, 1, 4, 9, 80, 1, 81, 87, 0]);
    expect(words).toHaveLength(87);
    expect(rowStrengthNeeds(words, 3)).toEqual({ wordsPerRow: 6, rows: [4, 9], sinks: undefined });
  });

  test("a redistribution adds to sinks and to other columns, whose masks are written for each layer", () => {
    const words = packScoreEdits([[], [redistribute]], SIZES);
    expect([...words.subarray(2, 4)]).toEqual([64, 2]);
    expect([...words.subarray(64, 80)]).toEqual([1, 4, 9, 96, 2, 81, 100, 87, 1, 4, 9, 98, 2, 81, 101, 0]);
    expect([...new Float32Array(words.buffer).subarray(87, 90)]).toEqual([0.5, 0.25, 20]);
    expect([...words.subarray(90, 96)]).toEqual([40, 80, 1, 2, 7, 40]);
    expect(words).toHaveLength(100);
    const sinks = { dimensionsStart: 94, dimensions: Uint32Array.of(7, 40) };
    expect(rowStrengthNeeds(words, 3)).toEqual({ wordsPerRow: 6, rows: [4, 9], sinks });
  });

  test("are read back as they were given, between others that need nothing", () => {
    const words = packScoreEdits(
      [
        [edit(), temperature],
        [redistribute, edit()],
      ],
      SIZES,
    );
    const strengths = Float32Array.of(2, 2, -1);
    const given = [edit(), temperature, redistribute, edit()].map((each) => ({ ...each, strengths }));
    expect(unpackScoreEdits(words, { layer: 1, numHeads: 3 }).slice(0, 2)).toEqual([given.slice(0, 2), given.slice(2)]);
    expect(rowStrengthNeeds(packScoreEdits([[edit()]], SIZES), 3)).toBeUndefined();
  });

  test.each<[string, readonly (readonly ScoreEdit[])[], string]>([
    [
      "two in a row",
      [[temperature, redistribute]],
      "edits: at most one of temperature and redistribute may act, got temperature and redistribute.",
    ],
    ["no rule", [[edit({ operation: "redistribute" })]], "redistribute: expected a rule for sinks, got none."],
    ["a rule of another operation", [[edit({ sinks: rule })]], "multiply: expected no rule for sinks, got one."],
    [
      "other dimensions in another row",
      [[redistribute], [{ ...redistribute, sinks: { ...rule, dimensions: [1] } }]],
      "redistribute: all edits must have the same dimensions, got 7,40 and 1.",
    ],
    [
      "no dimensions",
      [[{ ...redistribute, sinks: { ...rule, dimensions: [] } }]],
      "redistribute: expected dimensions of the hidden states, whole numbers from 0, got none.",
    ],
    [
      "a threshold that is not a number",
      [[{ ...redistribute, sinks: { ...rule, tau: Number.NaN } }]],
      "redistribute: tau must be a finite number, got NaN.",
    ],
  ])("refuses %s", (_, edits, message) => {
    expect(() => packScoreEdits(edits, SIZES)).toThrow(new InputError(message));
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

test("unpackScoreEdits reads words that are part of a larger buffer", () => {
  const words = packScoreEdits([[edit()]], SIZES);
  const larger = new Uint32Array(words.length + 3);
  larger.set(words, 3);
  const [first] = unpackScoreEdits(larger.subarray(3), { layer: 0, numHeads: 3 });
  expect(first).toEqual([{ ...edit(), strengths: Float32Array.of(0.5, 1, 1) }]);
});

test("unpackScoreEdits refuses words that are not packed edits", () => {
  const words = packScoreEdits([[edit()]], SIZES);
  const place = { layer: 0, numHeads: 3 };
  expect(() => unpackScoreEdits(words.slice(0, 66), place)).toThrow(new Error("packed edits end before word 70"));
  words[64] = 4;
  expect(() => unpackScoreEdits(words, place)).toThrow(new Error("packed edits have no operation 4"));
});

describe("describeEdits", () => {
  const strengths = (...values: readonly number[]) => Float32Array.of(9, 9, 9, ...values); // the first layer is not asked for
  const describeAll = (edits: readonly ScoreEdit[], rows = { slotStart: 2, numRows: 6 }) =>
    describeEdits(packScoreEdits([edits], SIZES), { layer: 1, numHeads: 3, ...rows });

  test.each([
    ["multiply", "times 0.1"],
    ["add", "plus 0.1"],
    ["add-magnitude", "plus 0.1 of their magnitude"],
    ["knock-out", "knocked out"],
    ["temperature", "times 0.1, and plus what keeps their share of the attention"],
  ] as const)("says what %s does, to which scores", (operation, words) => {
    const changed = edit({
      operation,
      rows: [4, 7],
      columns: [
        [0, 2],
        [5, 9],
      ],
      strengths: strengths(0.1, 0.1, 0.1),
    });
    expect(describeAll([changed])).toEqual({
      params: {
        "edit.rowStart": 4,
        "edit.rowEnd": 7,
        "edit.numColumns": 6,
        "edit.strength": Math.fround(0.1),
      },
      detail: `in positions 4 to 6 the scores of 6 keys ${words}`,
    });
  });

  test("heads that are left alone do not count, heads of several strengths have none in common", () => {
    const detailOf = (operation: ScoreEdit["operation"], ...values: readonly number[]) =>
      describeAll([edit({ operation, strengths: strengths(...values) })])?.detail;
    expect(detailOf("multiply", 1, 2, 1)).toBe("in positions 4 to 7 the scores of 3 keys times 2");
    expect(detailOf("add", 0, 1, 0)).toBe("in positions 4 to 7 the scores of 3 keys plus 1");
    const several = describeAll([edit({ strengths: strengths(1, 2, 3) })]);
    expect(several).toStrictEqual({
      params: { "edit.rowStart": 4, "edit.rowEnd": 8, "edit.numColumns": 3 },
      detail: "in positions 4 to 7 the scores of 3 keys times a strength per head",
    });
  });

  test("names only rows of the call", () => {
    const details = (
      [
        [0, 3],
        [7, Number.POSITIVE_INFINITY],
        [5, 6],
        [0, 9],
      ] as const
    ).map((rows) => describeAll([edit({ rows })])?.detail);
    expect(details).toEqual(
      ["position 2", "position 7", "position 5", "positions 2 to 7"].map(
        (rows) => `in ${rows} the scores of 3 keys times a strength per head`,
      ),
    );
  });

  test("passes over edits that change nothing here", () => {
    const idle = [
      edit({ rows: [0, 2] }),
      edit({ rows: [8, 9] }),
      edit({ columns: [] }),
      edit({ strengths: strengths(1, 1, 1) }),
      edit({ operation: "add", strengths: strengths(0, 0, 0) }),
    ];
    expect(describeAll(idle)).toBeUndefined();
    expect(describeAll([])).toBeUndefined();
    const last = edit({ operation: "add", rows: [7, 8], strengths: strengths(0, 0.5, 0) });
    expect(describeAll([...idle, last])?.detail).toBe("in position 7 the scores of 3 keys plus 0.5");
  });
});
