// What a model family is: one folder that reads its config.json, declares its weights, prepares its pictures and records the
// programs that encode them. registry.ts lists the families.

import type { TileView } from "../preprocess/anyres.ts";
import type { RgbImage } from "../preprocess/image.ts";
import type { ImageProcessorConfig } from "../preprocess/image-processor.ts";
import type { ModelConfig } from "./config.ts";
import type { ConfigReader } from "./config-reader.ts";
import type { FeatureGrid, ImageInput, PictureTiles } from "./inputs.ts";
import type { LlamaWeights } from "./layers/decoder-weights.ts";
import type { PictureRecipe } from "./layers/picture-encoder.ts";
import type { WeightDeclarer } from "./weight-table.ts";

/** A model family. */
export interface ModelFamily {
  /** Values of config.json's model_type. */
  readonly modelTypes: readonly string[];
  /** @throws CheckpointError naming the key, what is possible and what was found. */
  read(config: ConfigReader): Architecture;
}

/** One checkpoint's model: everything that follows from its config.json. */
export interface Architecture {
  readonly config: ModelConfig;
  /** How pictures become inputs; undefined for a text-only model. */
  readonly pictures: PictureLayout | undefined;
  /** Declares every weight of the model. */
  weights(w: WeightDeclarer): ModelWeights;
}

/** All weights of a model, and how pictures are encoded with them. */
export interface ModelWeights {
  readonly llama: LlamaWeights;
  /** Undefined for a text-only model. */
  readonly pictures: PictureRecipe | undefined;
}

/** How a family prepares its pictures, and which positions of the prompt they become. */
export interface PictureLayout {
  /** The id that marks image positions. */
  readonly imageTokenId: number;
  /** Ids that stand for `<image>` in a prompt: the image token and those around it; the image token alone unless given. */
  readonly placeTokens?: readonly number[] | undefined;
  /** The id that marks positions of a video; undefined for a family without. */
  readonly videoTokenId?: number;
  /** How the frames of a video are prepared; undefined where videos are not supported. */
  readonly frames?: FrameLayout;
  /** Shape of one tile, [C, S, S]; of pictures in patches, [patches, values]: a block of patches that becomes one position. */
  readonly tileShape: readonly number[];
  /** Whether pictures are cut into tiles as the image processor's settings say; false unless given. */
  readonly isTiledByProcessor?: boolean;
  /** Sizes of pictures, one of which takes the most positions; undefined where the size does not matter. */
  readonly sizes: readonly (ImageSize | undefined)[];
  /**
   * The layout with another maximum number of pixels of a resized picture, which replaces the image processor's limit and the family's
   * own; for families whose pictures become grids of any size.
   * @throws InputError if no block of patches has so few pixels.
   */
  withMaxPixels?(maxPixels: number): PictureLayout;
  /**
   * Pixel values of one picture, [N, C, S, S] f32.
   * @throws InputError or CheckpointError when the picture cannot be prepared.
   */
  pixelValues(image: RgbImage, context: PictureContext): Float32Array<ArrayBuffer>;
  /**
   * One picture as the vision tower sees it: cropped as the model crops it.
   * @throws InputError or CheckpointError as `pixelValues`.
   */
  seen(image: RgbImage, processor: ImageProcessorConfig): RgbImage;
  /** The part of an original picture that the grid of patches spans; a family that cuts pictures into tiles has none. */
  part?(imageSize: ImageSize, processor: ImageProcessorConfig): TileView;
  /**
   * Positions of one picture of this size in pixels; undefined where the size is not known.
   * @param context without a processor for tensors that another program prepared
   * @throws InputError when the family needs the size.
   */
  positions(imageSize: ImageSize | undefined, context: Partial<PictureContext>): PicturePositions;
  /** [T, 3] rope positions of a prompt with these pictures; of a family whose positions have several axes. */
  ropePositions?(numTokens: number, images: readonly Pick<ImageInput, "runs" | "grid">[]): Int32Array<ArrayBuffer>;
  /** @throws InputError for a prompt that the family cannot run. */
  checkTokens?(ids: ArrayLike<number>): void;
  /**
   * The image processor's settings as the model uses them; as they are unless given, and `imageSize` must then be the tile's side.
   * @throws CheckpointError if they do not fit the vision tower; InputError if a setting of the load does not fit them.
   */
  resolveProcessor?(processor: ImageProcessorConfig, file: string): ImageProcessorConfig;
}

/** How a family prepares the frames of a video, each of which is a picture of its own. */
export interface FrameLayout {
  /** Pixel values of one frame, [1, C, S, S] f32. @throws InputError or CheckpointError when it cannot be prepared. */
  pixelValues(frame: RgbImage, processor: ImageProcessorConfig): Float32Array<ArrayBuffer>;
  /** Positions of one frame; those of a video's frames follow each other. */
  positions(imageSize: ImageSize, place: { readonly isLast: boolean }): PicturePositions;
}

/** What the preparation of a picture depends on besides the picture. */
export interface PictureContext {
  readonly processor: ImageProcessorConfig;
  /** Number of pictures in the whole prompt, not counting frames of videos. */
  readonly numPictures: number;
}

/** [height, width] of an original picture, in pixels. */
export type ImageSize = readonly [height: number, width: number];

/** The prompt's positions of one picture. */
export interface PicturePositions {
  /** Tiles of its pixel values. */
  readonly numTiles: number;
  /** Lengths of its runs of image positions, in order; their sum is the length of `rowIndex`. */
  readonly runLengths: readonly number[];
  /** Row of the image features at each image position over all runs, −1 for the filler row (a newline). */
  readonly rowIndex: Int32Array<ArrayBuffer>;
  /** Grids that the tiles' features are made into, whose rows `rowIndex` then points at; undefined where they stay as they are. */
  readonly featureGrids?: readonly FeatureGrid[];
  /** Patches along the picture's sides; undefined when its positions are not a single grid. */
  readonly grid: { readonly width: number; readonly height: number } | undefined;
  /** Where the tiles' patches lie in the picture; undefined for a single grid. */
  readonly tiles?: PictureTiles;
  /** Text that takes the place of the image token before the prompt is encoded; the token is repeated unless given. */
  readonly text?: string;
}
