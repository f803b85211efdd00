// The decode loop: choose → emit → stop? → step, until an end token, a stop string or the length.
import { throwIfAborted } from "../errors.ts";
import { EXCLUDED_LOGIT } from "../gpu/ops/sampling.ts";
import type { ForwardOptions, Sequence } from "./sequence.ts";
import { StopMatcher } from "./stop.ts";
import type { TokenLogProb } from "./token-chooser.ts";
import type { ChosenToken, TokenPicker } from "./token-picker.ts";

/** Why generation ended. */
export type FinishReason = "eos" | "stop" | "length";

/** One generated token. */
export interface GeneratedToken extends TokenLogProb {
  /** The text that became complete with this token; stop strings are left out. */
  readonly text: string;
  /** The most probable tokens at this place, most probable first; empty unless asked for. */
  readonly top: readonly TokenLogProb[];
}

/** Turns ids into text as they come, holding back incomplete characters. */
export interface TextStream {
  push(tokenId: number): string;
  flush(): string;
}

/** Below it are log-probabilities of tokens that are ruled out, whatever a repetition penalty makes of them. */
const MIN_LOG_PROB = EXCLUDED_LOGIT / 1000;

/** What the loop is asked to do. */
export interface GenerateOptions {
  readonly maxNewTokens: number;
  readonly eosTokenIds: readonly number[];
  readonly stop: readonly string[];
  readonly textStream: TextStream;
  readonly signal?: AbortSignal | undefined;
}

/** What came out. */
export interface Generated {
  readonly tokens: readonly GeneratedToken[];
  readonly text: string;
  readonly finishReason: FinishReason;
  /** Confidence of the first token in the pass it was taken from. */
  readonly firstConfidence: number;
}

/**
 * Where the answer goes on, for its driver: `inside` a turn of the model, in which others wait, or `outside`, where the answer runs
 * nothing itself. `inside` where it is inside already lets those that wait run first.
 */
export type TurnChange = "inside" | "outside";

/**
 * Generates from chosen tokens and yields each as it comes.
 * @param chosen the tokens, as of {@link chosenTokens}; turn changes between them are handed on
 * @returns the whole
 * @throws AbortError between tokens; GpuError when logits are not finite.
 */
export async function* generate(
  chosen: AsyncGenerator<ChosenToken | TurnChange, void, void>,
  options: GenerateOptions,
): AsyncGenerator<GeneratedToken | TurnChange, Generated, void> {
  const stops = new StopMatcher(options.stop);
  const tokens: GeneratedToken[] = [];
  let text = "";
  let firstConfidence = 0;
  let finishReason: FinishReason = "length";
  throwIfAborted(options.signal, "Generation");
  for await (const next of chosen) {
    if (typeof next === "string") {
      yield next;
      continue;
    }
    const { choice, tokenId, logProb, isComplete } = next;
    if (tokens.length === 0) firstConfidence = choice.confidence;
    const isEos = options.eosTokenIds.includes(tokenId);
    const pushed = isEos ? { text: "", isStopped: false } : stops.push(options.textStream.push(tokenId));
    const isOver = isEos || isComplete || pushed.isStopped || tokens.length + 1 === options.maxNewTokens;
    const rest = isOver && !pushed.isStopped ? finish(stops, options.textStream) : { text: "", isStopped: false };
    const top = choice.top.filter(({ logProb }) => logProb > MIN_LOG_PROB);
    const token = { tokenId, logProb, text: pushed.text + rest.text, top };
    tokens.push(token);
    text += token.text;
    if (isEos) finishReason = "eos";
    else if (pushed.isStopped || rest.isStopped) finishReason = "stop";
    else if (isComplete) finishReason = "eos";
    yield token;
    if (isOver) break;
    throwIfAborted(options.signal, "Generation");
  }
  return { tokens, text, finishReason, firstConfidence };
}

/** How tokens are chosen step by step. */
export interface StepwiseOptions extends ForwardOptions {
  /** The first new token takes this position. */
  readonly promptLength: number;
  readonly maxNewTokens: number;
}

/**
 * Chooses tokens from the logits of a sequence, one step after the other; lazily: no step runs after the consumer stops.
 */
export async function* chosenTokens(
  sequence: Sequence,
  picker: TokenPicker,
  options: StepwiseOptions,
): AsyncGenerator<ChosenToken, void, void> {
  const { promptLength, executor } = options;
  if (picker.isPlain) {
    for await (const choice of sequence.greedyChoices(promptLength, options)) yield picker.takePlain(choice);
    return;
  }
  for (;;) {
    yield await picker.take(sequence, executor);
    const { numTaken, lastId } = picker;
    const stage = `decode step ${numTaken}`;
    await sequence.step([lastId], promptLength + numTaken - 1, { ...options, stage });
    await picker.ran();
  }
}

function finish(stops: StopMatcher, textStream: TextStream): { readonly text: string; readonly isStopped: boolean } {
  const last = stops.push(textStream.flush());
  return last.isStopped ? last : { text: last.text + stops.flush(), isStopped: false };
}
