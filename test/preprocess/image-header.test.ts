// Headers of files made up here; those of real files are read in decode-image.test.ts.
import { describe, expect, test } from "vitest";
import { InputError } from "../../src/errors.ts";
import { checkPixelLimit, readImageHeader } from "../../src/preprocess/image-header.ts";

const read = (...bytes: number[]) => readImageHeader(Uint8Array.from(bytes), "cup");
const text = (characters: string): number[] => [...characters].map((character) => character.charCodeAt(0));
const refusal = (message: string): InputError => new InputError(`cup ${message}`);
const truncated = refusal("is truncated: its header ends before the picture begins.");

describe("JPEG", () => {
  const start = [0xff, 0xd8];
  /** A frame header, 300 wide and 515 high. */
  const frame = (marker = 0xc0, { precision = 8, components = 3 } = {}) => {
    return [0xff, marker, 0, 17, precision, 0x02, 0x03, 0x01, 0x2c, components];
  };
  const size = { format: "jpeg", width: 300, height: 515, isCmyk: false };

  test.each([0xc0, 0xc1, 0xc2, 0xc3, 0xc5, 0xc6, 0xc7, 0xc9, 0xca, 0xcb, 0xcd, 0xce, 0xcf])(
    "marker %i begins a frame",
    (marker) => {
      expect(read(...start, ...frame(marker))).toEqual(size);
    },
  );

  test.each([0x02, 0xbf, 0xc4, 0xc8, 0xcc, 0xdb, 0xdd, 0xe0, 0xe1, 0xfe])(
    "the segment of marker %i is skipped",
    (marker) => {
      // Of 12 bytes, among which is what would be a frame of another size.
      const segment = [0xff, marker, 0, 12, ...frame()];
      segment[12] = 99;
      expect(read(...start, ...segment, ...frame())).toEqual(size);
    },
  );

  test("a segment's length has two bytes", () => {
    expect(read(...start, 0xff, 0xe0, 1, 3, ...new Array(257).fill(7), ...frame())).toEqual(size);
  });

  test.each([0x00, 0x01, 0xd0, 0xd1, 0xd7, 0xd8])("marker %i has no segment", (marker) => {
    expect(read(...start, 0xff, marker, ...frame())).toEqual(size);
  });

  test.each([
    ["a fill byte", [0xff]],
    ["fill bytes", [0xff, 0xff, 0xff]],
  ])("%s before a marker is skipped", (_, filling) => {
    expect(read(...start, ...filling, ...frame())).toEqual(size);
  });

  test("what lies between segments is skipped", () => {
    expect(read(...start, 0xff, 0xe0, 0, 2, 0x12, 0xc0, 0xd9, 0x34, ...frame())).toEqual(size);
  });

  test.each([
    [1, false],
    [3, false],
    [4, true],
  ])("%i components", (components, isCmyk) => {
    expect(read(...start, ...frame(0xc0, { components }))).toEqual({ ...size, isCmyk });
  });

  test.each([0xd9, 0xda])("marker %i before any frame is refused", (marker) => {
    expect(() => read(...start, 0xff, marker, 0, 2, ...frame())).toThrow(
      refusal("is a JPEG without a frame header: it is damaged."),
    );
  });

  test("other than 8 bits per sample are refused", () => {
    expect(() => read(...start, ...frame(0xc1, { precision: 12 }))).toThrow(
      refusal("is a JPEG of 12 bits per sample: only 8 bits can be decoded, so convert it."),
    );
  });

  test("every way of cutting it short is refused", () => {
    const whole = [...start, 0xff, 0xe0, 0, 4, 1, 2, ...frame()];
    for (let length = 3; length < whole.length; length++)
      expect(() => read(...whole.slice(0, length))).toThrow(truncated);
    expect(() => read(0xff, 0xd8)).toThrow(refusal("is not a picture: expected a JPEG, PNG or WebP picture."));
  });
});

describe("PNG", () => {
  const signature = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
  /** The first chunk, 66051 wide and 67305985 high. */
  const png = (depth: number, colourType: number) => {
    return [...signature, 0, 0, 0, 13, ...text("IHDR"), 0, 1, 2, 3, 4, 3, 2, 1, depth, colourType];
  };

  test.each([
    ["8-bit grey", 8, 0],
    ["16-bit colours", 16, 2],
    ["16-bit grey with alpha", 16, 4],
    ["a palette", 4, 3],
  ])("the size in four bytes each: %s", (_, depth, colourType) => {
    expect(read(...png(depth, colourType))).toEqual({ format: "png", width: 66051, height: 67305985, isCmyk: false });
  });

  test("16-bit grey is refused", () => {
    expect(() => read(...png(16, 0))).toThrow(
      refusal("is a 16-bit grey PNG, which PIL would turn mostly white: convert it to 8 bits."),
    );
  });

  test("a header that ends early is refused, and so is a signature that does", () => {
    expect(() => read(...png(8, 2).slice(0, -1))).toThrow(truncated);
    expect(() => read(...signature.slice(0, -1))).toThrow(
      refusal("is not a picture: expected a JPEG, PNG or WebP picture."),
    );
  });
});

