// Rollout, importance, relative maps and the words of an answer, against matrix products in f64 and figures worked out by hand.
import { describe, expect, test } from "vitest";
import { at, InputError } from "../../src/errors.ts";
import { tokensOfWord, wordsOf } from "../../src/inspect/answer-words.ts";
import { type AttentionMap, attentionMap, meanMap } from "../../src/inspect/attention-map.ts";
import { effectOfFactor } from "../../src/inspect/factor-effect.ts";
import { cellsOfPositions } from "../../src/inspect/picture-placement.ts";
import { relativeMap } from "../../src/inspect/relative-map.ts";
import { RolledRow } from "../../src/inspect/rollout.ts";
import { Importance } from "../../src/inspect/sink-tokens.ts";

const [numLayers, numHeads, size] = [3, 2, 5];

/** Attention of a row on its own and earlier positions, another one for each layer and head; the rows of each sum to 1. */
function probOf(layer: number, head: number, row: number, key: number): number {
  const weight = (k: number) => 1 + ((layer * 7 + head * 5 + row * 3 + k * 11) % 13);
  let sum = 0;
  for (let k = 0; k <= row; k++) sum += weight(k);
  return key > row ? 0 : weight(key) / sum;
}

/** [rows, H, S] of rows [start, end). */
function rowsOf(layer: number, start: number, end: number) {
  const numRows = end - start;
  const probs = Float32Array.from({ length: numRows * numHeads * end }, (_, index) => {
    const row = start + Math.floor(index / (numHeads * end));
    return probOf(layer, Math.floor(index / end) % numHeads, row, index % end);
  });
  return { layer, start, numRows, numHeads, numKeys: end, probs };
}

test("a rollout is the row of the product of (A + I) / 2, in whatever parts the rows come", () => {
  // The whole product, first layer rightmost.
  let product = identity(size);
  for (let layer = 0; layer < numLayers; layer++) {
    const mixed = identity(size).map((row, i) =>
      row.map((one, k) => (one + (probOf(layer, 0, i, k) + probOf(layer, 1, i, k)) / 2) / 2),
    );
    product = multiply(mixed, product);
  }
  for (const row of [size - 1, 2]) {
    for (const parts of [
      [0, row + 1],
      [0, 1, row + 1],
    ]) {
      const rolled = new RolledRow(row);
      for (let layer = numLayers - 1; layer >= 0; layer--) {
        for (let part = 1; part < parts.length; part++) rolled.add(rowsOf(layer, at(parts, part - 1), at(parts, part)));
      }
      const values = rolled.values();
      for (const [key, value] of values.entries()) expect(value).toBeCloseTo(at(at(product, row), key), 6);
      expect(values.reduce((a, b) => a + b)).toBeCloseTo(1, 6);
    }
  }
});

test("importance is the mean attention that a position receives from itself and all later rows", () => {
  const mean = new Importance(size, undefined);
  const second = new Importance(size, 1);
  for (const importance of [mean, second]) {
    importance.add(rowsOf(1, 0, 2));
    importance.add(rowsOf(1, 2, size));
  }
  for (let key = 0; key < size; key++) {
    const received = (head: number) => {
      let sum = 0;
      for (let row = key; row < size; row++) sum += probOf(1, head, row, key);
      return sum / (size - key);
    };
    expect(mean.values()[key]).toBeCloseTo((received(0) + received(1)) / 2, 6);
    expect(second.values()[key]).toBeCloseTo(received(1), 6);
  }
});

