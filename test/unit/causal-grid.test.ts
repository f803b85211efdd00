// The axes and the measure of causal experiments.
import { describe, expect, test } from "vitest";
import { measureOf, positionGroups, selectedPositions } from "../../src/causal/grid.ts";
import { InputError } from "../../src/errors.ts";
import type { ImageInput, ModelInputs } from "../../src/models/inputs.ts";

/** Words of a tokenizer that has some of them with a space and some without. */
const IDS: Readonly<Record<string, readonly number[]>> = {
  Left: [3],
  " Left": [4],
  Right: [5, 6],
  " Right": [7],
  "on top": [8, 9],
  " on top": [1, 8, 9],
  "\n": [2],
};
const MODEL = { processor: { continuationTokens: (text: string) => IDS[text] ?? [] }, text: { vocabSize: 10 } };
const LOGITS = Float32Array.from([0, 0, 0, 1, 2, 0, 0, 0.5, 0, 0]);

describe("the measure", () => {
  test("a probability is the softmax of the logits", () => {
    const measure = measureOf({ token: 4 }, MODEL);
    const sum = LOGITS.reduce((total, logit) => total + Math.exp(logit), 0);
    expect(measure.of(LOGITS)).toBeCloseTo(Math.exp(2) / sum, 12);
    expect(measure).toMatchObject({ name: "probability", tokenId: 4, againstId: undefined });
  });

  test("a logit difference is that of two tokens", () => {
    const measure = measureOf({ token: 7, against: 3 }, MODEL);
    expect(measure.of(LOGITS)).toBe(-0.5);
    expect(measure).toMatchObject({ name: "logit-difference", tokenId: 7, againstId: 3 });
  });

  test("a word without a space is the token that the first run makes more probable, from then on", () => {
    const measure = measureOf({ token: "Left", against: "Right" }, MODEL);
    expect(measure.of(LOGITS)).toBe(1.5); // " Left", and " Right" as "Right" is two tokens
    const other = LOGITS.with(3, 9);
    expect(measure.of(other)).toBe(1.5);
    expect(measure).toMatchObject({ tokenId: 4, againstId: 7 });
    const spaced = measureOf({ token: " Left" }, MODEL);
    spaced.of(other);
    expect(spaced.tokenId).toBe(4);
    const plain = measureOf({ token: "Left" }, MODEL);
    plain.of(other);
    expect(plain.tokenId).toBe(3);
  });

  test.each([
    ["several tokens", { token: "on top" }, /^token must be a single token, but "on top" is 3: give the first token/],
    ["no token", { token: " x" }, /^token must be a single token, but " x" is 0/],
    ["an unknown id", { token: "Left", against: 10 }, /^against must be an id from 0 to 9 or a text, got 10\.$/],
    ["the same token", { token: "Left", against: 4 }, /^against must be another token than token, got 4 for both\.$/],
  ])("%s is refused", (_, asked, message) => {
    expect(() => measureOf(asked, MODEL)).toThrow(InputError);
    expect(() => measureOf(asked, MODEL)).toThrow(message);
  });
});

const picture = (rowIndex: readonly number[], of: Partial<ImageInput>): ImageInput => ({
  pixelValues: new Float32Array(),
  runs: [[2, 2 + rowIndex.length]],
  rowIndex: Int32Array.from(rowIndex),
  grid: undefined,
  ...of,
});
const inputs = (image: ImageInput): ModelInputs => ({ inputIds: new Int32Array(12), images: [image] });
const groups = (selection: "all" | "image", grouping: "single" | "row" | "picture" | "together", of: ModelInputs) =>
  positionGroups("positions", { selection, grouping }, of);

describe("positions", () => {
  const grid = inputs(picture([0, 1, 2, 3, 4, 5], { grid: { width: 3, height: 2 } }));

  test("of a grid: rows of patches, the picture, each alone, all together", () => {
    expect(groups("image", "row", grid)).toEqual([
      { positions: [2, 3, 4], picture: { index: 0, row: 0 } },
      { positions: [5, 6, 7], picture: { index: 0, row: 1 } },
    ]);
    expect(groups("all", "picture", grid)).toEqual([
      { positions: [0], picture: undefined },
      { positions: [1], picture: undefined },
      { positions: [2, 3, 4, 5, 6, 7], picture: { index: 0 } },
      ...[8, 9, 10, 11].map((position) => ({ positions: [position], picture: undefined })),
    ]);
    expect(groups("image", "single", grid).at(-2)).toEqual({
      positions: [6],
      picture: { index: 0, row: 1, column: 1 },
    });
    expect(groups("image", "together", grid)).toEqual([{ positions: [2, 3, 4, 5, 6, 7] }]);
  });

  test("of tiles: a newline ends its row; of a class token before the grid: it is in the first row", () => {
    const whole = { left: 0, top: 0, right: 1, bottom: 1 };
    const tiles = { imageSize: [4, 4] as const, patchGrid: 2, views: [whole, whole] };
    const tiled = inputs(picture([0, 1, 2, 3, 4, 5, -1, 6, 7, -1], { tiles }));
    expect(groups("image", "row", tiled).map(({ positions }) => positions)).toEqual([
      [2, 3],
      [4, 5],
      [6, 7, 8],
      [9, 10, 11],
    ]);
    const resized = {
      ...tiles,
      grids: [
        { width: 1, height: 1 },
        { width: 3, height: 2 },
      ],
    };
    const joined = inputs(picture([0, 1, 2, 3, -1, 4, 5, 6, -1], { tiles: resized }));
    expect(groups("image", "row", joined).map(({ positions }) => positions)).toEqual([
      [2],
      [3, 4, 5, 6],
      [7, 8, 9, 10],
    ]);
    const withClass = inputs(picture([0, 1, 2, 3, 4], { grid: { width: 2, height: 2 } }));
    expect(groups("image", "row", withClass).map(({ positions }) => positions)).toEqual([
      [2, 3, 4],
      [5, 6],
    ]);
  });

  test("selections", () => {
    const of = (selection: Parameters<typeof selectedPositions>[1]) => selectedPositions("rows", selection, grid);
    expect(of("last")).toEqual([11]);
    expect(of("after-image")).toEqual([8, 9, 10, 11]);
    expect(of([5, 3, 5])).toEqual([3, 5]);
    expect(() => of([12])).toThrow(/^rows must be whole numbers from 0 to 11 for this prompt, at least one, got 12\.$/);
    expect(() => of([])).toThrow(/got none\.$/);
    expect(() => selectedPositions("rows", "image", { ...grid, images: [] })).toThrow(/needs a picture/);
  });
});
