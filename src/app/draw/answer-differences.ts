// What differs between two answers: their words, and the probabilities of their first tokens.
import type { AnswerView, TokenView } from "../protocol.ts";

/** A word of an answer. */
export interface ComparedWord {
  readonly word: string;
  /** Whether the other answer lacks it at this place of their longest common sequence of words. */
  readonly isOwn: boolean;
}

/** The words of two answers, each with whether it is part of their longest common sequence. */
export function comparedWords(one: string, other: string): readonly [readonly ComparedWord[], readonly ComparedWord[]] {
  const [a, b] = [one, other].map((text) => text.split(/\s+/).filter((word) => word !== "")) as [string[], string[]];
  const width = b.length + 1;
  /** [a + 1, b + 1] lengths of the longest common sequence of the words from there on. */
  const lengths = new Uint16Array((a.length + 1) * width);
  const lengthAt = (i: number, j: number) => lengths[i * width + j] ?? 0;
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      lengths[i * width + j] =
        a[i] === b[j] ? lengthAt(i + 1, j + 1) + 1 : Math.max(lengthAt(i + 1, j), lengthAt(i, j + 1));
    }
  }
  const common: [Set<number>, Set<number>] = [new Set(), new Set()];
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    if (a[i] === b[j]) {
      common[0].add(i++);
      common[1].add(j++);
    } else if (lengthAt(i + 1, j) >= lengthAt(i, j + 1)) i++;
    else j++;
  }
  const of = (words: readonly string[], shared: ReadonlySet<number>) =>
    words.map((word, index) => ({ word, isOwn: !shared.has(index) }));
  return [of(a, common[0]), of(b, common[1])];
}

/** A first token under two methods; a probability is undefined where it is below those that are known. */
export interface ComparedToken {
  readonly tokenId: number;
  readonly text: string;
  readonly probabilities: readonly [one: number | undefined, other: number | undefined];
}

/** The most probable first tokens of two answers, those of either among its first `count`; the most probable in either first. */
export function comparedTokens(
  one: Pick<AnswerView, "tokens">,
  other: Pick<AnswerView, "tokens">,
  count: number,
): readonly ComparedToken[] {
  const known = [one, other].map(({ tokens }) => tokens[0]?.alternatives ?? []) as [TokenView[], TokenView[]];
  const found = new Map(known.flatMap((tokens) => tokens.slice(0, count)).map((token) => [token.tokenId, token]));
  const probabilityIn = (tokens: readonly TokenView[], id: number) =>
    tokens.find(({ tokenId }) => tokenId === id)?.probability;
  return [...found.values()]
    .map(({ tokenId, text }): ComparedToken => {
      return { tokenId, text, probabilities: [probabilityIn(known[0], tokenId), probabilityIn(known[1], tokenId)] };
    })
    .sort((a, b) => most(b) - most(a));
}

function most({ probabilities: [one = 0, other = 0] }: ComparedToken): number {
  return Math.max(one, other);
}
