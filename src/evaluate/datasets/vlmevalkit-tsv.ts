// VLMEvalKit's benchmark files: one row per question, with the picture in it as base64 or as a path beside it.
//
// | column | content |
// |---|---|
// | index | unique |
// | image | base64; a text of at most 64 characters is the index of the row that has the picture; several as a list |
// | image_path | path or list of paths, where there is no image column or several pictures need names |
// | question, answer, hint | text; the answer is an option's letter, or Yes or No |
// | A … Z | options of a multiple-choice question |
// | category, l2-category, split | groups to report by; POPE's category may be several, separated by commas |
// | qid | 3DSRBench's key, see vlmevalkit-answers.ts |
// | prediction | only in result files, which lack image |
//
// VLMEvalKit lets pandas guess the type of each column, so that an option 3 in a column with gaps is shown as 3.0 there; here
// a field keeps its text.
// Source: open-compass/VLMEvalKit e8e78f05, vlmeval/dataset/image_base.py, image_mcq.py and image_yorn.py.
import { at, InputError } from "../../errors.ts";
import { type FieldDecoder, readTsv, type TsvRow } from "./tsv.ts";

/** One picture of a row. */
export type RowPicture =
  | { readonly kind: "base64"; readonly data: string }
  | { readonly kind: "path"; readonly path: string };

/** An option of a multiple-choice question. */
export interface ChoiceOption {
  /** A … Z. */
  readonly letter: string;
  readonly text: string;
}

/** One question of a benchmark file, or one answer of a result file. */
export interface VlmEvalKitRow {
  readonly line: number;
  readonly index: string;
  /** The row's own pictures; empty where it refers to another row's or has none. */
  readonly pictures: readonly RowPicture[];
  /** Index of the row whose pictures this row shows. */
  readonly pictureIndex: string | undefined;
  /** The paths of `image_path`, which name the pictures of pairs (MME). */
  readonly imagePaths: readonly string[];
  readonly question: string;
  readonly answer: string | undefined;
  /** In the order of their letters; none for yes/no questions. */
  readonly options: readonly ChoiceOption[];
  readonly hint: string | undefined;
  readonly category: string | undefined;
  readonly l2Category: string | undefined;
  readonly split: string | undefined;
  /** All columns, among them those without a member here, such as qid. */
  readonly fields: ReadonlyMap<string, string>;
  /** Characters [start, end) of the text that are this row. */
  readonly start: number;
  readonly end: number;
}

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ".split("");

/** Longest text of `image` that is the index of another row. */
const LONGEST_INDEX = 64;

/** How to read a benchmark or result file. */
export interface VlmEvalKitOptions {
  /** Name for messages. */
  readonly file: string;
  /** "questions" needs a picture column, "predictions" a column prediction; questions by default. */
  readonly kind?: "questions" | "predictions";
  /** As `readTsv` takes it. */
  readonly decode?: FieldDecoder;
}

/**
 * Reads a benchmark file piece by piece; rows come in the order of the file, those without a picture too.
 *
 * VLMEvalKit drops rows whose image is missing; here the caller decides (`hasPicture`), so that none is lost silently.
 * @param chunks the text in pieces, or a list with the whole text
 * @throws InputError naming file and line when a column or a value is missing, an index appears twice, or a list cannot be
 *   read; also as `readTsv`.
 */
export async function* readVlmEvalKitRows(
  chunks: AsyncIterable<string> | Iterable<string>,
  { file, kind = "questions", decode }: VlmEvalKitOptions,
): AsyncGenerator<VlmEvalKitRow> {
  const { columns, rows } = await readTsv(chunks, file, { decode });
  const needed = kind === "questions" ? ["index", "question"] : ["index", "question", "prediction"];
  const missing = needed.filter((column) => !columns.includes(column));
  if (kind === "questions" && !columns.includes("image") && !columns.includes("image_path")) {
    missing.push("image or image_path");
  }
  if (missing.length > 0) {
    throw new InputError(
      `${file}:1: expected the columns of a VLMEvalKit file, of which ${missing.join(", ")} is missing, got ${columns.join(", ")}.`,
    );
  }
  const lineOf = new Map<string, number>();
  for await (const row of rows) {
    const read = readRow(row, { file, hasImageColumn: columns.includes("image") });
    const earlier = lineOf.get(read.index);
    if (earlier !== undefined) {
      throw new InputError(
        `${file}:${row.line}: expected an index that no other row has, got ${read.index}, which line ${earlier} has.`,
      );
    }
    lineOf.set(read.index, row.line);
    yield read;
  }
}

