// Where pictures are in a prompt.
import { expect, test } from "vitest";
import { type ImageInput, imageRuns, imageSpan, type Run, spanOf } from "../../src/models/inputs.ts";

const image = (...runs: readonly Run[]): ImageInput => ({
  pixelValues: new Float32Array(),
  runs,
  rowIndex: new Int32Array(),
  grid: undefined,
});

test("a span reaches from the first run to behind the last, text between them included", () => {
  const images = [image([2, 5], [6, 9]), image([11, 12])];
  expect(imageRuns({ images })).toEqual([
    [2, 5],
    [6, 9],
    [11, 12],
  ]);
  expect(imageSpan({ images })).toEqual([2, 12]);
  expect(spanOf([[0, 4]])).toEqual([0, 4]);
});

test("without a picture there are no runs, and the span is empty", () => {
  expect(imageRuns({ images: [] })).toEqual([]);
  expect(imageSpan({ images: [] })).toEqual([0, 0]);
});
