// Which image tokens an edit acts on: all of them, some by number, or those that show a part of the picture.
import { at, InputError } from "../errors.ts";
import { cellsOf, type PictureCell } from "../inspect/picture-placement.ts";
import type { Run } from "../models/inputs.ts";
import { type EditContext, type EditedImage, runsOf } from "./intervention.ts";
import type { ColumnSelection, PictureBox } from "./parameters.ts";

/** The image tokens that an edit acts on; all unless one of the two is given. */
export interface ImageSelection {
  /** Numbers of image tokens, from 0, in the order of the prompt. */
  readonly patches?: readonly number[] | undefined;
  /** In pixels of the original picture; every image token that shows a part of it. */
  readonly box?: PictureBox | undefined;
}

/** Shares of a picture that are rounding, not overlap. */
const TOLERANCE = 1e-9;

/**
 * Key positions of image tokens, as runs in ascending order.
 * @throws InputError for both kinds of selection at once, image tokens that the prompt does not have, and a box that is not within
 *   the one picture of the prompt, is cropped away, or lies in a picture of unknown size.
 */
export function imageColumns({ patches, box }: ImageSelection, context: EditContext): readonly Run[] {
  const { imageRuns } = context;
  if (patches === undefined && box === undefined) return imageRuns;
  if (patches !== undefined && box !== undefined) {
    throw new InputError("patches and box both select image tokens: give one of them.");
  }
  const positions = imageRuns.flatMap(([start, end]) =>
    Array.from({ length: end - start }, (_, index) => start + index),
  );
  const chosen = patches ?? (box && patchesIn(box, context)) ?? [];
  const missing = chosen.find((patch) => patch >= positions.length);
  if (missing !== undefined) {
    const range = positions.length === 0 ? "none" : `0 to ${positions.length - 1}`;
    throw new InputError(`patches must be numbers of the prompt's image tokens (${range}), got ${missing}.`);
  }
  return runsOf(chosen.map((patch) => at(positions, patch)));
}

/**
 * Key positions of a method whose columns may also be positions of the prompt.
 * @throws InputError as {@link imageColumns}, and for a choice of image tokens among columns that are not the picture's.
 */
export function chosenColumns(
  { columns, ...selection }: ImageSelection & { readonly columns: ColumnSelection },
  context: EditContext,
): readonly Run[] {
  if (columns === "image") return imageColumns(selection, context);
  if (selection.patches === undefined && selection.box === undefined) return runsOf(columns);
  throw new InputError(
    "columns are positions of the prompt, among which patches and box choose nothing: omit one of them.",
  );
}

/** Numbers of the image tokens that show a part of a box. */
function patchesIn(box: PictureBox, { images }: EditContext): readonly number[] {
  const [image] = images;
  if (image === undefined || images.length > 1) {
    throw new InputError(
      `box needs a prompt with one picture, got ${images.length}: ${image === undefined ? "give a picture" : "give patches instead"}.`,
    );
  }
  const { size, cells } = shownParts(image);
  const [height, width] = size;
  const [left, top, right, bottom] = box;
  if (right > width || bottom > height) {
    throw new InputError(`box must lie within the picture's ${width} × ${height} pixels, got ${box.join(", ")}.`);
  }
  const overlaps = (start: number, end: number, other: readonly [number, number]) =>
    Math.min(end, other[1]) - Math.max(start, other[0]) > TOLERANCE;
  const patches = [...cells.entries()].flatMap(([patch, cell]) => {
    if (cell === undefined) return [];
    const isIn =
      overlaps(cell.left, cell.right, [left / width, right / width]) &&
      overlaps(cell.top, cell.bottom, [top / height, bottom / height]);
    return isIn ? [patch] : [];
  });
  if (patches.length > 0) return patches;
  throw new InputError(
    `box ${box.join(", ")} lies in a part of the picture that the model does not see, as pictures are cropped for it: choose another.`,
  );
}

/** The part of the picture that each of its image tokens shows, in shares; undefined for newlines, class tokens and padding. */
function shownParts(image: EditedImage): {
  readonly size: readonly [height: number, width: number];
  readonly cells: readonly (PictureCell | undefined)[];
} {
  const { rowIndex, grid, tiles, view } = image;
  if (tiles !== undefined) return { size: tiles.imageSize, cells: cellsOf(rowIndex, tiles) };
  if (view === undefined || grid === undefined) {
    throw new InputError("box needs the picture's size, which these inputs do not have: give patches instead.");
  }
  const numPatches = grid.width * grid.height;
  const rows = Int32Array.from({ length: numPatches }, (_, patch) => patch);
  const cells = cellsOf(rows, { patchGrid: grid.width, views: [view.part], grids: [grid] });
  return { size: view.imageSize, cells: [...new Array<undefined>(rowIndex.length - numPatches), ...cells] };
}
