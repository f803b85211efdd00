// LLaVA-NeXT's anyres, and LLaVA-OneVision's: the whole picture in one tile, then the picture cut into a grid of tiles at a higher resolution.
//
// Source: transformers 5.23, models/llava_next/image_processing_pil_llava_next.py, image_processing_utils.py
// (select_best_resolution, get_patch_output_size) and modeling_llava_next.py (unpad_image, pack_image_features).
// Two details changed since 4.44; this file follows the newer version: padding by an odd number of pixels puts the extra pixel
// at the end (4.44 dropped it), and unpadding rounds to 7 decimals before it truncates.

import { CheckpointError } from "../errors.ts";
import type { RgbImage } from "./image.ts";
import { type ImageProcessorConfig, imagePixelValues, paste } from "./image-processor.ts";
import { resizeImage, type Size } from "./resize-bicubic.ts";

/** The grids a picture may be fitted into, as [height, width] in pixels (config.json's image_grid_pinpoints). */
export type GridPinpoints = readonly (readonly [number, number])[];

/** The vision tower's input for one picture. */
export interface AnyresPixels {
  /** f32 [numTiles, 3, S, S]: the whole picture first, then the grid's tiles row by row. */
  readonly pixelValues: Float32Array<ArrayBuffer>;
  readonly numTiles: number;
  /** [height, width] of the original, for {@link anyresLayout}. */
  readonly imageSize: readonly [number, number];
}

