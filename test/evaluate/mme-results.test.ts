// MME's result files and scores.
import { expect, test } from "vitest";
import {
  MME_GROUPS,
  mmeAnswer,
  mmeAnswerByLmmsEval,
  mmeGroupScore,
  mmeVerdicts,
  parseMmeResults,
  scoreMme,
} from "../../src/evaluate/datasets/mme-results.ts";
import { messageOf } from "./metrics-golden.ts";

const file = "existence.txt";

test("lines become answers, pairs become a score", () => {
  const text = [
    "a.jpg\tIs there a cup?\tYes\tYes, there is.",
    "a.jpg\tIs there a dog?\tNo\tNo",
    "b.jpg\tIs there a cup?\tYes\tyes",
    "b.jpg\tIs there a dog?\tNo\tYes",
    "",
  ].join("\r\n");
  const results = parseMmeResults(text, file);
  expect(results[0]).toEqual({
    line: 1,
    picture: "a.jpg",
    question: "Is there a cup?",
    gold: "yes",
    answer: "Yes, there is.",
  });
  expect(scoreMme(mmeVerdicts(results, "existence"))).toEqual([
    { category: "existence", numPictures: 2, accuracy: 0.75, accuracyPlus: 0.5, score: 125 },
  ]);
  expect(parseMmeResults("", file)).toEqual([]);
  expect(scoreMme([])).toEqual([]);
});

test("what is malformed is refused with file and line", async () => {
  const message = (...lines: readonly string[]) => messageOf(() => parseMmeResults(lines.join("\n"), file));
  const good = "a.jpg\tIs there a cup?\tYes\tYes";
  expect(await message(good, "a.jpg\tIs there a dog?\tNo")).toBe(
    "InputError: existence.txt:2: expected picture, question, true answer and answer, separated by tabs, got 3 fields; an answer may contain neither tabs nor line ends.",
  );
  expect(await message(good, `${good}\tmore`)).toMatch(/:2: expected picture.* got 5 fields/);
  expect(await message(good, "", good)).toMatch(/:2: expected picture.* got 1 fields/);
  expect(await message(good, "a.jpg\tIs there a dog?\tNone\tNo")).toBe(
    'InputError: existence.txt:2: expected the true answer Yes or No in field 3, got "None".',
  );
  expect(await message(good)).toBe(
    "InputError: existence.txt:2: expected the second question about a.jpg, got the end of the file.",
  );
  expect(await message(good, good.replace("a.jpg", "b.jpg"))).toBe(
    "InputError: existence.txt:2: expected the second question about a.jpg, got one about b.jpg.",
  );
  const lonely = { category: "count", picture: "a.jpg", isRight: true };
  expect(await messageOf(() => scoreMme([lonely]))).toBe(
    "InputError: MME, count: expected two questions about a.jpg, got 1.",
  );
});

test.each([
  ["Yes", "yes", "yes"],
  ["NO", "no", "no"],
  ["No, it is", "no", "no"],
  ["Not sure", "no", "no"],
  ["\nyes", "yes", "yes"],
  ["  Yes", "other", "yes"],
  ["The answer is yes", "other", "other"],
  [".. no", "other", "no"],
  ["y", "other", "yes"],
  ["N.", "other", "no"],
  ["", "other", "other"],
])("%j is %s by MME's rule and %s by lmms-eval's", (answer, byMme, byLmmsEval) => {
  expect(mmeAnswer(answer)).toBe(byMme);
  expect(mmeAnswerByLmmsEval(answer)).toBe(byLmmsEval);
});

test("a group's score is the sum of its categories, and missing where one of them is", () => {
  const verdicts = MME_GROUPS.cognition.flatMap((category) => [
    { category, picture: "a.jpg", isRight: true },
    { category, picture: "a.jpg", isRight: category !== "code_reasoning" },
  ]);
  expect(mmeGroupScore(scoreMme(verdicts), "cognition")).toBe(3 * 200 + 50);
  expect(mmeGroupScore(scoreMme(verdicts), "perception")).toBeNull();
});
