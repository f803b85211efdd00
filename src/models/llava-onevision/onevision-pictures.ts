// How LLaVA-OneVision prepares pictures, and the positions that they take.
//
// The only picture of a prompt: the whole of it in a tile, then tiles of a grid whose features are joined, unpadded and, where they are
// over 1.1² times as many as those of maxTiles tiles, resized bilinearly to about that number; a newline ends each row. Each of several
// pictures: one tile, padded to a square with the mean colour, and one newline. In transformers the nesting of the list of pictures
// decides which of the two it is; here, their number in the prompt. Each frame of a video: one tile, stretched to a square, whose
// features are resized to half as many along each side; one newline ends the video.
// Source: transformers 5.24, modeling_llava_onevision.py (pack_image_features), image_processing_pil_llava_onevision.py
import { InputError } from "../../errors.ts";
import {
  type AnyresLayoutOptions,
  anyresLayout,
  anyresPicture,
  anyresPixelValues,
  anyresTileCount,
  anyresViews,
  type GridPinpoints,
  type TileView,
  unpad,
} from "../../preprocess/anyres.ts";
import { imagePixelValues } from "../../preprocess/image-processor.ts";
import { coveredPart } from "../../preprocess/processor-transform.ts";
import type { ImageSize, PictureLayout, PicturePositions } from "../architecture.ts";
import type { FeatureGrid } from "../inputs.ts";
import type { ProjectedConfig } from "../layers/projector.ts";

/** The part of the config that sets how pictures are cut. */
export interface OnevisionSettings {
  readonly gridPinpoints: GridPinpoints;
  /** The N of anyres_max_N. */
  readonly maxTiles: number;
  readonly videoTokenId: number;
}

/** Sizes of tiles, in pixels and patches. */
interface Tiles extends Pick<OnevisionSettings, "gridPinpoints" | "maxTiles"> {
  readonly tileSize: number;
  readonly patchSize: number;
  readonly patchGrid: number;
}

/** A grid of features of more than so many times maxTiles tiles', along each side, is resized. */
const MAX_RATIO = 1.1;

/** The pictures of a LLaVA-OneVision. */
export function onevisionPictures(multimodal: ProjectedConfig, settings: OnevisionSettings): PictureLayout {
  const { gridPinpoints, videoTokenId } = settings;
  const { numPatches, numChannels, imageSize: tileSize, patchSize } = multimodal.vision;
  const tiles: Tiles = { ...settings, tileSize, patchSize, patchGrid: Math.sqrt(numPatches) };
  return {
    imageTokenId: multimodal.imageTokenId,
    videoTokenId,
    frames: {
      pixelValues: (frame, processor) => imagePixelValues(frame, processor),
      positions: (imageSize, { isLast }) => videoFrame(imageSize, tiles, isLast),
    },
    tileShape: [numChannels, tileSize, tileSize],
    sizes: largeSizes(tiles),
    pixelValues: (image, { processor, numPictures }) =>
      numPictures > 1
        ? imagePixelValues(image, { ...processor, padToSquare: true })
        : anyresPixelValues(image, processor, gridPinpoints).pixelValues,
    seen: (image, processor) => anyresPicture(image, processor, gridPinpoints),
    positions(imageSize, { numPictures = 1 }) {
      if (imageSize === undefined) {
        throw new InputError("image_sizes is missing: LLaVA-OneVision needs the original picture's [height, width].");
      }
      return numPictures > 1 ? singleTile(imageSize, tiles) : tiledPicture(imageSize, tiles);
    },
  };
}

/** One of several pictures. */
function singleTile(imageSize: ImageSize, tiles: Tiles): PicturePositions {
  const { patchGrid } = tiles;
  const view = wholeView(imageSize, tiles, { padToSquare: true });
  const rowIndex = Int32Array.from({ length: patchGrid ** 2 + 1 }, (_, row) => (row < patchGrid ** 2 ? row : -1));
  return {
    numTiles: 1,
    runLengths: [rowIndex.length],
    rowIndex,
    grid: undefined,
    tiles: { imageSize, patchGrid, views: [view] },
  };
}

/** One frame of a video: a grid of half as many positions along each side, rounded up, and a newline after the last frame. */
function videoFrame(imageSize: ImageSize, tiles: Tiles, isLast: boolean): PicturePositions {
  const { patchGrid } = tiles;
  const side = Math.ceil(patchGrid / 2);
  const numPatches = side ** 2;
  const rowIndex = Int32Array.from({ length: numPatches + (isLast ? 1 : 0) }, (_, row) =>
    row < numPatches ? row : -1,
  );
  const size = { height: side, width: side };
  const from = { top: 0, left: 0, height: patchGrid, width: patchGrid };
  return {
    numTiles: 1,
    runLengths: [rowIndex.length],
    rowIndex,
    featureGrids: [{ firstTile: 0, tilesPerRow: 1, patchGrid, from, size }],
    grid: undefined,
    tiles: { imageSize, patchGrid, views: [wholeView(imageSize, tiles, { padToSquare: false })], grids: [size] },
  };
}

/** The part of a picture in a single tile that its patches show. */
function wholeView(
  [height, width]: ImageSize,
  { tileSize, patchSize, patchGrid }: Tiles,
  { padToSquare }: { readonly padToSquare: boolean },
): TileView {
  const steps = {
    padToSquare,
    resize: { width: tileSize, height: tileSize },
    centerCrop: false,
    imageSize: tileSize,
  };
  return coveredPart({ height, width }, steps, patchGrid * patchSize);
}

