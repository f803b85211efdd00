// The order of a picture's blocks of merged patches: row by row, or window by window where a tower attends within windows.
// Source: transformers 5.24, vision_utils.py (get_vision_window_index, get_vision_position_ids)

/** Columns and rows of a picture's grid of blocks: blocks of merged patches, each one position of the prompt. */
export interface BlockGrid {
  readonly width: number;
  readonly height: number;
}

/** Blocks in the order of a tower, and where its windows are among them. */
export interface BlockOrder {
  /** [N] place of each block, counted row by row. */
  readonly blocks: readonly number[];
  /** [N] the window that each is in, as the first place and the place behind the last. */
  readonly windows: readonly (readonly [start: number, end: number])[];
}

/** Blocks row by row, all of them one window. */
export function rowOrder({ width, height }: BlockGrid): BlockOrder {
  const count = width * height;
  const blocks = Array.from({ length: count }, (_, block) => block);
  return { blocks, windows: blocks.map(() => [0, count]) };
}

/** Blocks window by window, `side` blocks along each side, fewer at the right and lower edges; within each, row by row. */
export function windowOrder({ width, height }: BlockGrid, side: number): BlockOrder {
  const blocks: number[] = [];
  const windows: (readonly [number, number])[] = [];
  for (let top = 0; top < height; top += side) {
    for (let left = 0; left < width; left += side) {
      const start = blocks.length;
      for (let row = top; row < Math.min(top + side, height); row++) {
        for (let column = left; column < Math.min(left + side, width); column++) blocks.push(row * width + column);
      }
      for (let block = start; block < blocks.length; block++) windows.push([start, blocks.length]);
    }
  }
  return { blocks, windows };
}

/** [row, column] of every patch of blocks in an order, the patches of a block row by row. */
export function patchPlaces(
  blocks: readonly number[],
  { width, mergeSize }: { readonly width: number; readonly mergeSize: number },
): readonly (readonly [row: number, column: number])[] {
  return blocks.flatMap((block) =>
    Array.from({ length: mergeSize * mergeSize }, (_, patch) => {
      const row = Math.floor(block / width) * mergeSize + Math.floor(patch / mergeSize);
      return [row, (block % width) * mergeSize + (patch % mergeSize)] as const;
    }),
  );
}

/**
 * What each patch takes of a square table of positions that is stretched over the picture, its corners over the picture's: the four
 * nearest rows of the table and their weights, in f32 as transformers computes them.
 * @param places [row, column] of every patch
 * @param size patches along the picture's sides
 * @param side of the table
 * @see transformers vision_utils.py `get_vision_interpolation_indices_and_weights`
 */
export function stretched(
  places: readonly (readonly [row: number, column: number])[],
  { width, height }: BlockGrid,
  side: number,
): { readonly index: Uint32Array<ArrayBuffer>; readonly weights: Float32Array<ArrayBuffer> } {
  const index = new Uint32Array(4 * places.length);
  const weights = new Float32Array(4 * places.length);
  for (const [patch, [row, column]] of places.entries()) {
    const [above, below] = neighbours(row, height, side);
    const [left, right] = neighbours(column, width, side);
    const taps = [above, below].flatMap((y) => [left, right].map((x) => [y, x] as const));
    for (const [tap, [y, x]] of taps.entries()) {
      index[4 * patch + tap] = y.place * side + x.place;
      weights[4 * patch + tap] = y.weight * x.weight;
    }
  }
  return { index, weights };
}

/** The two places of a table's side that a patch lies between. */
function neighbours(patch: number, numPatches: number, side: number) {
  const at = Math.fround(Math.fround(patch * (side - 1)) / Math.max(numPatches - 1, 1));
  const first = Math.floor(at);
  const distance = Math.fround(at - first);
  return [
    { place: first, weight: Math.fround(1 - distance) },
    { place: Math.min(first + 1, side - 1), weight: Math.fround(1 - Math.fround(Math.abs(distance - 1))) },
  ] as const;
}
