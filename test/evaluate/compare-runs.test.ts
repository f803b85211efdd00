// Two runs compared by question, against tools/goldens/evaluate_rescore.py, and what cannot be compared.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { chooseRun, compareRuns, readWholeRuns, type WholeRun } from "../../src/evaluate/compare-runs.ts";
import { readQuestions } from "../../src/evaluate/datasets/question-files.ts";
import { dataSetNamed } from "../../src/evaluate/datasets/registry.ts";
import type { SplitName } from "../../src/evaluate/rescore.ts";
import type { RuleName } from "../../src/evaluate/verdicts.ts";
import { expectClose } from "./close.ts";

interface Side {
  readonly file: string;
  readonly split: SplitName;
  readonly run: string;
}

interface Comparison {
  readonly dataset: string;
  readonly rule: RuleName;
  readonly questions: string;
  readonly a: Side;
  readonly b: Side;
}

const golden = JSON.parse(read("expected.json")) as { readonly comparisons: readonly Comparison[] };

describe("two runs", () => {
  test.each(golden.comparisons)("$a.file $a.run and $b.file $b.run under $rule", (wanted) => {
    const { dataset, questions: file, a, b, ...numbers } = wanted;
    const dataSet = dataSetNamed(dataset);
    const questions = readQuestions(read(file), file, dataSet);
    const side = ({ file: name, split, run }: Side) =>
      chooseRun(readWholeRuns({ name, text: read(name) }, { dataSet, questions, split }), run, { option: "--x" });
    const {
      dataSet: name,
      definitions,
      bootstrap,
      ...found
    } = compareRuns(side(a), side(b), {
      dataSet,
      questions,
      rule: wanted.rule,
    });
    const withoutSplit = ({ split: _, ...rest }: Side) => rest;
    expectClose(found, { ...numbers, a: withoutSplit(a), b: withoutSplit(b) }, "comparison");
    expect(name).toBe(dataset);
    expect(bootstrap).toMatchObject({ numResamples: 2000, seed: 0 });
    expect(Object.keys(definitions)).toEqual([`rule ${wanted.rule}`, "mcNemar", "difference", "fixed", "broken"]);
  });
});

describe("what cannot be compared", () => {
  const dataSet = dataSetNamed("Controlled_A");
  const question = (id: number) => ({ id, question: "Where is the cup in relation to the box?", answer: ["Left"] });
  const questions = readQuestions(lines([0, 1, 2, 3, 4].map(question)), "q", dataSet);
  const sample = (id: number, method: string, text: string) => ({ doc_id: id, method, filtered_resps: text });
  const read = (name: string, rows: readonly object[]) =>
    readWholeRuns({ name, text: lines(rows) }, { dataSet, questions, split: "all" });
  const compare = (a: WholeRun, b: WholeRun, rule: RuleName) => compareRuns(a, b, { dataSet, questions, rule });
  const two = read("two.jsonl", [sample(0, "greedy", "Left"), sample(0, "pai", "On"), sample(1, "pai", "Left")]);
  const option = { option: "--method-a" };

  test("a run that is not named, or that is not there", () => {
    expect(chooseRun(two, "pai", option).run).toBe("pai");
    expect(chooseRun(two.slice(1), undefined, option).run).toBe("pai");
    expect(() => chooseRun(two, undefined, option)).toThrow(
      "two.jsonl holds greedy, pai: choose one of them with --method-a.",
    );
    expect(() => chooseRun(two, "vcd", option)).toThrow("--method-a vcd: two.jsonl has no such run, only greedy, pai.");
  });

  test("questions that only one run answers are left out, and without a common one there is nothing to compare", () => {
    const [greedy, pai] = [chooseRun(two, "greedy", option), chooseRun(two, "pai", option)];
    expect(compare(greedy, pai, "paper")).toMatchObject({
      n: 1,
      a: { numJudged: 1, individual: { count: 1, of: 1 } },
      b: { numJudged: 2, individual: { count: 0, of: 1 } },
      fixed: [],
      broken: [0],
      byRelation: { left: { onlyA: 1, onlyB: 0 } },
    });
    expect(() => compare(greedy, pai, "wholeString")).toThrow(
      /two\.jsonl \(greedy\) and two\.jsonl \(pai\) have no question in common that the rule wholeString can judge/,
    );
    const other = chooseRun(read("other.jsonl", [sample(4, "vcd", "Left")]), undefined, option);
    expect(() => compare(greedy, other, "paper")).toThrow(/no question in common that the rule paper can judge/);
  });

  test("a run of empty answers", () => {
    const empty = chooseRun(read("empty.jsonl", [sample(0, "greedy", " ")]), undefined, option);
    expect(() => compare(chooseRun(two, "pai", option), empty, "paper")).toThrow(
      "empty.jsonl: every answer of greedy is empty, as of a model that could not generate.",
    );
  });

  test("rows of an array count in their half", () => {
    // CPython's random.sample(range(5), 1) with seed 1 gives 1: row 0 of the validation half is question 1.
    const text = '[{"Generation": "Left"}]';
    const [run] = readWholeRuns({ name: "a.json", text }, { dataSet, questions, split: "validation" });
    expect(run?.recorded.answers.map((answer) => answer?.text)).toEqual([
      undefined,
      "Left",
      undefined,
      undefined,
      undefined,
    ]);
  });
});

function lines(rows: readonly object[]): string {
  return rows.map((row) => `${JSON.stringify(row)}\n`).join("");
}

function read(name: string): string {
  return readFileSync(new URL(`../golden/evaluate/rescore/${name}`, import.meta.url), "utf8");
}
