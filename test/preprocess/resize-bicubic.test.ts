import { describe, expect, test } from "vitest";
import { InputError } from "../../src/errors.ts";
import type { RgbImage } from "../../src/preprocess/image.ts";
import { type ResampleFilter, type ResizeOptions, resizeImage } from "../../src/preprocess/resize-bicubic.ts";
import {
  cropped,
  differences,
  readGolden,
  readGoldenBytes,
  readPicture,
  type Versioned,
  versionsOf,
} from "./golden.ts";

interface ResizeGolden extends Versioned {
  readonly cases: readonly {
    readonly picture: string;
    readonly crop: readonly number[];
    readonly filter: ResampleFilter;
    readonly size: readonly [number, number];
  }[];
}

const golden = readGolden<ResizeGolden>("resize.json");
const expected = readGoldenBytes("resize.bin.gz");
const offsets = golden.cases.map((_, index) => {
  return golden.cases.slice(0, index).reduce((sum, { size: [width, height] }) => sum + width * height * 3, 0);
});

describe(`resizeImage is byte-equal to ${versionsOf(golden, "pillow")}`, () => {
  const titled = golden.cases.map((one, index) => ({
    ...one,
    offset: offsets[index] ?? 0,
    from: one.crop.slice(2).join("×"),
  }));
  test.each(titled)("$filter $picture $from to $size", async ({ picture, crop, filter, size, offset }) => {
    const [width, height] = size;
    const actual = resizeImage(cropped(await readPicture(picture), crop), { width, height }, { filter });
    expect([actual.width, actual.height, actual.data.length]).toEqual([width, height, width * height * 3]);
    expect(differences(actual.data, expected.subarray(offset, offset + actual.data.length))).toEqual({
      max: 0,
      mean: 0,
    });
  });
});

describe("resizeImage", () => {
  test.each<ResampleFilter>(["bicubic", "lanczos", "nearest"])(
    "%s: a window is that part of the whole",
    async (filter) => {
      const image = await readPicture("coffee");
      for (const size of [
        { width: 71, height: 400 },
        { width: 400, height: 31 },
      ]) {
        const whole = resizeImage(image, size, { filter });
        const window = { left: 13, top: 7, width: 41, height: 19 };
        const part = resizeImage(image, size, { filter, window });
        expect(part).toEqual(cropped(whole, [window.left, window.top, window.width, window.height]));
      }
    },
  );

  test("the picture's own size gives a copy", async () => {
    const image = await readPicture("noise");
    const copy = resizeImage(image, image);
    expect(copy).toEqual(image);
    expect(copy.data).not.toBe(image.data);
  });

  test("a result over the limit is refused; a window of it is not", () => {
    const image = { width: 20, height: 1000, data: new Uint8Array(60_000) };
    const huge = { width: 2000, height: 1000 };
    expect(() => resizeImage(image, huge, { maxPixels: 100_000 })).toThrow(InputError);
    expect(() => resizeImage(image, huge, { maxPixels: 100_000 })).toThrow(
      /from 20×1000 to 2000×1000 needs 2000000 pixels.*limit of 100000/,
    );
    const window = { left: 990, top: 0, width: 20, height: 20 };
    expect(resizeImage(image, huge, { maxPixels: 100_000, window }).width).toBe(20);
    expect(() => resizeImage(image, { width: 1e5, height: 1e5 }, { filter: "nearest" })).toThrow(InputError);
  });
});

describe("the order of the passes is Pillow 13's", () => {
  const SIDES = ["rows", "columns"] as const;

  test.each([
    ["twice the columns lost", [20, 40], [15, 30], "columns"],
    ["one row more", [20, 40], [15, 29], "rows"],
    ["rows lost, columns gained", [9, 40], [30, 39], "rows"],
    ["rows and columns gained", [9, 17], [30, 40], "columns"],
    ["rows gained, columns lost", [9, 40], [4, 45], "columns"],
  ] as const)("%s: %j to %j takes %s first", (_, [width, height], [newWidth, newHeight], first) => {
    const image = coloured(width, height);
    const size = { width: newWidth, height: newHeight };
    const between = { rows: { width, height: newHeight }, columns: { width: newWidth, height } };
    const whole = resizeImage(image, size);
    for (const side of SIDES) {
      const inTwoSteps = resizeImage(resizeImage(image, between[side]), size);
      expect(differences(whole.data, inTwoSteps.data).max === 0, `${side} first`).toBe(side === first);
    }
  });
});

