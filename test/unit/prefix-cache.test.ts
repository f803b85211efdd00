import { expect, test } from "vitest";
import { PrefixCache, type PrefixKey } from "../../src/generate/prefix-cache.ts";

/** A prompt with a picture at positions [2, 5). */
function prompt(textIds: readonly number[], pixels = [1, 2, 3]): PrefixKey {
  return {
    inputIds: Int32Array.from([1, 7, 99, 99, 99, ...textIds]),
    imageSpan: [2, 5],
    pixelValues: Float32Array.from(pixels),
    imageRowIndex: Int32Array.from([0, 1, 2]),
  };
}

function held(key: PrefixKey, numPositions = key.inputIds.length): PrefixCache {
  const cache = new PrefixCache();
  cache.hold(key, numPositions);
  return cache;
}

test("nothing is reusable before a prompt, and after clear", () => {
  expect(new PrefixCache().reusable(prompt([4]))).toBe(0);
  const cache = held(prompt([4]));
  cache.clear();
  expect(cache.reusable(prompt([4]))).toBe(0);
});

test("the same picture is reused up to where the texts part, and never the last position", () => {
  expect(held(prompt([4, 5, 6])).reusable(prompt([4, 8, 6]))).toBe(6);
  expect(held(prompt([4, 5, 6])).reusable(prompt([9]))).toBe(5);
  expect(held(prompt([4, 5, 6])).reusable(prompt([4, 5, 6]))).toBe(7);
  expect(held(prompt([4, 5, 6])).reusable(prompt([4]))).toBe(5);
});

test("scaled positions are not reused, and a cut within the image leaves what is before it", () => {
  expect(held(prompt([4, 5, 6]), 6).reusable(prompt([4, 5, 6]))).toBe(6);
  expect(held(prompt([4, 5, 6]), 4).reusable(prompt([4, 5, 6]))).toBe(2);
});

test("another picture, or the same pixels laid out otherwise, is not reused", () => {
  expect(held(prompt([4, 5])).reusable(prompt([4, 5], [1, 2, 4]))).toBe(2);
  const other = { ...prompt([4, 5]), imageRowIndex: Int32Array.from([0, 1, -1]) };
  expect(held(prompt([4, 5])).reusable(other)).toBe(2);
});

test("a picture written over in place is another picture", () => {
  const key = prompt([4, 5]);
  const cache = held(key);
  key.pixelValues?.set([9], 1);
  expect(cache.reusable(key)).toBe(2);
});

test("text only", () => {
  const text = (ids: readonly number[]): PrefixKey => ({
    inputIds: Int32Array.from(ids),
    imageSpan: [0, 0],
    pixelValues: undefined,
    imageRowIndex: new Int32Array(0),
  });
  expect(held(text([1, 2, 3])).reusable(text([1, 2, 9, 9]))).toBe(2);
  expect(held(text([1, 2, 3])).reusable(text([5]))).toBe(0);
});
