// Answers that are one of several given texts: at every token, only those remain possible that continue one of them.
import { InputError } from "../errors.ts";
import type { LogitsChange } from "./token-picker.ts";

/** The logit of a token that is not possible: its probability is 0. */
const EXCLUDED = -1e9;

/** Rules out what continues none of the texts. */
export class Choices implements LogitsChange {
  private readonly inner: LogitsChange | undefined;
  private readonly endIds: readonly number[];
  /** Token ids of the texts that are still possible. */
  private possible: readonly (readonly number[])[];

  /**
   * @param texts at least one; each may begin with a space or not, as the model prefers
   * @param options.tokensOf ids of a text that follows a prompt
   * @param options.endIds ids that end an answer
   * @param options.inner changes the logits before
   * @throws InputError without an id that ends an answer, and for a text without a token.
   */
  constructor(
    texts: readonly string[],
    options: {
      readonly tokensOf: (text: string) => readonly number[];
      readonly endIds: readonly number[];
      readonly inner: LogitsChange | undefined;
    },
  ) {
    const { tokensOf, endIds, inner } = options;
    if (endIds.length === 0) {
      throw new InputError("choices: the answer needs a token that ends it, but there is none; leave out ignoreEos.");
    }
    const spelled = texts.flatMap((text) => (text.startsWith(" ") ? [text] : [text, ` ${text}`]));
    this.possible = spelled.map(tokensOf);
    const empty = this.possible.findIndex((ids) => ids.length === 0);
    if (empty >= 0) throw new InputError("choices: a text is empty: give words.");
    this.endIds = endIds;
    this.inner = inner;
  }

  /** As {@link LogitsChange.apply}. */
  async apply(logits: Float32Array<ArrayBuffer>, index: number): Promise<void> {
    await this.inner?.apply(logits, index);
    const allowed = new Set<number>();
    for (const ids of this.possible) {
      const next = ids[index];
      if (next !== undefined) allowed.add(next);
      else for (const id of this.endIds) allowed.add(id);
    }
    for (let id = 0; id < logits.length; id++) {
      if (!allowed.has(id)) logits[id] = EXCLUDED;
    }
  }

  /** As {@link LogitsChange.step}. */
  async step(tokenId: number, index: number): Promise<void> {
    this.possible = this.possible.filter((ids) => ids[index] === tokenId);
    await this.inner?.step(tokenId, index);
  }
}
