// The parts that the options of an answer add to it: what scores, constrains, reads and writes.
import type { AnswerOptions } from "./answer.ts";
import { InputError } from "./errors.ts";
import { ContinuationScorer } from "./generate/continuations.ts";
import type { LogitsChange, TokenConstraint } from "./generate/token-picker.ts";
import { inspection } from "./inspect/inspection-loader.ts";
import type { PlaceRead, Places } from "./inspect/places.ts";
import type { TraceTensor } from "./inspect/trace.ts";
import type { Llava } from "./llava.ts";
import type { ModelInputs } from "./models/inputs.ts";
import type { Settings } from "./settings.ts";

/** What a trace collects beside the answer. */
export interface TraceSink {
  readonly tensors: TraceTensor[];
  /** Whether the decode steps are traced too. */
  readonly generated: boolean;
}

/** @throws InputError for texts that are not a list, are empty or do not fit the context behind the prompt. */
export function scorerOf(
  { processor, config }: Llava,
  texts: AnswerOptions["continuations"],
  promptLength: number,
): ContinuationScorer | undefined {
  if (texts === undefined) return undefined;
  const scorer = new ContinuationScorer(texts, (text) => processor.continuationTokens(text));
  const room = config.text.maxPositionEmbeddings - promptLength + 1; // the last token is not run
  if (scorer.maxTokens <= room) return scorer;
  throw new InputError(
    `continuations: expected at most ${room} tokens behind the prompt of ${promptLength}, got ${scorer.maxTokens}; shorten them or the prompt.`,
  );
}

/** What leaves only the choices of the options possible, behind another change of the logits. @throws InputError. */
export async function choosing(
  { processor }: Llava,
  { choices, ignoreEos }: AnswerOptions,
  inner: LogitsChange | undefined,
): Promise<LogitsChange | undefined> {
  if (choices === undefined) return inner;
  const { Choices } = await import("./generate/choices.ts"); // a chunk of its own for bundlers
  const endIds = ignoreEos === true ? [] : processor.eosTokenIds;
  return new Choices(choices, { tokensOf: (text) => processor.continuationTokens(text), endIds, inner });
}

/** What keeps the answer within the options' JSON schema. @throws InputError. */
export async function constraintOf(model: Llava, options: AnswerOptions): Promise<TokenConstraint | undefined> {
  if (options.jsonSchema === undefined) return undefined;
  const { answerConstraint } = await import("./generate/grammar/json-constraint.ts"); // a chunk of its own for bundlers
  return answerConstraint(options.jsonSchema, options, model);
}

/** The places that `read` names. */
export async function readsOf(
  model: Llava,
  read: AnswerOptions["read"],
  run: { readonly inputs: ModelInputs; readonly settings: Settings },
): Promise<readonly PlaceRead[]> {
  if (read === undefined || read.length === 0) return [];
  const { expandReads, readContext } = await inspection();
  return expandReads(read, readContext(model, run.inputs, run.settings.maxNewTokens));
}

/** What reads and writes on the way; undefined where nothing is asked for. */
export async function placesOf(
  { gpu, config }: Llava,
  options: Pick<AnswerOptions, "attention" | "write"> & { readonly read: readonly PlaceRead[] },
  run: { readonly settings: Settings; readonly promptLength: number; readonly trace: TraceSink | undefined },
): Promise<Places | undefined> {
  const { settings, promptLength, trace } = run;
  const isTraced = trace !== undefined;
  const isAsked = options.read.length > 0 || (options.write ?? []).length > 0;
  if (!isAsked && !isTraced && options.attention !== true) return undefined;
  const { attentionReads, Places, traceReads } = await inspection();
  const reads: PlaceRead[] = [...options.read];
  if (isTraced) reads.push(...traceReads(config.text, promptLength, trace.generated ? settings.maxNewTokens - 1 : 0));
  else if (options.attention === true) reads.push(...attentionReads(config.text));
  const maxPositions = promptLength + settings.maxNewTokens;
  return new Places(gpu, config.text, { reads, writes: options.write, promptLength, maxPositions });
}
