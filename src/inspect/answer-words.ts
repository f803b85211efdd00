// The words of an answer and the tokens that spell them.
import type { GeneratedToken } from "../generate/generate.ts";

/** A word of an answer. */
export interface AnswerWord {
  readonly word: string;
  /** Indices of the tokens that spell it, or parts of it. */
  readonly tokens: readonly number[];
}

/** The words of an answer, which spaces separate, in order. */
export function wordsOf(tokens: readonly Pick<GeneratedToken, "text">[]): readonly AnswerWord[] {
  const text = textOf(tokens);
  return Array.from(text.matchAll(/\S+/gu), (found) => {
    const [word] = found;
    return { word, tokens: tokensWithin(tokens, found.index, found.index + word.length) };
  });
}

/** Indices of the tokens that spell the first occurrence of a word, upper or lower case; as a part of another word if need be. */
export function tokensOfWord(tokens: readonly Pick<GeneratedToken, "text">[], word: string): readonly number[] {
  const text = textOf(tokens);
  const pattern = escaped(word);
  const found =
    new RegExp(`(?<![\\p{L}\\p{N}])${pattern}(?![\\p{L}\\p{N}])`, "iu").exec(text) ??
    new RegExp(pattern, "iu").exec(text);
  return found === null ? [] : tokensWithin(tokens, found.index, found.index + found[0].length);
}

function textOf(tokens: readonly Pick<GeneratedToken, "text">[]): string {
  return tokens.map(({ text }) => text).join("");
}

/** Indices of the tokens that have a part in characters [start, end). */
function tokensWithin(tokens: readonly Pick<GeneratedToken, "text">[], start: number, end: number): readonly number[] {
  let position = 0;
  return tokens.flatMap(({ text }, index) => {
    const from = position;
    position += text.length;
    return from < end && position > start ? [index] : [];
  });
}

function escaped(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}
