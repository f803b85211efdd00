// LLaVA-NeXT (LLaVA-1.6): a picture is cut into tiles at a higher resolution, and its rows end in a newline.
// Source: modeling_llava_next.py; preprocess/anyres.ts
import { InputError } from "../../errors.ts";
import {
  anyresLayout,
  anyresPicture,
  anyresPixelValues,
  anyresTileCount,
  anyresViews,
  type GridPinpoints,
} from "../../preprocess/anyres.ts";
import type { ModelFamily, PictureLayout } from "../architecture.ts";
import type { ConfigReader } from "../config-reader.ts";
import type { ProjectedConfig } from "../layers/projector.ts";
import { llavaArchitecture, readMultimodalConfig } from "../llava/llava.ts";

/** `llava_next`. */
export const llavaNext: ModelFamily = {
  modelTypes: ["llava_next"],
  read(reader) {
    const gridPinpoints = readPinpoints(reader, DEFAULT_PINPOINTS);
    const multimodal = readMultimodalConfig(reader, gridPinpoints);
    checkTileCounts(reader, gridPinpoints, multimodal.vision.imageSize);
    return llavaArchitecture(reader, { multimodal, pictures: anyresPictures(multimodal, gridPinpoints) });
  },
};

function anyresPictures(multimodal: ProjectedConfig, gridPinpoints: GridPinpoints): PictureLayout {
  const { numPatches, numChannels, imageSize: tileSize, patchSize } = multimodal.vision;
  const patchGrid = Math.sqrt(numPatches);
  return {
    imageTokenId: multimodal.imageTokenId,
    tileShape: [numChannels, tileSize, tileSize],
    sizes: gridPinpoints,
    pixelValues: (image, { processor }) => anyresPixelValues(image, processor, gridPinpoints).pixelValues,
    seen: (image, processor) => anyresPicture(image, processor, gridPinpoints),
    positions(imageSize) {
      if (imageSize === undefined) {
        throw new InputError("image_sizes is missing: LLaVA-NeXT needs the original picture's [height, width].");
      }
      const rowIndex = anyresLayout({ imageSize, gridPinpoints, tileSize, patchGrid });
      const views = anyresViews({ imageSize, gridPinpoints, tileSize, patchGrid, patchSize });
      const numTiles = anyresTileCount({ imageSize, gridPinpoints, tileSize });
      const tiles = { imageSize, patchGrid, views };
      return { numTiles, runLengths: [rowIndex.length], rowIndex, grid: undefined, tiles };
    },
  };
}

const DEFAULT_PINPOINTS: GridPinpoints = [
  [336, 672],
  [672, 336],
  [672, 672],
  [1008, 336],
  [336, 1008],
];

/** Tiles of one picture, far more than any checkpoint cuts one into. */
const MAX_TILES = 10_000;

/** @throws CheckpointError for a grid of too many tiles. */
export function checkTileCounts(config: ConfigReader, gridPinpoints: GridPinpoints, tileSize: number): void {
  const isTooLarge = ([height, width]: readonly [number, number]) =>
    (height / tileSize) * (width / tileSize) > MAX_TILES;
  const found = gridPinpoints.find(isTooLarge);
  if (found === undefined) return;
  throw config.error("image_grid_pinpoints", `grids of at most ${MAX_TILES} tiles of ${tileSize} pixels`, found);
}

/** Reads the grids that pictures are fitted into. @throws CheckpointError for what is not a list of [height, width]. */
export function readPinpoints(config: ConfigReader, fallback: GridPinpoints): GridPinpoints {
  const value = config.raw("image_grid_pinpoints");
  if (value === undefined || value === null) return fallback;
  const isPair = (pair: unknown): pair is [number, number] =>
    Array.isArray(pair) && pair.length === 2 && pair.every((side) => Number.isInteger(side) && side > 0);
  if (!Array.isArray(value) || value.length === 0 || !value.every(isPair)) {
    throw config.error("image_grid_pinpoints", "a list of [height, width] in pixels", value);
  }
  return value;
}