// In both rows, pixels lie as far from a sample as the filter reaches; in the second, rounding puts one just beyond. By Pillow 13.
test.each([
  [3, [10, 250, 250]],
  [49, [...new Array(25).fill(10), ...new Array(24).fill(250)]],
])("box gives a pixel on the border of two the left one: 2 to %i", (width, expectedRow) => {
  const image = { width: 2, height: 1, data: Uint8Array.of(10, 10, 10, 250, 250, 250) };
  const { data } = resizeImage(image, { width, height: 1 }, { filter: "box" });
  expect(Array.from({ length: width }, (_, x) => data[x * 3])).toEqual(expectedRow);
});

describe("the pixel limit", () => {
  test.each<[string, { from: [number, number]; to: [number, number]; options: ResizeOptions; needs: number }]>([
    [
      // Rows 37 to 62, which lie under rows 20 to 29 at half the size.
      "counts the rows under the window when columns are first",
      {
        from: [100, 100],
        to: [50, 50],
        options: { window: { left: 20, top: 20, width: 10, height: 10 } },
        needs: 260,
      },
    ],
    [
      "counts the columns under the window when rows are first",
      { from: [60, 200], to: [30, 50], options: { window: { left: 10, top: 3, width: 10, height: 5 } }, needs: 130 },
    ],
    ["counts the result when it is larger and columns are first", { from: [5, 6], to: [7, 9], options: {}, needs: 63 }],
    ["counts the result when it is larger and rows are first", { from: [5, 6], to: [70, 5], options: {}, needs: 350 }],
    [
      "counts the window of the nearest pixels",
      {
        from: [10, 10],
        to: [20, 20],
        options: { filter: "nearest", window: { left: 3, top: 2, width: 5, height: 4 } },
        needs: 20,
      },
    ],
  ])("%s", (_, { from, to, options, needs }) => {
    const image = coloured(...from);
    const size = { width: to[0], height: to[1] };
    expect(() => resizeImage(image, size, { ...options, maxPixels: needs })).not.toThrow();
    expect(() => resizeImage(image, size, { ...options, maxPixels: needs - 1 })).toThrow(
      new InputError(
        `Resizing the picture from ${from.join("×")} to ${to.join("×")} needs ${needs} pixels, ` +
          `more than the limit of ${needs - 1}: crop it to a less extreme shape first.`,
      ),
    );
  });

  test("is none on a picture that keeps its size", () => {
    const image = coloured(7, 5);
    expect(resizeImage(image, { width: 7, height: 5 }, { maxPixels: 1 })).toEqual(image);
  });
});

test.each([
  ["no row, columns first", coloured(20, 4), { width: 1, height: 0 }],
  ["no column, rows first", coloured(4, 20), { width: 0, height: 3 }],
])("a result without pixels is an error of the engine: %s", (_, image, size) => {
  expect(() => resizeImage(image, size)).toThrow(new RangeError("weights: no positions."));
});

test.each<ResampleFilter>(["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"])(
  "%s keeps a picture of one colour",
  (filter) => {
    const image = { width: 7, height: 5, data: new Uint8Array(105).fill(201) };
    for (const size of [
      { width: 2, height: 13 },
      { width: 21, height: 5 },
      { width: 3, height: 2 },
    ]) {
      expect(new Set(resizeImage(image, size, { filter }).data)).toEqual(new Set([201]));
    }
  },
);

/** A picture whose neighbouring bytes differ widely. */
function coloured(width: number, height: number): RgbImage {
  const data = Uint8Array.from({ length: width * height * 3 }, (_, index) => (index * index * 7 + index * 13) % 256);
  return { width, height, data };
}
