// Options that several commands share: the model, the question, the method and the sampling.

import { type Command, InvalidArgumentError, Option } from "commander";
import type { AnswerOptions, LoadOptions, Question, SweepOptions } from "../answer.ts";
import { DEFAULT_MAX_NEW_TOKENS } from "../generate/stop.ts";
import { CACHE_DTYPES, type CacheDtype } from "../gpu/cache-format.ts";
import { ACTIVATION_DTYPES, type ActivationDtype, WEIGHT_DTYPES, type WeightDtype } from "../gpu/tensor.ts";
import type { Intervention } from "../interventions/intervention.ts";
import type { Parameter, ParameterKind } from "../interventions/parameters.ts";
import { INTERVENTIONS, type MethodName, type MethodSettings, SETTING_NAMES } from "../interventions/registry.ts";
import { scaling } from "../interventions/scaling.ts";
import type { RgbImage } from "../preprocess/image.ts";
import { DEFAULT_MAX_PIXELS } from "../preprocess/resize-bicubic.ts";
import { chatTemplateOption } from "./chat-template.ts";
import {
  indexList,
  numberFrom,
  pictureBox,
  repeated,
  rowSelection,
  someText,
  strengthsOfFile,
  wholeFrom,
  wordList,
} from "./checks.ts";
import { memoryOption } from "./fit-memory.ts";
import { loadOwnMethod } from "./own-method.ts";
import { commandName } from "./package-files.ts";
import { UsageError } from "./session.ts";

/** What `--model` is, for commands that need a model of pictures. */
export const MODEL_HELP =
  "a vision-language checkpoint in Hugging Face's layout, or its id on the hub, such as llava-hf/llava-1.5-7b-hf, or the embedded tiny-habit (default: the embedded tiny-spatial)";

/** Parsed options of the model. */
export interface ModelFlags {
  readonly model?: string;
  readonly revision?: string;
  /** "auto" is the same as none: the most exact form that fits. */
  readonly dtype?: WeightDtype | "auto";
  readonly memory?: number;
  readonly kv?: CacheDtype;
  readonly activations?: ActivationDtype;
  readonly tune?: boolean;
  readonly chatTemplate?: string;
  /** False where `--no-image-splitting` is given. */
  readonly imageSplitting?: boolean;
  readonly maxPicturePixels?: number;
}

/** Adds `--model`, `--revision`, `--dtype`, `--memory`, `--kv`, `--activations` and `--tune`. @param what describes `--model` */
export function addModelOptions(command: Command, what: string): Command {
  return command
    .option("--model <model>", what, someText)
    .addOption(revisionOption())
    .addOption(autoDtypeOption())
    .addOption(memoryOption())
    .addOption(kvOption("how keys and values are stored on the GPU (default: f32)"))
    .addOption(activationsOption())
    .addOption(chatTemplateOption())
    .option("--no-image-splitting", "show Idefics3 and SmolVLM the whole picture only, in one tile: much faster")
    .addOption(maxPicturePixelsOption())
    .option("--tune", "tune the kernels' constants on this GPU; the result is measured once and cached");
}

/** Settings of the model's pictures, as `Llava.load` takes them. */
export type PictureSettings = Pick<LoadOptions, "imageSplitting" | "maxPicturePixels">;

/** Those of the command line; what is not given is left out. */
export function pictureSettings({ imageSplitting, maxPicturePixels }: ModelFlags): PictureSettings {
  return {
    ...(imageSplitting === false && { imageSplitting }),
    ...(maxPicturePixels !== undefined && { maxPicturePixels }),
  };
}

/** The option `--max-picture-pixels`. */
export function maxPicturePixelsOption(): Option {
  const what =
    "most pixels of a picture once it is resized, for Qwen-VL: max_pixels of its processor (default: the checkpoint's, up to 1003520)";
  return new Option("--max-picture-pixels <number>", what).argParser(wholeFrom(1, DEFAULT_MAX_PIXELS));
}

/** The option `--revision`. */
export function revisionOption(): Option {
  const what = "branch, tag or commit of a model on the hub (default: main)";
  return new Option("--revision <revision>", what).argParser(someText);
}

/** The option `--dtype` with the choice of what fits. */
export function autoDtypeOption(): Option {
  const what =
    "how weight matrices are stored on the GPU; auto: as in the checkpoint, or in the next of f16, q8 and q4 that fits the memory (default: auto)";
  return new Option("--dtype <dtype>", what).choices(["auto", ...WEIGHT_DTYPES]);
}

/** The option `--dtype`. @param what its description */
export function dtypeOption(what: string): Option {
  return new Option("--dtype <dtype>", what).choices(WEIGHT_DTYPES);
}

