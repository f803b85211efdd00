// Attention on a picture: which values a map takes from a row, and what it refuses.
import { describe, expect, test } from "vitest";
import { InputError } from "../../src/errors.ts";
import { answerAttention, attentionMap, type MapSelection } from "../../src/inspect/attention-map.ts";
import { entropyBits } from "../../src/inspect/entropy.ts";
import type { MappedImage } from "../../src/inspect/picture-placement.ts";
import type { AttentionRow } from "../../src/inspect/places.ts";

const numHeads = 2;
const numKeys = 8;

/** The probability of a key in 1024ths: another one for each layer, head and key. */
const prob = (layer: number, head: number, key: number) => (layer * 100 + head * 10 + key) / 1024;

function rowsOf(numLayers: number): readonly AttentionRow[] {
  return Array.from({ length: numLayers }, (_, layer) => {
    const probs = Float32Array.from({ length: numHeads * numKeys }, (_, index) =>
      prob(layer, Math.floor(index / numKeys), index % numKeys),
    );
    return { layer, scores: new Float32Array(probs.length), probs };
  });
}

/** Four patches in two runs, with a key of text between them. */
const image: MappedImage = {
  runs: [
    [1, 3],
    [4, 6],
  ],
  grid: { width: 2, height: 2 },
};

const mapOf = (selection?: MapSelection, of: MappedImage = image, rows = rowsOf(4)) =>
  attentionMap(rows, of, selection === undefined ? { numHeads } : { numHeads, selection });

const sumOf = (values: ArrayLike<number>) => Array.from(values).reduce((sum, value) => sum + value, 0);

describe("a map", () => {
  test("of one head has its values on the picture's positions, row by row", () => {
    const { layer, head, values, width, height, share, entropy } = mapOf({ layer: 3, head: 1 });
    expect({ layer, head, width, height }).toEqual({ layer: 3, head: 1, width: 2, height: 2 });
    expect([...values]).toEqual([1, 2, 4, 5].map((key) => prob(3, 1, key)));
    expect(share).toBe(sumOf(values));
    expect(entropy).toBe(entropyBits(values));
    expect([...mapOf({ layer: 0, head: 0 }).values]).toEqual([1, 2, 4, 5].map((key) => prob(0, 0, key)));
  });

  test("without a head is the mean of all heads", () => {
    const { head, values, share } = mapOf({ layer: 1 });
    expect(head).toBeUndefined();
    expect([...values]).toEqual([1, 2, 4, 5].map((key) => (prob(1, 0, key) + prob(1, 1, key)) / 2));
    expect(share).toBe(sumOf(values));
  });

  test.each([
    [1, 0],
    [2, 1],
    [3, 1],
    [4, 2],
  ])("of %i layers is of layer %i unless another is given", (numLayers, layer) => {
    expect(mapOf(undefined, image, rowsOf(numLayers)).layer).toBe(layer);
  });

  test("leaves out the class token before the patches, which counts in the share", () => {
    const withClass: MappedImage = { runs: [[2, 7]], grid: { width: 4, height: 1 } };
    const { values, width, height, share, unplacedShare } = mapOf({ layer: 2, head: 0 }, withClass);
    expect(unplacedShare).toBe(prob(2, 0, 2));
    expect([...values]).toEqual([3, 4, 5, 6].map((key) => prob(2, 0, key)));
    expect([width, height]).toEqual([4, 1]);
    expect(share).toBe(sumOf([2, 3, 4, 5, 6].map((key) => prob(2, 0, key))));
  });

  test.each<[string, MapSelection, string]>([
    ["the layer after the last", { layer: 4 }, "layer must be a whole number from 0 to 3, got 4."],
    ["a negative layer", { layer: -1 }, "layer must be a whole number from 0 to 3, got -1."],
    ["half a layer", { layer: 0.5 }, "layer must be a whole number from 0 to 3, got 0.5."],
    ["the head after the last", { head: 2 }, "head must be a whole number from 0 to 1, got 2."],
    ["a negative head", { head: -1 }, "head must be a whole number from 0 to 1, got -1."],
    ["half a head", { head: 0.5 }, "head must be a whole number from 0 to 1, got 0.5."],
  ])("refuses %s", (_, selection, message) => {
    expect(() => mapOf(selection)).toThrow(new InputError(message));
  });

  test.each<[string, MappedImage, string]>([
    [
      "fewer positions than patches",
      { ...image, grid: { width: 5, height: 1 } },
      "4 positions are not a grid of 5 × 1",
    ],
    ["two positions more", { ...image, grid: { width: 1, height: 2 } }, "4 positions are not a grid of 1 × 2"],
    ["no grid", { runs: image.runs, grid: undefined }, "4 positions are not a grid of 0 × 0"],
    ["no grid for one position", { runs: [[1, 2]], grid: undefined }, "1 positions are not a grid of 0 × 0"],
    ["neither positions nor a grid", { runs: [], grid: undefined }, "0 positions are not a grid of 0 × 0"],
  ])("refuses a picture with %s", (_, of, what) => {
    const error = new InputError(`The picture's ${what} patches, so nothing says where they lie in it.`);
    expect(() => mapOf({}, of)).toThrow(error);
  });

  test("of positions that the row does not have is an error", () => {
    const outside: MappedImage = { runs: [[6, 10]], grid: { width: 2, height: 2 } };
    const error = new RangeError("layer 1: expected an index below 16, got 16");
    expect(() => mapOf({ layer: 1, head: 1 }, outside)).toThrow(error);
  });
});

