// How much of a held prompt a new one can take over.
import { expect, test } from "vitest";
import {
  copyPrompt,
  endOf,
  isSame,
  type Prompt,
  type PromptImage,
  reusablePositions,
  startOf,
} from "../../src/generate/prompt.ts";

const IMAGE = 99;

function image(start: number, pixels: readonly number[] = [1, 2, 3]): PromptImage {
  return {
    pixelValues: Float32Array.from(pixels),
    runs: [[start, start + 3]],
    rowIndex: Int32Array.from([0, 1, 2]),
  };
}

/** Ids 1, 7, a picture at [2, 5), then these. */
function prompt(textIds: readonly number[], pixels?: readonly number[]): Prompt {
  return { inputIds: Int32Array.from([1, 7, IMAGE, IMAGE, IMAGE, ...textIds]), images: [image(2, pixels)] };
}

function held(before: Prompt, numPositions = before.inputIds.length) {
  return { prompt: copyPrompt(before), numPositions };
}

test("nothing is reusable before a prompt", () => {
  expect(reusablePositions(undefined, prompt([4]))).toBe(0);
});

test("the same picture is reused up to where the texts part, and never the last position", () => {
  expect(reusablePositions(held(prompt([4, 5, 6])), prompt([4, 8, 6]))).toBe(6);
  expect(reusablePositions(held(prompt([4, 5, 6])), prompt([9]))).toBe(5);
  expect(reusablePositions(held(prompt([4, 5, 6])), prompt([4, 5, 6]))).toBe(7);
  expect(reusablePositions(held(prompt([4, 5, 6])), prompt([4]))).toBe(5);
});

test("only held positions are reused, and a cut within the picture leaves what is before it", () => {
  expect(reusablePositions(held(prompt([4, 5, 6]), 6), prompt([4, 5, 6]))).toBe(6);
  expect(reusablePositions(held(prompt([4, 5, 6]), 4), prompt([4, 5, 6]))).toBe(2);
});

test("another picture, the same pixels laid out otherwise, or placed otherwise, is not reused", () => {
  expect(reusablePositions(held(prompt([4, 5])), prompt([4, 5], [1, 2, 4]))).toBe(2);
  const [first] = prompt([4, 5]).images;
  if (first === undefined) throw new Error("the prompt has no picture");
  const other = { ...prompt([4, 5]), images: [{ ...first, rowIndex: Int32Array.from([0, 1, -1]) }] };
  expect(reusablePositions(held(prompt([4, 5])), other)).toBe(2);
  const split: PromptImage = {
    ...first,
    runs: [
      [2, 3],
      [3, 5],
    ],
  };
  expect(reusablePositions(held(prompt([4, 5])), { ...prompt([4, 5]), images: [split] })).toBe(2);
});

test("of two pictures the first may be reused without the second", () => {
  const two = (secondPixels: readonly number[]): Prompt => ({
    inputIds: Int32Array.from([1, 7, IMAGE, IMAGE, IMAGE, 4, IMAGE, IMAGE, IMAGE, 5, 6]),
    images: [image(2), image(6, secondPixels)],
  });
  expect(reusablePositions(held(two([7, 8, 9])), two([7, 8, 9]))).toBe(10);
  expect(reusablePositions(held(two([7, 8, 9])), two([7, 8, 1]))).toBe(6);
  expect(reusablePositions(held(two([7, 8, 9]), 8), two([7, 8, 9]))).toBe(6);
  // A conversation whose next turn brings a picture takes over all before it.
  expect(reusablePositions(held(prompt([4])), two([7, 8, 9]))).toBe(6);
  // Texts that part before a picture leave nothing of it.
  const parted = two([7, 8, 9]);
  parted.inputIds[1] = 8;
  expect(reusablePositions(held(two([7, 8, 9])), parted)).toBe(1);
  expect(reusablePositions(held(two([7, 8, 9]), 5), two([7, 8, 9]))).toBe(5);
});

test("a picture written over in place is another picture", () => {
  const before = prompt([4, 5]);
  const kept = held(before);
  before.images[0]?.pixelValues.set([9], 1);
  expect(reusablePositions(kept, before)).toBe(2);
});

test("generated ids count as part of what is held", () => {
  const kept = { prompt: copyPrompt(prompt([4]), [11, 12]), numPositions: 8 };
  expect(reusablePositions(kept, prompt([4, 11, 12, 13]))).toBe(8);
  expect(reusablePositions(kept, prompt([4, 11, 3, 13]))).toBe(7);
});