/** The option `--activations`. */
export function activationsOption(): Option {
  const what =
    "how decode steps read the input of linear layers with weights in q8, q4_1 or q4: q8 multiplies integers (default: f32)";
  return new Option("--activations <dtype>", what).choices(ACTIVATION_DTYPES);
}

/** The option `--kv`. @param what its description */
export function kvOption(what: string): Option {
  return new Option("--kv <dtype>", what).choices(CACHE_DTYPES);
}

/** Parsed options of the pictures and the question. */
export interface QuestionFlags extends PictureFlags {
  readonly prompt?: string;
  readonly system?: string;
}

/** Parsed options of the model and the pictures. */
export interface PictureFlags extends ModelFlags {
  readonly image?: readonly string[];
  readonly video?: boolean;
  readonly exif: boolean;
}

/** Adds the question and its options. */
export function addQuestionOptions(command: Command): Command {
  return addPictureOptions(command.argument("[question]", "the question, inserted into the model's chat template"))
    .option(
      "--prompt <text>",
      "the whole prompt, with <image> in place of each picture, or <video>; replaces the question",
      someText,
    )
    .option("--system <text>", "system message, if the chat template supports one");
}

/** Adds the options of the model and the pictures. */
export function addPictureOptions(command: Command): Command {
  return addModelOptions(command, MODEL_HELP)
    .option("--image <file>", "the picture: JPEG, PNG or WebP; repeatable, for a question about several", repeated)
    .option(
      "--video",
      "the pictures are the frames of one video, in order, for models that take videos (LLaVA-OneVision)",
    )
    .option("--no-exif", "ignore the pictures' EXIF orientation");
}

/** The question of a run with these pictures, which with `--video` are the frames of one video. */
export function questionOf(question: string | undefined, flags: QuestionFlags, images: readonly RgbImage[]): Question {
  const pictures = flags.video === true ? { video: images } : { images };
  return { ...(images.length > 0 && pictures), ...wordsOf(question, flags) };
}

/** The engine's options for the text of a question. */
function wordsOf(question: string | undefined, flags: QuestionFlags): Pick<Question, "question" | "prompt" | "system"> {
  return {
    ...(question !== undefined && { question }),
    ...(flags.prompt !== undefined && { prompt: flags.prompt }),
    ...(flags.system !== undefined && { system: flags.system }),
  };
}

/**
 * Checks that there is either a question or a prompt, and that it is not blank.
 * @param command the command's name, for the example in the message
 * @throws UsageError
 */
export function checkWords(question: string | undefined, flags: QuestionFlags, command: string): void {
  if (question !== undefined && flags.prompt !== undefined) {
    throw new UsageError("Both a question and a --prompt are given: omit one of them.");
  }
  const text = question ?? flags.prompt;
  if (text === undefined) {
    throw new UsageError(
      `The question is missing: give it in quotes, such as ${commandName()} ${command} --image photo.jpg "What is in the picture?".`,
    );
  }
  if (text.trim() === "") throw new UsageError("The question is empty: give at least one word.");
}

/** Settings of where the factor of a sweep acts. */
const PLACE_SETTINGS = ["layers", "heads", "patches", "box", "strengths", "randomHeads", "headSeed"] as const;

/** Parsed options of where the factor of a sweep acts. */
export interface PlaceFlags extends Partial<Pick<MethodSettings, (typeof PLACE_SETTINGS)[number]>> {}

/** Parsed options of an answer's length. */
export interface LengthFlags {
  readonly maxNewTokens?: number;
  readonly ignoreEos?: boolean;
}

/** Options of the method, as parsed: its name, and the settings of every registered one. */
export interface MethodFlags extends MethodSettings, LengthFlags, OwnMethodFlags {
  readonly method?: MethodName;
  readonly confidence?: readonly string[];
}

/** Parsed options of an intervention of the user's own. */
export interface OwnMethodFlags {
  /** Path of a module. */
  readonly intervention?: string;
  /** Its settings, as NAME=VALUE. */
  readonly set?: readonly string[];
}

/** Parsed options of sampling. */
export interface SamplingFlags {
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly repetitionPenalty?: number;
  readonly seed?: number;
  readonly stop?: readonly string[];
  readonly logProbs?: number;
}

/** Adds the options of the method: its name, and the settings of every registered one. @param maxNewTokens the longest answer unless `--max-new-tokens` says otherwise */
export function addMethodOptions(command: Command, maxNewTokens = DEFAULT_MAX_NEW_TOKENS): Command {
  const summaries = INTERVENTIONS.map(({ name, summary }) => `${name}: ${summary}`).join("; ");
  command.addOption(new Option("--method <name>", summaries).choices(INTERVENTIONS.map(({ name }) => name)));
  for (const name of SETTING_NAMES) command.addOption(settingOption(name));
  command.option(
    "--confidence <words>",
    "take the confidence over the first tokens of these words, such as Left,Right, instead of over the vocabulary",
    wordList,
  );
  return addLengthOptions(addOwnMethodOptions(command), maxNewTokens);
}

