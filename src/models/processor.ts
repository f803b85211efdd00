// Question and pictures to the model's inputs, with the checkpoint's own tokenizer, chat template and image processor.
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { asRecord } from "../checkpoint/source.ts";
import { at, CheckpointError, InputError, shown } from "../errors.ts";
import {
  anything,
  checkedText,
  either,
  flag,
  floats,
  isTyped,
  listOf,
  objectOf,
  read,
  readOptions,
  required,
  rule,
  type Schema,
  text,
  whole,
} from "../options.ts";
import {
  type ChatMessage,
  type ChatTemplate,
  type ChatTemplateSource,
  loadChatTemplate,
  type RenderMessagesOptions,
  type RenderOptions,
} from "../preprocess/chat-template.ts";
import { checkedPicture, picture, type RgbImage } from "../preprocess/image.ts";
import type { ImageProcessorConfig } from "../preprocess/image-processor.ts";
import { readImageProcessorConfig } from "../preprocess/image-processors.ts";
import { expandImageTokens } from "../preprocess/prompt.ts";
import { needsOlderFiles, type TokenizerFiles } from "../preprocess/tokenizer/special-tokens.ts";
import { loadTokenizer, type Tokenizer } from "../preprocess/tokenizer/tokenizer.ts";
import type { Architecture, ImageSize, PictureLayout, PicturePositions } from "./architecture.ts";
import { noVisionTower } from "./config.ts";
import type { ImageInput, ModelInputs, PictureView } from "./inputs.ts";

/** Inputs as a Hugging Face processor makes them. */
export interface ProcessedTensors {
  /** [T], each image token once or already expanded */
  readonly inputIds: ArrayLike<number>;
  /** [N, C, S, S] f32: the tiles of all pictures, one picture after the other; undefined for text only */
  readonly pixelValues: Float32Array<ArrayBuffer> | undefined;
  /** [height, width] of each original picture; needed for LLaVA-NeXT */
  readonly imageSizes?: readonly ImageSize[] | undefined;
  /** [time, height, width] of each picture in patches; needed for Qwen2-VL, whose pixel values are [ΣP, 3·t·p²] */
  readonly imageGridThw?: readonly (readonly [time: number, height: number, width: number])[] | undefined;
}