describe("WebP", () => {
  /** A file whose first chunk has this name and these bytes. */
  const webp = (chunk: string, ...data: number[]) => [
    ...text("RIFF"),
    9,
    9,
    9,
    9,
    ...text(`WEBP${chunk}`),
    9,
    9,
    9,
    9,
    ...data,
  ];
  const size = (width: number, height: number) => ({ format: "webp", width, height, isCmyk: false });

  test("extended: one less than each side in three bytes", () => {
    expect(read(...webp("VP8X", 0, 0, 0, 0, 0x03, 0x02, 0x01, 0x06, 0x05, 0x84))).toEqual(size(0x010204, 0x840507));
    expect(read(...webp("VP8X", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))).toEqual(size(1, 1));
  });

  test("lossy: each side in 14 bits", () => {
    expect(read(...webp("VP8 ", 0, 0, 0, 0x9d, 0x01, 0x2a, 0x02, 0xc1, 0x03, 0x84))).toEqual(size(0x0102, 0x0403));
  });

  test("lossless: one less than each side in 14 bits", () => {
    const sides = ((0x1234 - 1) | ((0x2345 - 1) << 14) | (0b1000 << 28)) >>> 0;
    const bytes = [0, 8, 16, 24].map((shift) => (sides >>> shift) & 0xff);
    expect(read(...webp("VP8L", 0x2f, ...bytes))).toEqual(size(0x1234, 0x2345));
  });

  test("another chunk is refused", () => {
    expect(() => read(...webp("ALPH", ...new Array(20).fill(1)))).toThrow(
      refusal("is a WebP file without a picture: it is damaged."),
    );
  });

  test.each([
    ["VP8X", 9],
    ["VP8 ", 9],
    ["VP8L", 4],
  ])("%s cut short is refused", (chunk, length) => {
    expect(() => read(...webp(chunk, ...new Array(length).fill(0)))).toThrow(truncated);
  });

  test.each([
    ["a RIFF file of another kind", text("RIFF0000WAVEVP8X0000000000000000")],
    ["a file of another container", text("FORM0000WEBPVP8X0000000000000000")],
  ])("%s is not a picture", (_, bytes) => {
    expect(() => read(...bytes)).toThrow(refusal("is not a picture: expected a JPEG, PNG or WebP picture."));
  });
});

describe("other files are refused by their kind", () => {
  test.each([
    ["GIF", text("GIF89a")],
    ["GIF", text("GIF87a")],
    ["BMP", text("BM6")],
    ["PDF", text("%PDF-1.7")],
    ["HEIF or AVIF", [0, 0, 0, 32, ...text("ftypavif")]],
    ["TIFF", [0x49, 0x49, 0x2a, 0x00, 8]],
    ["TIFF", [0x4d, 0x4d, 0x00, 0x2a, 0]],
    ["JPEG XL or JPEG 2000", [0x00, 0x00, 0x00, 0x0c, ...text("JXL ")]],
    ["JPEG XL or JPEG 2000", [0xff, 0x0a, 0x12]],
    ["SVG", text("<svg xmlns='x'>")],
    ["SVG", text(`<?xml version="1.0"?>${" ".repeat(998)}<svg`)],
  ])("%s", (kind, bytes) => {
    expect(() => read(...bytes)).toThrow(refusal(`is a ${kind} file: expected a JPEG, PNG or WebP picture.`));
  });

  test.each([
    ["one byte", [0x42]],
    ["a TIFF's byte order alone", [0x49, 0x49]],
    ["both byte orders of a TIFF", [0x49, 0x49, 0x00, 0x2a]],
    ["a box of another length", [0x00, 0x00, 0x00, 0x0d]],
    ["an SVG that begins after the first kilobyte", text(`${" ".repeat(1021)}<svg`)],
    ["a PNG with a text file's line ends", [0x89, 0x50, 0x4e, 0x47, 0x0a, 0x1a, 0x0a]],
  ])("%s is not a picture", (_, bytes) => {
    expect(() => read(...bytes)).toThrow(refusal("is not a picture: expected a JPEG, PNG or WebP picture."));
  });

  test("an empty one", () => {
    expect(() => read()).toThrow(refusal("is empty (0 bytes): expected a JPEG, PNG or WebP picture."));
  });

  test.each([
    ["nothing", undefined, "undefined"],
    ["an ArrayBuffer", new ArrayBuffer(8), "ArrayBuffer"],
    ["a Blob", new Blob([]), "Blob"],
  ])("%s in place of bytes", (_, value, kind) => {
    expect(() => readImageHeader(value as never, "cup")).toThrow(
      new InputError(`cup: expected a Uint8Array with a file's bytes, got ${kind}.`),
    );
  });
});

test("a part of a buffer is read as that part", () => {
  const file = [0xff, 0xd8, 0xff, 0xc0, 0, 17, 8, 0, 5, 0, 7, 3];
  const bytes = Uint8Array.from([1, 2, 3, ...file, 0xff, 0xc0]).subarray(3, 3 + file.length);
  expect(readImageHeader(bytes, "cup")).toMatchObject({ width: 7, height: 5 });
  expect(() => readImageHeader(bytes.subarray(0, -1), "cup")).toThrow(truncated);
});

test("a cut file's error keeps its cause", () => {
  const failure = (() => {
    try {
      return read(0xff, 0xd8, 0xff);
    } catch (error) {
      return error;
    }
  })();
  expect(failure).toHaveProperty("cause", expect.any(RangeError));
});

test("the pixel limit is the most that a picture may have", () => {
  const size = { width: 7, height: 3 };
  expect(() => checkPixelLimit(size, "cup", { maxPixels: 21 })).not.toThrow();
  expect(() => checkPixelLimit(size, "cup", { maxPixels: 20 })).toThrow(
    refusal("has 7×3 = 21 pixels, more than the limit of 20: make it smaller."),
  );
});
