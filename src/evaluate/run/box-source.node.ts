// The object boxes of a run: a JSON file, or a folder of YOLO's text files.
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { readFileText } from "../../checkpoint/read-file.node.ts";
import { InputError } from "../../errors.ts";
import type { Size } from "../../preprocess/resize-bicubic.ts";
import { type BoxesByPicture, parseBoxJson, parseYoloBoxes } from "../metrics/box-files.ts";
import type { ObjectBox } from "../metrics/boxes.ts";
import { textHash } from "./fingerprint.node.ts";

/** Name of the file that a data folder's own boxes have. */
export const BOXES_FILE = "boxes.json";

/** Boxes as they were found. */
export interface BoxSource {
  /** The file or folder. */
  readonly path: string;
  /** SHA-256 in hexadecimal: of the JSON file, or of the names and contents of the text files. */
  readonly hash: string;
  /** Number of the pictures that have at least one box. */
  readonly numPictures: number;
  /** Boxes of a picture by the data set's name for it; none where the source has none. */
  readonly boxesOf: (picture: string, size: Size) => readonly ObjectBox[];
}

/**
 * Reads the boxes of some pictures. In JSON, a picture has the data set's name for it, or only its file name. In a folder, its
 * file has the same name with the ending .txt, in the same subfolder or in none; `classes.txt` has a class name per line, and
 * without it boxes have no label.
 * @param pictures the data set's names
 * @throws InputError when the source cannot be read, is malformed, or has no box of any of the pictures.
 */
export async function readBoxSource(path: string, pictures: readonly string[]): Promise<BoxSource> {
  const stats = await stat(path).catch(() => undefined);
  if (stats === undefined) throw new InputError(`${path} does not exist: expected a file or a folder with boxes.`);
  const source = stats.isDirectory() ? await readYoloFolder(path, pictures) : await readBoxFile(path, pictures);
  if (source.numPictures > 0) return source;
  throw new InputError(
    `${path} has no box of any of the ${new Set(pictures).size} pictures, of which the first is ${pictures[0]}: ` +
      "check that its boxes belong to the data set.",
  );
}

async function readBoxFile(path: string, pictures: readonly string[]): Promise<BoxSource> {
  const text = await textOf(path);
  const boxes = parseBoxJson(text, path);
  const byFileName = fileNames(boxes);
  const boxesOf = (picture: string) => boxes.get(picture) ?? byFileName.get(basename(picture)) ?? [];
  const numPictures = new Set(pictures.filter((picture) => boxesOf(picture).length > 0)).size;
  return { path, hash: textHash(text), numPictures, boxesOf };
}

/** Boxes by file name, without those whose file name occurs in several folders. */
function fileNames(boxes: BoxesByPicture): BoxesByPicture {
  const byName = new Map<string, readonly ObjectBox[] | undefined>();
  for (const [picture, own] of boxes) byName.set(basename(picture), byName.has(basename(picture)) ? undefined : own);
  return new Map([...byName].flatMap(([name, own]) => (own === undefined ? [] : [[name, own] as const])));
}

async function readYoloFolder(folder: string, pictures: readonly string[]): Promise<BoxSource> {
  const classFile = join(folder, "classes.txt");
  const classText = existsSync(classFile) ? await textOf(classFile) : undefined;
  const classNames = classText?.split(/\r?\n/).map((line) => line.trim());
  while (classNames?.at(-1) === "") classNames.pop();
  const hash = createHash("sha256").update(`${classText ?? ""}\n`);
  const files = new Map<string, { readonly file: string; readonly text: string }>();
  let numPictures = 0;
  for (const picture of [...new Set(pictures)].sort()) {
    const names = [picture, basename(picture)].map((name) => `${name.replace(/\.[^./]*$/, "")}.txt`);
    const name = names.find((each) => existsSync(join(folder, each)));
    if (name === undefined) continue;
    const file = join(folder, name);
    const text = await textOf(file);
    hash.update(`${picture}\n${text.length}\n${text}`);
    files.set(picture, { file, text });
    // Malformed lines are found before the model is loaded; the size of the picture does not matter for that.
    if (parseYoloBoxes(text, yoloOptions(file, { width: 1, height: 1 }, classNames)).length > 0) numPictures++;
  }
  const boxesOf = (picture: string, size: Size) => {
    const found = files.get(picture);
    if (found === undefined) return [];
    const boxes = parseYoloBoxes(found.text, yoloOptions(found.file, size, classNames));
    return classNames === undefined ? boxes.map((box) => ({ ...box, label: undefined })) : boxes;
  };
  return { path: folder, hash: hash.digest("hex"), numPictures, boxesOf };
}

function yoloOptions(file: string, picture: Size, classNames: readonly string[] | undefined) {
  return { file, picture, ...(classNames === undefined ? {} : { classNames }) };
}

async function textOf(path: string): Promise<string> {
  return readFileText(path).catch((cause: unknown) => {
    throw new InputError(`${path} cannot be read (${cause instanceof Error ? cause.message : cause}).`, { cause });
  });
}
