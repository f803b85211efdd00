// LLaVA's question files, JSON lines with pictures in a folder, and POPE's label files, which have the same form.
import type { JsonObject } from "../json-lines.ts";
import type { DataSet } from "./dataset.ts";
import { llavaPopeAnswer, readLlavaQuestion } from "./llava-lines.ts";
import { popeScores } from "./vlmevalkit-answers.ts";

/**
 * Questions of LLaVA's files. Where a line has a label, yes or no, it is the right answer; other answers are free and not judged.
 * Length of the answers and form of the answer file: haotian-liu/LLaVA c121f043, llava/eval/model_vqa_loader.py.
 */
export const LLAVA: DataSet = {
  name: "llava",
  aliases: ["llava-lines"],
  summary: "questions of LLaVA's JSON lines (question_id, image, text), or of POPE's with labels",
  numRows: undefined,
  options: [],
  isYesNo: false,
  pairAxes: [],
  published: null,
  defaultSplit: "all",
  maxNewTokens: 128,
  promptHead: undefined,
  prompt: ({ text }) => `<image>\n${text}`,
  promptForm: "template",
  authorsRule: {
    title: "LLaVA's rule",
    isRight: (text, gold) => llavaPopeAnswer(text) === gold,
    definition:
      "For questions with a label: an answer is no if No, no or not is a word of its first sentence, and yes otherwise, also where it says neither; it is right if that is the label.",
  },
  benchmark: {
    definition:
      "The questions with a label by LLaVA's rule, as POPE is scored: an answer that says neither counts as yes. recall is the true positive rate, yesRatio the share of answers that are yes.",
    score: (answers) =>
      Object.fromEntries(
        popeScores(
          answers.flatMap(({ question: { gold, category = "" }, text }) =>
            gold === "" || text === null
              ? []
              : [{ category, gold: capital(gold), answer: capital(llavaPopeAnswer(text)) }],
          ),
        ).flatMap(({ category, count, rates }) =>
          category === "" || count === 0
            ? []
            : [
                [
                  category,
                  {
                    count,
                    accuracy: rates.accuracy,
                    precision: rates.precision,
                    recall: rates.tpr,
                    f1: rates.f1,
                    yesRatio: rates.yesRatio,
                  },
                ],
              ],
        ),
      ),
  },
  answerFile: {
    name: "answers",
    line: ({ question, text, method, modelName, docHash }) => ({
      question_id: question.row?.question_id,
      prompt: question.text,
      text,
      answer_id: docHash.slice(0, 22), // as long as LLaVA's, which are random
      model_id: modelName,
      metadata: { method },
    }),
  },
  files: { questions: [], annotations: [] },
  pictures: (row) => {
    const { image } = row as JsonObject; // a row of the question file, as readQuestion has checked it
    return typeof image === "string" ? [image, `images/${image}`] : [];
  },
  readQuestion: (row, place) => {
    const { text, image, category, label } = readLlavaQuestion(row, place);
    return {
      id: place.id,
      text,
      gold: label ?? "",
      options: label === undefined ? [] : ["yes", "no"],
      relation: null,
      objects: null,
      category,
      picture: image,
      row,
    };
  },
};

function capital(answer: string): "Yes" | "No" {
  return answer === "yes" ? "Yes" : "No";
}
