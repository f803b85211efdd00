// The orientation of a picture, read from where Pillow's `ImageOps.exif_transpose` reads it, so that every host turns the same pictures:
// EXIF, else XMP. In EXIF it can be reset, for decoders that cannot be told to ignore it.
//
// Source: EXIF 2.32, 4.6.4 (tag 0x0112); its place: APP1 of JPEG, eXIf or a text "Raw profile type exif" of PNG, EXIF of WebP (RFC 9649,
// 2.7.1.5). XMP: APP1 of JPEG, a text "XML:com.adobe.xmp" of PNG, "XMP " of WebP.

import type { RgbImage } from "./image.ts";
import type { ImageFormat } from "./image-header.ts";

/** The orientation entry of a file's EXIF data. */
export interface OrientationEntry {
  /** 1 upright, 2 mirrored, 3 upside down, …, 8; any other number is ignored; 1 for an entry that is not a number. */
  readonly orientation: number;
  /** Position of the 16-bit number in the file, and its byte order. */
  readonly offset: number;
  readonly isLittleEndian: boolean;
}

/** The orientation of a picture file, 1 to 8 or a number that is ignored; 1 where nothing gives one. */
export async function orientationOf(bytes: Uint8Array, format: ImageFormat): Promise<number> {
  const entry = findOrientation(bytes, format);
  if (entry !== undefined) return entry.orientation;
  if (format !== "png") return orientationInXmp(xmpOf(viewOf(bytes), format)) ?? 1;
  const profile = await pngText(bytes, "Raw profile type exif");
  const exif = profile === undefined ? undefined : inBounds(() => readTiff(viewOf(bytesOfProfile(profile)), 0));
  return exif?.orientation ?? orientationInXmp(await pngText(bytes, "XML:com.adobe.xmp")) ?? 1;
}

/** The orientation entry of a picture file's EXIF data, undefined when there is none. */
export function findOrientation(bytes: Uint8Array, format: ImageFormat): OrientationEntry | undefined {
  const view = viewOf(bytes);
  return inBounds(() => {
    const start = { jpeg: findInJpeg, png: findInPng, webp: findInWebp }[format](view);
    return start === undefined ? undefined : readTiff(view, start);
  });
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** What `find` finds; undefined when it reads past the end: the file has no entry, or a damaged one, which decoders ignore too. */
function inBounds<T>(find: () => T): T | undefined {
  try {
    return find();
  } catch (cause) {
    if (cause instanceof RangeError) return undefined;
    throw cause;
  }
}

/** The file with its picture marked as upright. In PNG, the chunk's checksum no longer matches, and decoders ignore the chunk. */
export function markUpright(bytes: Uint8Array, { offset, isLittleEndian }: OrientationEntry): Uint8Array<ArrayBuffer> {
  const copy = Uint8Array.from(bytes);
  new DataView(copy.buffer).setUint16(offset, 1, isLittleEndian);
  return copy;
}

/** The picture turned by its orientation; numbers other than 2 to 8 leave it unchanged (`ImageOps.exif_transpose`). */
export function applyOrientation(image: RgbImage, orientation: number): RgbImage {
  if (!(orientation >= 2 && orientation <= 8)) return image;
  const { width, height, data } = image;
  const swapsSides = orientation >= 5;
  const newWidth = swapsSides ? height : width;
  const newHeight = swapsSides ? width : height;
  // Which source edge the result's left and top edges come from.
  const flipsColumns = [2, 3, 7, 8].includes(orientation);
  const flipsRows = [3, 4, 6, 7].includes(orientation);
  const output = new Uint8Array(data.length);
  let out = 0;
  for (let y = 0; y < newHeight; y++) {
    for (let x = 0; x < newWidth; x++) {
      const column = swapsSides ? y : x;
      const row = swapsSides ? x : y;
      const at = ((flipsRows ? height - 1 - row : row) * width + (flipsColumns ? width - 1 - column : column)) * 3;
      output[out++] = data[at] as number; // in range: `at` is a pixel of the source
      output[out++] = data[at + 1] as number;
      output[out++] = data[at + 2] as number;
    }
  }
  return { width: newWidth, height: newHeight, data: output };
}

const EXIF = 0x45786966;
const XMP_SEGMENT = "http://ns.adobe.com/xap/1.0/\0";

function findInJpeg(view: DataView): number | undefined {
  for (const at of app1Segments(view)) if (view.getUint32(at + 4) === EXIF) return at + 10;
  return undefined;
}

/** Where the APP1 segments before the picture's data begin, with their marker. */
function* app1Segments(view: DataView): Generator<number> {
  let at = 2;
  for (;;) {
    const marker = view.getUint8(at + 1);
    if (view.getUint8(at) !== 0xff || marker === 0xff) {
      at++;
    } else if (marker === 0xda || marker === 0xd9) {
      return;
    } else if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8)) {
      at += 2;
    } else {
      if (marker === 0xe1) yield at;
      at += 2 + view.getUint16(at + 2);
    }
  }
}

/** The last one of several, wherever it is. */
function findInPng(view: DataView): number | undefined {
  let found: number | undefined;
  inBounds(() => {
    for (const { name, start } of pngChunks(view)) if (name === "eXIf") found = start;
  });
  return found;
}

/** A chunk's name and its data's place. */
interface Chunk {
  readonly name: string;
  readonly start: number;
  readonly length: number;
}

function* pngChunks(view: DataView): Generator<Chunk> {
  for (let at = 8; ; ) {
    const length = view.getUint32(at);
    const name = latin1(view, at + 4, 4);
    yield { name, start: at + 8, length };
    if (name === "IEND") return;
    at += 12 + length;
  }
}

