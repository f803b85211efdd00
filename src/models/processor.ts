// Question and pictures to the model's inputs, with the checkpoint's own tokenizer, chat template and image processor.
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { asRecord } from "../checkpoint/source.ts";
import { CheckpointError, InputError, shown } from "../errors.ts";
import {
  anything,
  checkedText,
  either,
  flag,
  listOf,
  objectOf,
  read,
  readOptions,
  type Schema,
  text,
  whole,
} from "../options.ts";
import {
  type ChatMessage,
  type ChatTemplate,
  type ChatTemplateSource,
  loadChatTemplate,
  type PlaceTokens,
  type RenderMessagesOptions,
  type RenderOptions,
} from "../preprocess/chat-template.ts";
import { checkedPicture, picture, pictureList, type RgbImage, videoFrames } from "../preprocess/image.ts";
import type { ImageProcessorConfig } from "../preprocess/image-processor.ts";
import { readImageProcessorConfig } from "../preprocess/image-processors.ts";
import { expandImageTokens, tokenRuns } from "../preprocess/prompt.ts";
import { needsOlderFiles, type TokenizerFiles } from "../preprocess/tokenizer/special-tokens.ts";
import { loadTokenizer, type Tokenizer } from "../preprocess/tokenizer/tokenizer.ts";
import type { Architecture, FrameLayout, ImageSize, PictureLayout } from "./architecture.ts";
import { noVisionTower } from "./config.ts";
import type { ModelInputs } from "./inputs.ts";
import { expandText, type Picture, placedPictures } from "./placed-pictures.ts";
import { checkedTensors, type ProcessedTensors, tensorPictures, tensorVideos } from "./processed-tensors.ts";

/** A message whose image parts carry their pictures. */
export interface ConversationMessage {
  readonly role: ChatMessage["role"];
  readonly content: string | readonly (TextPart | PicturePart | VideoPart)[];
}

/** Words of a message. */
export interface TextPart {
  readonly type: "text";
  readonly text: string;
}

/** A picture of a message. */
export interface PicturePart {
  readonly type: "image";
  readonly image: RgbImage;
}

/** A video of a message, for families that take videos: LLaVA-OneVision. */
export interface VideoPart {
  readonly type: "video";
  /** Its frames in order, chosen by the caller. */
  readonly frames: Video;
}

/** The frames of a video, in order. */
export type Video = readonly RgbImage[];

/** A conversation as a prompt, its pictures in the order of their `<image>`, and its videos in that of their `<video>`. */
export interface Conversation {
  readonly prompt: string;
  readonly images: readonly RgbImage[];
  readonly videos: readonly Video[];
}

/** The part of an {@link Architecture} that inputs depend on. */
type InputArchitecture = Pick<Architecture, "config" | "pictures">;

const VIDEOS = listOf(videoFrames, "a list of videos, each the list of its frames");
const RENDER: Schema<RenderOptions> = {
  hasImage: flag,
  numImages: whole(0, 2 ** 16),
  numVideos: whole(0, 2 ** 16),
  system: text,
};
const RENDER_MESSAGES: Schema<RenderMessagesOptions> = { addGenerationPrompt: flag };

/** Messages of an untyped caller, copied; what they must hold is checked with the template. */
const MESSAGES = listOf(
  objectOf<ConversationMessage>("an object with role and content", {
    role: anything,
    content: either(
      (value) => !Array.isArray(value),
      anything,
      listOf(
        objectOf("a part", { type: anything, text: anything, image: picture, frames: videoFrames }),
        "a list of parts",
      ),
    ),
  }),
  "a list of messages",
);

/** Messages as a copy that shares their pictures' bytes. @throws InputError for what is not a list of objects. */
export function checkedMessages(messages: readonly ConversationMessage[]): readonly ConversationMessage[] {
  return read("messages", messages, MESSAGES) as readonly ConversationMessage[]; // the template checks roles and parts
}

/** A checkpoint's tokenizer, chat template and picture preprocessing. */
export class Processor {
  /** Ids that end an answer: generation_config.json's, else config.json's. */
  readonly eosTokenIds: readonly number[];
  /** How pictures are prepared; undefined where the checkpoint has no preprocessor_config.json. */
  readonly imageProcessor: ImageProcessorConfig | undefined;
  /** How frames of videos are prepared; undefined where the family takes none. */
  readonly videoProcessor: ImageProcessorConfig | undefined;
  private readonly architecture: InputArchitecture;
  private readonly tokenizerOrUndefined: Tokenizer | undefined;
  private readonly template: ChatTemplate | undefined;

