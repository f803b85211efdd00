// The added tokens of a tokenizer, which are found in a text before it is split.
// Source: tokenizers 0.23.3, src/tokenizer/added_vocabulary.rs.

import { shown } from "../../errors.ts";
import { refuse, type Work } from "./json.ts";
import { classTest } from "./pattern-parser.ts";
import type { AddedToken, NumberedToken } from "./special-tokens.ts";

/** A part of a text: an added token with its id, or text between them. */
export interface Section {
  readonly text: string;
  readonly start: number;
  readonly id: number | undefined;
}

/** A tokenizer's added tokens, by their place in the text before or after it is normalized. */
export interface AddedTokens {
  readonly idOf: ReadonlyMap<string, number>;
  /** How a token is written when it is decoded. */
  readonly textOf: ReadonlyMap<number, string>;
  /** Texts that are left out when special tokens are skipped. */
  readonly special: ReadonlySet<string>;
  split(text: string, kind: "plain" | "normalized", work: Work): readonly Section[];
}

/** Characters of an added token. */
const MAX_TOKEN_LENGTH = 1024;

/**
 * Prepares the added tokens.
 * @param vocabulary the model's ids
 * @param normalize the tokenizer's normalizer
 * @throws CheckpointError for a token that Hugging Face's tokenizers would give another id, or refuse.
 */
export function prepareAddedTokens(
  tokens: readonly NumberedToken[],
  vocabulary: ReadonlyMap<string, number>,
  normalize: (text: string) => string,
): AddedTokens {
  const idOf = new Map<string, number>();
  const textOf = new Map<number, string>();
  const special = new Set<string>();
  const plain = new Trie();
  const normalized = new Trie();
  const byId = new Map<number, AddedToken>();
  let next = vocabulary.size;
  for (const token of tokens) {
    const where = `the added token ${shown(token.content)}`;
    if (token.content.length > MAX_TOKEN_LENGTH) throw refuse(where, `has more than ${MAX_TOKEN_LENGTH} characters.`);
    const known = vocabulary.get(token.content);
    const id = known ?? next;
    if (known === undefined) next++;
    if (id !== token.id) {
      throw refuse(where, `has the id ${shown(token.id)}, but tokenizers gives it ${id}: correct added_tokens.`);
    }
    const text = token.normalized ? normalize(token.content) : token.content;
    if (text === "") throw refuse(where, "is empty once normalized: remove it from added_tokens.");
    if (!(token.normalized ? normalized : plain).add(text, id)) {
      throw refuse(where, "is the same as another one: remove one from added_tokens.");
    }
    idOf.set(token.content, id);
    textOf.set(id, text);
    byId.set(id, token);
    if (token.special) special.add(token.content);
  }
  return {
    idOf,
    textOf,
    special,
    split: (text, kind, work) => sectionsOf(text, { trie: kind === "plain" ? plain : normalized, byId, work }),
  };
}

const isWord = classTest("\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}");
const isSpace = classTest("\\p{White_Space}");

/** As find_matches: the leftmost longest tokens, with the white space that they take. */
function sectionsOf(
  text: string,
  { trie, byId, work }: { readonly trie: Trie; readonly byId: ReadonlyMap<number, AddedToken>; readonly work: Work },
): readonly Section[] {
  const sections: Section[] = [];
  const push = (start: number, end: number, id?: number) => sections.push({ text: text.slice(start, end), start, id });
  let last = 0;
  for (let at = 0; at < text.length; ) {
    const match = trie.longest(text, at, work);
    if (match === undefined) {
      at++;
      continue;
    }
    let start = at;
    let end = at + match.length;
    at = end;
    const token = byId.get(match.id);
    if (token?.single_word && (isWordAround(text, start, "before") || isWordAround(text, end, "after"))) continue;
    if (token?.lstrip) while (start > last && isSpace(text.charCodeAt(start - 1))) start--;
    if (token?.lstrip) start = Math.max(start, last);
    if (token?.rstrip) while (end < text.length && isSpace(text.charCodeAt(end))) end++;
    if (last < start) push(last, start);
    push(start, end, match.id);
    last = end;
  }
  if (last !== text.length) push(last, text.length);
  return sections;
}

function isWordAround(text: string, at: number, side: "before" | "after"): boolean {
  const isPair = side === "before" && /^[\udc00-\udfff]/.test(text.charAt(at - 1));
  const codePoint = text.codePointAt(side === "after" ? at : isPair ? at - 2 : at - 1);
  return codePoint !== undefined && isWord(codePoint);
}

/** Texts by their UTF-16 units, in one map from a node and a unit to the next node. */
export class Trie {
  private readonly children = new Map<number, number>();
  private readonly ids = new Map<number, number>();

  /** @returns false for a text that is there already */
  add(text: string, id: number): boolean {
    let node = 0;
    for (let index = 0; index < text.length; index++) {
      const key = node * 0x10000 + text.charCodeAt(index);
      let child = this.children.get(key);
      if (child === undefined) {
        child = this.children.size + 1;
        this.children.set(key, child);
      }
      node = child;
    }
    const isNew = !this.ids.has(node);
    this.ids.set(node, id);
    return isNew;
  }

  /** The texts that begin at a place, from the shortest to the longest. */
  *prefixes(text: string, start: number, work: Work): Generator<{ readonly id: number; readonly length: number }> {
    let node: number | undefined = 0;
    for (let at = start; at < text.length; at++) {
      node = this.children.get(node * 0x10000 + text.charCodeAt(at));
      work.spend(1);
      if (node === undefined) return;
      const id = this.ids.get(node);
      if (id !== undefined) yield { id, length: at + 1 - start };
    }
  }

  /** The longest text that begins at a place. */
  longest(text: string, start: number, work: Work): { readonly id: number; readonly length: number } | undefined {
    let found: { readonly id: number; readonly length: number } | undefined;
    for (const prefix of this.prefixes(text, start, work)) found = prefix;
    return found;
  }
}
