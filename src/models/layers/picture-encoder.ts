// Pictures to image features: a family's recipe over every picture or tile, one submit each; where the features of tiles are joined
// and resized, each tile's are added to the result as soon as they are there.
import { throwIfAborted } from "../../errors.ts";
import { type BufferMaker, GPU_STORAGE, type Gpu } from "../../gpu/device.ts";
import { type Executor, runOnce } from "../../gpu/executor.ts";
import { type CombineCall, combineRows } from "../../gpu/ops/embedding.ts";
import { Program } from "../../gpu/program.ts";
import { padTo4 } from "../../gpu/tensor.ts";
import type { TextConfig } from "../config.ts";
import type { FeatureGrid, ImageInput } from "../inputs.ts";
import type { PlaceVisitor } from "./places.ts";
import type { FeatureSums } from "./resized-features.ts";

/** How a family encodes pictures, with its weights. */
export interface PictureRecipe {
  /** Numbers of one tile of pixel values. */
  readonly tileLength: number;
  /** Rows of image features that one tile becomes. */
  readonly featuresPerTile: number;
  /** Features of one position: more than one where some are added behind the decoder's first layers; 1 unless given. */
  readonly featureLevels?: number | undefined;
  /** [D]: the row at image positions that have no feature (a newline); undefined where there are none. */
  readonly filler: GPUBuffer | undefined;
  /** Whether pictures may have feature grids, so that loading prepares for them. */
  readonly hasFeatureGrids?: boolean;
  /** Loads what {@link PictureRecipe.open} needs, where that is not loaded with every model; before it. */
  load?(): Promise<void>;
  /** Allocates scratch buffers. @throws GpuError `limit`. */
  open(gpu: Gpu, buffers: BufferMaker): PicturePass;
  /** Of a tower that takes pictures of any shape: the recipe for those of a grid, each in one tile. This one is then that of one position. */
  readonly forGrid?: ((grid: PictureGrid) => PictureRecipe) | undefined;
}

/** Columns and rows of a picture's grid of image positions. */
export type PictureGrid = NonNullable<ImageInput["grid"]>;

/** Records the encoding of one tile into its rows of imageFeatures. */
export type PicturePass = (program: Program, run: PictureRun) => void;

/** One tile to encode. */
export interface PictureRun {
  /** [N, C, S, S] f32 */
  readonly pixels: GPUBuffer;
  readonly tile: number;
  /** [.., D] f32; of several levels of features, those of one after the other */
  readonly imageFeatures: GPUBuffer;
  /** Row of imageFeatures that takes the tile's first one. */
  readonly featureRow: number;
  /** Adds the tile's features to the rows of the picture's feature grids. */
  readonly combined?: CombineCall | undefined;
  readonly places?: PlaceVisitor | undefined;
}

/** Records the encoding of one tile. */
export function visionProgram(pass: PicturePass, run: PictureRun): Program {
  const program = new Program("vision");
  pass(program, run);
  const { combined } = run;
  if (combined !== undefined) {
    combineRows(program.at("multi_modal_projector", "features of the tiles, joined and resized bilinearly"), combined);
  }
  return program;
}

/** A recipe with its scratch buffers, which every picture uses again. */
export class PictureEncoder {
  private readonly gpu: Gpu;
  private readonly recipe: PictureRecipe;
  private readonly featureBytes: number;
  private pass: PicturePass | undefined;
  /** The grid that `pass` is for. */
  private grid = "";
  private scratch: GPUBuffer[] = [];

  constructor(gpu: Gpu, text: TextConfig, recipe: PictureRecipe) {
    this.gpu = gpu;
    this.recipe = recipe;
    this.featureBytes = padTo4(text.hiddenSize) * 4;
  }

  /** Tiles that a picture is encoded in. */
  numTiles({ pixelValues, grid }: Pick<ImageInput, "pixelValues" | "grid">): number {
    return pixelValues.length / this.recipeFor(grid).tileLength;
  }