  constructor(
    architecture: InputArchitecture,
    parts: {
      readonly eosTokenIds: readonly number[];
      readonly imageProcessor: ImageProcessorConfig | undefined;
      readonly videoProcessor?: ImageProcessorConfig | undefined;
      readonly tokenizer: Tokenizer | undefined;
      readonly template: ChatTemplate | undefined;
    },
  ) {
    this.architecture = architecture;
    this.eosTokenIds = parts.eosTokenIds;
    this.imageProcessor = parts.imageProcessor;
    this.videoProcessor = parts.videoProcessor;
    this.tokenizerOrUndefined = parts.tokenizer;
    this.template = parts.template;
  }

  /** @throws CheckpointError when the checkpoint has no tokenizer.json. */
  get tokenizer(): Tokenizer {
    if (this.tokenizerOrUndefined === undefined) throw missingFile("tokenizer.json", "text cannot be encoded");
    return this.tokenizerOrUndefined;
  }

  /** Whether the checkpoint has a tokenizer.json. */
  get hasTokenizer(): boolean {
    return this.tokenizerOrUndefined !== undefined;
  }

  /** Puts a question into the checkpoint's chat template. @throws CheckpointError when there is none or it fails. */
  chatPrompt(text: string, options: RenderOptions = {}): string {
    const asked = readOptions("a chat prompt", options, RENDER);
    return this.requireTemplate().render(checkedText("text", text), asked);
  }

  /**
   * Puts a conversation into the checkpoint's chat template. What it returns {@link inputs} takes.
   * @throws CheckpointError when there is no template or it fails; InputError for messages that the template does not take.
   */
  conversation(messages: readonly ConversationMessage[], options: RenderMessagesOptions = {}): Conversation {
    const asked = checkedMessages(messages);
    const rendered = readOptions("a conversation", options, RENDER_MESSAGES);
    const prompt = this.requireTemplate().renderMessages(asked, rendered);
    const parts = asked.flatMap(({ content }) => (typeof content === "string" ? [] : content));
    return {
      prompt,
      images: parts.flatMap((part) => (part.type === "image" ? [part.image] : [])),
      videos: parts.flatMap((part) => (part.type === "video" ? [part.frames] : [])),
    };
  }

  /**
   * Inputs for a whole prompt with its pictures, in the order of their `<image>`, and videos, in that of their `<video>`. Every frame
   * of a video is a picture of the inputs.
   * @throws InputError for no RGB picture, an empty or too long prompt, one without one `<image>` for each picture and one `<video>`
   * for each video, or videos that the model does not take; CheckpointError when it takes no pictures or their settings are missing.
   */
  inputs(prompt: string, images: readonly RgbImage[], videos: readonly Video[] = []): ModelInputs {
    const pictures = read("images", images, pictureList) as readonly RgbImage[]; // checked by the rule
    const frames = read("videos", videos, VIDEOS) as readonly Video[];
    return this.checkedInputs(checkedText("prompt", prompt), pictures, frames);
  }

  private checkedInputs(prompt: string, images: readonly RgbImage[], videos: readonly Video[]): ModelInputs {
    if (prompt.trim() === "") throw new InputError("The prompt is empty: give at least one word.");
    const { tokenizer } = this;
    if (images.length + videos.length === 0) return this.layOut(tokenizer.encodePrompt(prompt), []);
    const layout = this.pictures();
    const frames = this.preparedFrames(videos);
    const { imageProcessor } = this;
    if (imageProcessor === undefined) throw missingFile("preprocessor_config.json", "pictures cannot be prepared");
    const context = { processor: imageProcessor, numPictures: images.length };
    const pictures = images.map((image): Picture => {
      const imageSize: ImageSize = [image.height, image.width];
      const pixelValues = layout.pixelValues(image, context);
      const positions = layout.positions(imageSize, context);
      const part = positions.grid && layout.part?.(imageSize, imageProcessor);
      return { pixelValues, positions, ...(part && { view: { imageSize, part } }) };
    });
    const imageToken = tokenizer.decode([layout.imageTokenId], { skipSpecialTokens: false });
    const { placeTokens } = layout;
    // Prompts may always say <image>, whatever a family writes for a picture.
    const place = placeTokens && tokenizer.decode(placeTokens, { skipSpecialTokens: false });
    const written = place === undefined || prompt.includes(imageToken) ? prompt : prompt.replaceAll("<image>", place);
    const expanded = expandText(written, {
      imageToken,
      texts: pictures.map(({ positions }) => positions.text),
    });
    return this.layOut(tokenizer.encodePrompt(expanded), pictures, frames);
  }