/** The only picture. */
function tiledPicture(imageSize: ImageSize, tiles: Tiles): PicturePositions {
  const { patchGrid } = tiles;
  const options = { imageSize, ...tiles };
  const numTiles = anyresTileCount(options);
  const views = anyresViews(options);
  const { rowStart, rowEnd, columnStart, columnEnd, tilesPerRow } = unpad(options);
  const from = { top: rowStart, left: columnStart, height: rowEnd - rowStart, width: columnEnd - columnStart };
  const size = resizedTo(from, tiles);
  if (size === undefined) {
    const rowIndex = anyresLayout(options);
    return {
      numTiles,
      runLengths: [rowIndex.length],
      rowIndex,
      grid: undefined,
      tiles: { imageSize, patchGrid, views },
    };
  }
  if (size.height < 1 || size.width < 1) {
    throw new InputError(`The picture is ${imageSize.join("×")} pixels: too thin to resize its features; crop it.`);
  }
  const whole = { height: patchGrid, width: patchGrid };
  const base = { firstTile: 0, tilesPerRow: 1, patchGrid, from: { top: 0, left: 0, ...whole }, size: whole };
  const featureGrids: FeatureGrid[] = [base, { firstTile: 1, tilesPerRow, patchGrid, from, size }];
  const rowIndex = resizedLayout(patchGrid ** 2, size);
  return {
    numTiles,
    runLengths: [rowIndex.length],
    rowIndex,
    featureGrids,
    grid: undefined,
    tiles: {
      imageSize,
      patchGrid,
      views: [...views.slice(0, 1), joinedView(options, views.slice(1))],
      grids: featureGrids.map((grid) => grid.size),
    },
  };
}

/** What a grid of features is resized to; undefined for one that stays as it is. */
function resizedTo(
  { height, width }: FeatureGrid["size"],
  { maxTiles, patchGrid }: Tiles,
): FeatureGrid["size"] | undefined {
  const ratio = Math.sqrt((height * width) / (maxTiles * patchGrid ** 2));
  // The remainder is exact, so this is Python's height // ratio, which a rounded quotient is not.
  const divided = (side: number) => Math.round((side - (side % ratio)) / ratio);
  return ratio > MAX_RATIO ? { height: divided(height), width: divided(width) } : undefined;
}

/** The base tile's rows, and per row of the grid its patches and a newline. */
function resizedLayout(numPatches: number, { height, width }: FeatureGrid["size"]): Int32Array<ArrayBuffer> {
  const rowIndex = new Int32Array(numPatches + height * (width + 1)).fill(-1);
  for (let row = 0; row < numPatches; row++) rowIndex[row] = row;
  for (let patch = 0; patch < height * width; patch++) {
    rowIndex[numPatches + patch + Math.floor(patch / width)] = numPatches + patch;
  }
  return rowIndex;
}

/**
 * The part of the picture that the grid's unpadded patches show, from the first one's edge to the last one's. Pixels of a tile beyond its
 * last whole patch are not seen; these gaps within the grid count as if they were spread over it evenly.
 */
function joinedView(options: AnyresLayoutOptions, views: readonly TileView[]): TileView {
  const { patchGrid } = options;
  const { rowStart, rowEnd, columnStart, columnEnd, tilesPerRow } = unpad(options);
  const patch = (row: number, column: number): TileView => {
    const view = views[Math.floor(row / patchGrid) * tilesPerRow + Math.floor(column / patchGrid)];
    const { left = 0, top = 0, right = 0, bottom = 0 } = view ?? {};
    const [width, height] = [(right - left) / patchGrid, (bottom - top) / patchGrid];
    const [x, y] = [left + (column % patchGrid) * width, top + (row % patchGrid) * height];
    return { left: x, top: y, right: x + width, bottom: y + height };
  };
  const { left, top } = patch(rowStart, columnStart);
  const { right, bottom } = patch(rowEnd - 1, columnEnd - 1);
  return { left, top, right, bottom };
}

/** The grids' own sizes, and of grids whose features would be resized those of pictures whose padding just avoids it. */
function largeSizes({ gridPinpoints, maxTiles, tileSize, patchGrid }: Tiles): readonly ImageSize[] {
  const most = MAX_RATIO ** 2 * maxTiles * patchGrid ** 2;
  /** Pixels of the longest side that leaves at most `most` patches. */
  const reduced = (side: number, other: number) => {
    const numPatches = (side / tileSize) * patchGrid;
    const numLeft = Math.floor(most / ((other / tileSize) * patchGrid));
    const isOdd = (numPatches - numLeft) % 2 === 1; // padding is as wide on both sides
    return Math.ceil(((numLeft - (isOdd ? 1 : 0)) / patchGrid) * tileSize);
  };
  return gridPinpoints.flatMap(([height, width]): ImageSize[] => {
    if ((height / tileSize) * (width / tileSize) * patchGrid ** 2 <= most) return [[height, width]];
    const [less, narrower] = [reduced(height, width), reduced(width, height)];
    const others: ImageSize[] = [
      [less, width],
      [height, narrower],
    ];
    return [[height, width], ...others.filter((sides) => sides.every((side) => side >= 1))];
  });
}
