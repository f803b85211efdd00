// Marks on the grid of patches that a picture's map has: rectangles of cells, and where they lie on the picture.
import type { PatchGrid } from "./attention-view.ts";

/** A rectangle in shares of the picture's width and height. */
export interface Part {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

const WHOLE = { left: 0, top: 0, right: 1, bottom: 1 } as const;

/** Where a cell lies. */
export function partOf(grid: PatchGrid, cell: number): Part {
  const { left, top, right, bottom } = grid.view?.part ?? WHOLE;
  const width = (right - left) / grid.width;
  const height = (bottom - top) / grid.height;
  return {
    left: left + (cell % grid.width) * width,
    top: top + Math.floor(cell / grid.width) * height,
    width,
    height,
  };
}

/** The cells of the rectangle between two cells, ascending. */
export function rectangle({ width }: PatchGrid, from: number, to: number): readonly number[] {
  const [columns, rows] = [
    [from % width, to % width],
    [Math.floor(from / width), Math.floor(to / width)],
  ].map((ends) => [Math.min(...ends), Math.max(...ends)] as const) as [Ends, Ends]; // two of two
  const cells: number[] = [];
  for (let row = rows[0]; row <= rows[1]; row++) {
    for (let column = columns[0]; column <= columns[1]; column++) cells.push(row * width + column);
  }
  return cells;
}

/** Marks with a rectangle added; a single cell that is marked is taken away. */
export function marked(before: readonly number[], added: readonly number[]): readonly number[] {
  const [only] = added;
  if (added.length === 1 && only !== undefined && before.includes(only)) return before.filter((cell) => cell !== only);
  return [...new Set([...before, ...added])].sort((a, b) => a - b);
}

/** The cell that an arrow key leads to; undefined for other keys. */
export function neighbour({ width, height }: PatchGrid, cell: number, key: string): number | undefined {
  const step = STEPS[key];
  if (step === undefined) return undefined;
  const within = (value: number, count: number) => Math.min(Math.max(value, 0), count - 1);
  const column = within((cell % width) + step[0], width);
  return within(Math.floor(cell / width) + step[1], height) * width + column;
}

type Ends = readonly [least: number, most: number];

const STEPS: Readonly<Record<string, readonly [x: number, y: number]>> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};
