// A data set's files in a folder: its questions, its annotations, and where the picture of each row is.
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { at, InputError } from "../../errors.ts";
import type { DataSet, Question } from "../datasets/dataset.ts";
import { readQuestions } from "../datasets/question-files.ts";
import { parseJsonFile, readAllJsonLines } from "../json-lines.ts";
import { textHash } from "./fingerprint.node.ts";

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
  readonly questionText: string;
  readonly annotationFile: string;
  /** SHA-256 in hexadecimal. */
  readonly questionHash: string;
  readonly annotationHash: string;
}

/** A row's picture. */
export interface Picture {
  /** As the data set names it. */
  readonly name: string;
  /** Undefined where there is no such file. */
  readonly path: string | undefined;
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
    found(folder, wanted, { folderOption, what: `${dataSet.name}'s ${what}` });
  const { questions: questionNames, annotations: annotationNames } = dataSet.files;
  const questionFile = find("questions", { file: given.questions, names: questionNames });
  const annotationFile = find("annotations", { file: given.annotations, names: annotationNames });
  const questionText = await textOf(questionFile);
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
    const name = names.find((each) => existsSync(join(folder, each)));
    return { name: name ?? at(names, 0), path: name === undefined ? undefined : join(folder, name) };
  });
  const hashes = { questionHash: textHash(questionText), annotationHash: textHash(annotationText) };
  return { questions, pictures, questionFile, questionText, annotationFile, ...hashes };
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
  throw new InputError(`${folder} of ${folderOption} has no file with ${what}: expected ${names.join(" or ")}.`);
}

/** A JSON array, or one JSON object per line. */
function annotationRows(text: string, file: string): readonly unknown[] {
  if (!/^\s*\[/.test(text)) return readAllJsonLines(text, file).map(({ object }) => object);
  const value = parseJsonFile(text, file);
  if (Array.isArray(value)) return value;
  throw new InputError(`${file}: expected a list of rows.`);
}

async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    const reason =
      cause instanceof Error && "code" in cause && cause.code === "ENOENT" ? "there is no such file" : String(cause);
    throw new InputError(`${path} cannot be read: ${reason}.`, { cause });
  }
}
