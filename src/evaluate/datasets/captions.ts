// Detailed captions of pictures, for CHAIR and other scorers of captions; there is no right answer and no metric of ours.
import { InputError, isObject } from "../../errors.ts";
import { parseJsonFile, readAllJsonLines } from "../json-lines.ts";
import type { DataSet } from "./dataset.ts";
import { where } from "./question-files.ts";

/** The prompt, and the length of the answers, with which CHAIR is commonly measured. Source: shikiw/OPERA 2a0a234, chair_eval.py */
const PROMPT = "Please describe this image in detail.";
const MAX_NEW_TOKENS = 512;

/** Names of files that are pictures. */
export const PICTURE_NAME = /\.(?:jpe?g|png|webp)$/i;

/** Captions of the pictures of a folder, or of those that a list names. */
export const CAPTIONS: DataSet = {
  name: "captions",
  aliases: ["CHAIR"],
  summary: `"${PROMPT}" about every picture of a folder or list, for scorers such as CHAIR's`,
  numRows: undefined,
  options: [],
  isYesNo: false,
  pairAxes: [],
  published: null,
  defaultSplit: "all",
  maxNewTokens: MAX_NEW_TOKENS,
  promptHead: undefined,
  prompt: ({ text }) => `<image>\n${text}`,
  promptForm: "template",
  authorsRule: { title: "none", isRight: () => false, definition: "Captions have no right answer and are not judged." },
  answerFile: {
    name: "captions",
    line: ({ question, text }) => ({ image_id: imageId(question.row?.image), caption: text }),
  },
  form: "pictures",
  files: { questions: [], annotations: [] },
  pictures: (row) => {
    const image: unknown = isObject(row) ? row.image : undefined;
    if (typeof image === "number") {
      const digits = String(image).padStart(12, "0");
      const names = ["COCO_val2014_", "COCO_train2014_", ""].map((start) => `${start}${digits}.jpg`);
      return [...names, ...names.map((name) => `images/${name}`)];
    }
    return [String(image), `images/${image}`];
  },
  readQuestion: (row, place) => {
    const { image } = row;
    const isNumber = typeof image === "number" && Number.isSafeInteger(image) && image >= 0;
    if (!isNumber && (typeof image !== "string" || image === "")) {
      throw new InputError(
        `${where(place)}: expected "image" to be a picture's name or its number in COCO, got ${JSON.stringify(image)}.`,
      );
    }
    return {
      id: place.id,
      text: PROMPT,
      gold: "",
      options: [],
      relation: null,
      objects: null,
      picture: String(image),
      row,
    };
  },
};

/**
 * The JSON lines of a list of pictures: a JSON list, JSON lines with "image", or one name or COCO number per line.
 * @throws InputError for text that is none of these.
 */
export function pictureLines(text: string, file: string): string {
  const start = text.trimStart().charAt(0);
  if (start === "{") {
    readAllJsonLines(text, file);
    return text;
  }
  const list: unknown =
    start === "["
      ? parseJsonFile(text, file)
      : text.split("\n").flatMap((line) => {
          const name = line.trim();
          return name === "" ? [] : [/^\d+$/.test(name) ? Number(name) : name];
        });
  if (!Array.isArray(list)) throw new InputError(`${file}: expected a list of pictures.`);
  return list.map((entry: unknown) => `${JSON.stringify(isObject(entry) ? entry : { image: entry })}\n`).join("");
}

/** COCO's number of a picture, which CHAIR's scorer looks up; the name where it does not end in one. */
function imageId(image: unknown): number | string {
  if (typeof image === "number") return image;
  const digits = /(\d+)\.\w+$/.exec(String(image))?.[1];
  return digits === undefined ? String(image) : Number(digits);
}
