// The recipe of a tower that takes pictures of any shape. What records its passes is loaded with a model that has one.
import type { GridEncoderWeights, GridVisionConfig } from "./grid-encoder-weights.ts";
import type { BlockGrid } from "./grid-windows.ts";
import type { PictureRecipe } from "./picture-encoder.ts";

/** A tower and its weights. */
export interface GridEncoder {
  readonly vision: GridVisionConfig;
  readonly weights: GridEncoderWeights;
}

/** What scratch buffers are made for. */
export interface GridSize {
  readonly grid: BlockGrid;
  /** Patches that go through an MLP together. */
  readonly mlpRows: number;
}

/** Patches that go through an MLP together: its inner values, the widest of all, would take more than some adapters' buffers hold. */
const MLP_ROWS = 2048;

let encoders: typeof import("./grid-encoder.ts") | undefined;

/**
 * The recipe of a tower: pictures of one grid after the other, each in one pass.
 * @param mlpRows patches that go through an MLP together
 */
export function gridRecipe(encoder: GridEncoder, mlpRows = MLP_ROWS): PictureRecipe {
  const { vision } = encoder;
  const blockLength = vision.mergeSize ** 2 * patchLength(vision);
  const load = async () => {
    encoders ??= await import("./grid-encoder.ts"); // a chunk of its own for bundlers
  };
  const forGrid = (grid: BlockGrid): PictureRecipe => ({
    tileLength: grid.width * grid.height * blockLength,
    featuresPerTile: grid.width * grid.height,
    featureLevels: 1 + vision.deepstackLayers.length,
    filler: undefined,
    load,
    open(gpu, buffers) {
      if (encoders === undefined) throw new RangeError("A recipe was opened before it was loaded.");
      return encoders.openGrid(gpu, buffers, { ...encoder, grid, mlpRows });
    },
  });
  return { ...forGrid({ width: 1, height: 1 }), forGrid };
}

/** Numbers of one patch. */
export function patchLength({ numChannels, temporalPatchSize, patchSize }: GridVisionConfig): number {
  return numChannels * temporalPatchSize * patchSize ** 2;
}
