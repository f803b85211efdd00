import { expect, test } from "vitest";
import { InputError } from "../../src/errors.ts";
import { checkedPicture } from "../../src/preprocess/image.ts";

test.each([
  [1, 1],
  [2, 1],
  [1, 3],
])("%i × %i pixels of three bytes are a picture", (width, height) => {
  expect(() => checkedPicture({ width, height, data: new Uint8Array(width * height * 3) })).not.toThrow();
});

const bytes = (length: number): Uint8Array => new Uint8Array(length);

test.each<[string, unknown, string]>([
  ["nothing", undefined, "undefined"],
  ["null", null, "null"],
  ["a file's bytes", bytes(3), "Uint8Array"],
  ["a string", "cup.png", "a string"],
  ["no width", { height: 1, data: bytes(3) }, "Object"],
  ["a width that is not a number", { width: "1", height: 1, data: bytes(3) }, "Object"],
  ["no height", { width: 1, data: bytes(3) }, "Object"],
  ["a height that is not a number", { width: 1, height: "1", data: bytes(3) }, "Object"],
  ["no data", { width: 1, height: 1 }, "Object"],
  ["no pixel", { width: 0, height: 0, data: bytes(0) }, "0 × 0 pixels and 0 bytes"],
  ["no column", { width: 0, height: 2, data: bytes(0) }, "0 × 2 pixels and 0 bytes"],
  ["no row", { width: 2, height: 0, data: bytes(0) }, "2 × 0 pixels and 0 bytes"],
  ["negative sides", { width: -2, height: -1, data: bytes(6) }, "-2 × -1 pixels and 6 bytes"],
  ["negative sides of RGBA", { width: -2, height: -1, data: bytes(8) }, "-2 × -1 pixels and 8 bytes"],
  ["part of a column", { width: 1.5, height: 2, data: bytes(9) }, "1.5 × 2 pixels and 9 bytes"],
  ["part of a row", { width: 2, height: 1.5, data: bytes(9) }, "2 × 1.5 pixels and 9 bytes"],
  ["a byte too few", { width: 2, height: 2, data: bytes(11) }, "2 × 2 pixels and 11 bytes"],
  ["a byte too many", { width: 2, height: 2, data: bytes(13) }, "2 × 2 pixels and 13 bytes"],
  ["data that is not bytes", { width: 1, height: 1, data: new Float32Array(3) }, "Object"],
  ["grey", { width: 2, height: 2, data: bytes(4) }, "2 × 2 pixels and 4 bytes"],
  [
    "RGBA",
    { width: 2, height: 2, data: new Uint8ClampedArray(16) },
    "2 × 2 pixels and 16 bytes, which is RGBA, as in ImageData: omit every fourth byte",
  ],
])("refuses %s", (_, image, found) => {
  expect(() => checkedPicture(image as never)).toThrow(
    new InputError(
      `image: expected { width, height, data } with 3 bytes per pixel, as decodeImage returns it, got ${found}.`,
    ),
  );
});
