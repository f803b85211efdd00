// Files with object boxes: COCO's annotations, plain JSON, and YOLO's text files.
//
// Plain JSON is one object whose keys are picture names and whose values are lists of boxes in pixels of the picture:
//   {"cat_left_of_mug.jpeg": [[12, 40, 120, 200], [130, 60, 220, 190, "mug"], [5, 5, 80, 90, "cat", 0.83]]}
// A box is [x0, y0, x1, y1], the upper left and the lower right corner, optionally followed by its label (a text) and by a
// confidence from 0 to 1. A picture without boxes may be left out or have an empty list.
import { at, InputError, isObject } from "../../errors.ts";
import type { Size } from "../../preprocess/resize-bicubic.ts";
import type { ObjectBox } from "./boxes.ts";

/** Boxes by picture name, as the file writes it. */
export type BoxesByPicture = ReadonlyMap<string, readonly ObjectBox[]>;

/**
 * Reads boxes from JSON: COCO's form where the object has `annotations`, otherwise the plain form.
 * @throws InputError naming file, entry, what was expected and what was found.
 */
export function parseBoxJson(text: string, file: string): BoxesByPicture {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new InputError(`${file}: expected boxes as COCO or plain JSON, got text that is not JSON (${reason}).`, {
      cause,
    });
  }
  if (!isObject(json)) {
    throw new InputError(`${file}: expected boxes as COCO or plain JSON, that is an object, got ${show(json)}.`);
  }
  return Array.isArray(json.annotations) ? cocoBoxes(json, file) : plainBoxes(json, file);
}

function plainBoxes(json: Readonly<Record<string, unknown>>, file: string): BoxesByPicture {
  const form = "[x0, y0, x1, y1], optionally with a label and a confidence";
  return new Map(
    Object.entries(json).map(([picture, list]) => {
      if (!Array.isArray(list)) {
        throw new InputError(`${file}: ${picture}: expected a list of boxes ${form}, got ${show(list)}.`);
      }
      const boxes = list.map((entry: unknown, index): ObjectBox => {
        const fail = () => new InputError(`${file}: ${picture}[${index}]: expected ${form}, got ${show(entry)}.`);
        if (!Array.isArray(entry) || entry.length < 4 || entry.length > 6) throw fail();
        const [x0, y0, x1, y1, label, confidence]: readonly unknown[] = entry;
        if (!isNumber(x0) || !isNumber(y0) || !isNumber(x1) || !isNumber(y1) || x1 < x0 || y1 < y0) throw fail();
        if (label !== undefined && typeof label !== "string") throw fail();
        if (confidence !== undefined && !isShare(confidence)) throw fail();
        return { x0, y0, x1, y1, label, confidence };
      });
      return [picture, boxes];
    }),
  );
}

/**
 * COCO's object annotations: `bbox` is [x, y, width, height], the picture's name is `file_name`, the label is the category's
 * name. Annotations of crowds are left out, since their box surrounds many objects.
 * Source: cocodataset.org, data format.
 */
function cocoBoxes(json: Readonly<Record<string, unknown>>, file: string): BoxesByPicture {
  const fileNames = namesById(json.images, { file, list: "images", key: "file_name" });
  const categories = namesById(json.categories, { file, list: "categories", key: "name" });
  const boxes = new Map<string, ObjectBox[]>([...fileNames.values()].map((name) => [name, []]));
  for (const [index, entry] of listOf(json.annotations).entries()) {
    const fail = (expected: string, got: unknown) =>
      new InputError(`${file}: annotations[${index}]: expected ${expected}, got ${show(got)}.`);
    if (!isObject(entry)) throw fail("an object", entry);
    if (entry.iscrowd === 1) continue;
    const name = fileNames.get(entry.image_id);
    if (name === undefined) throw fail("an image_id that images has", entry.image_id);
    const label = categories.get(entry.category_id);
    if (label === undefined) throw fail("a category_id that categories has", entry.category_id);
    const [x, y, width, height]: readonly unknown[] = Array.isArray(entry.bbox) ? entry.bbox : [];
    if (!isNumber(x) || !isNumber(y) || !isNumber(width) || !isNumber(height) || width < 0 || height < 0) {
      throw fail("bbox to be [x, y, width, height]", entry.bbox);
    }
    if (entry.score !== undefined && !isShare(entry.score)) throw fail("score to be from 0 to 1", entry.score);
    boxes.get(name)?.push({ x0: x, y0: y, x1: x + width, y1: y + height, label, confidence: entry.score });
  }
  return boxes;
}

