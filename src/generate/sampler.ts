// Sampling from a row of logits: temperature, top-k, top-p, in the order of transformers' logits processors, in f64.
import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";
import { at } from "../errors.ts";
import { numberFrom, type Schema, whole } from "../options.ts";

/** How tokens are drawn; `temperature` 0 is greedy decoding. */
export interface SamplingOptions {
  readonly temperature: number;
  /** Keep the k most probable tokens; 0 keeps all. */
  readonly topK: number;
  /** Keep the fewest most probable tokens whose probabilities reach p; 1 keeps all. */
  readonly topP: number;
  /** Divides positive and multiplies negative logits of tokens seen so far; 1 does nothing. */
  readonly repetitionPenalty: number;
  /** Same seed, same prompt, same adapter: same tokens. */
  readonly seed: number;
}

/** Greedy decoding. */
export const GREEDY: SamplingOptions = { temperature: 0, topK: 0, topP: 1, repetitionPenalty: 1, seed: 0 };

/** What each option may be. */
export const SAMPLING: Schema<SamplingOptions> = {
  temperature: numberFrom({ least: 0 }),
  topK: whole(0),
  topP: numberFrom({ above: 0, most: 1 }),
  repetitionPenalty: numberFrom({ above: 0 }),
  seed: numberFrom({ isWhole: true }),
};

/** Draws tokens with one random stream; make one per answer. */
export class Sampler {
  private readonly options: SamplingOptions;
  private readonly random: ReturnType<typeof xoroshiro128plus>;

  constructor(options: SamplingOptions) {
    this.options = options;
    this.random = xoroshiro128plus(options.seed);
  }

  /**
   * Draws from softmax(logits / temperature) cut to top-k, then to top-p.
   * @param logits [V], finite, the repetition penalty already applied
   */
  draw(logits: ArrayLike<number>): number {
    const { temperature, topK, topP } = this.options;
    const order = Array.from(logits, (_, tokenId) => tokenId);
    // Probable first; equal logits stay in the order of their ids, since sorting is stable.
    order.sort((a, b) => at(logits, b) - at(logits, a));
    const kept = topK > 0 ? order.slice(0, topK) : order;
    const largest = at(logits, at(kept, 0));
    const weights = kept.map((tokenId) => Math.exp((at(logits, tokenId) - largest) / temperature));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    let numKept = 0;
    let mass = 0;
    // Ends at the last weight at the latest, where mass has become total, both summed in the same order.
    while (mass < topP * total) mass += at(weights, numKept++);
    let rest = uniformFloat64(this.random) * mass;
    for (let i = 0; i < numKept; i++) {
      rest -= at(weights, i);
      if (rest < 0) return at(kept, i);
    }
    return at(kept, numKept - 1);
  }
}
