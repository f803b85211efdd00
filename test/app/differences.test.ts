// What differs between two answers and their maps, and the map of a word of several tokens.
import { describe, expect, test } from "vitest";
import { comparedTokens, comparedWords } from "../../src/app/draw/answer-differences.ts";
import { mapOf } from "../../src/app/draw/attention-view.ts";
import { differenceOf, mapInWords, wordInWords, wordMap } from "../../src/app/draw/word-map.ts";
import type { AttentionView } from "../../src/app/protocol.ts";

const own = (words: readonly { readonly word: string; readonly isOwn: boolean }[]) =>
  words.filter(({ isOwn }) => isOwn).map(({ word }) => word);

describe("answers", () => {
  test("differ in the words that are not of their longest common sequence", () => {
    const [one, other] = comparedWords("A mug, a dog and a hat.", "A mug and a big hat.");
    expect([own(one), own(other)]).toEqual([
      ["mug,", "a", "dog"],
      ["mug", "big"],
    ]);
    expect(one.map(({ word }) => word).join(" ")).toBe("A mug, a dog and a hat.");
    expect(comparedWords("Left", "Left").flatMap(own)).toEqual([]);
    expect(comparedWords("", "Left").map(own)).toEqual([[], ["Left"]]);
  });

  test("differ in first tokens, those of either among its first; what is not known has no number", () => {
    const token = (tokenId: number, probability: number) => ({ tokenId, text: `t${tokenId}`, probability });
    const answer = (...alternatives: ReturnType<typeof token>[]) => ({ tokens: [{ ...token(1, 0.5), alternatives }] });
    const rows = comparedTokens(
      answer(token(1, 0.5), token(2, 0.3), token(3, 0.1)),
      answer(token(3, 0.6), token(2, 0.2), token(4, 0.1)),
      2,
    );
    expect(rows.map(({ tokenId, probabilities }) => [tokenId, ...probabilities])).toEqual([
      [3, 0.1, 0.6],
      [1, 0.5, undefined],
      [2, 0.3, 0.2],
    ]);
    expect(comparedTokens({ tokens: [] }, { tokens: [] }, 2)).toEqual([]);
  });
});

describe("maps", () => {
  const token = (...values: number[]): AttentionView => ({
    numLayers: 1,
    numHeads: 2,
    gridWidth: 2,
    gridHeight: 2,
    values: Float32Array.from(values),
    shares: Float32Array.from([0.5, 0.25]),
    view: undefined,
  });
  const tokens = [
    token(0.5, 0, 0, 0, 0.25, 0, 0, 0),
    token(0, 0, 0, 0.5, 0, 0, 0, 0.25),
    token(0, 0.25, 0, 0.25, 0, 0, 0.25, 0),
  ];

  test("of a word are the mean over its tokens, of one head or all", () => {
    expect([...wordMap(tokens, { tokens: [1] }, undefined).values]).toEqual([0, 0, 0, 0.375]);
    expect([...wordMap(tokens, { tokens: [0, 2] }, 0).values]).toEqual([0.25, 0.125, 0, 0.125]);
    const map = wordMap(tokens, { tokens: [0] }, undefined);
    expect(["dog.", "(Zürich’s)", "..."].map((word) => wordInWords(word, map).split(":")[0])).toEqual([
      "“dog”",
      "“Zürich’s”",
      "“...”",
    ]);
    expect(mapInWords(map)).toBe("looked most at the upper left, 37.5\u00a0% of attention on the picture");
    expect(mapInWords(wordMap(tokens, { tokens: [1] }, 1))).toBe(
      "looked most at the lower right, 25.0\u00a0% of attention on the picture",
    );
  });

  test("differ by their values, where they are of one picture", () => {
    const [one, other] = [
      mapOf(tokens[0] ?? token(), { layer: 0, head: 0 }),
      mapOf(tokens[1] ?? token(), { layer: 0, head: 0 }),
    ];
    expect([...(differenceOf(one, other)?.values ?? [])]).toEqual([-0.5, 0, 0, 0.5]);
    expect(differenceOf(one, one)).toBeUndefined();
    expect(differenceOf(one, { ...other, width: 4, height: 1 })).toBeUndefined();
  });
});
