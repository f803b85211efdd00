import { describe, expect, test } from "vitest";
import { InputError } from "../../src/errors.ts";
import { expandImageTokens, tokenRuns } from "../../src/preprocess/prompt.ts";

const options = {
  tokenId: 32,
  kind: "image" as "image" | "video",
  pictures: [[4]] as readonly (readonly number[])[],
  contextLength: 10,
  vocabSize: 33,
};

function expand(ids: ArrayLike<number>, changes: Partial<typeof options> = {}) {
  const all = { ...options, ...changes };
  const inputIds = expandImageTokens(ids, all);
  return { ids: [...inputIds], runs: tokenRuns(inputIds, all) };
}

function failure(ids: readonly number[], changes: Partial<typeof options> = {}): string {
  try {
    expandImageTokens(ids, { ...options, ...changes });
  } catch (error) {
    expect(error).toBeInstanceOf(InputError);
    return error instanceof Error ? error.message : String(error);
  }
  throw new Error("expected an InputError");
}

describe("expandImageTokens", () => {
  test("one image token becomes as many positions as the picture has", () => {
    expect(expand([1, 32, 7, 8])).toEqual({ ids: [1, 32, 32, 32, 32, 7, 8], runs: [[[1, 5]]] });
  });

  test("ids that are already expanded stay as they are", () => {
    const ids = [1, 32, 32, 32, 32, 7, 8];
    expect(expand(Int32Array.from(ids))).toEqual({ ids, runs: [[[1, 5]]] });
  });

  test("the image may be first, last, alone, and one token large", () => {
    expect(expand([32, 5])).toEqual({ ids: [32, 32, 32, 32, 5], runs: [[[0, 4]]] });
    expect(expand([5, 32])).toEqual({ ids: [5, 32, 32, 32, 32], runs: [[[1, 5]]] });
    expect(expand([32])).toEqual({ ids: [32, 32, 32, 32], runs: [[[0, 4]]] });
    expect(expand([5, 32, 6], { pictures: [[1]] })).toEqual({ ids: [5, 32, 6], runs: [[[1, 2]]] });
  });

  test("several pictures take their turns, apart or next to each other", () => {
    const pictures = [[2], [3]];
    const expected = { ids: [1, 32, 32, 7, 32, 32, 32], runs: [[[1, 3]], [[4, 7]]] };
    expect(expand([1, 32, 7, 32], { pictures })).toEqual(expected);
    expect(expand(expected.ids, { pictures })).toEqual(expected);
    const adjacent = { ids: [32, 32, 32, 32, 32, 5], runs: [[[0, 2]], [[2, 5]]] };
    expect(expand([32, 32, 5], { pictures })).toEqual(adjacent);
    expect(expand(adjacent.ids, { pictures })).toEqual(adjacent);
  });

  test("a picture of several runs comes expanded, with text between them", () => {
    const ids = [1, 32, 32, 9, 32, 8];
    expect(expand(ids, { pictures: [[2, 1]] })).toEqual({
      ids,
      runs: [
        [
          [1, 3],
          [4, 5],
        ],
      ],
    });
    expect(failure([1, 32], { pictures: [[2, 1]] })).toBe(
      "The prompt has 1 image token (id 32) for one picture: write <image> once, or give unbroken runs of exactly 2, 1 in this order.",
    );
    expect(failure([32, 9, 32, 32], { pictures: [[2, 1]] })).toMatch(/3 image tokens/);
    // Two tokens for two pictures, but nobody knows where the first one's text goes.
    expect(failure([32, 9, 32], { pictures: [[2, 1], [3]] })).toMatch(/2 image tokens .* for 2 pictures/);
  });

  test("text alone has no runs", () => {
    expect(expand([1, 2, 3], { pictures: [] })).toEqual({ ids: [1, 2, 3], runs: [] });
  });

  test("an image token outside of the text vocabulary is not an error", () => {
    expect(expand([1, 32], { vocabSize: 20 }).runs).toEqual([[[1, 5]]]);
  });

  test("an empty prompt is refused", () => {
    expect(failure([])).toBe("The prompt is empty: give at least one token of text.");
  });

  test("no image token for a picture is refused", () => {
    expect(failure([1, 2])).toBe(
      "The prompt has no image token (id 32) for one picture: write <image> once, or give one unbroken run of exactly 4.",
    );
  });

  test("several image tokens for one picture are refused, apart or together", () => {
    expect(failure([32, 1, 32])).toMatch(/2 image tokens/);
    expect(failure([1, 32, 32])).toMatch(/2 image tokens .* run of exactly 4/);
    expect(failure([1, 32, 32, 32])).toMatch(/3 image tokens .* run of exactly 4/);
    expect(failure([32, 32, 32, 32, 1, 32])).toMatch(/5 image tokens/);
    expect(failure([32, 32, 1, 32, 32])).toMatch(/4 image tokens/);
  });

  test("another number of image tokens than pictures is refused with both numbers", () => {
    const pictures = [[2], [2]];
    expect(failure([1, 32], { pictures })).toMatch(/1 image token \(id 32\) for 2 pictures: write <image> 2 times/);
    expect(failure([32, 1, 32, 2, 32], { pictures })).toBe(
      "The prompt has 3 image tokens (id 32) for 2 pictures: write <image> 2 times, once for each picture, or give unbroken runs of exactly 2, 2 in this order.",
    );
  });

  test("an image token without a picture is refused", () => {
    expect(failure([1, 32], { pictures: [] })).toBe(
      "The prompt has 1 image token(s) (id 32), but there is no picture: give one.",
    );
  });

  test("a prompt as long as the context passes, one longer is refused with both numbers", () => {
    expect(expand([1, 2, 3, 4, 5, 6, 32]).ids).toHaveLength(10);
    expect(failure([1, 2, 3, 4, 5, 6, 7, 32])).toBe(
      "The prompt has 11 tokens (7 of text, 4 of one picture), but the model's context has 10: shorten the text.",
    );
    expect(failure([1, 32, 32], { pictures: [[4], [6]] })).toBe(
      "The prompt has 11 tokens (1 of text, 10 of 2 pictures), but the model's context has 10: give fewer or smaller pictures.",
    );
    expect(failure([1, 2], { pictures: [], contextLength: 1 })).toBe(
      "The prompt has 2 tokens, but the model's context has 1: shorten the text.",
    );
  });

  test("messages about videos call them so", () => {
    const video = { kind: "video" } as const;
    expect(failure([1, 2], video)).toBe(
      "The prompt has no video token (id 32) for one video: write <video> once, or give one unbroken run of exactly 4.",
    );
    expect(failure([1, 32, 2], { ...video, pictures: [] })).toBe(
      "The prompt has 1 video token(s) (id 32), but there is no video: give one.",
    );
    expect(failure([1, 32, 2], { ...video, contextLength: 5 })).toBe(
      "The prompt has 6 tokens (2 of text, 4 of one video), but the model's context has 5: shorten the text.",
    );
  });

  test("ids that no embedding has are refused", () => {
    expect(expand([0, 31, 32]).ids.slice(0, 2)).toEqual([0, 31]);
    for (const id of [33, -1, 1.5, Number.NaN]) {
      expect(failure([1, id, 32])).toBe(`The prompt's token 1 is ${id}: expected an integer from 0 to 32.`);
    }
  });

  test("without a vocabulary ids are what 32 bits hold", () => {
    const bare = { tokenId: undefined, pictures: [], contextLength: 4 };
    expect([...expandImageTokens([0, 2 ** 31 - 1], bare)]).toEqual([0, 2 ** 31 - 1]);
    expect(() => expandImageTokens([0, 2 ** 31], bare)).toThrow(
      new InputError("The prompt's token 1 is 2147483648: expected an integer from 0 to 2147483647."),
    );
  });
});