function namesById(
  value: unknown,
  { file, list, key }: { readonly file: string; readonly list: string; readonly key: string },
): ReadonlyMap<unknown, string> {
  if (!Array.isArray(value)) throw new InputError(`${file}: ${list} must be a list, got ${show(value)}.`);
  const names = new Map<unknown, string>();
  for (const [index, entry] of listOf(value).entries()) {
    const name = isObject(entry) ? entry[key] : undefined;
    const id = isObject(entry) ? entry.id : undefined;
    if (typeof name !== "string" || !(isNumber(id) || typeof id === "string")) {
      throw new InputError(`${file}: ${list}[${index}]: expected an object with id and ${key}, got ${show(entry)}.`);
    }
    if (names.has(id))
      throw new InputError(`${file}: ${list}[${index}]: the id ${id} appears twice, expected it once.`);
    names.set(id, name);
  }
  return names;
}

/**
 * Reads the boxes of one picture from a YOLO text file: per line `class cx cy width height [confidence]`, the centre and the
 * size as shares of the picture's width and height. An empty file means that there is no object.
 * Source: docs.ultralytics.com, detection dataset format; with `save_conf`, predictions end in the confidence.
 * @param picture size of the picture in pixels
 * @param classNames names of the classes by number; without them, the label is the number
 * @throws InputError naming file and line when a line has another form.
 */
export function parseYoloBoxes(
  text: string,
  options: { readonly file: string; readonly picture: Size; readonly classNames?: readonly string[] },
): readonly ObjectBox[] {
  const { file, picture, classNames } = options;
  return text.split(/\r?\n/).flatMap((line, index): ObjectBox[] => {
    if (line.trim() === "") return [];
    const fail = (expected: string) => new InputError(`${file}:${index + 1}: expected ${expected}, got "${line}".`);
    const fields = line.trim().split(/\s+/);
    const form = '"class cx cy width height" with an optional confidence, numbers from 0 to 1 except the class';
    if (fields.length !== 5 && fields.length !== 6) throw fail(form);
    const [classIndex = Number.NaN, cx = 0, cy = 0, width = 0, height = 0, confidence] = fields.map(numberOf);
    if (!Number.isInteger(classIndex) || classIndex < 0) throw fail(`${form}; the class is a whole number`);
    if (![cx, cy, width, height, confidence ?? 0].every(isShare)) throw fail(form);
    if (classNames !== undefined && classIndex >= classNames.length) {
      throw fail(`a class below ${classNames.length}, the number of class names`);
    }
    const label = classNames === undefined ? String(classIndex) : at(classNames, classIndex);
    return [
      {
        x0: (cx - width / 2) * picture.width,
        y0: (cy - height / 2) * picture.height,
        x1: (cx + width / 2) * picture.width,
        y1: (cy + height / 2) * picture.height,
        label,
        confidence,
      },
    ];
  });
}

/** The number that a field writes in decimals; NaN for anything else, such as "0x10" or "". */
function numberOf(field: string): number {
  return /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(field) ? Number(field) : Number.NaN;
}

/** A list of JSON as one of unknown values. */
function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function isNumber(value: unknown): value is number {
  return Number.isFinite(value);
}

function isShare(value: unknown): value is number {
  return isNumber(value) && value >= 0 && value <= 1;
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}
