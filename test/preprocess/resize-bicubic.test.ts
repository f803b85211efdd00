import { describe, expect, test } from "vitest";
import { InputError } from "../../src/errors.ts";
import { type ResampleFilter, resizeImage } from "../../src/preprocess/resize-bicubic.ts";
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