test("text only, with explicit positions", () => {
  const text = (ids: readonly number[], positions?: readonly number[]): Prompt => ({
    inputIds: Int32Array.from(ids),
    images: [],
    positions: positions && Int32Array.from(positions),
  });
  expect(reusablePositions(held(text([1, 2, 3])), text([1, 2, 9, 9]))).toBe(2);
  expect(reusablePositions(held(text([1, 2, 3])), text([5]))).toBe(0);
  expect(reusablePositions(held(text([1, 2, 3])), text([1, 2, 3], [5, 6, 7]))).toBe(0);
  expect(reusablePositions(held(text([1, 2, 3], [5, 6, 7])), text([1, 2, 3], [5, 6, 7]))).toBe(2);
  expect(reusablePositions(held(text([1, 2, 3], [5, 6, 7])), text([1, 2, 3]))).toBe(0);
  expect(reusablePositions(held(text([1, 2, 3], [5, 6, 7])), text([1, 2, 3], [5, 6, 8]))).toBe(2);
  expect(reusablePositions(held(text([1, 2, 3], [5, 6, 7])), text([1, 2, 3, 4], [5, 8, 9, 10]))).toBe(1);
});

test("positions on three axes are compared as far as the prompts are alike, generated ids included", () => {
  const placed = (ids: readonly number[], positions?: readonly number[]): Prompt => ({
    inputIds: Int32Array.from(ids),
    images: [],
    positions: positions && Int32Array.from(positions),
  });
  const first = [0, 0, 0, 1, 1, 1, 1, 1, 2, 3, 3, 3];
  const before = placed([1, 9, 9, 2], first);
  const kept = { prompt: copyPrompt(before, [7, 8]), numPositions: 6 };
  const after = [...first, 4, 4, 4, 5, 5, 5, 6, 6, 6];
  expect(kept.prompt.positions).toEqual(Int32Array.from(after.slice(0, 18)));
  expect(reusablePositions(kept, placed([1, 9, 9, 2, 7, 8, 3], after))).toBe(6);
  const other = after.map((position, index) => (index === 8 ? position + 1 : position));
  expect(reusablePositions(kept, placed([1, 9, 9, 2, 7, 8, 3], other))).toBe(2);
  // Slots are the positions of a prompt without any: text before a picture is taken over.
  expect(reusablePositions(kept, placed([1, 9, 9, 2, 7]))).toBe(2);
  expect(reusablePositions(held(placed([1, 9, 4])), placed([1, 9, 9, 2], first))).toBe(2);
});

test("an image token without a picture held for it is where the prompt parts", () => {
  const imageless: Prompt = { ...prompt([4, 5]), images: [] };
  expect(reusablePositions(held(imageless), prompt([4, 5]))).toBe(2);
});

test("a copy shares no array with its prompt", () => {
  const original: Prompt = { ...prompt([4]), positions: Int32Array.from([0, 1, 2, 2, 2, 3]) };
  const copy = copyPrompt(original);
  expect(copy).toEqual(original);
  expect(copyPrompt(prompt([4]), [11, 12]).inputIds).toEqual(prompt([4, 11, 12]).inputIds);
  expect(copyPrompt(prompt([4])).positions).toBeUndefined();
  original.inputIds.fill(0);
  original.positions?.fill(0);
  for (const { pixelValues, rowIndex } of original.images) {
    pixelValues.fill(0);
    rowIndex.fill(5);
  }
  expect(copy).toEqual({ ...prompt([4]), positions: Int32Array.from([0, 1, 2, 2, 2, 3]) });
});

test("a picture of several runs starts with its first position and ends with its last", () => {
  const tiled: PromptImage = {
    ...image(2),
    runs: [
      [4, 6],
      [8, 11],
      [12, 13],
    ],
  };
  expect([startOf(tiled), endOf(tiled)]).toEqual([4, 13]);
});

test("lists are the same when their lengths and all numbers are", () => {
  expect(isSame([], [])).toBe(true);
  expect(isSame([1, 2], Int32Array.of(1, 2))).toBe(true);
  expect(isSame([1, 2], [1, 3])).toBe(false);
  expect(isSame([3, 2], [1, 2])).toBe(false);
  expect(isSame([1], [1, 2])).toBe(false);
  expect(isSame([1, 2], [1])).toBe(false);
});
