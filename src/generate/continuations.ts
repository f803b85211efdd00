// Log-probabilities of given texts as continuations of a prompt, under whatever changes the answer: the first token of each from
// the logits that the answer begins with, the others by running its tokens once the answer is finished.
import { at, GpuError, InputError } from "../errors.ts";
import type { Batch, ForwardOptions, Sequence } from "./sequence.ts";
import type { LogitsChange } from "./token-picker.ts";

/** A text that could have been the answer. */
export interface Continuation {
  readonly text: string;
  readonly tokenIds: readonly number[];
  /** Natural logarithm of the probability of its first token at the answer's first position. */
  readonly firstLogProb: number;
  /** Natural logarithm of the probability of all its tokens, each given those before it; an end token is not among them. */
  readonly logProb: number;
}

/** How the tokens of an answer are run. */
interface Run {
  readonly sequence: Sequence;
  readonly promptLength: number;
  /** As for the answer's own steps. */
  readonly forward: ForwardOptions;
  readonly change?: LogitsChange | undefined;
  /** The rows that run; one row unless given. */
  readonly batch?: Batch | undefined;
}

/** The continuations of one prompt, for one row or for each row of a batch. */
export class ContinuationScorer {
  private readonly texts: readonly { readonly text: string; readonly tokenIds: readonly number[] }[];
  /** For each row, the log-probabilities of the tokens of each text that have been scored. */
  private rows: readonly (readonly number[][])[] = [];

  /**
   * @param tokenize ids of a text that follows the prompt
   * @throws InputError for a text without tokens.
   */
  constructor(texts: readonly string[], tokenize: (text: string) => readonly number[]) {
    this.texts = texts.map((text) => ({ text, tokenIds: tokenize(text) }));
    const empty = this.texts.find(({ tokenIds }) => tokenIds.length === 0);
    if (empty !== undefined) {
      throw new InputError(`continuations: expected texts with at least one token, got ${JSON.stringify(empty.text)}.`);
    }
  }

  /** Tokens of the longest text. */
  get maxTokens(): number {
    return Math.max(0, ...this.texts.map(({ tokenIds }) => tokenIds.length));
  }

  /** Scores the first tokens; the prompt has been run, and no token yet. */
  async first({ sequence, change, batch }: Run): Promise<void> {
    const logits = await changedLogits(sequence, { change, batch, index: 0 });
    this.rows = logits.map((row) => this.texts.map(({ tokenIds }) => [logProbability(row, at(tokenIds, 0))]));
  }

  /** Scores the other tokens, after the answer; the keys and values of the answer are overwritten. */
  async rest({ sequence, promptLength, forward, change, batch }: Run): Promise<void> {
    for (const [index, { text, tokenIds }] of this.texts.entries()) {
      for (const [place, tokenId] of tokenIds.slice(0, -1).entries()) {
        const stage = `step ${place + 1} of ${JSON.stringify(text)}`;
        const rowIds = new Array<number>(this.rows.length).fill(tokenId);
        await sequence.step(rowIds, promptLength + place, { ...forward, batch, stage });
        await change?.step(tokenId, place);
        const logits = await changedLogits(sequence, { change, batch, index: place + 1 });
        for (const [row, logProbs] of this.rows.entries()) {
          at(logProbs, index).push(logProbability(at(logits, row), at(tokenIds, place + 1)));
        }
      }
    }
  }

  /** What was scored in a row, in the order of the texts. */
  continuations(row = 0): readonly Continuation[] {
    return this.texts.map(({ text, tokenIds }, index) => {
      const logProbs = at(at(this.rows, row), index);
      return {
        text,
        tokenIds,
        firstLogProb: at(logProbs, 0),
        logProb: logProbs.reduce((sum, logProb) => sum + logProb, 0),
      };
    });
  }
}

/** The natural logarithm of a token's probability, from logits [V]. @throws GpuError for logits that are not finite. */
export function logProbability(logits: Float32Array, tokenId: number): number {
  const largest = logits.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
  const sum = logits.reduce((total, value) => total + Math.exp(value - largest), 0);
  const value = (logits[tokenId] ?? Number.NaN) - largest - Math.log(sum);
  if (Number.isFinite(value)) return value;
  throw new GpuError(
    "shader",
    "The logits are not finite numbers; check the checkpoint's weights, or try another adapter.",
  );
}

async function changedLogits(
  sequence: Sequence,
  of: { readonly change: LogitsChange | undefined; readonly batch: Batch | undefined; readonly index: number },
): Promise<Float32Array<ArrayBuffer>[]> {
  const rows = await sequence.chooser.readLogitsRows(of.batch?.numRows ?? 1);
  for (const row of rows) await of.change?.apply(row, of.index);
  return rows;
}
