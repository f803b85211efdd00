// Options that several commands share: the model, the question, the method and the sampling.

import { type Command, Option } from "commander";
import { MAX_FACTOR, type Method, type ScaledRows } from "../adaptvis.ts";
import type { AnswerOptions, Question, SweepOptions } from "../answer.ts";
import type { CheckpointSettings } from "../checkpoint-settings.ts";
import { WEIGHT_DTYPES, type WeightDtype } from "../gpu/tensor.ts";
import { DEFAULT_MAX_NEW_TOKENS } from "../settings.ts";
import { indexList, numberFrom, repeated, scaledRows, someText, wholeFrom } from "./checks.ts";
import { commandName } from "./package-files.ts";
import { UsageError } from "./session.ts";

/** Options of the model, as parsed. */
export interface ModelFlags {
  readonly model?: string;
  readonly dtype?: WeightDtype;
  readonly tune?: boolean;
}

/** Adds `--model`, `--dtype` and `--tune`. @param what describes `--model` */
export function addModelOptions(command: Command, what: string): Command {
  return command
    .option("--model <folder>", what, someText)
    .addOption(dtypeOption("how weight matrices are stored on the GPU (default: as in the checkpoint)"))
    .option("--tune", "measure the kernels' constants on this GPU the first time, and use what was measured");
}

/** `--dtype`, with the dtypes that weights may have. */
export function dtypeOption(what: string): Option {
  return new Option("--dtype <dtype>", what).choices(WEIGHT_DTYPES);
}

/** Options of the picture and the question, as parsed. */
export interface QuestionFlags extends PictureFlags {
  readonly prompt?: string;
  readonly system?: string;
}

/** Options of the model and the picture, as parsed. */
export interface PictureFlags extends ModelFlags {
  readonly image?: string;
  readonly exif: boolean;
}

/** Adds the question and its options. */
export function addQuestionOptions(command: Command): Command {
  return addPictureOptions(command.argument("[question]", "put into the model's chat template"))
    .option("--prompt <text>", "the whole prompt, <image> where the picture goes, instead of a question", someText)
    .option("--system <text>", "text before the question, where the chat template takes one");
}

/** Adds the options of the model and the picture. */
export function addPictureOptions(command: Command): Command {
  return addModelOptions(command, "a LLaVA checkpoint in Hugging Face's layout (default: the embedded tiny-spatial)")
    .option("--image <file>", "the picture: JPEG, PNG or WebP", someText)
    .option("--no-exif", "leave the picture as it is stored, without the camera's orientation");
}

/** The engine's words of a question. */
export function wordsOf(
  question: string | undefined,
  flags: QuestionFlags,
): Pick<Question, "question" | "prompt" | "system"> {
  return {
    ...(question !== undefined && { question }),
    ...(flags.prompt !== undefined && { prompt: flags.prompt }),
    ...(flags.system !== undefined && { system: flags.system }),
  };
}

/**
 * @param command the command's name, for the example in the message
 * @throws UsageError unless there is a question or a prompt, one of them, and words in it.
 */
export function checkWords(question: string | undefined, flags: QuestionFlags, command: string): void {
  if (question !== undefined && flags.prompt !== undefined) {
    throw new UsageError("There is a question and a --prompt: give one of them.");
  }
  const text = question ?? flags.prompt;
  if (text === undefined) {
    throw new UsageError(
      `There is no question: write it in quotes, such as ${commandName()} ${command} --image photo.jpg "What is in the picture?".`,
    );
  }
  if (text.trim() === "") throw new UsageError("The question is empty: give at least one word.");
}

/** Options of where a factor acts, as parsed. */
export interface PlaceFlags {
  readonly layers?: readonly number[];
  readonly heads?: readonly number[];
}

/** Options of an answer's length, as parsed. */
export interface LengthFlags {
  readonly maxNewTokens?: number;
  readonly ignoreEos?: boolean;
}

/** Options of the method, as parsed. */
export interface MethodFlags extends PlaceFlags, LengthFlags {
  readonly method?: Method;
  readonly factor?: number;
  readonly alpha1?: number;
  readonly alpha2?: number;
  readonly beta?: number;
  readonly rows?: ScaledRows;
}

/** Options of sampling, as parsed. */
export interface SamplingFlags {
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly repetitionPenalty?: number;
  readonly seed?: number;
  readonly stop?: readonly string[];
  readonly logProbs?: number;
}

/** What a model's own adaptvis.json says. */
export type ModelSettings = CheckpointSettings;