/** Adds the options of an intervention of the user's own. */
export function addOwnMethodOptions(command: Command): Command {
  return command
    .option(
      "--intervention <file>",
      "a method of your own instead: a module in TypeScript (Node 22.18 or newer, Deno) or JavaScript that exports an intervention",
      someText,
    )
    .option("--set <name=value>", "a setting of the intervention; repeatable", repeated);
}

/** Adds the options of where a factor acts. */
export function addPlaceOptions(command: Command): Command {
  for (const name of PLACE_SETTINGS) command.addOption(settingOption(name));
  return command;
}

/** The flags among {@link addPlaceOptions} that were given. */
export function givenPlaces(flags: PlaceFlags): readonly string[] {
  return PLACE_SETTINGS.filter((name) => flags[name] !== undefined).map(flagOf);
}

/** The option of a setting; a setting of one method only implies that method. */
function settingOption(name: string): Option {
  const methods = methodsWith(name);
  const [parameter] = methods.map(({ parameters }) => parameters[name]);
  if (parameter === undefined) throw new RangeError(`no method has a setting ${name}`);
  const [only] = methods;
  const implied = methods.length === 1 && only !== undefined ? `; implies --method ${only.name}` : "";
  const { type, meaning } = parameter;
  const option = (value: string) => new Option(`${flagOf(name)} <${value}>`, `${meaning}${implied}`);
  if (type.kind === "choice") return option("name").choices(type.choices);
  const written = {
    number: "number",
    indices: "list",
    columns: "list",
    rows: "rows",
    box: "left,top,right,bottom",
    strengths: "file.json",
  } as const;
  return option(written[type.kind]).argParser(settingParser(type));
}

/** Parses a setting's value. @throws UsageError for one that does not fit. @param where begins the message */
export function parseSetting({ type }: Parameter<unknown>, text: string, where: string): unknown {
  try {
    return settingParser(type)(text);
  } catch (error) {
    if (error instanceof InvalidArgumentError) throw new UsageError(`${where}: ${error.message.replace(/^E/, "e")}`);
    throw error;
  }
}

function settingParser(type: ParameterKind): (text: string) => unknown {
  switch (type.kind) {
    case "number":
      return type.isWhole === true
        ? wholeFrom(type.minimum, type.maximum)
        : numberFrom({ least: type.minimum, most: type.maximum });
    case "choice":
      return (text) => {
        if (type.choices.includes(text)) return text;
        throw new InvalidArgumentError(`expected ${type.choices.join(" or ")}, got ${text}.`);
      };
    case "indices":
      return indexList;
    case "columns":
      return (text) => (text === "image" ? text : indexList(text));
    case "rows":
      return rowSelection;
    case "box":
      return pictureBox;
    case "strengths":
      return strengthsOfFile;
  }
}

