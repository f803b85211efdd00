import { describe, expect, test } from "vitest";
import { InputError } from "../../src/errors.ts";
import { expandImageToken } from "../../src/preprocess/prompt.ts";

const options = { imageTokenId: 32, imageTokenCount: 4, contextLength: 10, vocabSize: 33 };

function failure(ids: readonly number[], changes: Partial<typeof options> = {}): string {
  try {
    expandImageToken(ids, { ...options, ...changes });
  } catch (error) {
    expect(error).toBeInstanceOf(InputError);
    return String(error);
  }
  throw new Error("expected an InputError");
}

describe("expandImageToken", () => {
  test("one image token becomes as many positions as the picture has", () => {
    const prompt = expandImageToken([1, 32, 7, 8], options);
    expect([...prompt.inputIds]).toEqual([1, 32, 32, 32, 32, 7, 8]);
    expect(prompt).toMatchObject({ imageStart: 1, imageEnd: 5, numText: 3 });
  });

  test("ids that are already expanded stay as they are", () => {
    const ids = [1, 32, 32, 32, 32, 7, 8];
    const prompt = expandImageToken(Int32Array.from(ids), options);
    expect([...prompt.inputIds]).toEqual(ids);
    expect(prompt).toMatchObject({ imageStart: 1, imageEnd: 5, numText: 3 });
  });

  test("the image may be first, last, alone, and one token large", () => {
    expect(expandImageToken([32, 5], options)).toMatchObject({ imageStart: 0, imageEnd: 4, numText: 1 });
    expect(expandImageToken([5, 32], options)).toMatchObject({ imageStart: 1, imageEnd: 5, numText: 1 });
    expect(expandImageToken([32], options)).toMatchObject({ imageStart: 0, imageEnd: 4, numText: 0 });
    expect([...expandImageToken([5, 32, 6], { ...options, imageTokenCount: 1 }).inputIds]).toEqual([5, 32, 6]);
  });

  test("text alone has an empty span", () => {
    const prompt = expandImageToken([1, 2, 3], { ...options, imageTokenCount: 0 });
    expect([...prompt.inputIds]).toEqual([1, 2, 3]);
    expect(prompt).toMatchObject({ imageStart: 0, imageEnd: 0, numText: 3 });
  });

  test("an image token outside of the text vocabulary is no error", () => {
    expect(expandImageToken([1, 32], { ...options, vocabSize: 20 }).imageEnd).toBe(5);
  });

  test("an empty prompt is refused", () => {
    expect(failure([])).toMatch(/prompt is empty/);
  });

  test("no image token for a picture is refused", () => {
    expect(failure([1, 2])).toMatch(/no image token \(id 32\)/);
  });

  test("several image tokens for one picture are refused, apart or together", () => {
    expect(failure([32, 1, 32])).toMatch(/2 image tokens/);
    expect(failure([1, 32, 32, 32])).toMatch(/3 image tokens .* run of exactly 4/);
    expect(failure([32, 32, 32, 32, 1, 32])).toMatch(/5 image tokens/);
    expect(failure([32, 32, 1, 32, 32])).toMatch(/4 image tokens/);
  });

  test("an image token without a picture is refused", () => {
    expect(failure([1, 32], { imageTokenCount: 0 })).toMatch(/there is no picture/);
  });

  test("a prompt as long as the context passes, one longer is refused with both numbers", () => {
    expect(expandImageToken([1, 2, 3, 4, 5, 6, 32], options).inputIds).toHaveLength(10);
    expect(failure([1, 2, 3, 4, 5, 6, 7, 32])).toMatch(/11 tokens \(7 of text, 4 of the picture\).*context has 10/);
    expect(failure([1, 2], { imageTokenCount: 0, contextLength: 1 })).toMatch(/has 2 tokens, but .* has 1/);
  });

  test("ids that no embedding has are refused", () => {
    for (const id of [33, -1, 1.5, Number.NaN]) expect(failure([1, id, 32])).toMatch(/token 1 is .* from 0 to 32/);
  });
});
