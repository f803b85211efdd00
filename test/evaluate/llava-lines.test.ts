// LLaVA's question and answer files, POPE's label files and the two rules for its answers.
import { expect, test } from "vitest";
import {
  CHOICE_SUFFIX,
  isRightByLmmsEval,
  llavaPopeAnswer,
  parseLlavaAnswers,
  parseLlavaQuestions,
  parsePopeQuestions,
  SHORT_ANSWER_SUFFIX,
} from "../../src/evaluate/datasets/llava-lines.ts";
import { messageOf } from "./metrics-golden.ts";

const lines = (...values: readonly object[]) => values.map((value) => JSON.stringify(value)).join("\n");

test("questions, with and without picture and category", () => {
  const text = `\uFEFF${lines(
    { question_id: 0, image: "a.jpg", text: "Is there a cup?", category: "random" },
    { question_id: "q/1", text: "Why?", extra: 1 },
  )}\r\n  \n`;
  expect(parseLlavaQuestions(text, "q.jsonl")).toEqual([
    { line: 1, questionId: 0, image: "a.jpg", text: "Is there a cup?", category: "random" },
    { line: 2, questionId: "q/1", image: undefined, text: "Why?", category: undefined },
  ]);
  expect(parseLlavaQuestions("", "q.jsonl")).toEqual([]);
});

test("POPE's labels", async () => {
  const question = { question_id: 1, image: "COCO_val2014_000000000001.jpg", text: "Is there a cup in the image?" };
  const [row] = parsePopeQuestions(lines({ ...question, label: "no" }), "coco_pope_random.json");
  expect(row).toMatchObject({ questionId: 1, image: question.image, label: "no" });
  expect(parsePopeQuestions(lines({ ...question, label: "yes" }), "coco_pope_random.json")[0]?.label).toBe("yes");
  expect(await messageOf(() => parsePopeQuestions(lines({ ...question, label: "No" }), "coco_pope_random.json"))).toBe(
    'InputError: coco_pope_random.json, line 1: label must be yes or no, got "No".',
  );
});

test("answers", () => {
  const full = {
    question_id: 4,
    prompt: "Is it?",
    text: "Yes",
    answer_id: "ShOrTuUiD",
    model_id: "llava-v1.5-7b",
    metadata: { seed: 1 },
  };
  expect(parseLlavaAnswers(lines(full, { question_id: 5, text: "" }), "a.jsonl")).toEqual([
    {
      line: 1,
      questionId: 4,
      prompt: "Is it?",
      text: "Yes",
      answerId: "ShOrTuUiD",
      modelId: "llava-v1.5-7b",
      metadata: { seed: 1 },
    },
    {
      line: 2,
      questionId: 5,
      prompt: undefined,
      text: "",
      answerId: undefined,
      modelId: undefined,
      metadata: {},
    },
  ]);
});

test("what is malformed is refused with file and line", async () => {
  const good = lines({ question_id: 1, text: "q" });
  const questions = (line: string) => messageOf(() => parseLlavaQuestions(`${good}\n\n${line}\n`, "q.jsonl"));
  expect(await questions('{"question_id": 2, "te')).toBe(
    "InputError: q.jsonl, line 3: expected a JSON object, got text that is not JSON; correct or remove the line.",
  );
  expect(await questions("[1]")).toBe(
    "InputError: q.jsonl, line 3: expected a JSON object, got Array; correct or remove the line.",
  );
  expect(await questions('{"text": "q"}')).toBe(
    "InputError: q.jsonl, line 3: question_id must be a text or a number, got nothing.",
  );
  expect(await questions('{"question_id": 2}')).toBe("InputError: q.jsonl, line 3: text must be a text, got nothing.");
  expect(await questions('{"question_id": 2, "text": "q", "image": 7}')).toMatch(
    /line 3: image must be a text, got 7\.$/,
  );

  const answers = (line: string) => messageOf(() => parseLlavaAnswers(`${good}\n${line}`, "a.jsonl"));
  expect(await answers(good)).toBe(
    "InputError: a.jsonl, line 2: question_id must be an id that line 1 does not have, got 1.",
  );
  expect(await answers('{"question_id": 2, "text": "a", "metadata": []}')).toMatch(
    /metadata must be an object, got \[\]/,
  );
});

test.each([
  ["No", "no"],
  ["No, there is not.", "no"],
  ["It is not. Yes", "no"],
  ["no,", "no"],
  ["It is no, I think", "no"],
  ["know", "yes"],
  ["there is no cup", "no"],
  ["Yes. No", "yes"],
  ["NO", "yes"],
  ["None", "yes"],
  ["No\n", "yes"],
  ["", "yes"],
  ["I cannot see", "yes"],
])("LLaVA's rule reads %j as %s", (answer, verdict) => {
  expect(llavaPopeAnswer(answer)).toBe(verdict);
});

test.each([
  ["Yes", "yes", true],
  [" no\n", "no", true],
  ["Yes.", "yes", false],
  ["Yes, there is", "yes", false],
  ["no", "yes", false],
] as const)("lmms-eval's rule on %j for %s is %s", (answer, label, isRight) => {
  expect(isRightByLmmsEval(answer, label)).toBe(isRight);
});

test("suffixes begin on a line of their own", () => {
  expect(SHORT_ANSWER_SUFFIX).toBe("\nAnswer the question using a single word or phrase.");
  expect(CHOICE_SUFFIX).toBe("\nAnswer with the option's letter from the given choices directly.");
});
