// What'sUp (Kamath et al., EMNLP 2023) with the questions of the AdaptVis authors: Controlled_A and B, COCO and Visual Genome.

import { InputError, isObject } from "../../errors.ts";
import type { AdaptVisSettings } from "../../interventions/adaptvis.ts";
import type { AnnotationPlace, AuthorsRule, DataSet } from "./dataset.ts";
import { objectsOf, readAnswer, readText, where } from "./question-files.ts";

/** Every word that some data set of What'sUp has as an option. */
const RELATIONS = ["left", "right", "on", "under", "front", "behind", "top", "bottom", "above", "below"];

/** The rule of the authors' code for What'sUp (github.com/shiqichen17/AdaptVis at 3b41399, dataset_zoo/aro_datasets.py). */
export const SUBSTRING_RULE: AuthorsRule = {
  isRight: (text, gold) => {
    const [said, wanted] = [text.toLowerCase(), gold.toLowerCase()];
    return said.includes(wanted) && !(wanted === "on" && said.includes("front"));
  },
  definition:
    'The gold answer is a substring of the text, without regard to case; a gold "on" does not count where the text contains "front".',
};

/** Rows are objects with a path, which begins with the folder that the data was made in. */
function controlledPictures(folder: string): DataSet["pictures"] {
  return (row, { file, id }) => {
    const path: unknown = isObject(row) ? row.image_path : undefined;
    if (typeof path !== "string" || path === "") {
      throw new InputError(`${file}, row ${id}: expected an object with "image_path", got ${JSON.stringify(row)}.`);
    }
    const name = path.split("/").at(-1) ?? path;
    return [...new Set([path, path.replace(/^data\//, ""), `${folder}/${name}`])];
  };
}

/** Rows are lists that begin with a picture's number in COCO. */
const cocoPictures: DataSet["pictures"] = (row, place) => [`val2017/${numberOf(row, place).padStart(12, "0")}.jpg`];

/** Rows are lists that begin with a picture's number in Visual Genome. */
const genomePictures: DataSet["pictures"] = (row, place) => [`vg_images/${numberOf(row, place)}.jpg`];

function numberOf(row: unknown, { file, id }: AnnotationPlace): string {
  const first: unknown = Array.isArray(row) ? row[0] : undefined;
  const text = typeof first === "number" || typeof first === "string" ? String(first) : "";
  if (/^\d+$/.test(text)) return text;
  throw new InputError(
    `${file}, row ${id}: expected a list that begins with a picture's number, got ${JSON.stringify(row)}.`,
  );
}

/** The data sets of What'sUp, with the settings of the authors' final run for LLaVA-1.5-7B. */
export const WHATS_UP: readonly DataSet[] = [
  whatsUp({
    name: "Controlled_A",
    annotations: "controlled_images_dataset.json",
    pictures: controlledPictures("controlled_images"),
    aliases: ["Controlled_Images_A"],
    summary: "photographs of an object left of, right of, on or under another",
    numRows: 412,
    options: ["left", "right", "on", "under"],
    pairAxes: [
      ["left", "right"],
      ["on", "under"],
    ],
    factor: 0.8,
    adaptvis: { alpha1: 0.5, alpha2: 1.5, beta: 0.4 },
  }),
  whatsUp({
    name: "Controlled_B",
    annotations: "controlled_clevr_dataset.json",
    pictures: controlledPictures("controlled_clevr"),
    aliases: ["Controlled_Images_B"],
    summary: "photographs of an object left of, right of, in front of or behind another",
    numRows: 408,
    options: ["left", "right", "front", "behind"],
    pairAxes: [
      ["left", "right"],
      ["front", "behind"],
    ],
    factor: 0.8,
    adaptvis: { alpha1: 0.5, alpha2: 1.5, beta: 0.35 },
  }),
  whatsUp({
    name: "COCO_one",
    annotations: "coco_qa_one_obj.json",
    pictures: cocoPictures,
    aliases: ["COCO_QA_one_obj"],
    summary: "place of one object in pictures of COCO val2017",
    numRows: 2247,
    options: ["left", "right", "top", "bottom"],
    factor: 1.2,
    adaptvis: { alpha1: 0.5, alpha2: 1.2, beta: 0.3 },
  }),
  whatsUp({
    name: "COCO_two",
    annotations: "coco_qa_two_obj.json",
    pictures: cocoPictures,
    aliases: ["COCO_QA_two_obj"],
    summary: "relation of two objects in pictures of COCO val2017",
    numRows: 440,
    options: ["left", "right", "above", "below"],
    factor: 1.2,
    adaptvis: { alpha1: 0.5, alpha2: 1.2, beta: 0.3 },
  }),
  whatsUp({
    name: "VG_one",
    annotations: "vg_qa_one_obj.json",
    pictures: genomePictures,
    aliases: ["VG_QA_one_obj"],
    summary: "place of one object in pictures of Visual Genome",
    numRows: 1160,
    options: ["left", "right", "front", "behind", "top", "bottom"],
    factor: 2,
    adaptvis: { alpha1: 0.5, alpha2: 2, beta: 0.2 },
  }),
  whatsUp({
    name: "VG_two",
    annotations: "vg_qa_two_obj.json",
    pictures: genomePictures,
    aliases: ["VG_QA_two_obj"],
    summary: "relation of two objects in pictures of Visual Genome",
    numRows: 291,
    options: ["left", "right", "front", "behind", "above", "below"],
    factor: 2,
    adaptvis: { alpha1: 0.5, alpha2: 2, beta: 0.2 },
  }),
];

interface WhatsUpPart {
  readonly name: string;
  /** Name of the annotation file in What'sUp. */
  readonly annotations: string;
  readonly pictures: DataSet["pictures"];
  readonly aliases: readonly string[];
  readonly summary: string;
  readonly numRows: number;
  readonly options: readonly string[];
  readonly pairAxes?: DataSet["pairAxes"];
  readonly factor: number;
  readonly adaptvis: AdaptVisSettings;
}

function whatsUp({ factor, adaptvis, pairAxes = [], annotations, ...part }: WhatsUpPart): DataSet {
  const names = [part.name, ...part.aliases];
  const counted = part.options.length === 4 ? "four" : "six";
  return {
    ...part,
    pairAxes,
    files: {
      questions: [
        ...names.map((name) => `${name}_questions.jsonl`),
        ...names.flatMap((name) => {
          const authors = `${name}_with_answer_${counted}_options.jsonl`;
          return [authors, `prompts/${authors}`];
        }),
      ],
      annotations: [...names.map((name) => `${name}_annotations.json`), annotations, `data/${annotations}`],
    },
    isYesNo: false,
    published: { factor, adaptvis },
    maxNewTokens: 100,
    promptHead: undefined,
    // The authors' files hold the whole prompt; others hold the bare question.
    prompt: ({ text }) => (text.includes("<image>") ? text : `<image>\nUSER: ${text}\nASSISTANT:`),
    authorsRule: SUBSTRING_RULE,
    readQuestion: (row, place) => {
      const text = readText(row, "question", place);
      const gold = readAnswer(row, place);
      const relation = gold.toLowerCase();
      if (!RELATIONS.includes(relation)) {
        throw new InputError(
          `${where(place)}: unknown relation ${JSON.stringify(gold)} in "answer": the options of ${part.name} are ` +
            `${part.options.join(", ")}; check that the file belongs to the data set.`,
        );
      }
      return { id: place.id, text, gold, options: part.options, relation, objects: objectsOf(text) };
    },
  };
}
