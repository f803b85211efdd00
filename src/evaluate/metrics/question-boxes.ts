// Which boxes of a picture belong to a question, and what of that a run records.
import type { Question } from "../datasets/dataset.ts";
import { type BoxSettings, boxesOfObjects, type ObjectBox } from "./boxes.ts";

/** Which boxes of a picture belong to a question: those of the objects that it names, or all. */
export type BoxObjects = (typeof BOX_OBJECTS)[number];

/** All choices of {@link BoxObjects}. */
export const BOX_OBJECTS = ["named", "all"] as const;

/** How a run uses its boxes. */
export interface RunBoxSettings extends BoxSettings {
  readonly objects: BoxObjects;
}

/** What decides on a run's overlaps with boxes; a part of its identity. */
export interface BoxIdentity {
  readonly scale: number;
  /** Null for all. */
  readonly maxBoxes: number | null;
  readonly objects: BoxObjects;
  /** SHA-256 of the boxes' file or folder, in hexadecimal. */
  readonly source: string;
}

/**
 * The boxes of a picture that belong to a question. With "named", these are the boxes whose label is one of the objects that
 * the question names; where no box of the picture has a label, or the question names no object, they are all boxes.
 */
export function boxesOfQuestion(
  boxes: readonly ObjectBox[],
  { objects }: Pick<Question, "objects">,
  which: BoxObjects,
): readonly ObjectBox[] {
  if (which === "all" || objects === null || boxes.every(({ label }) => label === undefined)) return boxes;
  const { first, second } = objects;
  return boxesOfObjects(boxes, second === null ? [first] : [first, second]);
}
