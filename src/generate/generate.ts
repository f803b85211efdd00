// The decode loop: choose → emit → stop? → step, until an end token, a stop string or the length.
import { throwIfAborted } from "../errors.ts";
import type { Intervention } from "../models/layers/step.ts";
import type { DecoderRun } from "./decoder-run.ts";
import { Sampler, type SamplingOptions } from "./sampler.ts";
import { StopMatcher } from "./stop.ts";
import type { Choice, TokenLogProb } from "./token-chooser.ts";

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
export interface GenerateOptions {
  readonly maxNewTokens: number;
  readonly eosTokenIds: readonly number[];
  readonly stop: readonly string[];
  readonly sampling: SamplingOptions;
  /** Alternatives to report a token, 0 to 100. */
  readonly topLogProbs: number;
  readonly textStream: TextStream;
  readonly onToken: ((token: GeneratedToken) => void) | undefined;
  readonly signal: AbortSignal | undefined;
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
 * Generates from the logits that stand in the decoder's state.
 * @param prompt expanded ids of the prompt; the first new token takes the position after them
 * @param intervention acts on generated rows where its row range reaches them
 * @throws AbortError between tokens; GpuError when logits are not finite.
 */
export async function generate(
  run: DecoderRun,
  prompt: { readonly ids: Int32Array; readonly intervention: Intervention | undefined },
  options: GenerateOptions,
): Promise<Generated> {
  const stops = new StopMatcher(options.stop);
  const tokens: GeneratedToken[] = [];
  let text = "";
  let firstConfidence = 0;
  let finishReason: FinishReason = "length";
  throwIfAborted(options.signal, "Generation");
  for await (const { choice, tokenId, logProb } of chosenTokens(run, prompt, options)) {
    if (tokens.length === 0) firstConfidence = choice.confidence;
    const isEnd = options.eosTokenIds.includes(tokenId);
    const pushed = isEnd ? { text: "", isStopped: false } : stops.push(options.textStream.push(tokenId));
    const isOver = isEnd || pushed.isStopped || tokens.length + 1 === options.maxNewTokens;
    const rest = isOver && !pushed.isStopped ? finish(stops, options.textStream) : { text: "", isStopped: false };
    const token = { tokenId, logProb, text: pushed.text + rest.text, top: choice.top };
    tokens.push(token);
    text += token.text;
    options.onToken?.(token);
    if (isEnd) finishReason = "eos";
    else if (pushed.isStopped || rest.isStopped) finishReason = "stop";
    if (isOver) break;
    throwIfAborted(options.signal, "Generation");
  }
  return { tokens, text, finishReason, firstConfidence };
}

/** A choice and the token that was taken. */
interface ChosenToken extends TokenLogProb {
  readonly choice: Choice;
}

/** One token after the other; whoever has enough stops asking, and no step is run for nothing. */
async function* chosenTokens(
  run: DecoderRun,
  prompt: { readonly ids: Int32Array; readonly intervention: Intervention | undefined },
  options: GenerateOptions,
): AsyncGenerator<ChosenToken, void, void> {
  const { sampling, maxNewTokens, topLogProbs } = options;
  const { intervention } = prompt;
  if (sampling.temperature === 0 && sampling.repetitionPenalty === 1 && topLogProbs === 0) {
    const choices = run.greedyChoices(prompt.ids.length, { intervention, maxNewTokens });
    for await (const choice of choices) yield { choice, tokenId: choice.tokenId, logProb: choice.logProb };
    return;
  }
  const sampler = new Sampler(sampling);
  const seen = new Set(prompt.ids);
  for (let numTokens = 1; ; numTokens++) {
    if (sampling.repetitionPenalty !== 1) run.chooser.writeSeen(seen);
    const choice = await run.chooser.choose({
      repetitionPenalty: sampling.repetitionPenalty,
      topK: topLogProbs,
      stage: `choose token ${numTokens - 1}`,
    });
    const { tokenId, logProb } = sampling.temperature === 0 ? choice : await sample(run, sampler, choice);
    yield { choice, tokenId, logProb };
    seen.add(tokenId);
    await run.step([tokenId], prompt.ids.length + numTokens - 1, { intervention });
  }
}

function finish(stops: StopMatcher, textStream: TextStream): { readonly text: string; readonly isStopped: boolean } {
  const last = stops.push(textStream.flush());
  return last.isStopped ? last : { text: last.text + stops.flush(), isStopped: false };
}

async function sample(run: DecoderRun, sampler: Sampler, choice: Choice): Promise<TokenLogProb> {
  const logits = await run.chooser.readLogits();
  const tokenId = sampler.draw(logits);
  return { tokenId, logProb: (logits[tokenId] ?? 0) - choice.logSumExp };
}