/** Adds the options of the method. @param maxNewTokens the longest answer unless `--max-new-tokens` says otherwise */
export function addMethodOptions(command: Command, maxNewTokens = DEFAULT_MAX_NEW_TOKENS): Command {
  const factor = numberFrom({ least: 0, most: MAX_FACTOR });
  command
    .addOption(
      new Option(
        "--method <name>",
        "greedy: unmodified; scaling: one factor; adaptvis: the confidence chooses",
      ).choices(["greedy", "scaling", "adaptvis"]),
    )
    .option("--factor <number>", "ScalingVis' factor; implies --method scaling", factor)
    .option("--alpha1 <number>", "AdaptVis' factor below beta; implies --method adaptvis", factor)
    .option("--alpha2 <number>", "AdaptVis' factor from beta on; implies --method adaptvis", factor)
    .option("--beta <number>", "AdaptVis' threshold; implies --method adaptvis", numberFrom({ least: 0, most: 1 }));
  addPlaceOptions(command).option(
    "--rows <rows>",
    "rows that the factor acts on: last, generated, or the last N of the prompt",
    scaledRows,
  );
  return addLengthOptions(command, maxNewTokens);
}

/** Adds the options of where a factor acts. */
export function addPlaceOptions(command: Command): Command {
  return command
    .option("--layers <list>", 'layers that the factor acts on, such as "0,1" or "8-15" (default: all)', indexList)
    .option("--heads <list>", "heads that the factor acts on (default: all)", indexList);
}

/** Adds the options of an answer's length. */
export function addLengthOptions(command: Command, maxNewTokens: number): Command {
  return command
    .option("--max-new-tokens <number>", "longest answer", wholeFrom(1), maxNewTokens)
    .option("--ignore-eos", "go on past the end token, up to --max-new-tokens");
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
    .option("--log-probs <number>", "alternatives to report a token (with --json), at most 100", wholeFrom(0, 100));
}

/**
 * The engine's options; what is not on the command line comes from the model's adaptvis.json, else from the engine.
 * @throws UsageError for options that contradict each other.
 */
export function methodOptions(flags: MethodFlags, own: ModelSettings): AnswerOptions & { readonly method: Method } {
  const { alpha1, alpha2, beta, rows } = flags;
  const method = methodOf(flags);
  const adaptvis = { alpha1: alpha1 ?? own.alpha1, alpha2: alpha2 ?? own.alpha2, beta: beta ?? own.beta };
  return {
    method,
    ...given({ factor: flags.factor ?? own.scalingFactor }),
    adaptvis: given(adaptvis),
    ...given({ rows }),
    ...sweepOptions(flags),
  };
}

/** The engine's options of a sweep. */
export function sweepOptions(flags: PlaceFlags & LengthFlags): SweepOptions {
  const { layers, heads, maxNewTokens, ignoreEos } = flags;
  return given({ layers, heads, maxNewTokens, ignoreEos });
}

/** The engine's options of sampling. */
export function samplingOptions(flags: SamplingFlags): AnswerOptions {
  const { temperature, topK, topP, repetitionPenalty, seed } = flags;
  return {
    sampling: given({ temperature, topK, topP, repetitionPenalty, seed }),
    ...given({ stop: flags.stop, topLogProbs: flags.logProbs }),
  };
}

/** The method on the command line, or the one that the other options imply. */
export function methodOf(flags: MethodFlags): Method {
  const { alpha1, alpha2, beta } = flags;
  const hasFactor = flags.factor !== undefined;
  const hasSettings = [alpha1, alpha2, beta].some((value) => value !== undefined);
  const method = flags.method ?? (hasFactor ? "scaling" : hasSettings ? "adaptvis" : "greedy");
  if (hasFactor && method !== "scaling") {
    throw new UsageError(
      `--factor is ScalingVis' and cannot go with ${flags.method ?? "AdaptVis' options"}: leave one out.`,
    );
  }
  if (hasSettings && method !== "adaptvis") {
    throw new UsageError(`--alpha1, --alpha2 and --beta are AdaptVis' and cannot go with ${method}: leave them out.`);
  }
  const hasPlace = flags.layers ?? flags.heads ?? flags.rows;
  if (hasPlace !== undefined && method === "greedy") {
    throw new UsageError("--layers, --heads and --rows say where a factor acts: choose --method scaling or adaptvis.");
  }
  return method;
}

/** The entries that have a value; an engine option must be absent, not undefined. */
function given<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  // Object.fromEntries loses the keys' types.
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
