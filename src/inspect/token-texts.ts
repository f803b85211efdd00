// Texts of single tokens.
import type { Tokenizer } from "../preprocess/tokenizer/tokenizer.ts";

/** Spells tokens one by one, special ones included. Decoders drop the space before a first word, so each token is decoded after a copy of itself. */
export class TokenTexts {
  private readonly tokenizer: Pick<Tokenizer, "decode">;
  private readonly known = new Map<number, string>();

  constructor(tokenizer: Pick<Tokenizer, "decode">) {
    this.tokenizer = tokenizer;
  }

  /** The text of a token. */
  of(tokenId: number): string {
    const known = this.known.get(tokenId);
    if (known !== undefined) return known;
    const decode = (ids: readonly number[]) => this.tokenizer.decode(ids, { skipSpecialTokens: false });
    const once = decode([tokenId]);
    const twice = decode([tokenId, tokenId]);
    const text = twice.startsWith(once) ? twice.slice(once.length) : once;
    this.known.set(tokenId, text);
    return text;
  }
}
