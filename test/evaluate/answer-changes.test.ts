// What counts as fixed, broken and changed in format only.
import { expect, test } from "vitest";
import { type AnswerChange, classifyChange, countChanges } from "../../src/evaluate/answer-changes.ts";
import { dataSetNamed } from "../../src/evaluate/datasets/registry.ts";
import type { Answer } from "../../src/evaluate/verdicts.ts";

const dataSet = dataSetNamed("Controlled_A");
const questionWith = (gold: string) => ({
  id: 0,
  text: "Where is the mug in relation to the box?",
  gold,
  options: dataSet.options,
  relation: gold.toLowerCase(),
  objects: null,
});

/** @param best the option with the most probable whole string; null where that was not recorded */
function answer(text: string | null, best: string | null = null): Answer {
  const scores = new Map(dataSet.options.map((option) => [option, option === best ? -0.1 : -3]));
  return { text, firstToken: null, wholeString: best === null ? null : scores };
}

test.each<readonly [string, string, Answer, Answer, AnswerChange | null]>([
  ["another option, now right", "Left", answer("Right"), answer("Left"), "fixed"],
  ["another option, now wrong", "Left", answer("Left"), answer("Right"), "broken"],
  ["the same words", "Left", answer("Left"), answer("Left"), "unchanged"],
  ["wrong in both, by other options", "Left", answer("On"), answer("Under"), "unchanged"],
  ["right in both, worded differently", "Left", answer("Left"), answer("It is left of the box."), "unchanged"],
  // "on" is a substring of "upon" for the paper's rule, and no whole word.
  [
    "the same option by its string, a new wording",
    "On",
    answer("Upon", "under"),
    answer("Atop", "under"),
    "formatOnly",
  ],
  ["another option by its string", "On", answer("Atop", "under"), answer("Upon", "on"), "fixed"],
  // A text that names two options is right under the paper's rule; the option whose string is best stays "right".
  ["one option more in the text", "Left", answer("Right", "right"), answer("Left or right", "right"), "formatOnly"],
  ["one option fewer in the text", "Left", answer("Left or right", "right"), answer("Right", "right"), "formatOnly"],
  ["one option more, and nothing recorded to choose by", "Left", answer("Right"), answer("Left or right"), "fixed"],
  // A gold "on" does not count beside "front", though both name only "on".
  ["the paper's exception", "On", answer("On"), answer("On the front"), "formatOnly"],
  ["no text before", "Left", answer(null, "left"), answer("Left"), null],
  ["no text after", "Left", answer("Left"), answer(null, "left"), null],
])("%s", (_, gold, before, after, change) => {
  expect(classifyChange(before, after, { question: questionWith(gold), dataSet })).toBe(change);
});

test("the counts add up, and tell gained from lost formats", () => {
  const rows: readonly (readonly [string, Answer | null, Answer | null])[] = [
    ["Left", answer("Right"), answer("Left")],
    ["Left", answer("Left"), answer("Right")],
    ["Left", answer("Left"), answer("On")],
    ["Left", answer("Right", "right"), answer("Left or right", "right")],
    ["Left", answer("Left or right", "right"), answer("Right", "right")],
    ["Left", answer("Left or right", "right"), answer("Right", "right")],
    ["Left", answer("Left"), answer("Left")],
    ["Left", null, answer("Left")],
    ["Left", answer(null), answer("Left")],
  ];
  const counts = countChanges(
    rows.map(([, before]) => before),
    rows.map(([, , after]) => after),
    { questions: rows.map(([gold]) => questionWith(gold)), dataSet },
  );
  expect(counts).toEqual({ n: 7, fixed: 1, broken: 2, formatGained: 1, formatLost: 2, unchanged: 1 });
});
