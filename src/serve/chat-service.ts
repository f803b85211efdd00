// Answers a server's requests with one model. Each request runs in a session of its own; the sessions decode together in one batch.
import type { Answer, AnswerOptions } from "../answer.ts";
import { at } from "../errors.ts";
import type { GeneratedToken } from "../generate/generate.ts";
import { type AttentionMap, attentionMap } from "../inspect/attention-map.ts";
import type { PlaceRead, PlaceValues } from "../inspect/places.ts";
import { TokenTexts } from "../inspect/token-texts.ts";
import type { Llava } from "../llava.ts";
import type { ModelInputs } from "../models/inputs.ts";
import { keyValueBytes } from "../models/layers/decoder-state.ts";
import type { RgbImage } from "../preprocess/image.ts";
import { ApiError } from "./api-error.ts";
import type { AskedChat } from "./chat-request.ts";
import { type ChatAnswer, checkMapSize, mapJson, perLayer, type TokenText } from "./chat-response.ts";
import type { Extension, ExtensionAnswer } from "./protocol.ts";

/** The parts of a service that a host gives. */
export interface ServiceParts {
  readonly model: Llava;
  /** GPU memory that the engine may use; unlimited unless given. */
  readonly memoryBytes?: number | undefined;
  /** Draws attention over a picture as a PNG; without it, heat maps are refused. */
  readonly drawHeatMap?: ((picture: RgbImage, map: AttentionMap) => Promise<Uint8Array>) | undefined;
}

/** How an answer is followed. */
interface Following {
  readonly signal: AbortSignal;
  readonly onToken: (token: GeneratedToken) => void;
}

/** Answers chats. */
export class ChatService {
  private readonly parts: ServiceParts;
  private readonly texts: TokenTexts;

  constructor(parts: ServiceParts) {
    this.parts = parts;
    this.texts = new TokenTexts(parts.model.processor.tokenizer);
  }

  /** Bytes of the engine's buffers on the GPU. */
  get gpuBytes(): number {
    return this.parts.model.gpu.allocatedBytes;
  }

  /** The text of a token, special ones included. */
  readonly textOf: TokenText = (tokenId) => this.texts.of(tokenId);

  /**
   * Answers.
   * @throws InputError for messages or settings that cannot be; ApiError when keys and values do not fit the memory; AbortError;
   *   GpuError.
   */
  async answer(asked: AskedChat, { signal, onToken }: Following): Promise<ChatAnswer> {
    const { model } = this.parts;
    const { processor } = model;
    const { prompt, images } = processor.conversation(asked.messages);
    const inputs = processor.inputs(prompt, images);
    this.checkPicture(asked.extension, images.length);
    this.checkRoom(inputs, asked.options);
    const reads = attentionReads(asked.extension?.attention, model, inputs);
    const session = model.session({ batched: true, memoryBytes: this.parts.memoryBytes });
    try {
      const stream = session.answer(inputs, { ...asked.options, read: reads, signal });
      for await (const token of stream) onToken(token);
      const answer = await stream.answer;
      const numImageTokens = inputs.images
        .flatMap(({ runs }) => runs)
        .reduce((sum, [start, end]) => sum + end - start, 0);
      const made = { asked, answer, inputs, picture: images[0] };
      return { answer, numImageTokens, extension: asked.extension && (await this.extensionOf(asked.extension, made)) };
    } finally {
      session.close();
    }
  }

  /** Refuses, before any work, what could not be answered. */
  private checkPicture(wanted: Extension | undefined, numPictures: number): void {
    const refuse = (member: string, why: string) => {
      throw new ApiError(400, `adaptvis.${member}: ${why}.`, { param: "adaptvis" });
    };
    const { attention, heatmap } = wanted ?? {};
    if (attention !== undefined && numPictures === 0) refuse("attention", "there is no picture");
    if (heatmap !== true) return;
    if (numPictures === 0) refuse("heatmap", "there is no picture");
    if (this.parts.drawHeatMap === undefined) refuse("heatmap", "this server draws no pictures");
  }

