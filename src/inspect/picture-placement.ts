// Where a picture's positions lie in it, and the grid on which their attention becomes one map.
//
// A single tile's patches are the map's cells. LLaVA-NeXT sees a picture twice: squeezed into the base tile, and cut into the
// tiles of a grid. Each of those patches shows a rectangle of the picture, without the padding around it, and its attention is
// spread evenly over that rectangle; what both resolutions put on a cell of the map adds up. So a map sums to the attention on
// all patches. Newlines and class tokens show no part of the picture: they count in its share, but have no place in the map.
import { InputError } from "../errors.ts";
import { type ImageInput, type PictureTiles, type PictureView, patchOf, tileGrids } from "../models/inputs.ts";
import type { TileView } from "../preprocess/anyres.ts";

/** Where a picture is in the prompt, and where its positions are in it: a grid of patches, or tiles and their feature rows. */
export type MappedImage = Pick<ImageInput, "runs" | "grid" | "tiles" | "view"> & Partial<Pick<ImageInput, "rowIndex">>;

/** A rectangle in shares of a picture's width and height, 0 to 1. */
export type PictureCell = TileView;

const WHOLE: PictureCell = { left: 0, top: 0, right: 1, bottom: 1 };

/** Where a picture's map lies in the original: tiles show all of it, a grid the part that was not cropped away, and padding. */
export function viewOf({ tiles, view }: MappedImage): PictureView | undefined {
  return tiles === undefined ? view : { imageSize: tiles.imageSize, part: WHOLE };
}

/** How the attention on a picture's positions becomes a map. */
export interface PicturePlacement {
  /** Columns and rows of the map. */
  readonly width: number;
  readonly height: number;
  /** Prompt positions of the picture, in order. */
  readonly positions: readonly number[];
  /** [positions + 1]: parts [starts[i], starts[i + 1]) are those of position i; it has none where it shows no part of the picture. */
  readonly starts: Int32Array<ArrayBuffer>;
  /** Map cell of each part, row-major. */
  readonly cells: Int32Array<ArrayBuffer>;
  /** Share of its position's attention that each part takes; 1 together. */
  readonly weights: Float64Array<ArrayBuffer>;
}

const known = new WeakMap<MappedImage, PicturePlacement>();

/**
 * How a picture's positions become a map.
 * @throws InputError when the positions are not a grid and have no tiles.
 */
export function placementOf(image: MappedImage): PicturePlacement {
  const found = known.get(image);
  if (found !== undefined) return found;
  const { runs, tiles } = image;
  const positions = runs.flatMap(([start, end]) => Array.from({ length: end - start }, (_, offset) => start + offset));
  const placement = tiles === undefined ? gridPlacement(positions, image) : tiledPlacement(positions, image, tiles);
  known.set(image, placement);
  return placement;
}

/** The map cells that positions of the prompt show parts of, ascending. */
export function cellsOfPositions(image: MappedImage, positions: readonly number[]): readonly number[] {
  const placement = placementOf(image);
  const wanted = new Set(positions);
  const found = placement.positions.flatMap((position, index) =>
    wanted.has(position)
      ? [...placement.cells.subarray(placement.starts[index] ?? 0, placement.starts[index + 1] ?? 0)]
      : [],
  );
  return [...new Set(found)].sort((a, b) => a - b);
}

/** The part of the picture that each position over all runs shows; undefined for a newline. */
export function cellsOf(
  rowIndex: Int32Array | undefined,
  tiles: Omit<PictureTiles, "imageSize">,
): readonly (PictureCell | undefined)[] {
  const grids = tileGrids(tiles);
  return Array.from(rowIndex ?? [], (row) => {
    const patch = patchOf(grids, row);
    if (patch === undefined) return undefined;
    const { x, y } = patch;
    const { view } = patch.grid;
    const width = (view.right - view.left) / patch.grid.width;
    const height = (view.bottom - view.top) / patch.grid.height;
    const cell = {
      left: Math.max(view.left + x * width, 0),
      top: Math.max(view.top + y * height, 0),
      right: Math.min(view.left + (x + 1) * width, 1),
      bottom: Math.min(view.top + (y + 1) * height, 1),
    };
    return cell.right > cell.left && cell.bottom > cell.top ? cell : undefined; // else padding only
  });
}

/** A single grid's patches, one cell each; one position before them is a class token's. */
function gridPlacement(positions: readonly number[], { grid }: MappedImage): PicturePlacement {
  const { width = 0, height = 0 } = grid ?? {};
  const numPatches = width * height;
  const numSkipped = positions.length - numPatches;
  if (numPatches === 0 || numSkipped < 0 || numSkipped > 1) {
    throw new InputError(
      `The picture's ${positions.length} positions are not a grid of ${width} × ${height} patches, so nothing says where they lie in it.`,
    );
  }
  const cells = Int32Array.from({ length: numPatches }, (_, patch) => patch);
  const starts = Int32Array.from({ length: positions.length + 1 }, (_, index) => Math.max(index - numSkipped, 0));
  return { width, height, positions, starts, cells, weights: new Float64Array(numPatches).fill(1) };
}

/** The tiles' patches over a map whose cells are as small as the smallest patch. */
function tiledPlacement(
  positions: readonly number[],
  { rowIndex }: MappedImage,
  tiles: PictureTiles,
): PicturePlacement {
  const own = cellsOf(rowIndex, tiles);
  if (own.length !== positions.length) {
    throw new InputError(
      `The picture has ${positions.length} positions, but feature rows for ${own.length}: give the inputs of model.prepare(question).`,
    );
  }
  // A hair less, so that rounding adds no column.
  const count = (cells: number, side: number) => Math.ceil(cells / side - 1e-6);
  const grids = tileGrids(tiles);
  const width = Math.max(...grids.map((grid) => count(grid.width, grid.view.right - grid.view.left)));
  const height = Math.max(...grids.map((grid) => count(grid.height, grid.view.bottom - grid.view.top)));
  const starts = [0];
  const cells: number[] = [];
  const weights: number[] = [];
  for (const cell of own) {
    if (cell !== undefined) {
      const columns = partsOf([cell.left * width, cell.right * width], width);
      for (const row of partsOf([cell.top * height, cell.bottom * height], height)) {
        for (const column of columns) {
          cells.push(row.index * width + column.index);
          weights.push(row.share * column.share);
        }
      }
    }
    starts.push(cells.length);
  }
  return {
    width,
    height,
    positions,
    starts: Int32Array.from(starts),
    cells: Int32Array.from(cells),
    weights: Float64Array.from(weights),
  };
}

/**
 * Spreads attention over a map.
 * @param attention [positions] of the picture
 * @param map [height · width], to which it is added
 */
export function spreadAttention(
  { starts, cells, weights }: PicturePlacement,
  attention: Float64Array,
  map: Float32Array | Float64Array,
): void {
  // All indices are in range: this is the innermost loop of every head.
  for (let position = 0; position < attention.length; position++) {
    const value = attention[position] as number;
    const end = starts[position + 1] as number;
    for (let part = starts[position] as number; part < end; part++) {
      const cell = cells[part] as number;
      map[cell] = (map[cell] as number) + value * (weights[part] as number);
    }
  }
}

/** The unit intervals below `count` that an interval overlaps, with the share of it in each. */
function partsOf([start, end]: readonly [number, number], count: number) {
  const first = Math.floor(start);
  const length = Math.min(Math.ceil(end), count) - first;
  return Array.from({ length }, (_, offset) => {
    const index = first + offset;
    return { index, share: (Math.min(index + 1, end) - Math.max(index, start)) / (end - start) };
  });
}