  private preparedFrames(videos: readonly Video[]): readonly (readonly Picture[])[] {
    const { videoProcessor } = this;
    if (videos.length === 0) return [];
    const frames = this.frames();
    if (videoProcessor === undefined) throw missingFile("preprocessor_config.json", "videos cannot be prepared");
    return videos.map((video) =>
      video.map((frame, index) => ({
        pixelValues: frames.pixelValues(frame, videoProcessor),
        positions: frames.positions([frame.height, frame.width], { isLast: index === video.length - 1 }),
      })),
    );
  }

  /**
   * A picture as the model sees it: resized, and cropped or padded; undefined where pictures cannot be prepared. Attention maps are
   * drawn over the original picture instead.
   * @throws InputError when a step would exceed the pixel limit.
   */
  seen(image: RgbImage): RgbImage | undefined {
    return this.imageProcessor && this.architecture.pictures?.seen(checkedPicture(image), this.imageProcessor);
  }

  /** Checks tensors of a Hugging Face processor and lays the pictures out. @throws InputError when they do not fit. */
  fromTensors(tensors: ProcessedTensors): ModelInputs {
    const given = checkedTensors(tensors);
    const { inputIds, pixelValues, pixelValuesVideos } = given;
    if (pixelValues === undefined && pixelValuesVideos === undefined) return this.layOut(inputIds, []);
    const layout = this.pictures();
    const { imageProcessor } = this;
    const { config } = this.architecture;
    const pictures = tensorPictures(given, { layout, config, imageProcessor });
    return this.layOut(
      inputIds,
      pictures,
      pixelValuesVideos === undefined ? [] : tensorVideos(given, layout, this.frames()),
    );
  }

  /** Ids of a text that follows a prompt, such as " Left": those that it has after a colon, which prompts tend to end in. */
  continuationTokens(text: string): readonly number[] {
    checkedText("text", text);
    const encode = (whole: string) => this.tokenizer.encode(whole, { addSpecialTokens: false });
    const before = encode(":");
    const ids = encode(`:${text}`);
    // A token across the border: the text alone then.
    return before.every((id, index) => ids[index] === id) ? ids.slice(before.length) : encode(text);
  }

  /** First token of an option as an answer would begin. */
  firstTokenOf(option: string): number {
    checkedText("option", option);
    const [first] = this.tokenizer.encode(option, { addSpecialTokens: false });
    if (first === undefined) throw new InputError("An option of confidence is empty: give words.");
    return first;
  }

  /** Turns generated ids into text as they come; empty without a tokenizer. */
  textStream(): { push(tokenId: number): string; flush(): string } {
    return this.tokenizerOrUndefined?.stream() ?? { push: () => "", flush: () => "" };
  }

  /** Text of generated ids without special tokens; empty without a tokenizer. */
  textOf(tokenIds: readonly number[]): string {
    return this.tokenizerOrUndefined?.decode(tokenIds) ?? "";
  }

  private requireTemplate(): ChatTemplate {
    if (this.template === undefined) {
      throw missingFile(
        "chat_template.jinja",
        "a question cannot be put into words for this model; give a whole prompt or a chat template",
      );
    }
    return this.template;
  }

  /** @throws CheckpointError when the model takes no pictures. */
  private pictures(): PictureLayout {
    const { config, pictures } = this.architecture;
    if (pictures === undefined) throw noVisionTower(config);
    return pictures;
  }

