/**
 * A provider for Vercel's AI SDK (`ai` 7): a loaded model as a language model for `generateText` and `streamText`, with pictures.
 * @module ai-sdk/deno
 */

import type { LanguageModelV4 } from "@ai-sdk/provider";
import { decodeImage } from "../index.deno.ts";
import { type ChatModel, languageModel, type ProviderSettings } from "./language-model.ts";

export type { AdaptVisOptions } from "./call-options.ts";
export type {
  ChatAnswer,
  ChatModel,
  ChatOptions,
  ChatResult,
  ChatSession,
  ProviderSettings,
} from "./language-model.ts";

/**
 * A loaded model as a language model of the AI SDK.
 *
 * Pictures are file parts with bytes, base64 or a data URL; the SDK downloads those with an address. A call without a temperature
 * decodes greedily. A JSON schema as the response format is kept to. `providerOptions.adaptvis` takes {@link AdaptVisOptions}, and
 * `providerMetadata.adaptvis` of the result has `method`, `settings`, `confidence`, `exactConfidence`, `factor` and `seed`. Tools,
 * reasoning and penalties that the model does not have give warnings.
 *
 * Calls reject with the engine's errors: InputError for what the model does not take, AbortError, GpuError. The model stays its
 * owner's, who disposes of it.
 */
export function adaptvis(model: ChatModel, settings: ProviderSettings = {}): LanguageModelV4 {
  return languageModel(model, settings, decodeImage);
}
