// The options of an answer, checked and filled with defaults.
import { ANSWER_OPTION_NAMES, type AnswerOptions } from "./answer.ts";
import type { Source } from "./checkpoint/source.ts";
import { CheckpointError, InputError, kindOf } from "./errors.ts";
import { checkSampling, GREEDY, type SamplingOptions } from "./generate/sampler.ts";
import type { Intervention } from "./interventions/intervention.ts";
import { MAX_FACTOR, settingsFrom } from "./interventions/parameters.ts";
import { interventionNamed, SETTING_NAMES } from "./interventions/registry.ts";
import type { TextConfig } from "./models/config.ts";
import { MAX_TOP_K } from "./models/layers/decoder-state.ts";
import { MAX_BATCH_ROWS } from "./models/layers/step.ts";

/** New tokens of an answer unless the caller says otherwise. */
export const DEFAULT_MAX_NEW_TOKENS = 64;

/** Checked options. */
export interface Settings {
  readonly method: Intervention;
  /** The method's settings, defaults filled in. */
  readonly values: Readonly<Record<string, unknown>>;
  readonly maxNewTokens: number;
  readonly stop: readonly string[];
  readonly sampling: SamplingOptions;
  readonly topLogProbs: number;
}

/** Defaults of settings that a checkpoint brings along, by method and setting. */
export type MethodDefaults = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/**
 * Checks options against a model and a prompt; new tokens are cut to what the context leaves.
 * @param defaults what the checkpoint sets in place of the methods' own defaults
 * @throws InputError naming the option, what is possible and what was given.
 */
export function settingsOf(
  options: AnswerOptions,
  model: { readonly text: TextConfig; readonly defaults: MethodDefaults },
  promptLength: number,
): Settings {
  const { text, defaults } = model;
  const unknown = Object.keys(options).find(
    (name) => !ANSWER_OPTION_NAMES.includes(name) && !SETTING_NAMES.includes(name),
  );
  if (unknown !== undefined) {
    const names = [...ANSWER_OPTION_NAMES, ...SETTING_NAMES].join(", ");
    throw new InputError(`There is no option ${unknown}; the options of an answer are ${names}.`);
  }
  const method = methodOf(options.method);
  const given: Record<string, unknown> = { ...options.settings };
  for (const name of SETTING_NAMES) {
    const value: unknown = Reflect.get(options, name);
    if (value !== undefined) given[name] = value;
  }
  const own = Object.hasOwn(defaults, method.name) ? defaults[method.name] : {};
  const values = settingsFrom(
    method.parameters,
    { ...own, ...given },
    {
      method: method.name,
      numLayers: text.numHiddenLayers,
      numHeads: text.numAttentionHeads,
      promptLength,
    },
  );
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
  return { method, values, maxNewTokens, stop: options.stop ?? [], sampling, topLogProbs };
}

/** The intervention of an option. @throws InputError for an unknown name or something else. */
export function methodOf(method: AnswerOptions["method"]): Intervention {
  if (typeof method === "object" && typeof method?.edits === "function") return method;
  return interventionNamed(method === undefined ? "greedy" : (method as string)); // names are checked there
}

/** @throws InputError unless there are 1 to 32 factors, each a number from 0 to 10,000. */
export function checkFactors(factors: readonly number[]): void {
  if (!Array.isArray(factors)) throw new InputError(`factors must be a list of numbers, got ${kindOf(factors)}.`);
  if (factors.length < 1 || factors.length > MAX_BATCH_ROWS) {
    throw new InputError(`factors must be 1 to ${MAX_BATCH_ROWS} numbers, got ${factors.length}.`);
  }
  const bad = factors.findIndex((factor) => !(typeof factor === "number" && factor >= 0 && factor <= MAX_FACTOR));
  if (bad >= 0) throw new InputError(`factors must be numbers from 0 to ${MAX_FACTOR}, got ${factors[bad]}.`);
}

function checkTexts(name: string, texts: readonly string[] | undefined): void {
  if (texts === undefined || (Array.isArray(texts) && texts.every((text) => typeof text === "string"))) return;
  throw new InputError(
    `${name} must be a list of texts, got ${Array.isArray(texts) ? "other things" : kindOf(texts)}.`,
  );
}

const SETTINGS_FILE = "adaptvis.json";

/** Keys of adaptvis.json, the method and setting that each is a default of, and its largest value. */
const SETTINGS_KEYS = [
  { key: "alpha1", method: "adaptvis", setting: "alpha1", most: MAX_FACTOR },
  { key: "alpha2", method: "adaptvis", setting: "alpha2", most: MAX_FACTOR },
  { key: "beta", method: "adaptvis", setting: "beta", most: 1 },
  { key: "scalingFactor", method: "scaling", setting: "factor", most: MAX_FACTOR },
] as const;

/**
 * Reads the defaults that a checkpoint brings along in adaptvis.json, which checkpoints of the hub do not have: the settings that
 * were chosen on its own validation set. Empty where there is no such file.
 * @throws CheckpointError when the file is not JSON or a value is out of range; AbortError.
 */
export async function readMethodDefaults(source: Source, signal?: AbortSignal): Promise<MethodDefaults> {
  const size = await source.size(SETTINGS_FILE, signal);
  if (size === undefined) return {};
  let json: unknown;
  const bytes = await source.read(SETTINGS_FILE, 0, size, signal);
  try {
    json = JSON.parse(new TextDecoder().decode(bytes));
  } catch (cause) {
    const message = `${SETTINGS_FILE} of ${source.name} is not JSON; write it again or remove it.`;
    throw new CheckpointError(message, { file: SETTINGS_FILE, cause });
  }
  const values = typeof json === "object" && json !== null ? json : {};
  const defaults: Record<string, Record<string, number>> = {};
  for (const { key, method, setting, most } of SETTINGS_KEYS) {
    const value: unknown = Reflect.get(values, key);
    if (value === undefined) continue;
    if (typeof value !== "number" || !(value >= 0 && value <= most)) {
      const got = JSON.stringify(value);
      const message = `${SETTINGS_FILE} of ${source.name}: ${key} must be a number from 0 to ${most}, got ${got}.`;
      throw new CheckpointError(message, { file: SETTINGS_FILE });
    }
    defaults[method] = { ...defaults[method], [setting]: value };
  }
  return defaults;
}
