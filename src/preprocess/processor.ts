// From a picture and a prompt to what the forward passes take: the checkpoint's own processor files, in one place.

import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { CheckpointError, InputError } from "../errors.ts";
import { type ModelConfig, type MultimodalConfig, requireMultimodal } from "../models/config.ts";
import { numImageFeatures } from "../models/layers/projector.ts";
import { anyresLayout, anyresPixelValues, anyresTileCount } from "./anyres.ts";
import { type ChatTemplate, loadChatTemplate } from "./chat-template.ts";
import { type ClipProcessorConfig, clipPixelValues, readClipProcessorConfig } from "./clip-processor.ts";
import { checkImage, type RgbImage } from "./image.ts";
import { expandImageToken } from "./prompt.ts";
import { loadTokenizer, type Tokenizer } from "./tokenizer.ts";

/** What the model runs on. */
export interface ModelInputs {
  /** [T], the image token repeated once a position of the image */
  readonly inputIds: Int32Array<ArrayBuffer>;
  /** Image positions [start, end); [0, 0) without a picture */
  readonly imageSpan: readonly [start: number, end: number];
  /** [N, C, S, S] f32: one picture, or the tiles of LLaVA-NeXT; undefined without a picture */
  readonly pixelValues: Float32Array<ArrayBuffer> | undefined;
  /** Row of the projected features at each image position, −1 for LLaVA-NeXT's newline */
  readonly imageRowIndex: Int32Array<ArrayBuffer>;
  /** Patches along the picture's sides; 0 where the span is no single grid (LLaVA-NeXT). */
  readonly gridWidth: number;
  readonly gridHeight: number;
}

/** Inputs as a Hugging Face processor makes them. */
export interface ProcessedTensors {
  /** [T], the image token once or already expanded */
  readonly inputIds: ArrayLike<number>;
  /** [N, C, S, S] f32; undefined for text only */
  readonly pixelValues: Float32Array<ArrayBuffer> | undefined;
  /** [height, width] of the original picture; needed for LLaVA-NeXT */
  readonly imageSize?: readonly [number, number] | undefined;
}

/** A checkpoint's tokenizer, chat template and picture preprocessing. */
export class Processor {
  /** Ids that end an answer: generation_config.json's, else config.json's. */
  readonly eosTokenIds: readonly number[];
  /** Picture preprocessing; undefined where the checkpoint has no preprocessor_config.json. */
  readonly clip: ClipProcessorConfig | undefined;
  private readonly config: ModelConfig;
  private readonly tokenizerOrUndefined: Tokenizer | undefined;
  private readonly template: ChatTemplate | undefined;

  constructor(
    config: ModelConfig,
    parts: {
      readonly eosTokenIds: readonly number[];
      readonly clip: ClipProcessorConfig | undefined;
      readonly tokenizer: Tokenizer | undefined;
      readonly template: ChatTemplate | undefined;
    },
  ) {
    this.config = config;
    this.eosTokenIds = parts.eosTokenIds;
    this.clip = parts.clip;
    this.tokenizerOrUndefined = parts.tokenizer;
    this.template = parts.template;
  }

  /** @throws CheckpointError when the checkpoint has no tokenizer.json. */
  get tokenizer(): Tokenizer {
    if (this.tokenizerOrUndefined === undefined) throw missingFile("tokenizer.json", "text cannot be encoded");
    return this.tokenizerOrUndefined;
  }

  /** Puts a question into the checkpoint's chat template. @throws CheckpointError when there is none or it fails. */
  chatPrompt(text: string, options: { readonly hasImage: boolean; readonly system?: string | undefined }): string {
    if (this.template === undefined) {
      throw missingFile(
        "chat_template.jinja",
        "a question cannot be put into words for this model; give a whole prompt",
      );
    }
    return this.template.render(text, options);
  }

  /**
   * Inputs for a whole prompt and a picture.
   * @throws InputError for no RGB picture, an empty or too long prompt, or one without exactly one `<image>` for the picture.
   */
  inputs(prompt: string, image: RgbImage | undefined): ModelInputs {
    if (prompt.trim() === "") throw new InputError("The prompt is empty: give at least one word.");
    const inputIds = this.tokenizer.encodePrompt(prompt);
    if (image === undefined) return this.fromTensors({ inputIds, pixelValues: undefined });
    checkImage(image);
    const { imageGridPinpoints } = requireMultimodal(this.config);
    if (this.clip === undefined) throw missingFile("preprocessor_config.json", "pictures cannot be prepared");
    if (imageGridPinpoints === undefined) {
      return this.fromTensors({ inputIds, pixelValues: clipPixelValues(image, this.clip) });
    }
    const { pixelValues, imageSize } = anyresPixelValues(image, this.clip, imageGridPinpoints);
    return this.fromTensors({ inputIds, pixelValues, imageSize });
  }

  /** Checks tensors of a Hugging Face processor and lays the image out. @throws InputError when they do not fit. */
  fromTensors(tensors: ProcessedTensors): ModelInputs {
    const { pixelValues } = tensors;
    if (pixelValues === undefined) return this.layOut(tensors, undefined);
    const multimodal = requireMultimodal(this.config);
    const { vision } = multimodal;
    const tileLength = vision.numChannels * vision.imageSize ** 2;
    const numTiles = pixelValues.length / tileLength;
    const wanted = this.numTiles(tensors, multimodal);
    if (numTiles !== wanted) {
      throw new InputError(
        `pixel_values must hold ${wanted} × [${vision.numChannels}, ${vision.imageSize}, ${vision.imageSize}] numbers, got ${pixelValues.length}: prepare the picture with this checkpoint's processor.`,
      );
    }
    return this.layOut(tensors, multimodal);
  }

