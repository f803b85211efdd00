// VLMEvalKit's benchmarks, whose files are TSV with the pictures inside: multiple choice, and yes or no.
//
// The TSV is read once and becomes JSON lines without the pictures, in the form of VlmEvalKitLine; run/tsv-file.node.ts does that.
// Source: open-compass/VLMEvalKit e8e78f05, vlmeval/dataset/image_mcq.py, image_yorn.py and spatial (EmbSpatialBench).
import { InputError, isObject } from "../../errors.ts";
import type { JsonObject } from "../json-lines.ts";
import type { BinaryRates } from "../metrics/confusion.ts";
import type { BenchmarkAnswer, BenchmarkScores, BenchmarkScoring, DataSet, Question, RowPlace } from "./dataset.ts";
import { mmeGroupScore, scoreMme } from "./mme-results.ts";
import { where } from "./question-files.ts";
import { extractOption, extractYesNo, popeScores, type SrBenchGrouping, srBenchGroup } from "./vlmevalkit-answers.ts";
import { type ChoiceOption, choicePrompt, yesNoPrompt } from "./vlmevalkit-tsv.ts";

/** A row of a TSV as a JSON line. */
export interface VlmEvalKitLine {
  /** 0-based row. */
  readonly id: number;
  /** 1-based line number in the TSV. */
  readonly line: number;
  /** The picture's name: `image_path`, or the index of the row that holds it; null for a row without a picture. */
  readonly picture: string | null;
  /** 0-based row that holds the picture; null where it is a file, or there is none. */
  readonly picture_row: number | null;
  /** Every column but `image`. */
  readonly fields: Readonly<Record<string, string>>;
}

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ".split("");

/** A benchmark of VLMEvalKit. */
interface VlmEvalKitPart {
  readonly name: string;
  readonly aliases?: readonly string[];
  readonly summary: string;
  readonly isYesNo?: boolean;
  /** Names of its file; NAME.tsv unless given. */
  readonly files?: readonly string[];
  /** Column with the prompt, in place of VLMEvalKit's usual form. */
  readonly promptColumn?: string;
  /** Column to group results by, in place of the category. */
  readonly groupColumn?: string;
  readonly scoring?: BenchmarkScoring;
}

/** Benchmarks by name, and `vlmevalkit` for any other TSV. */
export const VLMEVALKIT: readonly DataSet[] = [
  benchmark({
    name: "POPE",
    summary: "is an object in a picture of COCO? (VLMEvalKit's TSV)",
    isYesNo: true,
    scoring: {
      definition:
        "By category, VLMEvalKit's extraction; a row of several categories counts once in each, and so more than once in Overall. recall is the true positive rate, yesRatio the share of all answers that say yes; an answer that says neither is wrong.",
      score: (answers) =>
        Object.fromEntries(
          popeScores(
            answered(answers).map(({ question, text }) => ({
              category: question.category ?? "",
              gold: question.gold === "Yes" ? "Yes" : "No",
              answer: extractYesNo(text),
            })),
          ).flatMap(({ category, count, rates }) =>
            category === "" || count === 0 ? [] : [[category, { count, ...popeRates(rates) }]],
          ),
        ),
    },
  }),
  benchmark({
    name: "MME",
    summary: "two questions about each picture, one whose answer is yes and one whose answer is no (VLMEvalKit's TSV)",
    isYesNo: true,
    scoring: {
      definition:
        "By category over the pictures whose two questions were answered: accuracy, accuracyPlus (pictures with both answers right) and score = 100 · (accuracy + accuracyPlus); numLeftOut counts pictures with another number of answers. perception and cognition are sums of their categories' scores, null where a category is missing.",
      score: scoreOfMme,
    },
  }),
  benchmark({
    name: "CV-Bench-2D",
    summary: "counting and relations of objects in pictures (VLMEvalKit's TSV)",
    promptColumn: "prompt",
    scoring: {
      definition: "Accuracy by source by VLMEvalKit's rule, and overall their mean, as CV-Bench-2D is scored.",
      score: scoreOfSources,
    },
  }),
  benchmark({
    name: "CV-Bench-3D",
    summary: "depth and distance of objects in pictures (VLMEvalKit's TSV)",
    promptColumn: "prompt",
  }),
  benchmark({ name: "SpatialEval", summary: "maps, mazes, grids and photographs (VLMEvalKit's TSV)" }),
  benchmark({
    name: "3DSRBench",
    summary: "height, place, orientation and relations of objects in space (VLMEvalKit's TSV)",
    scoring: {
      definition:
        "A group is right when all its rows are: flip joins a row and its mirrored version, circular the permutations of the options, flip-circular both. Groups with a row that was not answered are left out and counted (numLeftOut).",
      score: scoreOfGroups,
    },
  }),
  benchmark({
    name: "EmbSpatialBench",
    aliases: ["EmbSpatial", "EmbSpatial-Bench"],
    summary: "relations of objects in indoor scenes, as an agent sees them (VLMEvalKit's TSV)",
    files: ["EmbSpatialBench.tsv", "EmbSpatial-Bench.tsv"],
    groupColumn: "data_source",
  }),
  benchmark({
    name: "vlmevalkit",
    aliases: ["tsv"],
    summary: "any other TSV of VLMEvalKit's form: multiple choice, or yes and no",
    files: [],
  }),
];