  /**
   * imageFeatures [levels, N · featuresPerTile, D] f32 of pixelValues [N, C, S, S], or the rows of `featureGrids`; the caller destroys the buffer.
   * @param options.grid the picture's, which towers that take any shape need
   * @param options.featureGrids grids that the tiles' features are made into
   * @param options.visitor what is read on the way, by tile
   * @throws AbortError between tiles; GpuError.
   */
  async encode(
    pixelValues: Float32Array<ArrayBuffer>,
    options: {
      readonly grid?: PictureGrid | undefined;
      readonly executor: Executor;
      readonly featureGrids?: readonly FeatureGrid[] | undefined;
      readonly signal?: AbortSignal | undefined;
      readonly visitor?: ((tile: number) => PlaceVisitor | undefined) | undefined;
    },
  ): Promise<GPUBuffer> {
    const { gpu } = this;
    const recipe = this.recipeFor(options.grid);
    const { tileLength, featuresPerTile } = recipe;
    const numTiles = pixelValues.length / tileLength;
    const { executor, featureGrids, signal, visitor } = options;
    await recipe.load?.();
    this.releaseOthers(options.grid);
    this.pass ??= recipe.open(gpu, {
      createBuffer: (...args) => this.keep(gpu.createBuffer(...args)),
      createBufferWith: (...args) => this.keep(gpu.createBufferWith(...args)),
    });
    const sums = featureGrids && (await resizedFeatures()).featureSums(featureGrids, numTiles);
    const numRows = sums?.numRows ?? numTiles * featuresPerTile;
    const pixels = gpu.createBufferWith("pixelValues", pixelValues, GPU_STORAGE);
    const featureBytes = (recipe.featureLevels ?? 1) * numRows * this.featureBytes;
    const imageFeatures = gpu.createBuffer("imageFeatures", featureBytes, GPU_STORAGE);
    const resized = sums && this.openResized(sums, imageFeatures);
    try {
      for (let tile = 0; tile < numTiles; tile++) {
        throwIfAborted(signal, "Encoding the picture");
        const target = resized?.target(tile) ?? { imageFeatures, featureRow: tile * featuresPerTile };
        const program = visionProgram(this.pass, { pixels, tile, ...target, places: visitor?.(tile) });
        await runOnce(executor, program, numTiles > 1 ? `vision, tile ${tile + 1}` : "vision");
      }
    } catch (error) {
      gpu.destroyBuffer(imageFeatures);
      throw error;
    } finally {
      gpu.destroyBuffer(pixels);
      resized?.close();
    }
    return imageFeatures;
  }

  /** Buffers of one picture whose features are resized. */
  private openResized(sums: FeatureSums, imageFeatures: GPUBuffer) {
    const { gpu } = this;
    const { tileStarts } = sums;
    const tileBytes = this.recipe.featuresPerTile * this.featureBytes;
    const tileFeatures = gpu.createBuffer("projector tile", tileBytes, GPU_STORAGE);
    const lists = {
      outputRow: gpu.createBufferWith("projector output rows", sums.outputRow, GPU_STORAGE),
      index: gpu.createBufferWith("projector rows of the tiles", sums.index, GPU_STORAGE),
      weights: gpu.createBufferWith("projector weights of rows", sums.weights, GPU_STORAGE),
    };
    const shared = { ...lists, source: tileFeatures, output: imageFeatures, columns: this.featureBytes / 4 };
    return {
      /** Where a tile's features go. */
      target: (tile: number) => {
        const rowStart = tileStarts[tile] ?? 0;
        const numRows = (tileStarts[tile + 1] ?? 0) - rowStart;
        const combined = numRows === 0 ? undefined : { ...shared, rowStart, numRows };
        return { imageFeatures: tileFeatures, featureRow: 0, combined };
      },
      close: () => {
        for (const buffer of [tileFeatures, ...Object.values(lists)]) gpu.destroyBuffer(buffer);
      },
    };
  }

  /** Frees the scratch buffers, as the GPU ran out of memory; the next picture makes them anew. */
  release(): void {
    for (const buffer of this.scratch) this.gpu.destroyBuffer(buffer);
    this.scratch = [];
    this.pass = undefined;
  }

  private recipeFor(grid: PictureGrid | undefined): PictureRecipe {
    return (grid && this.recipe.forGrid?.(grid)) ?? this.recipe;
  }

  /** Scratch buffers for another grid are not kept: the largest take more than the features of many pictures. */
  private releaseOthers(grid: PictureGrid | undefined): void {
    const wanted = this.recipe.forGrid === undefined || grid === undefined ? "" : `${grid.width}×${grid.height}`;
    if (this.grid !== wanted) this.release();
    this.grid = wanted;
  }

  private keep(buffer: GPUBuffer): GPUBuffer {
    this.scratch.push(buffer);
    return buffer;
  }
}

/** A chunk of its own for bundlers. */
function resizedFeatures() {
  return import("./resized-features.ts");
}
