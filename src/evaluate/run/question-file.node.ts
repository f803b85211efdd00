// A data set's question file, as JSON lines whatever its own form: VLMEvalKit's TSV and lists of pictures become lines.
import { readdir, stat } from "node:fs/promises";
import { openRegularFile, readFileText } from "../../checkpoint/read-file.node.ts";
import { InputError } from "../../errors.ts";
import { PICTURE_NAME, pictureLines } from "../datasets/captions.ts";
import type { DataSet } from "../datasets/dataset.ts";
import { readTsvFile } from "./tsv-file.node.ts";

/** A question file as it was read. */
export interface QuestionFile {
  /** JSON lines that the data set's `readQuestion` reads. */
  readonly text: string;
  /** Whether the text is not the file's own, so that a run keeps it. */
  readonly isConverted: boolean;
  /** SHA-256, in hexadecimal, of a file that also holds pictures; null for others. */
  readonly picturesHash: string | null;
  /** By row: reads the pictures that are in the question file. */
  readonly pictures: readonly ((() => Promise<readonly Uint8Array[]>) | undefined)[];
}

/**
 * Reads a question file, or the folder of pictures in its place.
 * @throws InputError when it cannot be read, or is malformed.
 */
export async function readQuestionFile(
  path: string,
  { form, name }: Pick<DataSet, "form" | "name">,
): Promise<QuestionFile> {
  const plain = { isConverted: false, picturesHash: null, pictures: [] };
  switch (form) {
    case undefined:
      return { ...plain, text: await textOf(path) };
    case "pictures": {
      const text = (await isFolder(path)) ? await listPictures(path) : await textOf(path);
      const lines = pictureLines(text, path);
      if (lines === "")
        throw new InputError(`${path}: expected pictures (JPEG, PNG or WebP), or a list of some, got none.`);
      return { ...plain, text: lines, isConverted: lines !== text };
    }
    case "tsv": {
      // The questions that a run has kept are JSON lines, and a TSV begins with the name of a column.
      if ((await firstCharacter(path)) === "{") return { ...plain, text: await textOf(path) };
      const { text, pictures, hash } = await readTsvFile(path);
      if (text === "")
        throw new InputError(`${path} has no questions: expected ${name}'s TSV with a row per question.`);
      return { text, isConverted: true, picturesHash: hash, pictures };
    }
  }
}

/** The text of a file. @throws InputError when it cannot be read. */
export async function textOf(path: string): Promise<string> {
  return reading(path, () => readFileText(path));
}

async function listPictures(folder: string): Promise<string> {
  const names = (await readdir(folder)).filter((name) => PICTURE_NAME.test(name)).sort();
  return JSON.stringify(names);
}

async function isFolder(path: string): Promise<boolean> {
  return (await reading(path, () => stat(path))).isDirectory();
}

async function firstCharacter(path: string): Promise<string> {
  return reading(path, async () => {
    const file = await openRegularFile(path);
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(64), 0, 64, 0);
      return buffer
        .toString("utf8", 0, bytesRead)
        .replace(/^\uFEFF/, "")
        .trimStart()
        .charAt(0);
    } finally {
      await file.close();
    }
  });
}

async function reading<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
    const reasons: Readonly<Record<string, string>> = {
      ENOENT: "there is no such file",
      EISDIR: "it is a folder",
      EACCES: "permission is denied",
    };
    const reason = reasons[String(code)] ?? (cause instanceof Error ? cause.message : String(cause));
    throw new InputError(`${path} cannot be read: ${reason}.`, { cause });
  }
}
