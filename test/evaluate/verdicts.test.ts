// The rules one by one, and what is read from the text of a question.
import { describe, expect, test } from "vitest";
import type { Question } from "../../src/evaluate/datasets/dataset.ts";
import { clauseOf, objectsOf } from "../../src/evaluate/datasets/question-files.ts";
import { dataSetNamed } from "../../src/evaluate/datasets/registry.ts";
import { share } from "../../src/evaluate/scores.ts";
import { beginsWithOption, isBareOption, optionsIn, RULES, type RuleName } from "../../src/evaluate/verdicts.ts";

const OPTIONS = ["left", "right", "on", "under"];

describe("rules on texts", () => {
  test.each<readonly [string, string, string, boolean, boolean]>([
    ["Controlled_A", "On", "On", true, true],
    ["Controlled_A", "The cat is ON the mat.", "On", true, true],
    ["Controlled_A", "A lemon", "On", true, false],
    ["Controlled_A", "On the front", "On", false, true],
    ["Controlled_A", "Front", "On", false, false],
    ["Controlled_A", "It is on the left", "Left", true, false],
    ["Controlled_A", "Left, left", "Left", true, true],
    ["Controlled_A", "Left-hand side", "Left", true, true],
    ["Controlled_A", "leftmost", "Left", true, false],
    ["Controlled_A", "under_", "Under", true, false],
    ["Controlled_A", "", "Left", false, false],
    ["Controlled_B", "Right Front", "Front", true, false],
    ["VSR", "Yes", "Yes", true, true],
    ["VSR", "yes", "Yes", false, true],
    ["VSR", "Nothing", "No", true, false],
    ["VSR", "Yes or No", "No", true, false],
    ["VSR", "Yes", "No", false, false],
  ])("%s: %j for %s", (name, text, gold, byPaper, byExactlyOne) => {
    const judge = judgeOf(name, gold);
    expect(judge("paper", { text })).toBe(byPaper);
    expect(judge("exactlyOne", { text })).toBe(byExactlyOne);
  });

  test("a text that was not recorded is not judged", () => {
    expect(judgeOf("Controlled_A", "On")("paper", {})).toBeNull();
    expect(judgeOf("Controlled_A", "On")("exactlyOne", {})).toBeNull();
  });
});

test.each(["firstToken", "wholeString"] as const)("the largest score counts, the first of equal ones: %s", (rule) => {
  const judge = judgeOf("Controlled_A", "On");
  const scores = (left: number, on: number) => ({
    [rule]: new Map([
      ["left", left],
      ["on", on],
    ]),
  });
  expect(judge(rule, scores(0.1, 0.2))).toBe(true);
  expect(judge(rule, scores(-2, -3))).toBe(false);
  expect(judge(rule, scores(0.2, 0.2))).toBe(false);
  expect(judge(rule, { text: "On" })).toBeNull();
});

test("options in a text", () => {
  expect(optionsIn("Under, not left of it", OPTIONS)).toEqual(["left", "under"]);
  expect(optionsIn("\u00e9on on\u00e9 on2", OPTIONS)).toEqual([]);
  expect(optionsIn("(on)", OPTIONS)).toEqual(["on"]);
});

test("bare options and first words", () => {
  expect(["On", " on ", "ON.", "on ."].every((text) => isBareOption(text, OPTIONS))).toBe(true);
  expect(["On it", "", "on!", "on, on", "o.n", "on. x"].some((text) => isBareOption(text, OPTIONS))).toBe(false);
  expect(["On it", " left", "Under."].every((text) => beginsWithOption(text, OPTIONS))).toBe(true);
  expect(["The left", "Only", "", "lefty left"].some((text) => beginsWithOption(text, OPTIONS))).toBe(false);
});

describe("questions", () => {
  test.each([
    [
      "<image>\nUSER: Where is the oven mitt in relation to the chair? Answer with left.\nASSISTANT:",
      "oven mitt",
      "chair",
    ],
    ["Where are the black trees in relation to the fence? \nAnswer with left", "black trees", "fence"],
    ["Where is the man in relation  to the\nlady?", "man", "lady"],
    ["Where is the car in relation to suitcase? Answer", "car", "suitcase"],
    ["Where is car in the picture?", "car", null],
    ["Where is the fire hydrant in the photo? Answer with top or bottom..", "fire hydrant", null],
  ])("objects of %j", (text, first, second) => {
    expect(objectsOf(text)).toEqual({ first, second });
  });

  test("no objects, and the clause", () => {
    expect(objectsOf("Is the cat on the mat?")).toBeNull();
    expect(clauseOf("USER: Where is the Cat\n in relation to the mat ? Answer")).toBe(
      "where is the cat in relation to the mat",
    );
    expect(clauseOf("Is the cat on the mat?")).toBeNull();
  });
});

test("shares of nothing have no fraction", () => {
  expect(share(0, 0)).toEqual({ count: 0, of: 0, fraction: null, percent: null });
  expect(share(3, 1.5 * 4)).toEqual({ count: 3, of: 6, fraction: 0.5, percent: 50 });
});

/** Judges an answer to a question of a data set with this right answer. */
function judgeOf(name: string, gold: string) {
  const dataSet = dataSetNamed(name);
  const question: Question = { id: 0, text: "", gold, options: dataSet.options, relation: null, objects: null };
  return (ruleName: RuleName, parts: Readonly<Record<string, unknown>>) => {
    const answer = { text: null, firstToken: null, wholeString: null, ...parts };
    const rule = RULES.find((each) => each.name === ruleName);
    if (rule === undefined) throw new Error(`no rule ${ruleName}`);
    return rule.judge(answer, question, dataSet);
  };
}
