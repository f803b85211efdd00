// From the settings of a call of the AI SDK to the engine's options.

import type { JSONObject, LanguageModelV4CallOptions, SharedV4Warning } from "@ai-sdk/provider";
import {
  type AnswerOptions,
  INTERVENTIONS,
  InputError,
  type JsonSchema,
  type MethodName,
  type MethodSettings,
} from "../index.ts";
import type { ChatOptions } from "./language-model.ts";

/** What `providerOptions.adaptvis` of a call may hold: a method, its settings beside it, and a few options of answers. */
export interface AdaptVisOptions
  extends MethodSettings,
    Pick<AnswerOptions, "confidence" | "roundConfidence" | "choices"> {
  /** The method's name; `greedy` unless given. */
  readonly method?: MethodName | undefined;
  /** Divides positive and multiplies negative logits of tokens seen so far; 1 unless given. */
  readonly repetitionPenalty?: number | undefined;
}

/** The engine's options, what it cannot do of a call, and the seed that tokens are drawn with: null for greedy decoding. */
export interface ReadCall {
  readonly options: ChatOptions;
  readonly warnings: readonly SharedV4Warning[];
  readonly seed: number | null;
}

/** Options of answers that `providerOptions.adaptvis` may hold beside the settings of methods. */
const OTHER_NAMES = ["method", "confidence", "roundConfidence", "choices"];

/**
 * Reads a call's settings.
 * @param maxNewTokens of a call that says nothing of it
 * @throws InputError for an option of `providerOptions.adaptvis` that there is not; the engine checks the values.
 */
export function readCall(call: LanguageModelV4CallOptions, maxNewTokens: number): ReadCall {
  const { temperature = 0, topP, topK, stopSequences, abortSignal, responseFormat } = call;
  const { repetitionPenalty, ...own } = ownOptions(call.providerOptions?.adaptvis);
  const seed = temperature === 0 ? null : (call.seed ?? crypto.getRandomValues(new Uint32Array(1))[0] ?? 0);
  const drawn = seed !== null && {
    temperature,
    ...(topP !== undefined && { topP }),
    ...(topK !== undefined && { topK }),
    seed,
  };
  const sampling = { ...drawn, ...(repetitionPenalty !== undefined && { repetitionPenalty }) };
  const options: ChatOptions = {
    ...own,
    maxNewTokens: call.maxOutputTokens ?? maxNewTokens,
    ...(stopSequences !== undefined && { stop: stopSequences }),
    ...(Object.keys(sampling).length > 0 && { sampling }),
    ...(responseFormat?.type === "json" && {
      jsonSchema: (responseFormat.schema ?? { type: "object" }) as JsonSchema, // JSON, which the engine checks
    }),
    ...(abortSignal !== undefined && { signal: abortSignal }),
  };
  return { options, warnings: warningsOf(call, seed === null), seed };
}

/** The options under the provider's name, whose values the engine checks. @throws InputError for a name that there is not. */
function ownOptions(given: JSONObject | undefined): AdaptVisOptions {
  const settings = INTERVENTIONS.flatMap(({ parameters }) => Object.keys(parameters));
  const names = new Set([...OTHER_NAMES, ...settings, "repetitionPenalty"]);
  const unknown = Object.keys(given ?? {}).find((name) => !names.has(name));
  if (unknown === undefined) return { ...given } as AdaptVisOptions; // its names are checked here, its values by the engine
  throw new InputError(
    `providerOptions.adaptvis has no option ${JSON.stringify(unknown).slice(0, 80)}; there are ${[...names].sort().join(", ")}.`,
  );
}

function warningsOf(call: LanguageModelV4CallOptions, isGreedy: boolean): SharedV4Warning[] {
  const { presencePenalty = 0, frequencyPenalty = 0, topP, topK, tools = [], reasoning = "provider-default" } = call;
  const warnings: SharedV4Warning[] = [];
  const unsupported = (feature: string, details: string) => warnings.push({ type: "unsupported", feature, details });
  const penalty = "Use providerOptions.adaptvis.repetitionPenalty.";
  if (presencePenalty !== 0) unsupported("presencePenalty", penalty);
  if (frequencyPenalty !== 0) unsupported("frequencyPenalty", penalty);
  const greedy = "It acts on drawn tokens: give a temperature above 0.";
  if (isGreedy && topP !== undefined && topP !== 1) unsupported("topP", greedy);
  if (isGreedy && topK !== undefined && topK !== 0) unsupported("topK", greedy);
  if (tools.length > 0) unsupported("tools", "The model calls no tools; it answers without them.");
  if (!["provider-default", "none"].includes(reasoning)) {
    unsupported("reasoning", "The model does not reason before it answers.");
  }
  return warnings;
}