function readRow(
  { line, fields, start, end }: TsvRow,
  { file, hasImageColumn }: { readonly file: string; readonly hasImageColumn: boolean },
): VlmEvalKitRow {
  const where = `${file}:${line}`;
  const needed = (column: string): string => {
    const value = fields.get(column);
    if (value === undefined) {
      throw new InputError(`${where}: expected a value in column ${column}, got none; add it or remove the row.`);
    }
    return value;
  };
  const image = fields.get("image");
  const imagePath = fields.get("image_path");
  const imagePaths = imagePath === undefined ? [] : parseTextList(imagePath, `${where}: image_path`);
  const isIndex = image !== undefined && image.length <= LONGEST_INDEX;
  const inFile = image === undefined || isIndex ? [] : parseTextList(image, `${where}: image`);
  // Beside a column image, image_path only names the pictures: the files need not exist.
  const pictures: readonly RowPicture[] = hasImageColumn
    ? inFile.map((data) => ({ kind: "base64", data }))
    : imagePaths.map((path) => ({ kind: "path", path }));
  return {
    line,
    index: needed("index"),
    pictures,
    pictureIndex: isIndex ? image : undefined,
    imagePaths,
    question: needed("question"),
    answer: fields.get("answer"),
    options: LETTERS.flatMap((letter) => {
      const text = fields.get(letter);
      return text === undefined ? [] : [{ letter, text }];
    }),
    hint: fields.get("hint"),
    category: fields.get("category"),
    l2Category: fields.get("l2-category"),
    split: fields.get("split"),
    fields,
    start,
    end,
  };
}

/** Whether a row has a picture, its own or another row's. */
export function hasPicture({ pictures, pictureIndex }: VlmEvalKitRow): boolean {
  return pictures.length > 0 || pictureIndex !== undefined;
}

/**
 * The pictures of every row, references resolved.
 * @returns [rows], each with one picture at least, except for rows without any
 * @throws InputError when a row refers to one that does not exist or has no picture of its own.
 */
export function picturesOfRows(rows: readonly VlmEvalKitRow[], file: string): readonly (readonly RowPicture[])[] {
  const byIndex = new Map(rows.map((row) => [row.index, row]));
  return rows.map(({ line, pictures, pictureIndex }) => {
    if (pictureIndex === undefined) return pictures;
    const target = byIndex.get(pictureIndex)?.pictures ?? [];
    if (target.length > 0) return target;
    const what = byIndex.has(pictureIndex) ? "which has no picture of its own" : "which no row has";
    throw new InputError(
      `${file}:${line}: expected image to be base64 or the index of a row with a picture, got ${pictureIndex}, ${what}.`,
    );
  });
}

/**
 * The prompt of a multiple-choice question, which pictures precede.
 * Source: VLMEvalKit, vlmeval/dataset/image_mcq.py (ImageMCQDataset.build_prompt), with the space before its last line end.
 */
export function choicePrompt({
  hint,
  question,
  options,
}: Pick<VlmEvalKitRow, "hint" | "question" | "options">): string {
  const lines = hint === undefined ? [] : [`Hint: ${hint}\n`];
  lines.push(`Question: ${question}\n`);
  if (options.length > 0) {
    lines.push("Options:\n", ...options.map(({ letter, text }) => `${letter}. ${text}\n`));
    lines.push("Please select the correct answer from the options above. \n");
  }
  return lines.join("");
}

/** The prompt of a yes/no question: the question alone. Source: VLMEvalKit, vlmeval/dataset/image_base.py (build_prompt). */
export function yesNoPrompt({ question }: Pick<VlmEvalKitRow, "question">): string {
  return question;
}

/**
 * A text, or the texts of a Python list such as `['a.jpg', "b.jpg"]`, which VLMEvalKit evaluates.
 * @throws InputError when the text begins and ends in brackets and is not a list of texts and numbers.
 */
function parseTextList(text: string, where: string): readonly string[] {
  if (!text.startsWith("[") || !text.endsWith("]")) return [text];
  const item = /\s*(?:'([^'\\]*(?:\\.[^'\\]*)*)'|"([^"\\]*(?:\\.[^"\\]*)*)"|(-?\d+(?:\.\d+)?))\s*(?:,|$)/sy;
  const inner = text.slice(1, -1).trimEnd();
  const items: string[] = [];
  while (item.lastIndex < inner.length) {
    const match = item.exec(inner);
    if (match === null) {
      const shown = text.length > 80 ? `${text.slice(0, 80)}…` : text;
      throw new InputError(`${where}: expected a text or a list such as ['a', 'b'], got ${shown}.`);
    }
    const [, single, double, number] = match;
    items.push(number ?? unescaped(single ?? double ?? ""));
  }
  return items;
}

const ESCAPES: ReadonlyMap<string, string> = new Map([
  ["n", "\n"],
  ["t", "\t"],
  ["r", "\r"],
]);

/** Resolves the escapes that Python's `repr` writes into paths; \x and \u are not among them. */
function unescaped(text: string): string {
  return text.replace(/\\(.)/gs, (_, character: string) => ESCAPES.get(character) ?? character);
}

/** The picture that names a row's pair in MME: its path, or the index of the row that has the picture. */
export function pairPicture({ imagePaths, pictureIndex, index }: VlmEvalKitRow): string {
  return imagePaths.length > 0 ? at(imagePaths, 0) : (pictureIndex ?? index);
}
