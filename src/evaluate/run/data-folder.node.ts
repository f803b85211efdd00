// A data set's files in a folder: its questions, its annotations, and where the picture of each row is.
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { at, InputError } from "../../errors.ts";
import { decodeImage, readImageFile } from "../../preprocess/decode-image.node.ts";
import type { RgbImage } from "../../preprocess/image.ts";
import type { DataSet, Question } from "../datasets/dataset.ts";
import { readQuestions } from "../datasets/question-files.ts";
import { parseJsonFile, readAllJsonLines } from "../json-lines.ts";
import { textHash } from "./fingerprint.node.ts";
import { readQuestionFile, textOf } from "./question-file.node.ts";

/** Where a data set is. */
export interface DataPaths {
  readonly folder: string;
  /** The option that gave the folder, for messages; --data-dir unless given. */
  readonly folderOption?: string | undefined;
  /** In place of the names that the data set has in the folder. */
  readonly questions?: string | undefined;
  readonly annotations?: string | undefined;
}

/** A data set as it was found. */
export interface DataFolder {
  readonly questions: readonly Question[];
  /** By row: the picture's path, within the folder where it is there. */
  readonly pictures: readonly Picture[];
  readonly questionFile: string;
  /** The questions as JSON lines. */
  readonly questionText: string;
  /** Whether the question file has another form, so that a run keeps the JSON lines. */
  readonly isConverted: boolean;
  /** The question file where the data set has no other. */
  readonly annotationFile: string;
  /** SHA-256 in hexadecimal. */
  readonly questionHash: string;
  /** The same of the annotation file, or of a question file with the pictures in it; null without either. */
  readonly annotationHash: string | null;
}

/** A row's picture, or its pictures where the question file holds several. */
export interface Picture {
  /** As the data set names it. */
  readonly name: string;
  /** Undefined where there is no such file, or where the picture is in the question file. */
  readonly path: string | undefined;
  /** Reads the encoded pictures where they are in the question file. */
  readonly embedded?: (() => Promise<readonly Uint8Array[]>) | undefined;
}

/** Whether a picture is neither in the folder nor in the question file. */
export function isMissing({ path, embedded }: Picture): boolean {
  return path === undefined && embedded === undefined;
}

/** Decodes a row's pictures. @throws InputError when they are missing, or as `decodeImage`. */
export async function readPictures({ name, path, embedded }: Picture): Promise<readonly RgbImage[]> {
  if (embedded !== undefined) {
    const of = { name: `The picture ${name} in the question file` };
    return Promise.all((await embedded()).map((bytes) => decodeImage(bytes, of)));
  }
  if (path !== undefined) return [await readImageFile(path)];
  throw new InputError(`The picture ${name} is missing.`);
}

/**
 * Reads the question and annotation files, and looks for every picture.
 * @throws InputError for a file that is missing or malformed, or for files of different length.
 */
export async function readDataFolder(
  dataSet: DataSet,
  { folder, folderOption = "--data-dir", ...given }: DataPaths,
): Promise<DataFolder> {
  const find = (what: string, wanted: Wanted) =>
    // Without a list, the pictures of the folder are the questions.
    dataSet.form === "pictures" && wanted.file === undefined && existsSync(folder)
      ? folder
      : found(folder, wanted, { folderOption, what: `${dataSet.name}'s ${what}` });
  const { questions: questionNames, annotations: annotationNames } = dataSet.files;
  const questionFile = find("questions", { file: given.questions, names: questionNames });
  const hasAnnotations = given.annotations !== undefined || annotationNames.length > 0;
  const annotationFile = hasAnnotations
    ? find("annotations", { file: given.annotations, names: annotationNames })
    : questionFile;
  const {
    text: questionText,
    isConverted,
    picturesHash,
    pictures: embedded,
  } = await readQuestionFile(questionFile, dataSet);
  const annotationText = annotationFile === questionFile ? questionText : await textOf(annotationFile);
  const questions = readQuestions(questionText, questionFile, dataSet);
  const rows = annotationRows(annotationText, annotationFile);
  if (rows.length !== questions.length) {
    throw new InputError(
      `${questionFile} has ${questions.length} questions, but ${annotationFile} has ${rows.length} rows: row i of one belongs to row i of the other; give the files of one data set.`,
    );
  }
  const pictures = questions.map(({ id }): Picture => {
    const names = dataSet.pictures(at(rows, id), { file: annotationFile, id });
    const inFile = embedded[id];
    if (inFile !== undefined) return { name: at(names, 0), path: undefined, embedded: inFile };
    const name = names.find((each) => existsSync(resolve(folder, each)));
    return {
      name: name ?? names[0] ?? `of question ${id}, which names none,`,
      path: name === undefined ? undefined : resolve(folder, name),
    };
  });
  const annotationHash = hasAnnotations ? textHash(annotationText) : picturesHash;
  const hashes = { questionHash: textHash(questionText), annotationHash };
  return { questions, pictures, questionFile, questionText, isConverted, annotationFile, ...hashes };
}

/** A file that is looked for: given, or under one of several names. */
interface Wanted {
  readonly file: string | undefined;
  readonly names: readonly string[];
}

function found(
  folder: string,
  { file, names }: Wanted,
  { folderOption, what }: { readonly folderOption: string; readonly what: string },
): string {
  if (file !== undefined) return file;
  if (!existsSync(folder)) throw new InputError(`${folder} of ${folderOption} does not exist.`);
  const name = names.find((each) => existsSync(join(folder, each)));
  if (name !== undefined) return join(folder, name);
  if (names.length === 0) throw new InputError(`--questions is missing: the file with ${what} has no usual name.`);
  throw new InputError(`${folder} of ${folderOption} has no file with ${what}: expected ${names.join(" or ")}.`);
}

/** A JSON array, or one JSON object per line. */
function annotationRows(text: string, file: string): readonly unknown[] {
  if (!/^\s*\[/.test(text)) return readAllJsonLines(text, file).map(({ object }) => object);
  const value = parseJsonFile(text, file);
  if (Array.isArray(value)) return value;
  throw new InputError(`${file}: expected a list of rows.`);
}