  /** @throws InputError when the model takes no videos. */
  private frames(): FrameLayout {
    const { frames } = this.pictures();
    if (frames !== undefined) return frames;
    const { modelType } = this.architecture.config;
    throw new InputError(`Videos are not supported for model_type ${modelType}: ${SINGLE_FRAMES}.`);
  }

  private layOut(
    ids: ArrayLike<number>,
    pictures: readonly Picture[],
    videos: readonly (readonly Picture[])[] = [],
  ): ModelInputs {
    const { text } = this.architecture.config;
    const layout = this.architecture.pictures;
    const limits = { contextLength: text.maxPositionEmbeddings, vocabSize: text.vocabSize };
    layout?.checkTokens?.(ids);
    const pictureRuns = {
      tokenId: layout?.imageTokenId,
      pictures: pictures.map(({ positions }) => positions.runLengths),
    };
    const frames = videos.flatMap((video, index) => video.map((frame) => ({ ...frame, video: index })));
    const frameRuns = {
      tokenId: layout?.videoTokenId,
      pictures: frames.map(({ positions }) => positions.runLengths),
    };
    let inputIds = expandImageTokens(ids, { ...pictureRuns, ...limits });
    if (videos.length > 0 || inputIds.includes(frameRuns.tokenId ?? -1)) {
      if (layout?.frames === undefined) {
        throw new InputError(
          `The prompt has a video token (id ${frameRuns.tokenId}), but videos are not supported: ${SINGLE_FRAMES}.`,
        );
      }
      const lengths = videos.map((video) => [video.reduce((sum, { positions }) => sum + positions.rowIndex.length, 0)]);
      const { contextLength } = limits; // ids are checked
      inputIds = expandImageTokens(inputIds, { ...frameRuns, kind: "video", pictures: lengths, contextLength });
    }
    const images = placedPictures([
      { pictures, runs: tokenRuns(inputIds, pictureRuns) },
      { pictures: frames, runs: tokenRuns(inputIds, frameRuns) },
    ]);
    const positions = images.length > 0 ? layout?.ropePositions?.(inputIds.length, images) : undefined;
    return { inputIds, images, ...(positions && { positions }) };
  }
}

const SINGLE_FRAMES = "give single frames as pictures";

function missingFile(file: string, consequence: string): CheckpointError {
  return new CheckpointError(`The checkpoint has no ${file}, so ${consequence}.`, { file });
}

/**
 * Loads the processor files that a checkpoint has; those it lacks are missed only when they are needed.
 * @param settings replace the checkpoint's own
 * @throws CheckpointError when a file is there but cannot be used; InputError for a setting that the checkpoint does not support.
 */
export async function loadProcessor(
  checkpoint: Checkpoint,
  architecture: InputArchitecture,
  settings: ProcessorSettings = {},
): Promise<Processor> {
  const tokenizerJson = await checkpoint.readJson("tokenizer.json");
  const tokenizer =
    tokenizerJson === undefined ? undefined : loadTokenizer(tokenizerJson, await tokenizerFiles(checkpoint));
  const template = await loadChatTemplate(checkpoint, settings.chatTemplate, placeTokens(architecture, tokenizer));
  const { pictures } = architecture;
  const imageProcessor = withSplitting(pictures && (await readImageProcessor(checkpoint, pictures)), settings);
  return new Processor(architecture, {
    eosTokenIds: await readEosTokenIds(checkpoint),
    imageProcessor,
    videoProcessor: pictures?.frames && ((await readVideoProcessor(checkpoint, pictures)) ?? imageProcessor),
    tokenizer,
    template,
  });
}

/** How the image and video tokens are written, where the model and the tokenizer have them. */
function placeTokens({ pictures }: InputArchitecture, tokenizer: Tokenizer | undefined): PlaceTokens {
  const written = (id: number | undefined) =>
    (id !== undefined && tokenizer?.decode([id], { skipSpecialTokens: false })) || undefined;
  return { imageToken: written(pictures?.imageTokenId), videoToken: written(pictures?.videoTokenId) };
}

/** Settings that replace those of a checkpoint's files. */
export interface ProcessorSettings {
  readonly chatTemplate?: ChatTemplateSource | undefined;
  /** Whether pictures are cut into tiles. */
  readonly imageSplitting?: boolean | undefined;
}