/** The part of a picture that a tile's patches show, in shares of its width and height; beyond 0 and 1 is padding. */
export interface TileView {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

/** What decides which features of the tiles become image tokens. */
export interface AnyresLayoutOptions {
  /** [height, width] of the original picture in pixels. */
  readonly imageSize: readonly [number, number];
  readonly gridPinpoints: GridPinpoints;
  /** The vision tower's image_size, in pixels. */
  readonly tileSize: number;
  /** Patches along one side of a tile: tileSize / patchSize. */
  readonly patchGrid: number;
}

/**
 * Cuts a picture into LLaVA-NeXT's tiles, bit-equal to transformers' PIL backend.
 * @throws CheckpointError when a grid is not made of whole tiles.
 */
export function anyresPixelValues(
  image: RgbImage,
  config: ImageProcessorConfig,
  gridPinpoints: GridPinpoints,
): AnyresPixels {
  const { imageSize: tileSize, filter, resize = { shortestEdge: tileSize } } = config;
  const grid = selectGrid([image.height, image.width], gridPinpoints, tileSize);
  const fitted = resizeImage(image, fitInside(image, grid), { filter });
  const padded: RgbImage = { ...grid, data: new Uint8Array(grid.width * grid.height * 3) };
  paste(fitted, padded, centered(fitted, grid));

  const base = "width" in resize ? resize : { width: resize.shortestEdge, height: resize.shortestEdge };
  const tiles = [resizeImage(image, base, { filter })];
  for (let top = 0; top < grid.height; top += tileSize) {
    for (let left = 0; left < grid.width; left += tileSize) {
      tiles.push(resizeImage(padded, padded, { window: { left, top, width: tileSize, height: tileSize } }));
    }
  }

  const tileLength = 3 * tileSize * tileSize;
  const pixelValues = new Float32Array(tiles.length * tileLength);
  tiles.forEach((tile, index) => {
    pixelValues.set(imagePixelValues(tile, { ...config, padToSquare: false }), index * tileLength);
  });
  return { pixelValues, numTiles: tiles.length, imageSize: [image.height, image.width] };
}

/** Image tokens of a picture: the base tile's patches, and per row of the unpadded grid its patches and one newline. */
export function anyresTokenCount(options: AnyresLayoutOptions): number {
  const { rowStart, rowEnd, columnStart, columnEnd } = unpad(options);
  return options.patchGrid ** 2 + (rowEnd - rowStart) * (columnEnd - columnStart + 1);
}

/**
 * Where each image token comes from: a row of the tiles' features [numTiles · patchGrid², D], or −1 for image_newline.
 * @returns [anyresTokenCount]: the base tile, then the grid row by row, a newline after each.
 * @throws CheckpointError when a grid is not made of whole tiles.
 */
export function anyresLayout(options: AnyresLayoutOptions): Int32Array<ArrayBuffer> {
  const { patchGrid } = options;
  const { rowStart, rowEnd, columnStart, columnEnd, tilesPerRow } = unpad(options);
  const numPatches = patchGrid * patchGrid;
  const sources = Array.from({ length: numPatches }, (_, patch) => patch);
  for (let row = rowStart; row < rowEnd; row++) {
    for (let column = columnStart; column < columnEnd; column++) {
      const tile = 1 + Math.floor(row / patchGrid) * tilesPerRow + Math.floor(column / patchGrid);
      sources.push(tile * numPatches + (row % patchGrid) * patchGrid + (column % patchGrid));
    }
    sources.push(-1);
  }
  return Int32Array.from(sources);
}

/** Number of tiles of a picture: the base and the grid's. */
export function anyresTileCount({
  imageSize,
  gridPinpoints,
  tileSize,
}: Omit<AnyresLayoutOptions, "patchGrid">): number {
  const grid = selectGrid(imageSize, gridPinpoints, tileSize);
  return 1 + (grid.width / tileSize) * (grid.height / tileSize);
}

/**
 * The part of the picture that each tile's patches show: all of it for the base tile, then the grid's tiles.
 * @param options.patchSize side of a patch in pixels; pixels of a tile beyond its last whole patch are not seen
 * @throws CheckpointError when a grid is not made of whole tiles.
 */
export function anyresViews(options: AnyresLayoutOptions & { readonly patchSize: number }): readonly TileView[] {
  const { imageSize, gridPinpoints, tileSize, patchGrid, patchSize } = options;
  const [height, width] = imageSize;
  const grid = selectGrid(imageSize, gridPinpoints, tileSize);
  const fitted = fitInside({ width, height }, grid);
  const { left, top } = centered(fitted, grid);
  const seen = patchGrid * patchSize;
  const views: TileView[] = [{ left: 0, top: 0, right: seen / tileSize, bottom: seen / tileSize }];
  for (let y = 0; y < grid.height; y += tileSize) {
    for (let x = 0; x < grid.width; x += tileSize) {
      views.push({
        left: (x - left) / fitted.width,
        top: (y - top) / fitted.height,
        right: (x - left + seen) / fitted.width,
        bottom: (y - top + seen) / fitted.height,
      });
    }
  }
  return views;
}

/** The whole picture as the grid's tiles show it, without their padding: the picture at the highest resolution that is seen. */
export function anyresPicture(
  image: RgbImage,
  { imageSize, filter }: Pick<ImageProcessorConfig, "imageSize" | "filter">,
  gridPinpoints: GridPinpoints,
): RgbImage {
  const grid = selectGrid([image.height, image.width], gridPinpoints, imageSize);
  return resizeImage(image, fitInside(image, grid), { filter });
}

/** The grid's patches that show the picture, not its padding: rows [rowStart, rowEnd), columns [columnStart, columnEnd). */
export function unpad({ imageSize, gridPinpoints, tileSize, patchGrid }: AnyresLayoutOptions) {
  const grid = selectGrid(imageSize, gridPinpoints, tileSize);
  const tilesPerRow = grid.width / tileSize;
  const numRows = (grid.height / tileSize) * patchGrid;
  const numColumns = tilesPerRow * patchGrid;
  const [height, width] = imageSize;
  const scale = Math.min(numColumns / width, numRows / height);
  const rowPadding = Math.floor((numRows - truncateRounded(height * scale)) / 2);
  const columnPadding = Math.floor((numColumns - truncateRounded(width * scale)) / 2);
  return {
    rowStart: rowPadding,
    rowEnd: numRows - rowPadding,
    columnStart: columnPadding,
    columnEnd: numColumns - columnPadding,
    tilesPerRow,
  };
}

/** Python's int(round(x, 7)). */
function truncateRounded(x: number): number {
  return Math.trunc(Number(x.toFixed(7)));
}

/** select_best_resolution: the grid with the largest effective area, ties by the least waste, which is then the smallest grid. */
function selectGrid([height, width]: readonly [number, number], pinpoints: GridPinpoints, tileSize: number): Size {
  let best: Size | undefined;
  let bestEffective = 0;
  let bestArea = Number.POSITIVE_INFINITY;
  for (const [gridHeight, gridWidth] of pinpoints) {
    const scale = Math.min(gridWidth / width, gridHeight / height);
    const effective = Math.min(Math.trunc(width * scale) * Math.trunc(height * scale), width * height);
    const area = gridWidth * gridHeight;
    if (effective > bestEffective || (effective === bestEffective && area < bestArea)) {
      best = { width: gridWidth, height: gridHeight };
      bestEffective = effective;
      bestArea = area;
    }
  }
  if (best === undefined || best.width % tileSize !== 0 || best.height % tileSize !== 0) {
    const got = best === undefined ? "an empty list" : `${best.height}×${best.width}`;
    throw new CheckpointError(
      `config.json: image_grid_pinpoints must hold multiples of ${tileSize} pixels, got ${got}.`,
      {
        file: "config.json",
      },
    );
  }
  return best;
}

/** get_patch_output_size: the limiting side fills the grid, the other is rounded up. */
function fitInside({ width, height }: Size, grid: Size): Size {
  const scale = Math.min(grid.width / width, grid.height / height);
  return {
    width: Math.min(Math.ceil(width * scale), grid.width),
    height: Math.min(Math.ceil(height * scale), grid.height),
  };
}

/** Where a picture's upper left corner is when it is centred in a grid; an odd pixel of padding goes to the end. */
function centered(fitted: Size, grid: Size): { readonly left: number; readonly top: number } {
  return { left: (grid.width - fitted.width) >> 1, top: (grid.height - fitted.height) >> 1 };
}