/** A setting's flag: noiseStep is --noise-step. */
function flagOf(setting: string): string {
  return `--${setting.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

function methodsWith(setting: string): readonly Intervention[] {
  const all: readonly Intervention[] = INTERVENTIONS;
  return all.filter(({ parameters }) => Object.hasOwn(parameters, setting));
}

/** Adds the options of an answer's length. */
export function addLengthOptions(command: Command, maxNewTokens: number): Command {
  return command
    .option("--max-new-tokens <number>", "maximum length of the answer", wholeFrom(1), maxNewTokens)
    .option("--ignore-eos", "continue after the end token, up to --max-new-tokens");
}

/** Adds the options of sampling. */
export function addSamplingOptions(command: Command): Command {
  return command
    .option("--temperature <number>", "0 takes the most probable token (default: 0)", numberFrom({ least: 0 }))
    .option("--top-k <number>", "sample among the k most probable; 0: all (default: 0)", wholeFrom(0))
    .option("--top-p <number>", "sample among the most probable that reach p", numberFrom({ above: 0, most: 1 }))
    .option("--repetition-penalty <number>", "above 1: repeat less", numberFrom({ above: 0 }))
    .option("--seed <number>", "same seed, same answer (default: 0)", wholeFrom(0))
    .option("--stop <text>", "end the answer before this text; may be given several times", repeated)
    .option(
      "--log-probs <number>",
      "number of most probable tokens to report at each position (with --json), at most 100",
      wholeFrom(0, 100),
    );
}

/**
 * The engine's options of a method; those of the user's own are loaded.
 * @throws UsageError for options that contradict each other, and as loadOwnMethod.
 */
export async function methodOptions(
  flags: MethodFlags,
): Promise<AnswerOptions & { readonly method: MethodName | Intervention }> {
  const { maxNewTokens, ignoreEos, confidence } = flags;
  const length = given({ maxNewTokens, ignoreEos, confidence });
  const method = methodOf(flags);
  const own = await ownMethodOf(flags);
  return own === undefined ? { method, ...settingsIn(flags), ...length } : { ...own, ...length };
}

/** The user's own intervention and its settings; undefined without --intervention. @throws UsageError as loadOwnMethod, and for a setting that it does not have. */
export async function ownMethodOf({
  intervention: path,
  set = [],
}: OwnMethodFlags): Promise<
  { readonly method: Intervention; readonly settings: Readonly<Record<string, unknown>> } | undefined
> {
  if (path === undefined) return undefined;
  const { intervention } = await loadOwnMethod(path);
  const settings = set.map((text) => writtenSetting(text, { where: "--set", method: intervention }));
  return { method: intervention, settings: Object.fromEntries(settings) };
}

/**
 * A setting as NAME=VALUE.
 * @param of.where begins messages
 * @throws UsageError for one that the method does not have, or a value that does not fit.
 */
export function writtenSetting(
  text: string,
  of: { readonly where: string; readonly method: Intervention; readonly others?: readonly string[] },
): readonly [name: string, value: unknown] {
  const { where, method, others = [] } = of;
  const [, key = "", value = ""] = /^(\w+)=(.+)$/.exec(text) ?? [];
  const parameter = Object.hasOwn(method.parameters, key) ? method.parameters[key] : undefined;
  if (parameter !== undefined) return [key, parseSetting(parameter, value, `${where}: ${key}`)];
  const names = [...Object.keys(method.parameters), ...others];
  const has = names.length === 0 ? `${method.name} has none` : `a setting of ${method.name} (${names.join(", ")})`;
  throw new UsageError(`${where}: expected SETTING=VALUE with ${has}, got ${JSON.stringify(text)}.`);
}

/** The settings among the flags that were given. */
function settingsIn(flags: MethodFlags): MethodSettings {
  const entries = SETTING_NAMES.map((name) => [name, Reflect.get(flags, name)] as const);
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined)) as MethodSettings; // each parsed by its own type
}

/** The engine's options of a sweep. */
export function sweepOptions(flags: PlaceFlags & LengthFlags): SweepOptions {
  const { layers, heads, patches, box, strengths, randomHeads, headSeed, maxNewTokens, ignoreEos } = flags;
  return given({ layers, heads, patches, box, strengths, randomHeads, headSeed, maxNewTokens, ignoreEos });
}

/** The engine's options of sampling. */
export function samplingOptions(flags: SamplingFlags): AnswerOptions {
  const { temperature, topK, topP, repetitionPenalty, seed } = flags;
  return {
    sampling: given({ temperature, topK, topP, repetitionPenalty, seed }),
    ...given({ stop: flags.stop, topLogProbs: flags.logProbs }),
  };
}

/** The method on the command line, or the one that the given settings imply. @throws UsageError where they contradict. */
export function methodOf(flags: MethodFlags): MethodName {
  const settings = Object.keys(settingsIn(flags));
  const { intervention, set = [] } = flags;
  const others = [...(flags.method === undefined ? [] : ["--method"]), ...settings.map(flagOf)];
  if (intervention !== undefined && others.length > 0) {
    throw new UsageError(
      `${others.join(", ")} cannot be combined with --intervention, whose settings are given by --set: leave one of them out.`,
    );
  }
  if (intervention === undefined && set.length > 0) {
    throw new UsageError("--set needs --intervention: settings of other methods have flags of their own.");
  }
  const implied = settings.flatMap((setting) => {
    const [only, ...others] = setting === "factor" ? [scaling] : methodsWith(setting); // temperature has one too
    return only === undefined || others.length > 0 ? [] : [{ setting, method: only.name as MethodName }]; // registered
  });
  const [first] = implied;
  const method = flags.method ?? first?.method ?? "greedy";
  const stranger = settings.find((setting) => methodsWith(setting).every(({ name }) => name !== method));
  if (stranger === undefined) return method;
  const owners = methodsWith(stranger).map(({ name }) => name);
  const because = flags.method === undefined && first !== undefined ? `, which ${flagOf(first.setting)} implies` : "";
  throw new UsageError(
    `${flagOf(stranger)} is a setting of --method ${owners.join(", ")}; it cannot be combined with ${method}${because}: leave one of them out.`,
  );
}

/** The entries that have a value: engine options have to be absent, not undefined. */
function given<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  // Object.fromEntries loses the keys' types.
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
