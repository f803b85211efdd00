// The question that a plan is about: a prompt of so many positions with pictures of the size that takes the most, and its answer.
import { InputError } from "./errors.ts";
import type { Prompt, PromptImage, Run } from "./generate/prompt.ts";
import { DEFAULT_MAX_NEW_TOKENS } from "./generate/stop.ts";
import type { Architecture, PicturePositions } from "./models/architecture.ts";

/** The sizes of a question. */
export interface QuestionOptions {
  /** Positions of the prompt and its answer. Default: those of the pictures, 64 of text and 64 new ones. */
  readonly contextLength?: number | undefined;
  /** Positions of `contextLength` that are the answer's. Default: 64, or half of those behind the pictures if that is less. */
  readonly maxNewTokens?: number | undefined;
  /** Pictures of the question, each of the size that takes the most positions. Default: 1, or 0 for a text-only model. */
  readonly numImages?: number | undefined;
}

/** A question, as far as its buffers and its time depend on it. */
export interface PlannedQuestion {
  readonly prompt: Prompt;
  /** The pictures of the prompt. */
  readonly images: readonly PlannedImage[];
  readonly maxNewTokens: number;
}

/** A picture and its grid of positions. */
interface PlannedImage extends PromptImage {
  readonly grid: PicturePositions["grid"];
}

/** Text positions of the default question. */
const TEXT_POSITIONS = 64;

/** Positions of a short question's text and its answer. */
const SHORT_TEXT = 32;

/** Positions of a short question about so many pictures, each of the size that takes the most, and of its answer. */
export function leastContext(architecture: Architecture, numImages: number): number {
  const image = numImages === 0 ? undefined : largestPicture(architecture, numImages);
  return numImages * (image?.positions.rowIndex.length ?? 0) + SHORT_TEXT;
}

/** The question of the options: token ids are 0 and pictures black. @throws InputError naming what is possible. */
export function plannedQuestion(architecture: Architecture, options: QuestionOptions): PlannedQuestion {
  const { pictures, config } = architecture;
  const longest = config.text.maxPositionEmbeddings;
  const { numImages = pictures === undefined ? 0 : 1 } = options;
  if (!Number.isInteger(numImages) || numImages < 0) {
    throw new InputError(`numImages must be a whole number of at least 0, got ${numImages}.`);
  }
  if (numImages > 0 && pictures === undefined) {
    throw new InputError(`numImages is ${numImages}, but the model has no vision tower: leave pictures out.`);
  }
  const image = numImages === 0 ? undefined : largestPicture(architecture, numImages);
  const imagePositions = leastContext(architecture, numImages) - SHORT_TEXT;
  const contextLength =
    options.contextLength ?? Math.min(longest, imagePositions + TEXT_POSITIONS + DEFAULT_MAX_NEW_TOKENS);
  const least = imagePositions + 2; // a token of text, and one of the answer
  if (!Number.isInteger(contextLength) || contextLength < least || contextLength > longest) {
    const pictures = numImages === 1 ? "the picture" : `the ${numImages} pictures`;
    const of = numImages === 0 ? "" : `, of which ${imagePositions} are those of ${pictures}`;
    throw new InputError(`The context must have from ${least} to ${longest} positions${of}, got ${contextLength}.`);
  }
  const room = contextLength - imagePositions;
  const { maxNewTokens = Math.min(DEFAULT_MAX_NEW_TOKENS, Math.floor(room / 2)) } = options;
  if (!Number.isInteger(maxNewTokens) || maxNewTokens < 1 || maxNewTokens >= room) {
    throw new InputError(`maxNewTokens must be a whole number from 1 to ${room - 1}, got ${maxNewTokens}.`);
  }
  const images: PlannedImage[] = [];
  for (let index = 0; index < numImages && image !== undefined; index++) {
    images.push(placed(image, index * image.positions.rowIndex.length));
  }
  return { prompt: { inputIds: new Int32Array(contextLength - maxNewTokens), images }, images, maxNewTokens };
}

/** A picture of the size that takes the most positions. */
interface PlannedPicture {
  readonly positions: PicturePositions;
  readonly pixelValues: Float32Array<ArrayBuffer>;
}

function largestPicture({ pictures }: Architecture, numPictures: number): PlannedPicture | undefined {
  if (pictures === undefined) return undefined;
  const all = pictures.sizes.map((size) => pictures.positions(size, { numPictures }));
  const [positions] = all.sort((a, b) => b.rowIndex.length - a.rowIndex.length);
  if (positions === undefined) return undefined;
  const tileLength = pictures.tileShape.reduce((product, size) => product * size, 1);
  return { positions, pixelValues: new Float32Array(positions.numTiles * tileLength) };
}

/** The picture with its runs from `first` on. */
function placed({ positions, pixelValues }: PlannedPicture, first: number): PlannedImage {
  const { runLengths, rowIndex, grid, featureGrids } = positions;
  let end = first;
  const runs = runLengths.map((length): Run => {
    end += length;
    return [end - length, end];
  });
  return { pixelValues, runs, rowIndex, grid, featureGrids };
}
