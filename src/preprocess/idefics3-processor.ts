// The image processors of Idefics3 and SmolVLM, which are the same.
// Source: transformers 5.24, models/idefics3/image_processing_pil_idefics3.py, models/smolvlm/image_processing_pil_smolvlm.py
import { asRecord } from "../checkpoint/source.ts";
import { isCount, readImageSteps, type Values, wrongValue } from "./image-processor-config.ts";
import type { ImageProcessorKind } from "./image-processors.ts";
import type { TilingRule } from "./tiles.ts";

const DEFAULT_TILE_SIZE = 364;

/** Tiles along the longest side, where the file does not give that. */
const DEFAULT_TILES = 4;

/** Idefics3's and SmolVLM's: cuts pictures into tiles, unless `do_image_splitting` is false. */
export const idefics3: ImageProcessorKind = {
  types: ["Idefics3ImageProcessor", "SmolVLMImageProcessor"],
  read(values, file) {
    const fail = (key: string, expected: string) => wrongValue(values, { key, expected, file });
    const given = values.max_image_size ?? undefined;
    const tileSize = given === undefined ? DEFAULT_TILE_SIZE : asRecord(given).longest_edge;
    if (!isCount(tileSize)) throw fail("max_image_size", "{longest_edge} with a positive integer");
    const splits = values.do_image_splitting ?? true;
    if (typeof splits !== "boolean") throw fail("do_image_splitting", "true or false");
    const doesResize = values.do_resize ?? true;
    if (typeof doesResize !== "boolean") throw fail("do_resize", "true or false");
    const firstResize = doesResize ? readFirstResize(values) : undefined;
    if (doesResize && firstResize === undefined) {
      throw fail("size", "{longest_edge} or {height, width}, of at most 4096 pixels each");
    }
    const square = { height: tileSize, width: tileSize };
    const steps = readImageSteps(
      { ...values, size: square, do_resize: true, do_center_crop: false, ...READ_HERE },
      { size: square, centerCrop: false, resample: 1, mean: HALF, std: HALF, padsToSquare: false },
      file,
    );
    return { ...steps, tiling: { firstResize, splits } };
  },
};

/** The rule of a picture where no file gives one. */
export function defaultTiling(tileSize: number): TilingRule {
  return { firstResize: { longestEdge: DEFAULT_TILES * tileSize }, splits: true };
}

const HALF = [0.5, 0.5, 0.5] as const;

/** Keys that this processor reads itself and that have no meaning in others. */
const READ_HERE = { do_image_splitting: false, max_image_size: null };

function readFirstResize(values: Values): TilingRule["firstResize"] {
  const fallback = { longest_edge: DEFAULT_TILES * DEFAULT_TILE_SIZE };
  const { longest_edge: longestEdge, height, width } = asRecord(values.size ?? fallback);
  const isSide = (side: unknown): side is number => isCount(side) && side <= 4096;
  if (isSide(longestEdge)) return { longestEdge };
  return isSide(height) && isSide(width) ? { height, width } : undefined;
}