function benchmark(part: VlmEvalKitPart): DataSet {
  const { name, summary, aliases = [], isYesNo = false, files = [`${name}.tsv`], scoring } = part;
  return {
    name,
    aliases,
    summary,
    numRows: undefined,
    options: isYesNo ? ["yes", "no"] : [],
    isYesNo,
    pairAxes: [],
    published: null,
    defaultSplit: "all",
    maxNewTokens: 100,
    promptHead: undefined,
    prompt: ({ text }) => `<image>\n${text}`,
    promptForm: "template",
    authorsRule: {
      title: "VLMEvalKit's rule",
      isRight: (text, gold, { choices }) =>
        (choices === undefined ? extractYesNo(text) : extractOption(text, choices)) === gold,
      definition:
        "Multiple choice: exactly one letter is a word of the answer and among its last four words; else the first letter from A to D after \"answer is\"; else exactly one option's text is part of the answer, which is at most twice as long as all options together. Yes or no: exactly one of these words is in the answer. These are VLMEvalKit's rules without a judge model.",
    },
    ...(scoring !== undefined && { benchmark: scoring }),
    form: "tsv",
    files: { questions: files, annotations: [] },
    pictures: (row) => {
      const { picture } = row as Partial<VlmEvalKitLine>; // as readQuestion has checked it
      return typeof picture === "string" ? [picture, `images/${picture}`, `images/${name}/${picture}`] : [];
    },
    readQuestion: (row, place) => readVlmEvalKitQuestion(row, place, part),
  };
}

/** @throws InputError for a row without an answer, or with one that is neither an option nor yes or no. */
function readVlmEvalKitQuestion(row: JsonObject, place: RowPlace, part: VlmEvalKitPart): Question {
  const { id, line, picture, fields } = row;
  if (!isObject(fields) || typeof line !== "number" || id !== place.id) {
    throw new InputError(
      `${where(place)}: expected row ${place.id} of a VLMEvalKit TSV, or of the questions.jsonl of a run on one, got ${JSON.stringify(row).slice(0, 80)}.`,
    );
  }
  const own: RowPlace = { ...place, lineNumber: line };
  const field = (column: string): string | undefined => {
    const value = fields[column];
    return typeof value === "string" ? value : undefined;
  };
  const needed = (column: string): string => {
    const value = field(column);
    if (value !== undefined) return value;
    throw new InputError(`${where(own)}: expected a value in column ${column}, got none; add it or remove the row.`);
  };
  const choices = LETTERS.flatMap((letter): readonly ChoiceOption[] => {
    const text = field(letter);
    return text === undefined ? [] : [{ letter, text }];
  });
  const question = needed("question");
  const answer = needed("answer").trim();
  const common = {
    id: place.id,
    relation: null,
    objects: null,
    category: field(part.groupColumn ?? "category") ?? field("category") ?? field("l2-category"),
    picture: typeof picture === "string" ? picture : undefined,
    row: fields,
  };
  if (choices.length === 0) {
    const gold = ["Yes", "No"].find((each) => each.toLowerCase() === answer.toLowerCase());
    if (gold !== undefined) return { ...common, text: yesNoPrompt({ question }), gold, options: ["yes", "no"] };
    throw new InputError(
      `${where(own)}: expected options in columns A, B, … or the answer Yes or No, got the answer ${JSON.stringify(answer)} without options.`,
    );
  }
  if (!choices.some(({ letter }) => letter === answer)) {
    throw new InputError(
      `${where(own)}: expected the answer to be one of ${choices.map(({ letter }) => letter).join(", ")}, got ${JSON.stringify(answer)}.`,
    );
  }
  const { promptColumn } = part;
  return {
    ...common,
    text:
      promptColumn === undefined
        ? choicePrompt({ hint: field("hint"), question, options: choices })
        : needed(promptColumn),
    gold: answer,
    options: choices.map(({ letter }) => letter.toLowerCase()),
    choices,
  };
}

