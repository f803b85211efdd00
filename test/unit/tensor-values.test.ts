// Views of buffers, their statistics and pictures.
import { describe, expect, test } from "vitest";
import { denseView, type TensorView } from "../../src/gpu/describe.ts";
import { gather, pictureOf, rangesOf, statisticsOf } from "../../src/inspect/tensor-values.ts";

/** A buffer whose value i is i. */
const BUFFER = Float32Array.from({ length: 200 }, (_, index) => index);

function readView(view: TensorView): number[] {
  const packed = rangesOf(view).flatMap(({ start, length }) => Array.from(BUFFER.subarray(start, start + length)));
  return Array.from(gather(view, Float32Array.from(packed)));
}

describe("a view", () => {
  test.each<[string, TensorView, readonly number[], number]>([
    ["dense", denseView([2, 3], 5), [5, 6, 7, 8, 9, 10], 1],
    ["padded rows", { shape: [2, 3], strides: [4, 1], offset: 0, dtype: "f32" }, [0, 1, 2, 4, 5, 6], 1],
    ["one column", { shape: [3], strides: [4], offset: 1, dtype: "f32" }, [1, 5, 9], 3],
    [
      "slots of a cache",
      { shape: [2, 2, 3], strides: [40, 4, 1], offset: 8, dtype: "f32" },
      [8, 9, 10, 12, 13, 14, 48, 49, 50, 52, 53, 54],
      2,
    ],
    ["chosen rows", { shape: [2, 2], strides: [4, 1], offset: 0, dtype: "f32", rows: [1, 30] }, [4, 5, 120, 121], 2],
    ["a chosen row", { shape: [1, 2], strides: [4, 1], offset: 0, dtype: "f32", rows: [3] }, [12, 13], 1],
    ["one value", { shape: [1], strides: [1], offset: 3, dtype: "f32" }, [3], 1],
    ["rows that lie apart", { shape: [2, 2], strides: [4, 1], offset: 1, dtype: "f32" }, [1, 2, 5, 6], 2],
    ["rows that hardly lie apart", { shape: [2, 3], strides: [5, 1], offset: 1, dtype: "f32" }, [1, 2, 3, 6, 7, 8], 1],
    ["one row of a wide buffer", { shape: [1, 3], strides: [40, 1], offset: 80, dtype: "f32" }, [80, 81, 82], 1],
    ["columns", { shape: [2, 3], strides: [1, 2], offset: 4, dtype: "f32" }, [4, 6, 8, 5, 7, 9], 1],
    ["chosen values", { shape: [3], strides: [2], offset: 1, dtype: "f32", rows: [9, 0, 4] }, [19, 1, 9], 3],
    [
      "chosen rows beside others",
      { shape: [2, 2], strides: [2, 1], offset: 0, dtype: "f32", rows: [3, 1] },
      [6, 7, 2, 3],
      2,
    ],
    ["no chosen row", { shape: [0, 2], strides: [4, 1], offset: 0, dtype: "f32", rows: [] }, [], 0],
    ["heads of a padded row", { shape: [1, 2, 2], strides: [8, 4, 1], offset: 4, dtype: "f32" }, [4, 5, 8, 9], 1],
  ])("of %s", (_, view, expected, numRanges) => {
    expect(readView(view)).toEqual(expected);
    expect(rangesOf(view)).toHaveLength(numRanges);
  });

  test("of rows names the parts of the buffer that are to be read", () => {
    expect(rangesOf({ shape: [2, 2, 3], strides: [40, 4, 1], offset: 8, dtype: "f32" })).toEqual([
      { start: 8, length: 7 },
      { start: 48, length: 7 },
    ]);
    expect(rangesOf({ shape: [3, 3], strides: [4, 1], offset: 2, dtype: "f32" })).toEqual([{ start: 2, length: 11 }]);
  });

  test("of numbers keeps them exact", () => {
    const real = Float32Array.of(0.5, -1);
    expect(gather(denseView([2], 0), real)).toEqual(real);
    const packed = Uint32Array.of(0xffffffff, 1);
    expect(gather(denseView([2], 0, "u32"), packed)).toEqual(packed);
  });
});

