// Takes one token after the other from rows of logits, as the options of an answer say: penalties and changes, then the most probable
// token or a draw.
import type { Gpu } from "../gpu/device.ts";
import type { Executor } from "../gpu/executor.ts";
import type { SequenceBuffers } from "../models/layers/decoder-state.ts";
import { Sampler, type SamplingOptions } from "./sampler.ts";
import type { TokenChoice, TokenChooser, TokenLogProb } from "./token-chooser.ts";

/** A choice, and the token that was taken: another one where tokens are drawn. */
export interface ChosenToken extends TokenLogProb {
  readonly choice: TokenChoice;
  /** Whether a constraint lets nothing but an end token follow. */
  readonly isComplete: boolean;
}

/** Changes the logits of every token before one is chosen. */
export interface LogitsChange {
  /** Changes the logits [V] that token `index` is chosen from, in place. */
  apply(logits: Float32Array<ArrayBuffer>, index: number): Promise<void>;
  /** Runs token `index` where the logits that it changes by come from, after it was run in the sequence itself. */
  step(tokenId: number, index: number): Promise<void>;
}

/** Rules tokens out, of one answer: what is left keeps it within a language. */
export interface TokenConstraint {
  /**
   * The tokens that may come next, [ceil(V / 32)]: bit v % 32 of word v / 32. The caller does not change it.
   * @throws InputError when there is none.
   */
  mask(): Uint32Array<ArrayBuffer>;
  /** Goes on behind a token that may come. */
  accept(tokenId: number): void;
  /** Whether the answer is complete: nothing but an end token may come. */
  readonly isOver: boolean;
}

/** How tokens are taken. */
export interface PickOptions {
  readonly sampling: SamplingOptions;
  /** Number of most probable tokens to report at each position, 0 to 100. */
  readonly topLogProbs: number;
  readonly change?: LogitsChange | undefined;
  readonly constraint?: TokenConstraint | undefined;
}

/** One row of logits on the GPU, and what chooses from it. */
export interface LogitsRow {
  readonly gpu: Gpu;
  readonly buffers: Pick<SequenceBuffers, "logits">;
  readonly chooser: TokenChooser;
}

/** Takes the tokens of one answer. */
export class TokenPicker {
  private readonly options: PickOptions;
  private readonly sampler: Sampler;
  /** Ids that the repetition penalty acts on. */
  private readonly seen: Set<number>;
  private last: TokenLogProb | undefined;
  private count = 0;

  /** @param promptIds expanded ids of the prompt */
  constructor(promptIds: Int32Array, options: PickOptions) {
    this.options = options;
    this.sampler = new Sampler(options.sampling);
    this.seen = new Set(promptIds);
  }

  /** Whether the most probable token of the logits as they are is taken, and nothing else is read of them. */
  get isPlain(): boolean {
    const { change, constraint, sampling, topLogProbs } = this.options;
    const { temperature, repetitionPenalty } = sampling;
    if (change !== undefined || constraint !== undefined) return false;
    return temperature === 0 && repetitionPenalty === 1 && topLogProbs === 0;
  }

  /** Tokens taken so far. */
  get numTaken(): number {
    return this.count;
  }

  /** The token taken last. @throws RangeError before the first. */
  get lastId(): number {
    if (this.last === undefined) throw new RangeError("No token was taken yet.");
    return this.last.tokenId;
  }

  /** Takes a choice as it is, of a picker that {@link isPlain}. */
  takePlain(choice: TokenChoice): ChosenToken {
    return this.taken(choice, tokenOf(choice));
  }

  /** Takes the next token from a row of logits. @throws GpuError when they are not finite. */
  async take(row: LogitsRow, executor: Executor): Promise<ChosenToken> {
    const { sampling, topLogProbs, change, constraint } = this.options;
    const { temperature, repetitionPenalty } = sampling;
    const { chooser, gpu, buffers } = row;
    const mask = async () => constraint && chooser.mask(executor, constraint.mask(), `mask of token ${this.count}`);
    if (change !== undefined) {
      await mask(); // a contrast's plausible tokens are those of the constraint
      const logits = await chooser.readLogits();
      await change.apply(logits, this.count);
      gpu.write(buffers.logits, logits);
    }
    await mask();
    if (repetitionPenalty !== 1) chooser.writeSeen(this.seen);
    const stage = `choose token ${this.count}`;
    const choice = await chooser.choose(executor, { repetitionPenalty, topK: topLogProbs, stage });
    return this.taken(choice, temperature === 0 ? tokenOf(choice) : await this.draw(chooser, choice));
  }

  /** Says that the token taken last was run in the sequence. */
  async ran(): Promise<void> {
    await this.options.change?.step(this.lastId, this.count - 1);
  }

  private taken(choice: TokenChoice, token: TokenLogProb): ChosenToken {
    const { constraint } = this.options;
    this.count++;
    this.last = token;
    this.seen.add(token.tokenId);
    constraint?.accept(token.tokenId);
    return { choice, ...token, isComplete: constraint?.isOver === true };
  }

  private async draw(chooser: TokenChooser, choice: TokenChoice): Promise<TokenLogProb> {
    const logits = await chooser.readLogits();
    const tokenId = this.sampler.draw(logits);
    const logit = logits[tokenId];
    if (logit === undefined) throw new RangeError(`sampler: expected a token below ${logits.length}, got ${tokenId}`);
    return { tokenId, logProb: logit - choice.logSumExp };
  }
}

function tokenOf({ tokenId, logProb }: TokenChoice): TokenLogProb {
  return { tokenId, logProb };
}
