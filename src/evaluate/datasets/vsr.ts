// VSR (Liu et al., TACL 2023), zero-shot test split: is a caption about a spatial relation true?

import { InputError, isObject } from "../../errors.ts";
import type { DataSet } from "./dataset.ts";
import { oneSpaced, readAnswer, readText, where } from "./question-files.ts";

const HEAD =
  "User: <image>\n Determine whether the description about the spatial relationship is correct or not. Answer with yes or no: ";
const OPTIONS = ["yes", "no"];

/** VSR; its questions are read from VSR's own JSON lines (caption, label, relation) or from {"question", "answer"} lines. */
export const VSR: DataSet = {
  name: "VSR",
  aliases: ["VSR_zeroshot", "VSR-zeroshot"],
  summary: "captions about a spatial relation in pictures of COCO, true or false",
  numRows: 1222,
  options: OPTIONS,
  isYesNo: true,
  pairAxes: [],
  published: { factor: 0.5, adaptvis: { alpha1: 0.5, alpha2: 1.2, beta: 0.64 } },
  referenceQuirks: { gate: "logit", pictureSize: { width: 2300, height: 4096 } },
  maxNewTokens: 100,
  promptHead: HEAD,
  prompt: ({ text }) => (text.includes("<image>") ? text : `${HEAD}${text} Assistant:`),
  authorsRule: {
    isRight: (text, gold) => text.includes(gold.toLowerCase() === "yes" ? "Yes" : "No"),
    definition: 'The text contains "Yes" where the caption is true, or "No" where it is false, with this case.',
  },
  files: {
    questions: ["VSR_questions.jsonl", "VSR.jsonl", "test.jsonl"],
    annotations: ["VSR_annotations.jsonl", "VSR.jsonl", "test.jsonl"],
  },
  pictures: (row, { file, id }) => {
    const image: unknown = isObject(row) ? row.image : undefined;
    if (typeof image === "string" && image !== "")
      return [`train2017/${image}`, `val2017/${image}`, `images/${image}`, image];
    throw new InputError(`${file}, row ${id}: expected an object with "image", got ${JSON.stringify(row)}.`);
  },
  readQuestion: (row, place) => {
    const relation = typeof row.relation === "string" ? oneSpaced(row.relation).toLowerCase() : null;
    const isAnnotation = row.caption !== undefined;
    const text = readText(row, isAnnotation ? "caption" : "question", place);
    const gold = isAnnotation ? labelOf(row.label) : readAnswer(row, place);
    if (gold === undefined || !OPTIONS.includes(gold.toLowerCase())) {
      const [name, wanted] = isAnnotation ? ["label", "0 or 1"] : ["answer", "Yes or No"];
      throw new InputError(
        `${where(place)}: expected "${name}" to be ${wanted}, got ${JSON.stringify(row[name])}; ` +
          "check that the file belongs to VSR.",
      );
    }
    const picture = typeof row.image === "string" && row.image !== "" ? row.image : undefined;
    return { id: place.id, text, gold, options: OPTIONS, relation, objects: null, picture };
  },
};

function labelOf(label: unknown): string | undefined {
  if (label === 1 || label === true || label === "1") return "Yes";
  if (label === 0 || label === false || label === "0") return "No";
  return undefined;
}