function findInWebp(view: DataView): number | undefined {
  for (const { name, start } of webpChunks(view)) {
    // Some writers put JPEG's "Exif\0\0" before the data.
    if (name === "EXIF") return view.getUint32(start) === EXIF ? start + 6 : start;
  }
  return undefined;
}

function* webpChunks(view: DataView): Generator<Chunk> {
  for (let at = 12; ; ) {
    const length = view.getUint32(at + 4, true);
    yield { name: latin1(view, at, 4), start: at + 8, length };
    at += 8 + length + (length % 2);
  }
}

/** The XMP of a JPEG or WebP, the last one of several, as far as it can be read. */
function xmpOf(view: DataView, format: "jpeg" | "webp"): string | undefined {
  let xmp: string | undefined;
  inBounds(() => {
    if (format === "webp") {
      for (const { name, start, length } of webpChunks(view)) if (name === "XMP ") xmp = latin1(view, start, length);
      return;
    }
    for (const at of app1Segments(view)) {
      const text = latin1(view, at + 4, view.getUint16(at + 2) - 2);
      if (text.startsWith(XMP_SEGMENT)) xmp = text.slice(XMP_SEGMENT.length);
    }
  });
  return xmp;
}

/** Pillow looks for the first of these in the text, and does not parse it. */
function orientationInXmp(xmp: string | undefined): number | undefined {
  const digit = xmp === undefined ? undefined : /tiff:Orientation(?:="|>)([0-9])/.exec(xmp)?.[1];
  return digit === undefined ? undefined : Number(digit);
}

/** The text under a keyword of a PNG, the last one of several: plain, compressed or international (PNG, 11.3.3). */
async function pngText(bytes: Uint8Array, keyword: string): Promise<string | undefined> {
  const view = viewOf(bytes);
  let found: { readonly data: Uint8Array<ArrayBuffer>; readonly isCompressed: boolean } | undefined;
  inBounds(() => {
    for (const { name, start, length } of pngChunks(view)) {
      if (!["tEXt", "zTXt", "iTXt"].includes(name) || latin1(view, start, keyword.length + 1) !== `${keyword}\0`)
        continue;
      const data = Uint8Array.from(bytes.subarray(start + keyword.length + 1, start + length));
      const [flag] = data;
      // Of an international text: a flag, a method, and two texts that end in a zero.
      const language = name === "iTXt" ? data.indexOf(0, 2) : 0;
      const textStart = { tEXt: 0, zTXt: 1, iTXt: data.indexOf(0, language + 1) + 1 }[name] ?? 0;
      found = { data: data.slice(textStart), isCompressed: name === "zTXt" || (name === "iTXt" && flag === 1) };
    }
  });
  if (found === undefined) return undefined;
  const { data, isCompressed } = found;
  const plain = isCompressed ? await inflate(data) : data;
  return plain && latin1(viewOf(plain), 0, plain.length);
}

/** Far above any profile or XMP of a picture; what is longer is not read. */
const MAX_INFLATED_BYTES = 2 ** 24;

/** Decompressed bytes; undefined for a damaged or very long stream. */
async function inflate(data: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const reader = new Blob([data]).stream().pipeThrough(new DecompressionStream("deflate")).getReader();
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let length = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      length += value.length;
      if (length > MAX_INFLATED_BYTES) {
        await reader.cancel();
        return undefined;
      }
    }
  } catch {
    return undefined; // as of a damaged entry
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** The bytes of a profile as ImageMagick writes it: an empty line, its name, its length, then lines of hexadecimal digits. */
function bytesOfProfile(text: string): Uint8Array<ArrayBuffer> {
  const digits = text.split("\n").slice(3).join("").replace(/\s/g, "");
  const bytes = Uint8Array.from(digits.match(/[0-9a-f]{2}/gi) ?? [], (pair) => Number.parseInt(pair, 16));
  return latin1(viewOf(bytes), 0, Math.min(4, bytes.length)) === "Exif" ? bytes.slice(6) : bytes;
}

function latin1(view: DataView, start: number, length: number): string {
  if (start + length > view.byteLength) throw new RangeError("past the end");
  const bytes = new Uint8Array(view.buffer, view.byteOffset + start, length);
  return new TextDecoder("latin1").decode(bytes);
}

/** A number of one of TIFF's types. */
type ReadNumber = (view: DataView, at: number, isLittleEndian: boolean) => number;

const short: ReadNumber = (view, at, isLittleEndian) => view.getUint16(at, isLittleEndian);
const long: ReadNumber = (view, at, isLittleEndian) => view.getUint32(at, isLittleEndian);

/** The types whose values Pillow compares with numbers, by their code. Bytes (1) and undefined ones (7) are texts for it. */
const NUMBER_TYPES: Readonly<Record<number, ReadNumber>> = {
  3: short,
  4: long,
  6: (view, at) => view.getInt8(at),
  8: short,
  9: long,
  11: (view, at, isLittleEndian) => view.getFloat32(at, isLittleEndian),
  13: long,
};

/** The orientation in the first directory of the TIFF data that begins at `start`. */
function readTiff(view: DataView, start: number): OrientationEntry | undefined {
  const isLittleEndian = view.getUint16(start) === 0x4949;
  const directory = start + view.getUint32(start + 4, isLittleEndian);
  const numEntries = view.getUint16(directory, isLittleEndian);
  for (let index = 0; index < numEntries; index++) {
    const entry = directory + 2 + index * 12;
    if (view.getUint16(entry, isLittleEndian) !== 0x0112) continue;
    const read = NUMBER_TYPES[view.getUint16(entry + 2, isLittleEndian)];
    const offset = entry + 8;
    return { orientation: read?.(view, offset, isLittleEndian) ?? 1, offset, isLittleEndian };
  }
  return undefined;
}
