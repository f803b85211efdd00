// The sequences of a model: those in use, and idle ones whose keys and values may serve a prompt that begins alike.
import type { Executor } from "../gpu/executor.ts";
import type { LruBudget, LruItem } from "./lru-budget.ts";
import type { Prompt } from "./prompt.ts";
import { Sequence } from "./sequence.ts";
import type { SharedDecoder } from "./shared-decoder.ts";

/** Below this share of what an idle sequence holds, its keys and values are copied instead of overwritten. */
const ADOPTED_SHARE = 0.5;

/** A sequence, and how many of a prompt's first positions it can share. */
interface SharableSequence {
  readonly sequence: Sequence;
  readonly numSharable: number;
}

/** Lends sequences; idle ones count against a byte budget that they share with other caches. */
export class SequencePool {
  private readonly shared: SharedDecoder;
  private readonly budget: LruBudget;
  private readonly idle = new Map<Sequence, LruItem>();
  private readonly used = new Set<Sequence>();

  constructor(shared: SharedDecoder, budget: LruBudget) {
    this.shared = shared;
    this.budget = budget;
  }

  /**
   * The sequence that holds most of a prompt's beginning: an idle one, or a new one with the keys and values copied from
   * another. It is the caller's until {@link SequencePool.release}.
   * @returns the sequence, and the positions at the prompt's start that need not run
   */
  async acquire(
    prompt: Prompt,
    options: { readonly maxNewTokens: number; readonly executor: Executor; readonly batchRows?: number | undefined },
  ): Promise<{ readonly sequence: Sequence; readonly numReused: number }> {
    const best = this.bestFor(prompt);
    const adopted = this.adoptable(best);
    if (adopted !== undefined) {
      this.take(adopted);
      const keep = adopted === best?.sequence ? best.numSharable : adopted.sharable(prompt);
      try {
        await adopted.begin(prompt, { ...options, keep });
        return { sequence: adopted, numReused: keep };
      } catch (error) {
        this.discard(adopted);
        throw error;
      }
    }
    const sequence = new Sequence(this.shared);
    this.used.add(sequence);
    try {
      await sequence.begin(prompt, { ...options, keep: 0 });
      if (best === undefined) return { sequence, numReused: 0 };
      await sequence.copyFrom(best.sequence, best.numSharable, options.executor);
      return { sequence, numReused: best.numSharable };
    } catch (error) {
      this.discard(sequence);
      throw error;
    }
  }

  /** Gives a sequence back; what it holds stays until the budget is needed otherwise. A void one is freed. */
  release(sequence: Sequence): void {
    if (!this.used.delete(sequence)) return;
    if (sequence.isVoid) {
      sequence.dispose();
      return;
    }
    sequence.forgetGenerated();
    sequence.forgetEmbeddings(); // of a prompt that was stopped on the way
    const item: LruItem = {
      numBytes: sequence.numBytes,
      evict: () => {
        this.idle.delete(sequence);
        sequence.dispose();
      },
    };
    this.idle.set(sequence, item);
    this.budget.use(item);
  }

  /** Frees a sequence that failed. */
  discard(sequence: Sequence): void {
    this.used.delete(sequence);
    sequence.dispose();
  }

  /** An idle sequence to go on with: one that holds much of the prompt, or the oldest where the budget has no more room. */
  private adoptable(best: SharableSequence | undefined): Sequence | undefined {
    if (best !== undefined && this.idle.has(best.sequence)) {
      if (best.numSharable >= ADOPTED_SHARE * best.sequence.numHeld) return best.sequence;
    }
    const [oldest] = this.idle.keys();
    if (oldest === undefined) return undefined;
    if (oldest.numHeld === 0) return oldest;
    return this.budget.numBytes + oldest.numBytes > this.budget.maxBytes ? oldest : undefined;
  }

  /** The sequence that shares most of the prompt's beginning; undefined when none shares any of it. */
  private bestFor(prompt: Prompt): SharableSequence | undefined {
    let best: SharableSequence | undefined;
    for (const sequence of [...this.idle.keys(), ...this.used]) {
      const numSharable = sequence.isVoid ? 0 : sequence.sharable(prompt); // compares pictures, so it is asked for once
      if (numSharable > (best?.numSharable ?? 0)) best = { sequence, numSharable };
    }
    return best;
  }

  private take(sequence: Sequence): void {
    const item = this.idle.get(sequence);
    if (item !== undefined) this.budget.remove(item);
    this.idle.delete(sequence);
    this.used.add(sequence);
  }
}
