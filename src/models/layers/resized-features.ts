// Features of a picture whose tiles are joined to grids that are cropped and resized: for each tile, which rows of the result its rows
// add to, and with which weights. So the features of one tile at a time are enough.
// Source: torch 2.15, aten/src/ATen/native/cpu/UpSampleKernel.cpp and UpSample.h (bilinear, corners not aligned, no antialiasing)
import type { FeatureGrid } from "../inputs.ts";

/** Rows of the result as weighted sums of tiles' rows, tile by tile: the lists that the op combineRows takes. */
export interface FeatureSums {
  /** Rows of the result. */
  readonly numRows: number;
  /** [tiles + 1]: sums [tileStarts[t], tileStarts[t + 1]) take rows of tile t. */
  readonly tileStarts: readonly number[];
  /** [n] row of the result that each sum is added to. */
  readonly outputRow: Uint32Array<ArrayBuffer>;
  /** [n, 4] rows of the tile's features. */
  readonly index: Uint32Array<ArrayBuffer>;
  /** [n, 4] */
  readonly weights: Float32Array<ArrayBuffer>;
}

/** The sums that make the grids' rows. */
export function featureSums(grids: readonly FeatureGrid[], numTiles: number): FeatureSums {
  const ofTiles = Array.from({ length: numTiles }, (): TileSum[] => []);
  let numRows = 0;
  for (const grid of grids) {
    const rows = neighbours(grid.from.height, grid.size.height);
    const columns = neighbours(grid.from.width, grid.size.width);
    for (const row of rows) {
      for (const column of columns) {
        for (const [tile, taps] of tapsOfTiles(grid, row, column)) ofTiles[tile]?.push({ outputRow: numRows, taps });
        numRows++;
      }
    }
  }
  const sums = ofTiles.flat();
  const index = new Uint32Array(sums.length * 4);
  const weights = new Float32Array(sums.length * 4);
  for (const [sum, { taps }] of sums.entries()) {
    for (let k = 0; k < 4; k++) {
      // A missing tap reads the first one's row, which is finite wherever the sum is.
      index[sum * 4 + k] = taps[k]?.row ?? taps[0]?.row ?? 0;
      weights[sum * 4 + k] = taps[k]?.weight ?? 0;
    }
  }
  const tileStarts = [0];
  for (const own of ofTiles) tileStarts.push((tileStarts.at(-1) ?? 0) + own.length);
  return { numRows, tileStarts, outputRow: Uint32Array.from(sums, ({ outputRow }) => outputRow), index, weights };
}

interface Tap {
  /** Row of the tile's features. */
  readonly row: number;
  readonly weight: number;
}

interface TileSum {
  readonly outputRow: number;
  /** At most four. */
  readonly taps: readonly Tap[];
}

/** Two neighbours along one axis and their weights. */
type Neighbours = readonly (readonly [index: number, weight: number])[];

/** The neighbours of each place of an axis that is resized, in torch's f32 arithmetic. */
function neighbours(inputSize: number, outputSize: number): readonly Neighbours[] {
  const scale = Math.fround(inputSize / outputSize);
  return Array.from({ length: outputSize }, (_, place) => {
    const source = Math.max(Math.fround(Math.fround(scale * (place + 0.5)) - 0.5), 0);
    const first = Math.min(Math.floor(source), inputSize - 1);
    const share = Math.min(Math.fround(source - first), 1);
    const second = Math.min(first + 1, inputSize - 1);
    return share === 0 || second === first
      ? [[first, 1]]
      : [
          [first, Math.fround(1 - share)],
          [second, share],
        ];
  });
}

/** What one place of a resized grid takes of each tile. */
function tapsOfTiles(grid: FeatureGrid, row: Neighbours, column: Neighbours): ReadonlyMap<number, readonly Tap[]> {
  const { firstTile, tilesPerRow, patchGrid, from } = grid;
  const taps = new Map<number, Tap[]>();
  for (const [y, rowWeight] of row) {
    for (const [x, columnWeight] of column) {
      const [patchRow, patchColumn] = [from.top + y, from.left + x];
      const tile = firstTile + Math.floor(patchRow / patchGrid) * tilesPerRow + Math.floor(patchColumn / patchGrid);
      const tap = {
        row: (patchRow % patchGrid) * patchGrid + (patchColumn % patchGrid),
        weight: Math.fround(rowWeight * columnWeight),
      };
      taps.set(tile, [...(taps.get(tile) ?? []), tap]);
    }
  }
  return taps;
}
