// From the engine's answer to the bodies and events of the protocol.
import type { Answer } from "../answer.ts";
import { InputError } from "../errors.ts";
import type { GeneratedToken } from "../generate/generate.ts";
import type { AnswerAttention, AttentionMap } from "../inspect/attention-map.ts";
import type { ChatChunk, ChatCompletion, ExtensionAnswer } from "./protocol.ts";

/** What all bodies and events of one answer have in common. */
export interface AnswerHead {
  readonly id: string;
  /** Seconds since 1970. */
  readonly created: number;
  readonly model: string;
}

/** An answer and what is reported with it. */
export interface ChatAnswer {
  readonly answer: Answer;
  /** Positions of the prompt that hold pictures. */
  readonly numImageTokens: number;
  /** Undefined where the request wants nothing of adaptvis. */
  readonly extension: ExtensionAnswer | undefined;
}

/** The text of a token, special ones included. */
export type TokenText = (tokenId: number) => string;

type Choice = ChatCompletion["choices"][number];
type LogProbs = NonNullable<Choice["logprobs"]>;

/** The whole answer. @param textOf undefined where no log-probabilities are wanted */
export function completion(head: AnswerHead, told: ChatAnswer, textOf: TokenText | undefined): ChatCompletion {
  const { answer, extension } = told;
  return {
    ...head,
    object: "chat.completion",
    choices: [
      {
        index: 0,
        message: { role: "assistant", content: answer.text.trim(), refusal: null },
        logprobs: textOf === undefined ? null : { content: logProbs(answer.tokens, textOf), refusal: null },
        finish_reason: finishReason(answer),
      },
    ],
    usage: usage(told),
    ...(extension && { adaptvis: extension }),
  };
}

/** An event with a part of the text. @param textOf undefined where no log-probabilities are wanted */
export function textChunk(
  head: AnswerHead,
  content: string,
  options: { readonly token: GeneratedToken | undefined; readonly textOf: TokenText | undefined },
): ChatChunk {
  const { token, textOf } = options;
  const isFirst = token === undefined;
  const told: LogProbs | null =
    textOf === undefined || isFirst ? null : { content: logProbs([token], textOf), refusal: null };
  const delta = isFirst ? { role: "assistant" as const, content } : { content };
  return {
    ...head,
    object: "chat.completion.chunk",
    choices: [{ index: 0, delta, logprobs: told, finish_reason: null }],
  };
}

/** The event that ends the text. */
export function lastChunk(head: AnswerHead, { answer, extension }: ChatAnswer): ChatChunk {
  return {
    ...head,
    object: "chat.completion.chunk",
    choices: [{ index: 0, delta: {}, logprobs: null, finish_reason: finishReason(answer) }],
    ...(extension && { adaptvis: extension }),
  };
}

/** The event behind it, where usage is asked for. */
export function usageChunk(head: AnswerHead, answer: ChatAnswer): ChatChunk {
  return { ...head, object: "chat.completion.chunk", choices: [], usage: usage(answer) };
}

function finishReason({ finishReason: reason }: Answer): Choice["finish_reason"] {
  return reason === "length" ? "length" : "stop";
}

function usage({ answer, numImageTokens }: ChatAnswer): ChatCompletion["usage"] {
  const { promptTokens, reusedTokens, tokens } = answer;
  return {
    prompt_tokens: promptTokens,
    completion_tokens: tokens.length,
    total_tokens: promptTokens + tokens.length,
    prompt_tokens_details: { cached_tokens: reusedTokens, image_tokens: numImageTokens },
  };
}

function logProbs(tokens: readonly GeneratedToken[], textOf: TokenText): LogProbs["content"] {
  return tokens.map(({ tokenId, logProb, top }) => ({
    ...named(tokenId, logProb, textOf),
    top_logprobs: top.map((other) => named(other.tokenId, other.logProb, textOf)),
  }));
}

function named(tokenId: number, logprob: number, textOf: TokenText): Omit<LogProbs["content"][number], "top_logprobs"> {
  const token = textOf(tokenId);
  // A token may hold a part of a character only: its bytes are then unknown here.
  const bytes = token.includes("\ufffd") ? null : [...new TextEncoder().encode(token)];
  return { token, logprob, bytes };
}

/** Share and entropy of each layer, mean over heads, on the first picture. */
export function perLayer(
  attention: AnswerAttention,
  of: "used" | "unmodified",
): { image_share: number[]; entropy: number[] } | null {
  if (of === "unmodified" && !attention.hasUnmodified) return null;
  const maps = Array.from({ length: attention.numLayers }, (_, layer) => {
    const map = attention[of]({ layer });
    if (map === undefined) throw new RangeError("there is no unmodified pass");
    return map;
  });
  return { image_share: maps.map(({ share }) => share), entropy: maps.map(({ entropy }) => entropy) };
}

/** Most numbers of maps in an answer. */
const MAX_MAP_VALUES = 1_000_000;

/** A generated token's map as the answer tells it. */
export function mapJson(token: number, map: AttentionMap): NonNullable<ExtensionAnswer["attention"]>[number] {
  const { layer, head = 0, width, height, share, entropy, values } = map;
  return { token, layer, head, width, height, share, entropy, values: [...values] };
}

/** @throws InputError when the maps would have too many numbers. */
export function checkMapSize(numMaps: number, numCells: number): void {
  if (numMaps * numCells <= MAX_MAP_VALUES) return;
  throw new InputError(
    `adaptvis.attention: ${numMaps} maps of ${numCells} patches are more than ${MAX_MAP_VALUES} numbers; ask for fewer layers, heads or tokens.`,
  );
}
