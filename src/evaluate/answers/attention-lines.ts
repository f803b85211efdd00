// What sample lines of our own runs hold of the attention on the picture; lines of earlier versions lack some of it.
import { InputError, isObject } from "../../errors.ts";
import { readJsonLines } from "../json-lines.ts";
import { SAMPLE_FIELDS } from "./sample-lines.ts";

/** The overlaps of one answer's attention with the boxes of its question. */
export interface RecordedOverlap {
  /** Share of the grid that the boxes cover. */
  readonly coverage: number;
  /** [layer][head]; null for a head without attention on the picture. */
  readonly mass: readonly (readonly (number | null)[])[];
  readonly cosine: readonly (readonly (number | null)[])[];
  /** [layer], of the mean over heads. */
  readonly layerMass: readonly (number | null)[];
  readonly layerCosine: readonly (number | null)[];
}

/** The attention that a sample line holds. */
export interface AttentionLine {
  readonly id: number;
  readonly method: string;
  /** Of the unmodified pass; null where the method ran none. */
  readonly confidence: number | null;
  /** [layer]; null where the line has no attention, such as of pictures in tiles by earlier versions. */
  readonly imageShare: readonly number[] | null;
  readonly imageEntropy: readonly number[] | null;
  readonly overlap: RecordedOverlap | null;
}

/**
 * Reads the attention of every sample line; a last line that was cut is left out.
 * @param file name for messages
 * @throws InputError for a member of another form, or with another number of layers or heads than in an earlier line of its method.
 */
export function readAttentionLines(text: string, file: string): readonly AttentionLine[] {
  const sizes = new Map<string, string>();
  return readJsonLines(text).flatMap(({ object, lineNumber }): AttentionLine[] => {
    if (object === null) return [];
    const fail = (member: string, expected: string) =>
      new InputError(`${file}, line ${lineNumber}: expected "${member}" to be ${expected} or null.`);
    const { doc_id: id, box_overlap: overlap } = object;
    if (typeof id !== "number") return [];
    const numbers = (member: string) => {
      const value = object[member] ?? null;
      if (value === null) return null;
      if (isList(value, isNumber)) return value;
      throw fail(member, "a list of numbers, one per layer,");
    };
    const [imageShare, imageEntropy] = [numbers("image_share"), numbers("image_entropy")];
    const found = overlap === undefined || overlap === null ? null : overlapOf(overlap);
    if (found === undefined) {
      throw fail(
        "box_overlap",
        "an object with coverage and, of as many layers and heads each, mass, cosine, layer_mass and layer_cosine,",
      );
    }
    const name = object[SAMPLE_FIELDS.method];
    const method = typeof name === "string" ? name : "answer";
    const confidence = object[SAMPLE_FIELDS.confidence];
    const checkSize = (member: string, size: string | undefined) => {
      const earlier = sizes.get(`${method} ${member}`) ?? size;
      if (size === undefined || earlier === undefined) return;
      sizes.set(`${method} ${member}`, earlier);
      if (size === earlier) return;
      throw new InputError(
        `${file}, line ${lineNumber}: "${member}" has ${size}, but earlier lines of ${method} have ${earlier}: the lines belong to different models.`,
      );
    };
    checkSize("image_share", layersOf(imageShare));
    checkSize("image_share", layersOf(imageEntropy));
    checkSize("image_share", layersOf(found?.mass));
    checkSize("box_overlap", found?.mass[0] && `${found.mass[0].length} heads`);
    return [
      { id, method, confidence: isNumber(confidence) ? confidence : null, imageShare, imageEntropy, overlap: found },
    ];
  });
}

function layersOf(values: readonly unknown[] | null | undefined): string | undefined {
  return values === null || values === undefined ? undefined : `${values.length} layers`;
}

/** Undefined for another form. */
function overlapOf(value: unknown): RecordedOverlap | undefined {
  if (!isObject(value)) return undefined;
  const { coverage, mass, cosine, layer_mass: layerMass, layer_cosine: layerCosine } = value;
  const isRow = (row: unknown): row is readonly (number | null)[] => isList(row, isNumberOrNull);
  if (!isNumber(coverage)) return undefined;
  if (!isList(mass, isRow) || !isList(cosine, isRow) || !isRow(layerMass) || !isRow(layerCosine)) return undefined;
  const isWhole = [cosine, layerMass, layerCosine].every(({ length }) => length === mass.length);
  const numHeads = mass[0]?.length;
  if (!isWhole || ![...mass, ...cosine].every(({ length }) => length === numHeads)) return undefined;
  return { coverage, mass, cosine, layerMass, layerCosine };
}

function isList<T>(value: unknown, isEntry: (entry: unknown) => entry is T): value is readonly T[] {
  return Array.isArray(value) && value.every(isEntry);
}

function isNumber(value: unknown): value is number {
  return Number.isFinite(value);
}

function isNumberOrNull(value: unknown): value is number | null {
  return value === null || isNumber(value);
}