/** A message whose image parts carry their pictures. */
export interface ConversationMessage {
  readonly role: ChatMessage["role"];
  readonly content: string | readonly (TextPart | PicturePart)[];
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

/** A conversation as a prompt, and its pictures in the order of their `<image>`. */
export interface Conversation {
  readonly prompt: string;
  readonly images: readonly RgbImage[];
}

/** The part of an {@link Architecture} that inputs depend on. */
type InputArchitecture = Pick<Architecture, "config" | "pictures">;

const PICTURES = listOf(picture, "a list of pictures, as decodeImage returns them");
const RENDER: Schema<RenderOptions> = { hasImage: flag, numImages: whole(0, 2 ** 16), system: text };
const RENDER_MESSAGES: Schema<RenderMessagesOptions> = { addGenerationPrompt: flag };

const idList = listOf(whole(0), "a list of token ids");
const ids = rule("a list of token ids", (value) =>
  ["Int32Array", "Uint32Array", "Uint16Array"].some((kind) => isTyped(value, kind)),
);

const TENSORS = objectOf<ProcessedTensors>("tensors of a Hugging Face processor", {
  inputIds: required({
    expected: "a list of token ids",
    read: (value, name) => (ArrayBuffer.isView(value) ? ids : idList).read(value, name),
  }),
  pixelValues: floats,
  imageSizes: listOf(listOf(whole(1, 2 ** 20), "[height, width]", 2), "a list of [height, width]"),
  imageGridThw: listOf(listOf(whole(1, 2 ** 16), "[time, height, width]", 3), "a list of [time, height, width]"),
});

/** Messages of an untyped caller, copied; what they must hold is checked with the template. */
const MESSAGES = listOf(
  objectOf<ConversationMessage>("an object with role and content", {
    role: anything,
    content: either(
      (value) => !Array.isArray(value),
      anything,
      listOf(objectOf("a part", { type: anything, text: anything, image: picture }), "a list of parts"),
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
  private readonly architecture: InputArchitecture;
  private readonly tokenizerOrUndefined: Tokenizer | undefined;
  private readonly template: ChatTemplate | undefined;

  constructor(
    architecture: InputArchitecture,
    parts: {
      readonly eosTokenIds: readonly number[];
      readonly imageProcessor: ImageProcessorConfig | undefined;
      readonly tokenizer: Tokenizer | undefined;
      readonly template: ChatTemplate | undefined;
    },
  ) {
    this.architecture = architecture;
    this.eosTokenIds = parts.eosTokenIds;
    this.imageProcessor = parts.imageProcessor;
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
    const images = asked.flatMap(({ content }) =>
      typeof content === "string" ? [] : content.flatMap((part) => (part.type === "image" ? [part.image] : [])),
    );
    return { prompt, images };
  }

  /**
   * Inputs for a whole prompt and its pictures, in the order of their `<image>`.
   * @throws InputError for no RGB picture, an empty or too long prompt, or one without one `<image>` for each picture;
   * CheckpointError when the model takes no pictures or their settings are missing.
   */
  inputs(prompt: string, images: readonly RgbImage[]): ModelInputs {
    const pictures = read("images", images, PICTURES) as readonly RgbImage[]; // checked by the rule
    return this.checkedInputs(checkedText("prompt", prompt), pictures);
  }

  private checkedInputs(prompt: string, images: readonly RgbImage[]): ModelInputs {
    if (prompt.trim() === "") throw new InputError("The prompt is empty: give at least one word.");
    const { tokenizer } = this;
    if (images.length === 0) return this.layOut(tokenizer.encodePrompt(prompt), []);
    const layout = this.pictures();
    const { imageProcessor } = this;
    if (imageProcessor === undefined) throw missingFile("preprocessor_config.json", "pictures cannot be prepared");
    const context = { processor: imageProcessor, numPictures: images.length };
    const pictures = images.map((image): Picture => {
      const imageSize: ImageSize = [image.height, image.width];
      const pixelValues = layout.pixelValues(image, context);
      const positions = layout.positions(imageSize, context);
      const part = positions.grid && layout.part?.(imageSize, imageProcessor);
      return { pixelValues, positions, view: part && { imageSize, part } };
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
    return this.layOut(tokenizer.encodePrompt(expanded), pictures);
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
    const given = read("tensors", tensors, TENSORS) as ProcessedTensors; // checked by the rule
    const { inputIds, pixelValues, imageGridThw } = given;
    if (pixelValues === undefined) return this.layOut(inputIds, []);
    const layout = this.pictures();
    const imageSizes = given.imageSizes ?? (imageGridThw && this.gridSizes(imageGridThw));
    const tileLength = layout.tileShape.reduce((product, size) => product * size, 1);
    const context = {
      ...(this.imageProcessor && imageGridThw === undefined && { processor: this.imageProcessor }),
      ...(imageSizes && { numPictures: imageSizes.length }),
    };
    const pictures: Picture[] = [];
    let at = 0;
    // Without sizes there are as many pictures as the values are long for.
    while (imageSizes === undefined ? at < pixelValues.length || at === 0 : pictures.length < imageSizes.length) {
      const positions = layout.positions(imageSizes?.[pictures.length], context);
      const length = positions.numTiles * tileLength;
      pictures.push({ positions, pixelValues: pixelValues.subarray(at, at + length), view: undefined });
      at += length;
    }
    if (at !== pixelValues.length) {
      throw new InputError(
        `pixel_values must hold ${at / tileLength} × [${layout.tileShape.join(", ")}] numbers, got ${pixelValues.length}: prepare the picture with this checkpoint's processor.`,
      );
    }
    return this.layOut(inputIds, pictures);
  }

  /** Sizes in pixels of pictures whose patches are given. */
  private gridSizes(grids: NonNullable<ProcessedTensors["imageGridThw"]>): readonly ImageSize[] {
    const { patchSize = 1 } = this.architecture.config.multimodal?.vision ?? {};
    return grids.map(([time, height, width]) => {
      if (time === 1) return [height * patchSize, width * patchSize];
      throw new InputError(`imageGridThw: expected pictures of one frame, got ${time}: videos are not supported.`);
    });
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

  private layOut(ids: ArrayLike<number>, pictures: readonly Picture[]): ModelInputs {
    const { text } = this.architecture.config;
    const layout = this.architecture.pictures;
    const { videoTokenId } = layout ?? {};
    if (videoTokenId !== undefined && Array.from(ids).includes(videoTokenId)) {
      throw new InputError(
        `The prompt has a video token (id ${videoTokenId}), but videos are not supported: give single frames as pictures.`,
      );
    }
    layout?.checkTokens?.(ids);
    const { inputIds, runs } = expandImageTokens(ids, {
      imageTokenId: layout?.imageTokenId,
      pictures: pictures.map(({ positions }) => positions.runLengths),
      contextLength: text.maxPositionEmbeddings,
      vocabSize: text.vocabSize,
    });
    const images = pictures.map(({ pixelValues, positions, view }, index): ImageInput => {
      const { rowIndex, featureGrids, grid, tiles } = positions;
      const optional = { ...(featureGrids && { featureGrids }), ...(tiles && { tiles }), ...(view && { view }) };
      return { pixelValues, runs: at(runs, index), rowIndex, grid, ...optional };
    });
    const placed = images.length > 0 ? layout?.ropePositions?.(inputIds.length, images) : undefined;
    return { inputIds, images, ...(placed && { positions: placed }) };
  }
}

/** A prepared picture. */
interface Picture {
  readonly pixelValues: Float32Array<ArrayBuffer>;
  readonly positions: PicturePositions;
  readonly view: PictureView | undefined;
}

/**
 * Puts the text that a family writes for its pictures in the place of their image tokens, before the prompt is encoded; pictures
 * without such a text keep the token.
 */
export function expandText(
  prompt: string,
  { imageToken, texts }: { readonly imageToken: string; readonly texts: readonly (string | undefined)[] },
): string {
  return prompt
    .split(imageToken)
    .map((part, index) => (index === 0 ? part : `${texts[index - 1] ?? imageToken}${part}`))
    .join("");
}

function missingFile(file: string, consequence: string): CheckpointError {
  return new CheckpointError(`The checkpoint has no ${file}, so ${consequence}.`, { file });
}

/**
 * Loads the processor files that a checkpoint has; those it lacks are missed only when they are needed.
 * @param settings replace the checkpoint's own
 * @throws CheckpointError when a file is there but cannot be used.
 */
export async function loadProcessor(
  checkpoint: Checkpoint,
  architecture: InputArchitecture,
  settings: ProcessorSettings = {},
): Promise<Processor> {
  const tokenizerJson = await checkpoint.readJson("tokenizer.json");
  const tokenizer =
    tokenizerJson === undefined ? undefined : loadTokenizer(tokenizerJson, await tokenizerFiles(checkpoint));
  const template = await loadChatTemplate(checkpoint, settings.chatTemplate, imageTokenText(architecture, tokenizer));
  const { pictures } = architecture;
  return new Processor(architecture, {
    eosTokenIds: await readEosTokenIds(checkpoint),
    imageProcessor: withSplitting(pictures && (await readImageProcessor(checkpoint, pictures)), settings),
    tokenizer,
    template,
  });
}

/** How the image token is written; undefined where the model or the tokenizer has none. */
function imageTokenText({ pictures }: InputArchitecture, tokenizer: Tokenizer | undefined): string | undefined {
  const text = pictures && tokenizer?.decode([pictures.imageTokenId], { skipSpecialTokens: false });
  return text === "" ? undefined : text;
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

/** @throws CheckpointError when its pictures do not fit the vision tower. */
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
  if (layout.checkProcessor !== undefined) {
    layout.checkProcessor(processor, file);
    return processor;
  }
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
