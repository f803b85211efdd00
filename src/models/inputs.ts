// What a model runs on: token ids, and pictures with the positions that they take.
import type { TileView } from "../preprocess/anyres.ts";

/** A half-open range of positions. */
export type Run = readonly [start: number, end: number];

/** The inputs of one prompt. */
export interface ModelInputs {
  /** [T], the image token at every image position */
  readonly inputIds: Int32Array<ArrayBuffer>;
  /** In the order of their positions; empty for text only. */
  readonly images: readonly ImageInput[];
  /**
   * Rope position of every token: [T] or, where positions have the axes time, row and column, [T, 3]; 0 to T − 1 on every axis
   * unless given. Generated tokens follow the largest.
   */
  readonly positions?: Int32Array<ArrayBuffer>;
}

/** One picture and where it is in the prompt. */
export interface ImageInput {
  /** [N, C, S, S] f32: the picture, or its tiles */
  readonly pixelValues: Float32Array<ArrayBuffer>;
  /** Positions of the picture, in order; text may be between two runs. */
  readonly runs: readonly Run[];
  /** Row of the picture's features at each position over all runs, −1 for the filler row (LLaVA-NeXT's newline) */
  readonly rowIndex: Int32Array<ArrayBuffer>;
  /** Grids that the tiles' features are made into, whose rows `rowIndex` then points at; undefined where they stay as they are. */
  readonly featureGrids?: readonly FeatureGrid[] | undefined;
  /** Patches along the picture's sides; undefined when its positions are not a single grid. */
  readonly grid: { readonly width: number; readonly height: number } | undefined;
  /** Where the tiles' patches lie in the picture; undefined for a single grid. */
  readonly tiles?: PictureTiles | undefined;
  /** Where the single grid lies in the original picture; undefined for tiles, and where the original is not known. */
  readonly view?: PictureView | undefined;
  /** Index of the prompt's video that the picture is a frame of; undefined if it is of none. */
  readonly video?: number | undefined;
}

/** Features of some of a picture's tiles, joined, cropped and resized. */
export interface FeatureGrid {
  /** The first of the tiles, which follow each other row by row. */
  readonly firstTile: number;
  readonly tilesPerRow: number;
  /** Patches along each side of a tile. */
  readonly patchGrid: number;
  /** Patches of the joined tiles that are taken. */
  readonly from: { readonly top: number; readonly left: number; readonly height: number; readonly width: number };
  /** What they are resized to: bilinear, corners not aligned, without antialiasing. Its rows of features are those of the result. */
  readonly size: { readonly width: number; readonly height: number };
}

/** Where a grid of patches lies in an original picture. */
export interface PictureView {
  /** [height, width] of the original picture, in pixels. */
  readonly imageSize: readonly [height: number, width: number];
  /** The part of it that the grid spans: less than all of it after a crop, more with padding. */
  readonly part: TileView;
}

/** The tiles of one picture, whose features are the rows that `rowIndex` points at: tile by tile, its patches row by row. */
export interface PictureTiles {
  /** [height, width] of the original picture, in pixels. */
  readonly imageSize: readonly [height: number, width: number];
  /** Patches along each side of a tile. */
  readonly patchGrid: number;
  /** The part of the picture that each tile shows. */
  readonly views: readonly TileView[];
  /** Patches along the sides of each view where they are not `patchGrid`: of joined tiles whose features were resized. */
  readonly grids?: readonly { readonly width: number; readonly height: number }[] | undefined;
}

/** One grid of patches of a picture's tiles. */
export interface TileGrid {
  readonly view: TileView;
  readonly width: number;
  readonly height: number;
  /** Feature row of its first patch. */
  readonly firstRow: number;
}

/** The grids of patches of a picture's tiles, in the order of their feature rows. */
export function tileGrids({ patchGrid, views, grids }: Omit<PictureTiles, "imageSize">): readonly TileGrid[] {
  let firstRow = 0;
  return views.map((view, index) => {
    const { width, height } = grids?.[index] ?? { width: patchGrid, height: patchGrid };
    firstRow += width * height;
    return { view, width, height, firstRow: firstRow - width * height };
  });
}

/** The grid that a feature row is a patch of, and the patch's place in it; undefined for a row of no grid. */
export function patchOf(grids: readonly TileGrid[], row: number) {
  const grid = grids.findLast(({ firstRow }) => firstRow <= row);
  if (grid === undefined || row >= grid.firstRow + grid.width * grid.height) return undefined;
  const patch = row - grid.firstRow;
  return { grid, x: patch % grid.width, y: Math.floor(patch / grid.width) };
}

/** All image positions of a prompt, in order. */
export function imageRuns(inputs: Pick<ModelInputs, "images">): readonly Run[] {
  return inputs.images.flatMap(({ runs }) => runs);
}

/** From the first run's start to the last one's end, text between them included; [0, 0) without runs. */
export function spanOf(runs: readonly Run[]): Run {
  return [runs[0]?.[0] ?? 0, runs.at(-1)?.[1] ?? 0];
}

/** From the first image position of a prompt to behind the last one; [0, 0) without a picture. */
export function imageSpan(inputs: Pick<ModelInputs, "images">): Run {
  return spanOf(imageRuns(inputs));
}
