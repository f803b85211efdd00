// The options of an answer, checked and filled with defaults.
import {
  type AdaptVisSettings,
  checkFactor,
  checkSettings,
  DEFAULT_ADAPTVIS,
  DEFAULT_FACTOR,
  type Method,
} from "./adaptvis.ts";
import type { AnswerOptions } from "./answer.ts";
import { InputError, kindOf } from "./errors.ts";
import { checkSampling, GREEDY, type SamplingOptions } from "./generate/sampler.ts";
import type { TextConfig } from "./models/config.ts";
import { MAX_TOP_K } from "./models/layers/decoder-state.ts";
import { MAX_BATCH_ROWS, MAX_MASKED_HEADS } from "./models/layers/step.ts";

/** New tokens of an answer unless the caller says otherwise. */
export const DEFAULT_MAX_NEW_TOKENS = 64;

/** Checked options. */
export interface Settings {
  readonly method: Method;
  readonly factor: number;
  readonly adaptvis: AdaptVisSettings;
  readonly maxNewTokens: number;
  readonly stop: readonly string[];
  readonly sampling: SamplingOptions;
  readonly topLogProbs: number;
}

/**
 * Checks options against a model and a prompt; new tokens are cut to what the context leaves.
 * @throws InputError naming the option, what is possible and what was given.
 */
export function settingsOf(options: AnswerOptions, text: TextConfig, promptLength: number): Settings {
  const method = options.method ?? "greedy";
  if (method !== "greedy" && method !== "scaling" && method !== "adaptvis") {
    throw new InputError(`method must be greedy, scaling or adaptvis, got ${String(method)}.`);
  }
  const factor = options.factor ?? DEFAULT_FACTOR;
  checkFactor("factor", factor);
  const adaptvis = { ...DEFAULT_ADAPTVIS, ...options.adaptvis };
  checkSettings(adaptvis);
  checkIndices("layers", options.layers, text.numHiddenLayers);
  checkIndices("heads", options.heads, text.numAttentionHeads);
  if (options.heads !== undefined && text.numAttentionHeads > MAX_MASKED_HEADS) {
    throw new InputError(`heads can be chosen among ${MAX_MASKED_HEADS}, this model has ${text.numAttentionHeads}.`);
  }
  checkTexts("stop", options.stop);
  if (options.confidence !== "vocabulary") checkTexts("confidence", options.confidence);
  if (options.confidence?.length === 0) throw new InputError("confidence: expected at least one option, got none.");
  const sampling = { ...GREEDY, ...options.sampling };
  checkSampling(sampling);
  const topLogProbs = options.topLogProbs ?? 0;
  const maxTop = Math.min(MAX_TOP_K, text.vocabSize);
  if (!Number.isInteger(topLogProbs) || topLogProbs < 0 || topLogProbs > maxTop) {
    throw new InputError(`topLogProbs must be a whole number from 0 to ${maxTop}, got ${topLogProbs}.`);
  }
  const wanted = options.maxNewTokens ?? DEFAULT_MAX_NEW_TOKENS;
  if (!Number.isInteger(wanted) || wanted < 1) {
    throw new InputError(`maxNewTokens must be a whole number of at least 1, got ${wanted}.`);
  }
  // The last new token is never run through the decoder, so it needs no position.
  const maxNewTokens = Math.min(wanted, text.maxPositionEmbeddings - promptLength + 1);
  return { method, factor, adaptvis, maxNewTokens, stop: options.stop ?? [], sampling, topLogProbs };
}

/** @throws InputError unless there are 1 to 32 factors, each a number from 0 to 10,000. */
export function checkFactors(factors: readonly number[]): void {
  if (!Array.isArray(factors)) throw new InputError(`factors must be a list of numbers, got ${kindOf(factors)}.`);
  if (factors.length < 1 || factors.length > MAX_BATCH_ROWS) {
    throw new InputError(`factors must be 1 to ${MAX_BATCH_ROWS} numbers, got ${factors.length}.`);
  }
  for (const factor of factors) checkFactor("factors", factor);
}

function checkTexts(name: string, texts: readonly string[] | undefined): void {
  if (texts === undefined || (Array.isArray(texts) && texts.every((text) => typeof text === "string"))) return;
  throw new InputError(
    `${name} must be a list of texts, got ${Array.isArray(texts) ? "other things" : kindOf(texts)}.`,
  );
}

function checkIndices(name: string, indices: readonly number[] | undefined, count: number): void {
  if (indices !== undefined && !Array.isArray(indices)) {
    throw new InputError(`${name} must be a list of whole numbers, got ${kindOf(indices)}.`);
  }
  const bad = indices?.find((index) => !Number.isInteger(index) || index < 0 || index >= count);
  if (bad !== undefined) throw new InputError(`${name} must be whole numbers from 0 to ${count - 1}, got ${bad}.`);
}