describe("statistics", () => {
  test("of finite values", () => {
    const found = statisticsOf([-2, 0, 4, -0]);
    expect(found).toEqual({ min: -2, max: 4, mean: 0.5, rms: Math.sqrt(5), numZeros: 2, numNonFinite: 0 });
  });

  test("leave out what is not finite, and count it", () => {
    const values = [1, Number.NaN, Number.POSITIVE_INFINITY, 3];
    expect(statisticsOf(values)).toEqual({ min: 1, max: 3, mean: 2, rms: Math.sqrt(5), numZeros: 0, numNonFinite: 2 });
    const none = { min: Number.NaN, max: Number.NaN, mean: Number.NaN, rms: Number.NaN, numZeros: 0, numNonFinite: 1 };
    expect(statisticsOf([Number.NaN])).toEqual(none);
  });
});

test("statistics of zeros alone keep the first one's sign", () => {
  const found = { mean: 0, rms: 0, numZeros: 2, numNonFinite: 0 };
  expect(statisticsOf([0, -0])).toEqual({ ...found, min: 0, max: 0 });
  expect(statisticsOf([-0, 0])).toEqual({ ...found, min: -0, max: -0 });
});

describe("a picture", () => {
  test("of a small tensor is the tensor", () => {
    expect(pictureOf([1, 2, 3, 4, 5, 6], [2, 3])).toEqual({
      width: 3,
      height: 2,
      values: Float32Array.of(1, 2, 3, 4, 5, 6),
    });
    expect(pictureOf([7], [1])).toEqual({ width: 1, height: 1, values: Float32Array.of(7) });
  });

  test("of one dimension is a row", () => {
    expect(pictureOf([1, 2, 3], [3])).toEqual({ width: 3, height: 1, values: Float32Array.of(1, 2, 3) });
  });

  test("of two shapes that are equally near to a square is the wider one", () => {
    expect(pictureOf(new Float32Array(16), [2, 4, 2])).toMatchObject({ width: 8, height: 2 });
  });

  test("of a side just over the largest has its cells for one or two values", () => {
    const { width, height, values } = pictureOf([1, 3, ...Array<number>(63).fill(7)], [1, 65]);
    expect([width, height]).toEqual([64, 1]);
    expect([...values]).toEqual([2, ...Array<number>(63).fill(7)]);
    const tall = pictureOf([1, 3, ...Array<number>(63).fill(7)], [65, 1]);
    expect(tall).toEqual({ width: 1, height: 64, values });
  });

  test("of a large one has means of its cells", () => {
    const values = Float32Array.from({ length: 128 * 192 }, (_, index) => (index % 192) + Math.floor(index / 192));
    const { width, height, values: cells } = pictureOf(values, [128, 192]);
    expect([width, height]).toEqual([64, 64]);
    expect(cells[0]).toBe(1.5); // rows 0 and 1, columns 0 to 2
    expect(cells.at(-1)).toBe(126.5 + 190);
    const mean = (numbers: Float32Array) => numbers.reduce((sum, value) => sum + value, 0) / numbers.length;
    expect(mean(cells)).toBeCloseTo(mean(values), 6);
  });

  test("of more dimensions puts the leading ones down where that is nearest to a square", () => {
    const { width, height } = pictureOf(new Float32Array(4 * 25 * 16), [4, 25, 16]);
    expect([width, height]).toEqual([16, 64]); // 100 rows of 16
    const attended = pictureOf(new Float32Array(25 * 4 * 16), [25, 4, 16]);
    expect([attended.width, attended.height]).toEqual([64, 25]);
    const single = pictureOf(new Float32Array(64), [1, 4, 16]);
    expect([single.width, single.height]).toEqual([16, 4]);
  });

  test("shows what is not a number", () => {
    expect(pictureOf([Number.NaN, 1], [1, 2]).values).toEqual(Float32Array.of(Number.NaN, 1));
  });
});