describe("an answer's maps", () => {
  const other: MappedImage = { runs: [[6, 8]], grid: { width: 1, height: 2 } };
  const rows = rowsOf(3);
  const unmodified = rows.map((row) => ({ ...row, probs: row.probs.map((value) => value / 2) }));

  test("are of the first picture unless another is given, in the pass that is asked for", () => {
    const attention = answerAttention({ used: rows, unmodified }, [image, other], numHeads);
    expect([attention.numLayers, attention.numHeads, attention.numImages]).toEqual([3, 2, 2]);
    expect(attention.used()).toEqual(attentionMap(rows, image, { numHeads }));
    expect(attention.unmodified()).toEqual(attentionMap(unmodified, image, { numHeads }));
    const selection = { image: 1, layer: 0, head: 1 };
    expect(attention.used(selection)).toEqual(attentionMap(rows, other, { numHeads, selection }));
    expect(attention.unmodified(selection)).toEqual(attentionMap(unmodified, other, { numHeads, selection }));
  });

  test("of every head of a layer are those of each head, of the middle layer unless another is given", () => {
    const attention = answerAttention({ used: rows, unmodified }, [image, other], numHeads);
    const withClass: MappedImage = { runs: [[1, 6]], grid: { width: 2, height: 2 } };
    for (const [index, of] of [image, other].entries()) {
      const { layer, values, width, height } = attention.usedByHead({ image: index });
      const maps = [0, 1].map((head) => attentionMap(rows, of, { numHeads, selection: { head } }));
      expect([...values]).toEqual(maps.flatMap((map) => [...map.values]));
      expect({ layer, width, height }).toEqual({ layer: 1, ...of.grid });
    }
    const { values } = answerAttention({ used: rows, unmodified }, [withClass], numHeads).usedByHead({ layer: 2 });
    expect([...values]).toEqual([0, 1].flatMap((head) => [2, 3, 4, 5].map((key) => prob(2, head, key))));
    expect(() => attention.usedByHead({ layer: 3 })).toThrow(InputError);
    expect(() => attention.usedByHead({ image: 2 })).toThrow(InputError);
  });

  test("of an unmodified pass that did not run are undefined", () => {
    const attention = answerAttention({ used: rows, unmodified: undefined }, [image], numHeads);
    expect(attention.unmodified()).toBeUndefined();
    expect(attention.hasUnmodified).toBe(false);
  });

  test("of positions that are no grid are refused, but whether there was an unmodified pass is known", () => {
    const attention = answerAttention({ used: rows, unmodified }, [{ ...image, grid: undefined }], numHeads);
    expect(() => attention.unmodified()).toThrow(InputError);
    expect(attention.hasUnmodified).toBe(true);
  });

  test("of a picture that was not asked about are refused", () => {
    const attention = answerAttention({ used: rows, unmodified }, [image, other], numHeads);
    const message = "image must be a whole number below 2, the pictures asked about, got 2.";
    expect(() => attention.used({ image: 2 })).toThrow(new InputError(message));
    expect(() => attention.unmodified({ image: 2 })).toThrow(new InputError(message));
  });
});

test.each<[readonly number[], number]>([
  [[], 0],
  [[0, 0], 0],
  [[3], 0],
  [[0.5, 0.5], 1],
  [[2, 0, 2], 1],
  [[1, 1, 1, 1], 2],
  [[4, 2, 1, 1], 1.75],
])("the entropy of %j is %d bits", (values, expected) => {
  expect(entropyBits(values)).toBe(expected);
});
