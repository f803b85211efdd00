// Orientations in files made up here; those of real files are found in decode-image.test.ts.
import { deflateSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import {
  applyOrientation,
  findOrientation,
  markUpright,
  orientationOf,
} from "../../src/preprocess/exif-orientation.ts";

const text = (characters: string): number[] => [...characters].map((character) => character.charCodeAt(0));
const big16 = (value: number): number[] => [value >> 8, value & 0xff];

/** TIFF data with one directory of these tags, each a 16-bit number; its first tag's number is at byte 18. */
function tiff(
  isLittleEndian: boolean,
  entries: readonly (readonly [tag: number, value: number])[],
  count = entries.length,
) {
  const bytes = new Uint8Array(10 + entries.length * 12);
  const view = new DataView(bytes.buffer);
  bytes.set(text(isLittleEndian ? "II" : "MM"));
  view.setUint16(2, 42, isLittleEndian);
  view.setUint32(4, 8, isLittleEndian);
  view.setUint16(8, count, isLittleEndian);
  entries.forEach(([tag, value], index) => {
    view.setUint16(10 + index * 12, tag, isLittleEndian);
    view.setUint16(12 + index * 12, 3, isLittleEndian);
    view.setUint32(14 + index * 12, 1, isLittleEndian);
    view.setUint16(18 + index * 12, value, isLittleEndian);
  });
  return [...bytes];
}

const sideways = tiff(false, [[0x0112, 6]]);
const find = (format: "jpeg" | "png" | "webp", ...bytes: number[]) => findOrientation(Uint8Array.from(bytes), format);

describe("JPEG", () => {
  const start = [0xff, 0xd8];
  const app1 = [0xff, 0xe1, ...big16(8 + sideways.length), ...text("Exif\0\0"), ...sideways];
  const at = (before: number) => ({ orientation: 6, offset: before + 10 + 18, isLittleEndian: false });

  test.each<[string, number[]]>([
    ["at the beginning", []],
    ["after another segment", [0xff, 0xe0, 0, 6, 0xff, 0xda, 0xff, 0xd9]],
    ["after a segment of the lowest marker", [0xff, 0x02, 0, 6, 0xff, 0xda, 0xff, 0xd9]],
    ["after a segment of the last marker before RST0", [0xff, 0xcf, 0, 6, 0xff, 0xda, 0xff, 0xd9]],
    ["after a long segment", [0xff, 0xfe, 1, 2, ...new Array(256).fill(0)]],
    ["after an APP1 of another kind", [0xff, 0xe1, 0, 8, ...text("http:/")]],
    ["after another segment that holds EXIF", [0xff, 0xe2, 0, 8, ...text("Exif\0\0")]],
    ["after fill bytes", [0xff, 0xff]],
    ["after bytes between segments", [0x12, 0xe1, 0x34]],
    ["after a marker without a segment: TEM", [0xff, 0x01]],
    ["after a marker without a segment: RST0", [0xff, 0xd0]],
    ["after a marker without a segment: RST7", [0xff, 0xd7]],
    ["after a marker without a segment: SOI", [0xff, 0xd8]],
  ])("%s", (_, before) => {
    expect(find("jpeg", ...start, ...before, ...app1)).toEqual(at(2 + before.length));
  });

  test.each([
    ["the scan", 0xda],
    ["the end of the picture", 0xd9],
  ])("is not sought after %s", (_, marker) => {
    expect(find("jpeg", ...start, 0xff, marker, 0, 2, ...app1)).toBeUndefined();
  });

  test("a file that ends early has none", () => {
    const whole = [...start, ...app1];
    for (const length of [2, 3, 8, 12, 20, 29]) expect(find("jpeg", ...whole.slice(0, length))).toBeUndefined();
    expect(find("jpeg", ...whole.slice(0, 32))).toEqual(at(2));
  });
});

describe("PNG", () => {
  const chunk = (name: string, data: readonly number[]) => [
    0,
    0,
    ...big16(data.length),
    ...text(name),
    ...data,
    1,
    2,
    3,
    4,
  ];
  const signature = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
  const header = chunk("IHDR", new Array(13).fill(0));

  test("in any chunk of its name", () => {
    const before = [...signature, ...header, ...chunk("tEXt", text("eXIf")), ...chunk("gAMA", new Array(300).fill(0))];
    expect(find("png", ...before, ...chunk("eXIf", sideways))).toEqual({
      orientation: 6,
      offset: before.length + 8 + 18,
      isLittleEndian: false,
    });
  });

  test("a file without that chunk has none", () => {
    expect(find("png", ...signature, ...header, ...chunk("IEND", []))).toBeUndefined();
  });
});

describe("WebP", () => {
  const chunk = (name: string, data: readonly number[]) => {
    const padding = data.length % 2 === 0 ? [] : [0];
    return [...text(name), ...big16(data.length).reverse(), 0, 0, ...data, ...padding];
  };
  const start = [...text("RIFF"), 0, 0, 0, 0, ...text("WEBP")];
  const entry = (offset: number) => ({ orientation: 6, offset, isLittleEndian: false });

  test.each([
    ["of an even length", 10],
    ["of an odd length", 11],
    ["of a length of two bytes", 301],
  ])("after a chunk %s", (_, length) => {
    const before = [...start, ...chunk("VP8X", new Array(length).fill(0))];
    expect(find("webp", ...before, ...chunk("EXIF", sideways))).toEqual(entry(before.length + 8 + 18));
  });

  test("with what JPEG puts before it", () => {
    const bytes = [...start, ...chunk("EXIF", [...text("Exif\0\0"), ...sideways])];
    expect(find("webp", ...bytes)).toEqual(entry(start.length + 14 + 18));
  });

  test("a file without that chunk has none", () => {
    expect(find("webp", ...start, ...chunk("VP8 ", new Array(20).fill(0)))).toBeUndefined();
  });
});

describe("the directory", () => {
  const inPng = (data: number[]) =>
    find("png", ...new Array(8).fill(0), 0, 0, 0, data.length, ...text("eXIf"), ...data);

  test("little-endian numbers, after other entries", () => {
    const data = tiff(true, [
      [0x0100, 9],
      [0x1201, 7],
      [0x0112, 8],
      [0x0112, 3],
    ]);
    expect(inPng(data)).toEqual({ orientation: 8, offset: 16 + 18 + 24, isLittleEndian: true });
  });

  test("elsewhere than after the header", () => {
    const [moved, gap] = [[...sideways.slice(0, 4), 0, 0, 0, 11, ...sideways.slice(4 + 4)], 3];
    moved.splice(8, 0, ...new Array(gap).fill(0xff));
    expect(inPng(moved)).toEqual({ orientation: 6, offset: 16 + 18 + gap, isLittleEndian: false });
  });

  test("what lies behind its entries is none", () => {
    const entries = [[0x0100, 9] as const, [0x0112, 6] as const];
    expect(inPng(tiff(false, entries, 1))).toBeUndefined();
    expect(inPng(tiff(false, entries, 2))?.orientation).toBe(6);
    expect(inPng(tiff(false, entries, 0))).toBeUndefined();
  });
});

test("a part of a buffer is searched as that part", () => {
  const file = [0xff, 0xd8, 0xff, 0xe1, 0, 30, ...text("Exif\0\0"), ...sideways];
  const bytes = Uint8Array.from([7, 7, 7, ...file]).subarray(3);
  const entry = findOrientation(bytes, "jpeg");
  if (entry === undefined) throw new Error("expected an orientation");
  expect(entry).toEqual({ orientation: 6, offset: 30, isLittleEndian: false });

  const upright = markUpright(bytes, entry);
  expect(upright).toHaveLength(file.length);
  expect(findOrientation(upright, "jpeg")).toEqual({ ...entry, orientation: 1 });
  expect([...bytes], "the file itself").toEqual(file);
});

test("markUpright writes in the file's byte order", () => {
  const file = [0xff, 0xd8, 0xff, 0xe1, 0, 30, ...text("Exif\0\0"), ...tiff(true, [[0x0112, 5]])];
  const upright = markUpright(Uint8Array.from(file), { orientation: 5, offset: 30, isLittleEndian: true });
  expect([...upright]).toEqual(file.with(30, 1));
});

test("an unknown format is an error, not a picture without an orientation", () => {
  expect(() => findOrientation(Uint8Array.of(1), "gif" as never)).toThrow(TypeError);
});

describe("applyOrientation", () => {
  /** Rows of digits as a picture, and back. */
  const picture = (...rows: string[]) => {
    const data = rows.flatMap((row) => text(row).flatMap((code) => [code, code + 50, code + 100]));
    return { width: rows[0]?.length ?? 0, height: rows.length, data: Uint8Array.from(data) };
  };

  test.each([
    [2, ["321", "654"]],
    [3, ["654", "321"]],
    [4, ["456", "123"]],
    [5, ["14", "25", "36"]],
    [6, ["41", "52", "63"]],
    [7, ["63", "52", "41"]],
    [8, ["36", "25", "14"]],
  ])("%i", (orientation, rows) => {
    expect(applyOrientation(picture("123", "456"), orientation)).toEqual(picture(...rows));
  });

  test.each([0, 1, 9, 65535, Number.NaN])("%d leaves the picture unchanged", (orientation) => {
    const image = picture("123", "456");
    expect(applyOrientation(image, orientation)).toBe(image);
  });
});

describe("what Pillow 13's exif_transpose turns by", () => {
  /** TIFF data with one entry of a type. */
  const entry = (type: number, value: readonly number[], tag = 0x0112) => [
    ...text("MM"),
    ...[0, 42, 0, 0, 0, 8, 0, 1],
    ...big16(tag),
    ...[0, type, 0, 0, 0, 1],
    ...value,
    ...new Array(4 - value.length).fill(0),
  ];
  const app1 = (data: readonly number[]) => [0xff, 0xe1, ...big16(2 + data.length), ...data];
  const exif = (data: readonly number[]) => app1([...text("Exif\0\0"), ...data]);
  const xmp = (packet: string) => app1(text(`http://ns.adobe.com/xap/1.0/\0${packet}`));
  const jpeg = (...segments: readonly (readonly number[])[]) => [0xff, 0xd8, ...segments.flat(), 0xff, 0xd9];
  const chunk = (name: string, data: readonly number[]) => [
    0,
    0,
    ...big16(data.length),
    ...text(name),
    ...data,
    0,
    0,
    0,
    0,
  ];
  const png = (...chunks: readonly (readonly number[])[]) => [
    ...new Array(8).fill(0),
    ...chunks.flat(),
    ...chunk("IEND", []),
  ];
  const webp = (...chunks: readonly (readonly number[])[]) => [...text("RIFF0000WEBP"), ...chunks.flat()];

  const attribute = '<x tiff:Orientation="6"/>';
  const element = "<tiff:Orientation>8</tiff:Orientation>";
  const profile = (tiffData: readonly number[]) => {
    const digits = Buffer.from([...text("Exif\0\0"), ...tiffData]).toString("hex");
    return `\nexif\n      32\n${digits.slice(0, 20)}\n${digits.slice(20)}\n`;
  };
  const pngXmp = chunk("iTXt", text(`XML:com.adobe.xmp\0\0\0\0\0${attribute}`));

  test.each<[string, "jpeg" | "png" | "webp", readonly number[], number]>([
    ["a short", "jpeg", jpeg(exif(entry(3, [0, 6]))), 6],
    ["a signed short", "jpeg", jpeg(exif(entry(8, [0, 6]))), 6],
    ["a long", "jpeg", jpeg(exif(entry(4, [0, 0, 0, 6]))), 6],
    ["a signed long", "jpeg", jpeg(exif(entry(9, [0, 0, 0, 6]))), 6],
    ["a signed byte", "jpeg", jpeg(exif(entry(6, [6]))), 6],
    ["a float", "jpeg", jpeg(exif(entry(11, [0x40, 0xc0, 0, 0]))), 6],
    ["not a byte", "jpeg", jpeg(exif(entry(1, [6]))), 1],
    ["not an undefined one", "jpeg", jpeg(exif(entry(7, [6]))), 1],
    ["the first of two segments", "jpeg", jpeg(exif(entry(3, [0, 6])), exif(entry(3, [0, 3]))), 6],
    ["an attribute in XMP", "jpeg", jpeg(xmp(attribute)), 6],
    ["an element in XMP", "jpeg", jpeg(xmp(element)), 8],
    ["the last of two XMP packets", "jpeg", jpeg(xmp(attribute), xmp(element)), 8],
    ["XMP beside EXIF without an orientation", "jpeg", jpeg(exif(entry(3, [0, 1], 0x010f)), xmp(attribute)), 6],
    ["EXIF before XMP", "jpeg", jpeg(exif(entry(3, [0, 1])), xmp(attribute)), 1],
    ["EXIF of another type before XMP", "jpeg", jpeg(exif(entry(1, [3])), xmp(attribute)), 1],
    ["XMP without one", "jpeg", jpeg(xmp("<x/>")), 1],
    ["a WebP's XMP", "webp", webp([...text("XMP "), 25, 0, 0, 0, ...text(attribute), 0]), 6],
    ["the last eXIf of a PNG", "png", png(chunk("eXIf", entry(3, [0, 6])), chunk("eXIf", entry(3, [0, 3]))), 3],
    ["eXIf after the picture's data", "png", png(chunk("IDAT", [0]), chunk("eXIf", entry(3, [0, 6]))), 6],
    ["a PNG's XMP", "png", png(chunk("IDAT", [0]), pngXmp), 6],
    ["a PNG's XMP as plain text", "png", png(chunk("tEXt", text(`XML:com.adobe.xmp\0${attribute}`))), 6],
    [
      "a PNG's compressed XMP",
      "png",
      png(chunk("iTXt", [...text("XML:com.adobe.xmp\0\u0001\0en\0x\0"), ...deflateSync(element)])),
      8,
    ],
    [
      "a PNG's compressed profile",
      "png",
      png(chunk("zTXt", [...text("Raw profile type exif\0\0"), ...deflateSync(profile(entry(3, [0, 6])))])),
      6,
    ],
    ["a PNG's profile", "png", png(chunk("tEXt", text(`Raw profile type exif\0${profile(entry(3, [0, 8]))}`))), 8],
    [
      "eXIf before a profile",
      "png",
      png(chunk("tEXt", text(`Raw profile type exif\0${profile(entry(3, [0, 8]))}`)), chunk("eXIf", entry(3, [0, 3]))),
      3,
    ],
    ["no damaged stream", "png", png(chunk("zTXt", text("Raw profile type exif\0\0damaged"))), 1],
    ["no profile of other text", "png", png(chunk("tEXt", text("Raw profile type exif\0\nexif"))), 1],
  ])("%s", async (_, format, bytes, orientation) => {
    expect(await orientationOf(Uint8Array.from(bytes), format)).toBe(orientation);
  });
});
