// The options of an answer, checked and filled with defaults.
import type { AnswerOptions } from "./answer.ts";
import { answerOptions } from "./check-arguments.ts";
import { asRecord, parseJsonFile, readTextFile, type Source } from "./checkpoint/source.ts";
import { CheckpointError, InputError } from "./errors.ts";
import { GREEDY, type SamplingOptions } from "./generate/sampler.ts";
import { DEFAULT_MAX_NEW_TOKENS } from "./generate/stop.ts";
import { adaptvis } from "./interventions/adaptvis.ts";
import type { Intervention } from "./interventions/intervention.ts";
import { ownIntervention } from "./interventions/own-intervention.ts";
import { checkValue, settingsFrom } from "./interventions/parameters.ts";
import { INTERVENTIONS, interventionNamed, SETTING_NAMES } from "./interventions/registry.ts";
import { scaling } from "./interventions/scaling.ts";
import type { TextConfig } from "./models/config.ts";
import { MAX_TOP_K } from "./models/layers/decoder-state.ts";

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
  asked: AnswerOptions,
  model: { readonly text: TextConfig; readonly defaults: MethodDefaults },
  promptLength: number,
): Settings {
  const { text, defaults } = model;
  if (promptLength > text.maxPositionEmbeddings) {
    throw new InputError(
      `The prompt has ${promptLength} positions, but the model's context has ${text.maxPositionEmbeddings}: shorten the text.`,
    );
  }
  const options = answerOptions(asked);
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
      hiddenSize: text.hiddenSize,
      promptLength,
    },
  );
  const sampling = { ...GREEDY, ...options.sampling };
  const topLogProbs = options.topLogProbs ?? 0;
  const maxTop = Math.min(MAX_TOP_K, text.vocabSize);
  if (topLogProbs > maxTop) {
    throw new InputError(`topLogProbs must be a whole number from 0 to ${maxTop}, got ${topLogProbs}.`);
  }
  const wanted = options.maxNewTokens ?? DEFAULT_MAX_NEW_TOKENS;
  // The last new token is never run through the decoder, so it needs no position.
  const maxNewTokens = Math.min(wanted, text.maxPositionEmbeddings - promptLength + 1);
  return { method, values, maxNewTokens, stop: options.stop ?? [], sampling, topLogProbs };
}

/** The intervention of an option. @throws InputError for an unknown name or something else. */
export function methodOf(method: AnswerOptions["method"]): Intervention {
  if (method === undefined) return interventionNamed("greedy");
  if (typeof method !== "object" || method === null) return interventionNamed(method);
  return INTERVENTIONS.some((registered) => registered === method) ? method : ownIntervention(method);
}

const SETTINGS_FILE = "adaptvis.json";

/** Keys of adaptvis.json, and the setting that each is a default of. */
const SETTINGS_KEYS = [
  { key: "alpha1", method: "adaptvis", setting: "alpha1", parameter: adaptvis.parameters.alpha1 },
  { key: "alpha2", method: "adaptvis", setting: "alpha2", parameter: adaptvis.parameters.alpha2 },
  { key: "beta", method: "adaptvis", setting: "beta", parameter: adaptvis.parameters.beta },
  { key: "scalingFactor", method: "scaling", setting: "factor", parameter: scaling.parameters.factor },
] as const;

/**
 * Reads the defaults that a checkpoint brings along in adaptvis.json, which checkpoints of the hub do not have: the settings that
 * were chosen on its validation set. Empty when the file is absent.
 * @throws CheckpointError when the file is not JSON or a value is out of range; AbortError.
 */
export async function readMethodDefaults(source: Source, signal?: AbortSignal): Promise<MethodDefaults> {
  const text = await readTextFile(source, SETTINGS_FILE, signal);
  if (text === undefined) return {};
  const where = `${SETTINGS_FILE} of ${source.name}`;
  const values = asRecord(parseJsonFile(text, SETTINGS_FILE));
  const defaults: Record<string, Record<string, unknown>> = {};
  for (const { key, method, setting, parameter } of SETTINGS_KEYS) {
    const value = values[key];
    if (value === undefined) continue;
    try {
      checkValue(key, value, parameter);
    } catch (cause) {
      throw new CheckpointError(`${where}: ${(cause as InputError).message}`, { file: SETTINGS_FILE, cause });
    }
    defaults[method] = { ...defaults[method], [setting]: value };
  }
  return defaults;
}
