// PNG files with wrong or missing checksums and chunks. What opens and what does not is Pillow 13.0's behaviour, tried with these files.
import { crc32, deflateSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { InputError } from "../../src/errors.ts";
import { decodeImage } from "../../src/preprocess/decode-image.node.ts";

const SIDE = 8;
const rows = Array.from({ length: SIDE }, (_, y) => [
  0,
  ...Array.from({ length: SIDE }, (_, x) => [x * 30, y * 30, 7]),
]);
const RAW = Buffer.from(rows.flat(2));
const PIXELS = Uint8Array.from(rows.flatMap((row) => row.slice(1).flat()));
const DATA = deflateSync(RAW);

/** A chunk, with a checksum of the caller's choice. */
function chunk(type: string, data: Buffer, crc?: number): Buffer {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const ends = Buffer.alloc(8);
  ends.writeUInt32BE(data.length, 0);
  ends.writeUInt32BE(crc ?? crc32(body), 4);
  return Buffer.concat([ends.subarray(0, 4), body, ends.subarray(4)]);
}

const HEADER = Buffer.from([0, 0, 0, SIDE, 0, 0, 0, SIDE, 8, 2, 0, 0, 0]);
const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const WRONG = 1;
const none = Buffer.alloc(0);
const start = Buffer.concat([SIGNATURE, chunk("IHDR", HEADER)]);
const data = chunk("IDAT", DATA);
const end = chunk("IEND", none);
const half = DATA.length >> 1;
const wrongAdler = Buffer.from(DATA.map((byte, index) => (index < DATA.length - 4 ? byte : byte ^ 255)));

describe("opens", () => {
  test.each<[string, readonly Buffer[]]>([
    ["right checksums", [start, data, end]],
    ["the data's checksum wrong", [start, chunk("IDAT", DATA, WRONG), end]],
    [
      "the checksum of the data's first part wrong",
      [start, chunk("IDAT", DATA.subarray(0, half), WRONG), chunk("IDAT", DATA.subarray(half)), end],
    ],
    ["the file ends before the data's checksum", [start, data.subarray(0, -4)]],
    ["no end", [start, data]],
    ["the end's checksum wrong", [start, data, chunk("IEND", none, WRONG)]],
    ["the end's checksum missing", [start, data, end.subarray(0, -4)]],
    ["a text behind the data with a wrong checksum", [start, data, chunk("tEXt", Buffer.from("a\0b"), WRONG), end]],
    ["a critical chunk that nobody knows", [start, chunk("ABCD", Buffer.from("x")), data, end]],
    ["bytes behind zlib's end", [start, chunk("IDAT", Buffer.concat([DATA, Buffer.from("xyz")])), end]],
  ])("%s", async (_, parts) => {
    const { width, height, data: pixels } = await decodeImage(Buffer.concat(parts));
    expect([width, height]).toEqual([SIDE, SIDE]);
    expect(Uint8Array.from(pixels)).toEqual(PIXELS);
  });
});

describe("does not open", () => {
  const states = (kind: string) => `its ${kind} chunk does not have the checksum that it states`;
  test.each<[string, readonly Buffer[], string]>([
    ["the header's checksum wrong", [SIGNATURE, chunk("IHDR", HEADER, WRONG), data, end], states("IHDR")],
    ["a text's before the data", [start, chunk("tEXt", Buffer.from("a\0b"), WRONG), data, end], states("tEXt")],
    ["an unknown chunk's before the data", [start, chunk("ABCD", none, WRONG), data, end], states("ABCD")],
    ["zlib's checksum wrong", [start, chunk("IDAT", wrongAdler), end], "is a damaged or truncated PNG picture"],
    ["half of the data", [start, chunk("IDAT", DATA.subarray(0, half)), end], "is a damaged or truncated PNG picture"],
    ["data that is cut short", [start, data.subarray(0, half)], "is a damaged or truncated PNG picture"],
  ])("%s", async (_, parts, message) => {
    const decoding = decodeImage(Buffer.concat(parts));
    await expect(decoding).rejects.toThrow(InputError);
    await expect(decoding).rejects.toThrow(message);
  });
});
