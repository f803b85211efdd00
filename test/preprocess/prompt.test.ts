import { describe, expect, test } from "vitest";
import { InputError } from "../../src/errors.ts";
import { expandImageTokens } from "../../src/preprocess/prompt.ts";

const options = {
  imageTokenId: 32,
  pictures: [[4]] as readonly (readonly number[])[],
  contextLength: 10,
  vocabSize: 33,
};

function expand(ids: ArrayLike<number>, changes: Partial<typeof options> = {}) {
  const { inputIds, runs } = expandImageTokens(ids, { ...options, ...changes });
  return { ids: [...inputIds], runs };
}

function failure(ids: readonly number[], changes: Partial<typeof options> = {}): string {
  try {
    expandImageTokens(ids, { ...options, ...changes });
  } catch (error) {
    expect(error).toBeInstanceOf(InputError);
    return String(error);
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
    expect(failure([1, 32], { pictures: [[2, 1]] })).toMatch(/1 image token .*unbroken runs of exactly 2, 1/);
    expect(failure([32, 9, 32, 32], { pictures: [[2, 1]] })).toMatch(/3 image tokens/);
  });

  test("text alone has no runs", () => {
    expect(expand([1, 2, 3], { pictures: [] })).toEqual({ ids: [1, 2, 3], runs: [] });
  });

  test("an image token outside of the text vocabulary is no error", () => {
    expect(expand([1, 32], { vocabSize: 20 }).runs).toEqual([[[1, 5]]]);
  });

  test("an empty prompt is refused", () => {
    expect(failure([])).toMatch(/prompt is empty/);
  });

  test("no image token for a picture is refused", () => {
    expect(failure([1, 2])).toMatch(/no image token \(id 32\)/);
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
    expect(failure([32, 1, 32, 2, 32], { pictures })).toMatch(/3 image tokens \(id 32\) for 2 pictures/);
  });

  test("an image token without a picture is refused", () => {
    expect(failure([1, 32], { pictures: [] })).toMatch(/there is no picture/);
  });

  test("a prompt as long as the context passes, one longer is refused with both numbers", () => {
    expect(expand([1, 2, 3, 4, 5, 6, 32]).ids).toHaveLength(10);
    expect(failure([1, 2, 3, 4, 5, 6, 7, 32])).toMatch(/11 tokens \(7 of text, 4 of one picture\).*context has 10/);
    expect(failure([1, 2], { pictures: [], contextLength: 1 })).toMatch(/has 2 tokens, but .* has 1/);
  });

  test("ids that no embedding has are refused", () => {
    expect(expand([0, 31, 32]).ids.slice(0, 2)).toEqual([0, 31]);
    for (const id of [33, -1, 1.5, Number.NaN]) expect(failure([1, id, 32])).toMatch(/token 1 is .* from 0 to 32/);
  });
});
