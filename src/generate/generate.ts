// The decode loop: choose → emit → stop? → step, until an end token, a stop string or the length.
import { throwIfAborted } from "../errors.ts";
import { Sampler, type SamplingOptions } from "./sampler.ts";
import type { ForwardOptions, Sequence } from "./sequence.ts";
import { StopMatcher } from "./stop.ts";
import type { TokenChoice, TokenLogProb } from "./token-chooser.ts";

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

/** What the loop is asked to do. */
export interface GenerateOptions extends ForwardOptions {
  readonly maxNewTokens: number;
  readonly eosTokenIds: readonly number[];
  readonly stop: readonly string[];
  readonly sampling: SamplingOptions;
  /** Number of most probable tokens to report at each position, 0 to 100. */
  readonly topLogProbs: number;
  readonly textStream: TextStream;
  readonly change?: LogitsChange | undefined;
}

/** Changes the logits of every token before one is chosen. */
export interface LogitsChange {
  /** Changes the logits [V] that token `index` is chosen from, in place. */
  apply(logits: Float32Array<ArrayBuffer>, index: number): Promise<void>;
  /** Runs token `index` where the logits that it changes by come from, after it was run in the sequence itself. */
  step(tokenId: number, index: number): Promise<void>;
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
 * Generates from the current logits of a sequence and yields each token as it is chosen.
 * @param promptIds expanded ids of the prompt; the first new token takes the position after them
 * @returns the whole
 * @throws AbortError between tokens; GpuError when logits are not finite.
 */
export async function* generate(
  sequence: Sequence,
  promptIds: Int32Array,
  options: GenerateOptions,
): AsyncGenerator<GeneratedToken, Generated, void> {
  const stops = new StopMatcher(options.stop);
  const tokens: GeneratedToken[] = [];
  let text = "";
  let firstConfidence = 0;
  let finishReason: FinishReason = "length";
  throwIfAborted(options.signal, "Generation");
  for await (const { choice, tokenId, logProb } of chosenTokens(sequence, promptIds, options)) {
    if (tokens.length === 0) firstConfidence = choice.confidence;
    const isEnd = options.eosTokenIds.includes(tokenId);
    const pushed = isEnd ? { text: "", isStopped: false } : stops.push(options.textStream.push(tokenId));
    const isOver = isEnd || pushed.isStopped || tokens.length + 1 === options.maxNewTokens;
    const rest = isOver && !pushed.isStopped ? finish(stops, options.textStream) : { text: "", isStopped: false };
    const token = { tokenId, logProb, text: pushed.text + rest.text, top: choice.top };
    tokens.push(token);
    text += token.text;
    if (isEnd) finishReason = "eos";
    else if (pushed.isStopped || rest.isStopped) finishReason = "stop";
    yield token;
    if (isOver) break;
    throwIfAborted(options.signal, "Generation");
  }
  return { tokens, text, finishReason, firstConfidence };
}

/** A choice and the token that was taken. */
interface ChosenToken extends TokenLogProb {
  readonly choice: TokenChoice;
}

/** Yields lazily; no step runs after the consumer stops. */
async function* chosenTokens(
  sequence: Sequence,
  promptIds: Int32Array,
  options: GenerateOptions,
): AsyncGenerator<ChosenToken, void, void> {
  const { sampling, topLogProbs, executor, change } = options;
  if (change === undefined && sampling.temperature === 0 && sampling.repetitionPenalty === 1 && topLogProbs === 0) {
    const choices = sequence.greedyChoices(promptIds.length, options);
    for await (const choice of choices) yield { choice, tokenId: choice.tokenId, logProb: choice.logProb };
    return;
  }
  const { chooser } = sequence;
  const sampler = new Sampler(sampling);
  const seen = new Set(promptIds);
  for (let numTokens = 0; ; numTokens++) {
    if (change !== undefined) await changeLogits(sequence, change, numTokens);
    if (sampling.repetitionPenalty !== 1) chooser.writeSeen(seen);
    const choice = await chooser.choose(executor, {
      repetitionPenalty: sampling.repetitionPenalty,
      topK: topLogProbs,
      stage: `choose token ${numTokens}`,
    });
    const { tokenId, logProb } = sampling.temperature === 0 ? choice : await sample(sequence, sampler, choice);
    yield { choice, tokenId, logProb };
    seen.add(tokenId);
    const stage = `decode step ${numTokens + 1}`;
    await sequence.step([tokenId], promptIds.length + numTokens, { ...options, stage });
    await change?.step(tokenId, numTokens);
  }
}

function finish(stops: StopMatcher, textStream: TextStream): { readonly text: string; readonly isStopped: boolean } {
  const last = stops.push(textStream.flush());
  return last.isStopped ? last : { text: last.text + stops.flush(), isStopped: false };
}

async function changeLogits(sequence: Sequence, change: LogitsChange, index: number): Promise<void> {
  const logits = await sequence.chooser.readLogits();
  await change.apply(logits, index);
  sequence.gpu.write(sequence.buffers.logits, logits);
}

async function sample(sequence: Sequence, sampler: Sampler, choice: TokenChoice): Promise<TokenLogProb> {
  const logits = await sequence.chooser.readLogits();
  const tokenId = sampler.draw(logits);
  const logit = logits[tokenId];
  if (logit === undefined) throw new RangeError(`sampler: expected a token below ${logits.length}, got ${tokenId}`);
  return { tokenId, logProb: logit - choice.logSumExp };
}