/** @throws InputError for a processor that has no such setting. */
function withSplitting(
  processor: ImageProcessorConfig | undefined,
  { imageSplitting: splits }: ProcessorSettings,
): ImageProcessorConfig | undefined {
  if (splits === undefined) return processor;
  if (processor?.tiling !== undefined) return { ...processor, tiling: { ...processor.tiling, splits } };
  throw new InputError(
    "imageSplitting (--no-image-splitting) is a setting of Idefics3 and SmolVLM, which this checkpoint does not have: omit it.",
  );
}

async function tokenizerFiles(checkpoint: Checkpoint): Promise<TokenizerFiles> {
  const config = await checkpoint.readJson("tokenizer_config.json");
  if (!needsOlderFiles(config)) return { config };
  const [specialTokensMap, addedTokens] = ["special_tokens_map.json", "added_tokens.json"];
  return {
    config,
    specialTokensMap: await checkpoint.readJson(specialTokensMap),
    addedTokens: await checkpoint.readJson(addedTokens),
  };
}

async function readImageProcessor(
  checkpoint: Checkpoint,
  pictures: PictureLayout,
): Promise<ImageProcessorConfig | undefined> {
  const [ownFile, outerFile] = ["preprocessor_config.json", "processor_config.json"];
  const outer = await checkpoint.readJson(outerFile);
  if ("image_processor" in asRecord(outer)) return imageProcessorFor(pictures, outer, outerFile);
  const own = await checkpoint.readJson(ownFile);
  return own === undefined ? undefined : imageProcessorFor(pictures, own, ownFile);
}

/** The settings for frames of videos, where they have a file of their own. */
async function readVideoProcessor(
  checkpoint: Checkpoint,
  pictures: PictureLayout,
): Promise<ImageProcessorConfig | undefined> {
  const [ownFile, outerFile] = ["video_preprocessor_config.json", "processor_config.json"];
  const { video_processor: nested } = asRecord(await checkpoint.readJson(outerFile));
  const json = nested ?? (await checkpoint.readJson(ownFile));
  if (json === undefined) return undefined;
  const { video_processor_type, ...values } = asRecord(json);
  const type = video_processor_type ?? values.image_processor_type; // as older files name it
  const imageType = typeof type === "string" ? type.replace("VideoProcessor", "ImageProcessor") : type;
  const asImages = { ...values, ...(imageType !== undefined && { image_processor_type: imageType }) };
  return imageProcessorFor(pictures, asImages, nested === undefined ? ownFile : outerFile);
}

/** @throws CheckpointError if its pictures do not fit the vision tower; InputError if a setting of the load does not fit it. */
function imageProcessorFor(layout: PictureLayout, json: unknown, file: string): ImageProcessorConfig {
  const processor = readImageProcessorConfig(json, file);
  const { isTiledByProcessor = false } = layout;
  if ((processor.tiling !== undefined) !== isTiledByProcessor) {
    const kinds = ["another image processor", "Idefics3's or SmolVLM's image processor"];
    const [expected, got] = isTiledByProcessor ? kinds.reverse() : kinds;
    throw new CheckpointError(
      `${file}: the model of config.json prepares its pictures with ${expected}, but these are the settings of ${got}.`,
      { file },
    );
  }
  if (layout.resolveProcessor !== undefined) return layout.resolveProcessor(processor, file);
  const [, side] = layout.tileShape;
  if (processor.imageSize !== side) {
    throw new CheckpointError(
      `${file}: pictures come out ${processor.imageSize} pixels wide, but the vision tower of config.json takes ${side}.`,
      { file },
    );
  }
  return processor;
}

async function readEosTokenIds(checkpoint: Checkpoint): Promise<readonly number[]> {
  const generation = asRecord(await checkpoint.readJson("generation_config.json"));
  const config = asRecord(checkpoint.config);
  const own = generation.eos_token_id ?? undefined;
  const value = own ?? config.eos_token_id ?? asRecord(config.text_config).eos_token_id ?? [];
  const ids = Array.isArray(value) ? value : [value];
  if (!ids.every((id): id is number => Number.isInteger(id))) {
    const file = own === undefined ? "config.json" : "generation_config.json";
    throw new CheckpointError(`${file}: eos_token_id must be a token id or a list of them, got ${shown(value)}.`, {
      file,
    });
  }
  return ids;
}