describe("a map of the keys 1 to 4", () => {
  const image = { runs: [[1, 5]], grid: { width: 2, height: 2 } } as const;
  const row = (probs: readonly number[], scores: readonly number[]) => ({
    layer: 0,
    probs: Float32Array.from(probs),
    scores: Float32Array.from(scores),
  });
  const mapOf = (entry: ReturnType<typeof row>, heads: number, selection = {}) =>
    attentionMap([entry], image, { numHeads: heads, selection });
  const both = row([0.5, 0.25, 0.125, 0.125, 0, 0.5, 0.125, 0.125, 0, 0.25], [9, -1, -2, -3, 0, -9, -1, 2, 3, 4]);

  test("has the fraction of its scores that are negative, without keys outside of a window", () => {
    // Key 4 of head 0 has neither score nor probability, and the key of the text does not count.
    expect(mapOf(both, 2, { head: 0 }).negativeScores).toBe(1);
    expect(mapOf(both, 2, { head: 1 }).negativeScores).toBe(0.25);
    expect(mapOf(both, 2).negativeScores).toBe(4 / 7);
    expect(mapOf({ ...both, scores: undefined } as never, 2).negativeScores).toBeUndefined(); // as of older captures
  });

  test("leaves positions out of values and share", () => {
    const { values, share } = mapOf(both, 2, { head: 0, without: [1, 0, 77] });
    expect([...values]).toEqual([0, 0.125, 0.125, 0]);
    expect(share).toBe(0.25);
    expect(cellsOfPositions(image, [0, 3, 1])).toEqual([0, 2]);
  });

  test("is the mean of several rows, with the entropy of the mean", () => {
    const maps = [0, 1].map((head) => mapOf(both, 2, { head }));
    const mean = meanMap(maps);
    expect([...mean.values]).toEqual([0.1875, 0.125, 0.0625, 0.125]);
    expect(mean).toMatchObject({ share: 0.5, negativeScores: 0.625 });
    expect(mean.entropy).toBe(mapOf(row([0, ...mean.values], [0, 1, 1, 1, 1]), 1).entropy);
    expect(meanMap(maps.slice(0, 1))).toBe(maps[0]);
  });

  test("relative to another is the ratio or the difference, and 0 where the other is 0", () => {
    const [one, other] = [0, 1].map((head) => mapOf(both, 2, { head })) as [AttentionMap, AttentionMap];
    expect([...relativeMap(one, other).values]).toEqual([2, 1, 0, 0]);
    expect([...relativeMap(one, other, "difference").values]).toEqual([0.125, 0, 0.125, -0.25]);
    expect(() => relativeMap(one, { ...other, width: 1, height: 4 })).toThrow(InputError);
  });
});

test.each<[number, number, readonly [number, number] | undefined, string | undefined]>([
  // factor, negative scores, share and entropy of the unmodified map beside 0.5 and 3 bits
  [1.5, 1, [0.6, 4], "sharper within the picture, less of the total"],
  [0.5, 0.96, [0.4, 2], "wider within the picture, more of the total"],
  [1.5, 0, undefined, "sharper within the picture, more of the total"],
  [0.5, 0.03, undefined, "wider within the picture, less of the total"],
  [1.5, 0.6, undefined, "it moves attention the other way on negative scores than on positive ones"],
  [1.5, 1, [0.6, 2], "it moves attention the other way on negative scores than on positive ones"],
  [1.5, 1, [0.4, 4], "it moves attention the other way on negative scores than on positive ones"],
  [1, 1, undefined, undefined],
  [2, Number.NaN, undefined, undefined],
])(
  "a factor of %d with %d of the scores negative, after %j, is called: %s",
  (factor, negativeScores, before, words) => {
    const unmodified = before && { share: before[0], entropy: before[1] };
    expect(effectOfFactor(factor, { share: 0.5, entropy: 3, negativeScores }, unmodified)).toBe(words);
  },
);

test("words of an answer have the tokens that spell parts of them, and the end token has none", () => {
  const tokens = [" The", " fr", "ont", ",", " on", " the", "\nleft", "."].map((text) => ({ text }));
  expect(wordsOf([...tokens, { text: "" }])).toEqual([
    { word: "The", tokens: [0] },
    { word: "front,", tokens: [1, 2, 3] },
    { word: "on", tokens: [4] },
    { word: "the", tokens: [5] },
    { word: "left.", tokens: [6, 7] },
  ]);
  expect(wordsOf([{ text: " " }, { text: "" }])).toEqual([]);
  expect(tokensOfWord(tokens, "front")).toEqual([1, 2]);
});

function identity(length: number): readonly (readonly number[])[] {
  return Array.from({ length }, (_, i) => Array.from({ length }, (_row, k) => (i === k ? 1 : 0)));
}

function multiply(a: readonly (readonly number[])[], b: readonly (readonly number[])[]) {
  return a.map((row) =>
    at(b, 0).map((_, column) => row.reduce((sum, value, k) => sum + value * at(at(b, k), column), 0)),
  );
}