function answered(answers: readonly BenchmarkAnswer[]) {
  return answers.flatMap(({ question, text }) => (text === null ? [] : [{ question, text }]));
}

function isRight({ question, text }: { readonly question: Question; readonly text: string }): boolean {
  const { choices, gold } = question;
  return (choices === undefined ? extractYesNo(text) : extractOption(text, choices)) === gold;
}

function popeRates({ accuracy, precision, tpr, f1, yesRatio }: BinaryRates) {
  return { accuracy, precision, recall: tpr, f1, yesRatio };
}

function scoreOfMme(answers: readonly BenchmarkAnswer[]): BenchmarkScores {
  const rows = answers.map((answer) => {
    const { category = "", picture = String(answer.question.id) } = answer.question;
    return { ...answer, category, picture, key: JSON.stringify([category, picture]) };
  });
  const numAnswered = new Map<string, number>();
  for (const { key, text } of rows) numAnswered.set(key, (numAnswered.get(key) ?? 0) + Number(text !== null));
  const whole = rows.flatMap(({ question, text, category, picture, key }) =>
    text === null || numAnswered.get(key) !== 2 ? [] : [{ category, picture, isRight: isRight({ question, text }) }],
  );
  const scores = scoreMme(whole);
  const leftOut = (category: string) =>
    [...numAnswered].filter(([key, count]) => count > 0 && count !== 2 && JSON.parse(key)[0] === category).length;
  return {
    ...Object.fromEntries(
      scores.map(({ category, numPictures, accuracy, accuracyPlus, score }) => [
        category,
        { numPictures, numLeftOut: leftOut(category), accuracy, accuracyPlus, score },
      ]),
    ),
    perception: { score: mmeGroupScore(scores, "perception") },
    cognition: { score: mmeGroupScore(scores, "cognition") },
  };
}

function scoreOfSources(answers: readonly BenchmarkAnswer[]): BenchmarkScores {
  const bySource = new Map<string, boolean[]>();
  for (const row of answered(answers)) {
    const source = String(row.question.row?.source ?? "no source");
    bySource.set(source, [...(bySource.get(source) ?? []), isRight(row)]);
  }
  const rows = [...bySource].map(([source, verdicts]) => {
    const accuracy = verdicts.filter(Boolean).length / verdicts.length;
    return [source, { count: verdicts.length, accuracy }] as const;
  });
  const mean = rows.reduce((sum, [, { accuracy }]) => sum + accuracy, 0) / rows.length;
  return {
    ...Object.fromEntries(rows),
    Overall: { count: answered(answers).length, accuracy: rows.length === 0 ? null : mean },
  };
}

function scoreOfGroups(answers: readonly BenchmarkAnswer[]): BenchmarkScores {
  const groupings: readonly SrBenchGrouping[] = ["vanilla", "flip", "circular", "flip-circular"];
  const scores = groupings.map((grouping) => {
    const groups = new Map<string, (boolean | null)[]>();
    for (const { question, text } of answers) {
      const group = srBenchGroup(String(question.row?.qid ?? question.id), grouping);
      groups.set(group, [...(groups.get(group) ?? []), text === null ? null : isRight({ question, text })]);
    }
    const started = [...groups.values()].filter((verdicts) => verdicts.some((verdict) => verdict !== null));
    const whole = started.filter((verdicts) => !verdicts.includes(null));
    const numRight = whole.filter((verdicts) => verdicts.every((verdict) => verdict === true)).length;
    return [
      grouping,
      {
        numGroups: whole.length,
        numLeftOut: started.length - whole.length,
        numRight,
        accuracy: whole.length === 0 ? null : numRight / whole.length,
      },
    ] as const;
  });
  return Object.fromEntries(scores);
}