  /** First token of an option as an answer would begin. */
  firstTokenOf(option: string): number {
    const [first] = this.tokenizer.encode(option, { addSpecialTokens: false });
    if (first === undefined) throw new InputError("An option of confidence is empty: give words.");
    return first;
  }

  /** Turns generated ids into text as they come; without a tokenizer there is no text. */
  textStream(): { push(tokenId: number): string; flush(): string } {
    return this.tokenizerOrUndefined?.stream() ?? { push: () => "", flush: () => "" };
  }

  /** Text of generated ids without special tokens; empty without a tokenizer. */
  textOf(tokenIds: readonly number[]): string {
    return this.tokenizerOrUndefined?.decode(tokenIds) ?? "";
  }

  private numTiles(tensors: ProcessedTensors, multimodal: MultimodalConfig): number {
    const { imageGridPinpoints: gridPinpoints, vision } = multimodal;
    if (gridPinpoints === undefined) return 1;
    const { imageSize } = tensors;
    if (imageSize === undefined) {
      throw new InputError("image_sizes is missing: LLaVA-NeXT needs the original picture's [height, width].");
    }
    return anyresTileCount({ imageSize, gridPinpoints, tileSize: vision.imageSize });
  }

  private layOut(tensors: ProcessedTensors, multimodal: MultimodalConfig | undefined): ModelInputs {
    const { text } = this.config;
    const rows = multimodal === undefined ? new Int32Array(0) : imageRows(tensors, multimodal);
    const { inputIds, imageStart, imageEnd } = expandImageToken(tensors.inputIds, {
      // A text-only model has no image token: −1 is no id.
      imageTokenId: this.config.multimodal?.imageTokenId ?? -1,
      imageTokenCount: rows.length,
      contextLength: text.maxPositionEmbeddings,
      vocabSize: text.vocabSize,
    });
    const isGrid = multimodal !== undefined && multimodal.imageGridPinpoints === undefined;
    const side = isGrid ? Math.sqrt(multimodal.vision.numPatches) : 0;
    return {
      inputIds,
      imageSpan: [imageStart, imageEnd],
      pixelValues: tensors.pixelValues,
      imageRowIndex: rows,
      gridWidth: side,
      gridHeight: side,
    };
  }
}

function imageRows(tensors: ProcessedTensors, multimodal: MultimodalConfig): Int32Array<ArrayBuffer> {
  const { imageGridPinpoints: gridPinpoints, vision } = multimodal;
  if (gridPinpoints === undefined || tensors.imageSize === undefined) {
    return Int32Array.from({ length: numImageFeatures(multimodal) }, (_, row) => row);
  }
  const patchGrid = Math.sqrt(vision.numPatches);
  return anyresLayout({ imageSize: tensors.imageSize, gridPinpoints, tileSize: vision.imageSize, patchGrid });
}

function missingFile(file: string, consequence: string): CheckpointError {
  return new CheckpointError(`The checkpoint has no ${file}, so ${consequence}.`, { file });
}

/**
 * Loads the processor files that a checkpoint has; those it lacks are missed only when they are needed.
 * @throws CheckpointError when a file is there but cannot be used.
 */
export async function loadProcessor(checkpoint: Checkpoint, config: ModelConfig): Promise<Processor> {
  const tokenizerJson = await checkpoint.readJson("tokenizer.json");
  const tokenizerConfig = (await checkpoint.readJson("tokenizer_config.json")) ?? {};
  const tokenizer = tokenizerJson === undefined ? undefined : loadTokenizer(tokenizerJson, tokenizerConfig);
  const template = await loadChatTemplate(checkpoint, tokenizerConfig);
  return new Processor(config, {
    eosTokenIds: await readEosTokenIds(checkpoint),
    clip: config.multimodal && (await readClip(checkpoint, config.multimodal)),
    tokenizer,
    template,
  });
}

async function readClip(
  checkpoint: Checkpoint,
  multimodal: MultimodalConfig,
): Promise<ClipProcessorConfig | undefined> {
  const file = "preprocessor_config.json";
  const own = await checkpoint.readJson(file);
  const nested = own === undefined ? await checkpoint.readJson("processor_config.json") : undefined;
  const hasNested = typeof nested === "object" && nested !== null && "image_processor" in nested;
  if (own === undefined && !hasNested) return undefined;
  const clip = readClipProcessorConfig(own ?? nested, own === undefined ? "processor_config.json" : file);
  if (clip.imageSize !== multimodal.vision.imageSize) {
    throw new CheckpointError(
      `${file}: pictures come out ${clip.imageSize} pixels wide, but the vision tower of config.json takes ${multimodal.vision.imageSize}.`,
      { file },
    );
  }
  return clip;
}

async function readEosTokenIds(checkpoint: Checkpoint): Promise<readonly number[]> {
  const generation = asRecord(await checkpoint.readJson("generation_config.json"));
  const config = asRecord(checkpoint.config);
  const value = generation.eos_token_id ?? config.eos_token_id ?? asRecord(config.text_config).eos_token_id ?? [];
  const ids = Array.isArray(value) ? value : [value];
  if (!ids.every((id): id is number => Number.isInteger(id))) {
    throw new CheckpointError(
      `generation_config.json: eos_token_id must be a token id or a list of them, got ${JSON.stringify(value)}.`,
      { file: "generation_config.json" },
    );
  }
  return ids;
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : {}; // read key by key
}
