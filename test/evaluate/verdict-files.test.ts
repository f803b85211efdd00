// Recorded verdicts compared with ours: what agrees, what differs in which rows, and what belongs to another run.
import { describe, expect, test } from "vitest";
import { compareVerdicts, type OwnRun, readVerdictFile } from "../../src/evaluate/answers/verdict-files.ts";

const ABOUT = { numRows: 4, numExpected: 4, isNamed: (name: string) => name === "X" };

const run = (parts: Partial<OwnRun>): OwnRun => ({
  name: "answer",
  verdicts: [true, false, true, null],
  individual: 50,
  pair: 25,
  set: 0,
  rates: null,
  ...parts,
});

const compare = (file: object, own: Partial<OwnRun> = {}, about: Partial<typeof ABOUT> = {}) =>
  compareVerdicts(readVerdictFile(JSON.stringify(file), "s.json"), [run(own)], { ...ABOUT, ...about });

describe("a scores file", () => {
  const verdicts = [true, false, true, false];

  test("agrees", () => {
    expect(compare({ acc: 0.5, correct_id: [0, 2] }, { verdicts })).toEqual({
      status: "agrees",
      recorded: { acc: 0.5, numRight: 2 },
      agreeingRuns: ["answer"],
      runs: [{ run: "answer", agrees: true, onlyRecorded: [], onlyRecomputed: [] }],
    });
  });

  test("differs in rows, on either side", () => {
    const rows = (ids: readonly number[]) => {
      const found = compare({ acc: ids.length / 4, correct_id: ids }, { verdicts });
      return "runs" in found ? found.runs[0] : found;
    };
    expect(rows([0, 1, 2])).toEqual({ run: "answer", agrees: false, onlyRecorded: [1], onlyRecomputed: [] });
    expect(rows([0])).toEqual({ run: "answer", agrees: false, onlyRecorded: [], onlyRecomputed: [2] });
  });

  test("of rows that no rule judged: the fraction is that of the judged ones", () => {
    expect(compare({ acc: 0.5, correct_id: [0, 2] })).toMatchObject({ status: "differs" });
    expect(compare({ acc: 2 / 3, correct_id: [0, 2] }, {}, { numRows: 3 })).toMatchObject({ status: "agrees" });
  });

  test("without right answers fits a complete run only", () => {
    const wrong = { verdicts: [false, false, false, false] };
    expect(compare({ acc: 0, correct_id: [] }, wrong)).toMatchObject({ status: "agrees" });
    expect(compare({ acc: 0, correct_id: [] }, wrong, { numExpected: 5 })).toEqual({
      status: "stale",
      reason: "it does not say how many rows it counts, and the answers are 4 of 5",
    });
  });

  test("of another number of rows is stale", () => {
    expect(compare({ acc: 0.25, correct_id: [0, 2] })).toEqual({
      status: "stale",
      reason: "it counts 8 rows, but the answers are 4 of 4",
    });
    expect(compare({ acc: 0.25, correct_id: [4] })).toEqual({
      status: "stale",
      reason: "it counts row 4, but the answers are 4 of 4",
    });
  });
});

describe("VSR's scores file", () => {
  const file = { acc: 0.5, precision: 0.75, recall: 0.25, f1: 0.375 };
  const own = { individual: 0.5, rates: { positive: 0.75, negative: 0.25, mean: 0.375 } };
  const statusOf = (parts: Partial<OwnRun>) => compare(file, { ...own, ...parts }).status;

  test("agrees in all four numbers or differs", () => {
    expect(statusOf({})).toBe("agrees");
    expect(statusOf({ individual: 0.51 })).toBe("differs");
    expect(statusOf({ rates: { ...own.rates, positive: 0.7 } })).toBe("differs");
    expect(statusOf({ rates: { ...own.rates, negative: 0.3 } })).toBe("differs");
    expect(statusOf({ rates: { ...own.rates, mean: null } })).toBe("differs");
    expect(statusOf({ rates: null })).toBe("differs");
    expect(compare({ ...file, f1: 0 }, { ...own, rates: { ...own.rates, mean: null } }).status).toBe("agrees");
  });

  test("is stale beside a prefix", () => {
    expect(compare(file, own, { numExpected: 5 })).toMatchObject({
      status: "stale",
      reason: expect.stringContaining("4 of 5"),
    });
  });
});

describe("res.json", () => {
  const line = {
    dataset: "X",
    method: "base",
    weight: 1,
    "Individual accuracy": 50,
    "Pair accuracy": 25,
    "Set accuracy": 0,
    correct_id: [0, 2],
  };
  const agreeing = (...changes: readonly object[]) => {
    const text = changes.map((change) => JSON.stringify({ ...line, ...change })).join("\n");
    const found = compareVerdicts(readVerdictFile(text, "res.json"), [run({})], ABOUT);
    return found.status === "lines" ? found.lines.map(({ agreeingRuns }) => agreeingRuns.length) : found;
  };

  test("a line agrees in its rows and in each number that it has", () => {
    expect(agreeing({}, { "Individual accuracy": 49 }, { "Pair accuracy": 24 }, { "Set accuracy": 1 })).toEqual([
      1, 0, 0, 0,
    ]);
    expect(agreeing({ correct_id: [0] }, { correct_id: [0, 1, 2] }, { dataset: "Y" })).toEqual([0, 0]);
    expect(agreeing({ "Pair accuracy": undefined, "Set accuracy": undefined })).toEqual([1]);
    expect(agreeing({ "Individual accuracy": "50" })).toEqual([0]);
  });

  test("a single line, and lines that lack their rows or data set", () => {
    expect(readVerdictFile(JSON.stringify(line), "res.json")).toEqual({
      kind: "lines",
      lines: [
        {
          lineNumber: 1,
          dataSet: "X",
          method: "base",
          weight: 1,
          individual: 50,
          pair: 25,
          set: 0,
          rightPositions: [0, 2],
        },
      ],
      skippedLines: [],
    });
    const text = [{ dataset: "X" }, line, { correct_id: [] }, { ...line, correct_id: [-1] }]
      .map((each) => JSON.stringify(each))
      .join("\n");
    expect(readVerdictFile(text, "res.json")).toMatchObject({ lines: [{ lineNumber: 2 }], skippedLines: [1, 3, 4] });
    expect(() => readVerdictFile('{"dataset": "X"}', "res.json")).toThrow(/res\.json has no verdicts/);
  });
});
