// A loaded model as a language model of Vercel's AI SDK.
// Spec: https://github.com/vercel/ai/tree/main/packages/provider/src/language-model/v4

import type {
  LanguageModelV4,
  LanguageModelV4CallOptions,
  LanguageModelV4FinishReason,
  LanguageModelV4StreamPart,
  LanguageModelV4Usage,
  SharedV4ProviderMetadata,
} from "@ai-sdk/provider";
import type { Answer, AnswerOptions, ConversationMessage, MethodName } from "../index.ts";
import { Trimmer } from "../serve/trimmer.ts";
import { type ReadCall, readCall } from "./call-options.ts";
import { type PictureDecoder, readPrompt } from "./prompt.ts";

/** What a provider needs of a model: a `Llava`, or a `WorkerModel` of `adaptvis/worker`. */
export interface ChatModel {
  /** Its name, which is the id of the language model. */
  readonly name: string;
  /** Opens a conversation. */
  session(): ChatSession;
}

/** Options of answers as providers give them: methods by their names. */
export interface ChatOptions
  extends Omit<AnswerOptions, "method" | "settings" | "attention" | "onStage" | "onToken" | "read" | "write"> {
  readonly method?: MethodName | undefined;
}

/** One conversation with a {@link ChatModel}. */
export interface ChatSession {
  /** Answers the last of the messages. */
  ask(messages: readonly ConversationMessage[], options: ChatOptions): ChatAnswer;
  close(): void;
}

/** An answer as it comes. */
export interface ChatAnswer extends AsyncIterable<{ readonly text: string }> {
  readonly answer: Promise<ChatResult>;
}

/** What a provider reads of an answer. */
export type ChatResult = Pick<
  Answer,
  | "text"
  | "tokens"
  | "finishReason"
  | "method"
  | "settings"
  | "confidence"
  | "exactConfidence"
  | "factor"
  | "promptTokens"
  | "reusedTokens"
>;

/** How a model is offered to the SDK. */
export interface ProviderSettings {
  /** The language model's id; the model's name unless given. */
  readonly modelId?: string | undefined;
  /** Most tokens of an answer where a call does not give `maxOutputTokens`; 512 unless given. The context may end it before. */
  readonly maxNewTokens?: number | undefined;
}

/** The provider's id. */
const PROVIDER = "adaptvis";
const DEFAULT_MAX_NEW_TOKENS = 512;

/** A model as the SDK calls it. */
export function languageModel(model: ChatModel, settings: ProviderSettings, decode: PictureDecoder): LanguageModelV4 {
  const { modelId = model.name, maxNewTokens = DEFAULT_MAX_NEW_TOKENS } = settings;

  const read = async (call: LanguageModelV4CallOptions) => {
    const asked = readCall(call, maxNewTokens);
    const { messages, warnings } = await readPrompt(call.prompt, decode);
    return { asked, messages, warnings: [...asked.warnings, ...warnings] };
  };

  return {
    specificationVersion: "v4",
    provider: PROVIDER,
    modelId,
    supportedUrls: {}, // the SDK downloads them
    async doGenerate(call) {
      const { asked, messages, warnings } = await read(call);
      const session = model.session();
      try {
        const answer = await session.ask(messages, asked.options).answer;
        const text = answer.text.trim();
        return {
          content: text === "" ? [] : [{ type: "text", text }],
          ...endOf(answer, asked),
          response: responseOf(modelId),
          warnings,
        };
      } finally {
        session.close();
      }
    },
    async doStream(call) {
      const { asked, messages, warnings } = await read(call);
      const parts = streamParts(model, { messages, asked });
      async function* all(): AsyncGenerator<LanguageModelV4StreamPart, void, void> {
        yield { type: "stream-start", warnings };
        yield { type: "response-metadata", ...responseOf(modelId) };
        yield* parts;
      }
      return { stream: streamOf(all()) };
    },
  };
}

async function* streamParts(
  model: ChatModel,
  { messages, asked }: { readonly messages: readonly ConversationMessage[]; readonly asked: ReadCall },
): AsyncGenerator<LanguageModelV4StreamPart, void, void> {
  const id = "0";
  const session = model.session();
  const trimmer = new Trimmer();
  let hasBegun = false;
  try {
    const answer = session.ask(messages, asked.options);
    for await (const token of answer) {
      const delta = trimmer.push(token.text);
      if (delta === "") continue;
      if (!hasBegun) yield { type: "text-start", id };
      hasBegun = true;
      yield { type: "text-delta", id, delta };
    }
    if (hasBegun) yield { type: "text-end", id };
    yield { type: "finish", ...endOf(await answer.answer, asked) };
  } catch (error) {
    if (asked.options.signal?.aborted === true) throw error; // as a request of the SDK's that is aborted
    yield { type: "error", error };
  } finally {
    session.close();
  }
}

/** A stream that asks for the next part when it is read, and lets the work end when it is cancelled. */
function streamOf(
  parts: AsyncGenerator<LanguageModelV4StreamPart, void, void>,
): ReadableStream<LanguageModelV4StreamPart> {
  return new ReadableStream<LanguageModelV4StreamPart>({
    async pull(controller) {
      const next = await parts.next();
      if (next.done === true) controller.close();
      else controller.enqueue(next.value);
    },
    async cancel() {
      await parts.return();
    },
  });
}

function responseOf(modelId: string) {
  return { id: crypto.randomUUID(), timestamp: new Date(), modelId };
}

function endOf(
  answer: ChatResult,
  { seed }: ReadCall,
): {
  readonly finishReason: LanguageModelV4FinishReason;
  readonly usage: LanguageModelV4Usage;
  readonly providerMetadata: SharedV4ProviderMetadata;
} {
  const { finishReason, promptTokens, reusedTokens, tokens, method, settings, confidence, exactConfidence, factor } =
    answer;
  return {
    finishReason: { unified: finishReason === "length" ? "length" : "stop", raw: finishReason },
    usage: {
      inputTokens: {
        total: promptTokens,
        noCache: promptTokens - reusedTokens,
        cacheRead: reusedTokens,
        cacheWrite: undefined,
      },
      outputTokens: { total: tokens.length, text: tokens.length, reasoning: undefined },
    },
    providerMetadata: {
      [PROVIDER]: { method, settings: JSON.parse(JSON.stringify(settings)), confidence, exactConfidence, factor, seed },
    },
  };
}