  /** Frees what is kept for later questions before a request is sent away for want of memory. */
  private checkRoom({ inputIds }: ModelInputs, { maxNewTokens = 0 }: AnswerOptions): void {
    const { model, memoryBytes = Number.POSITIVE_INFINITY } = this.parts;
    const capacity = inputIds.length + maxNewTokens;
    const numBytes = keyValueBytes(model.config.text, { capacity, dtype: model.kvDtype });
    if (this.gpuBytes + numBytes <= memoryBytes) return;
    model.clearCaches();
    if (this.gpuBytes + numBytes <= memoryBytes) return;
    throw new ApiError(
      503,
      `Keys and values of ${capacity} positions take ${numBytes} bytes, but only ${Math.max(0, memoryBytes - this.gpuBytes)} are free; try again later, or with a shorter prompt or fewer max_tokens.`,
      { code: "out_of_memory", retryAfter: 1 },
    );
  }

  private async extensionOf(
    wanted: Extension,
    made: {
      readonly asked: AskedChat;
      readonly answer: Answer;
      readonly inputs: ModelInputs;
      readonly picture: RgbImage | undefined;
    },
  ): Promise<ExtensionAnswer> {
    const { answer, asked, inputs, picture } = made;
    const { method, settings, confidence, factor, attention } = answer;
    const used = attention === undefined ? undefined : perLayer(attention, "used");
    return {
      intervention: method,
      settings,
      confidence,
      factor,
      seed: asked.seed,
      image_share: used?.image_share ?? null,
      entropy: used?.entropy ?? null,
      unmodified: attention === undefined ? null : perLayer(attention, "unmodified"),
      heatmap: wanted.heatmap === true ? await this.heatMap(answer, picture) : null,
      attention: wanted.attention === undefined ? null : this.maps(wanted.attention, answer.reads, inputs),
    };
  }

  private async heatMap({ attention }: Answer, picture: RgbImage | undefined): Promise<string | null> {
    const { drawHeatMap } = this.parts;
    if (picture === undefined || attention === undefined || drawHeatMap === undefined) return null; // refused before
    const bytes = await drawHeatMap(picture, attention.used());
    return `data:image/png;base64,${base64(bytes)}`;
  }

  private maps(
    wanted: NonNullable<Extension["attention"]>,
    reads: readonly PlaceValues[],
    { images, inputIds }: ModelInputs,
  ): NonNullable<ExtensionAnswer["attention"]> {
    const [image] = images;
    if (image === undefined) return []; // refused before
    const { numAttentionHeads } = this.parts.model.config.text;
    const heads = wanted.heads ?? Array.from({ length: numAttentionHeads }, (_, head) => head);
    return reads.flatMap(({ place, positions = [], shape, data }) => {
      const layer = Number(place.split(".")[1]);
      const rowLength = at(shape, 1) * at(shape, 2);
      return positions.flatMap((position, row) => {
        const probs = data.slice(row * rowLength, (row + 1) * rowLength);
        const token = position - inputIds.length + 1;
        return heads.map((head) => {
          const selection = { layer, head };
          return mapJson(token, attentionMap([{ layer, probs }], image, { numHeads: numAttentionHeads, selection }));
        });
      });
    });
  }
}

/** The attention of the rows that chose the wanted tokens. */
function attentionReads(
  wanted: Extension["attention"],
  { config }: Llava,
  { inputIds, images }: ModelInputs,
): readonly PlaceRead[] {
  if (wanted === undefined) return [];
  const { numHiddenLayers, numAttentionHeads } = config.text;
  const { layers = [Math.floor(numHiddenLayers / 2)], heads, tokens = [0] } = wanted;
  checkMapSize(layers.length * tokens.length * (heads?.length ?? numAttentionHeads), images[0]?.rowIndex.length ?? 0);
  const positions = tokens.map((token) => inputIds.length - 1 + token);
  return layers.map((layer) => ({ place: `layers.${layer}.attention_probs`, positions }));
}

function base64(bytes: Uint8Array): string {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}
