// EXIF orientation, for decoders that cannot be told to ignore it: it is found, reset in the file, and applied to the pixels.
//
// Source: EXIF 2.32, 4.6.4 (tag 0x0112); its place: APP1 of JPEG, eXIf of PNG, EXIF of WebP (RFC 9649, 2.7.1.5).

import type { RgbImage } from "./image.ts";
import type { ImageFormat } from "./image-header.ts";

/** The orientation entry of a file. */
export interface OrientationEntry {
  /** 1 upright, 2 mirrored, 3 upside down, …, 8; any other number is ignored. */
  readonly orientation: number;
  /** Position of the 16-bit number in the file, and its byte order. */
  readonly offset: number;
  readonly isLittleEndian: boolean;
}

/** The orientation entry of a picture file, undefined when there is none. */
export function findOrientation(bytes: Uint8Array, format: ImageFormat): OrientationEntry | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    const start = { jpeg: findInJpeg, png: findInPng, webp: findInWebp }[format](view);
    return start === undefined ? undefined : readTiff(view, start);
  } catch (cause) {
    // A read past the end: the file has no entry, or a damaged one, which decoders ignore too.
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

function findInJpeg(view: DataView): number | undefined {
  let at = 2;
  for (;;) {
    const marker = view.getUint8(at + 1);
    if (view.getUint8(at) !== 0xff || marker === 0xff) {
      at++;
    } else if (marker === 0xda || marker === 0xd9) {
      return undefined;
    } else if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8)) {
      at += 2;
    } else {
      if (marker === 0xe1 && view.getUint32(at + 4) === EXIF) return at + 10;
      at += 2 + view.getUint16(at + 2);
    }
  }
}

function findInPng(view: DataView): number {
  for (let at = 8; ; at += 12 + view.getUint32(at)) {
    if (view.getUint32(at + 4) === 0x65584966) return at + 8; // eXIf
  }
}

function findInWebp(view: DataView): number {
  for (let at = 12; ; ) {
    const length = view.getUint32(at + 4, true);
    // Some writers put JPEG's "Exif\0\0" before the data.
    if (view.getUint32(at) === 0x45584946) return view.getUint32(at + 8) === EXIF ? at + 14 : at + 8; // EXIF
    at += 8 + length + (length % 2);
  }
}

/** The orientation in the first directory of the TIFF data that begins at `start`. */
function readTiff(view: DataView, start: number): OrientationEntry | undefined {
  const isLittleEndian = view.getUint16(start) === 0x4949;
  const directory = start + view.getUint32(start + 4, isLittleEndian);
  const numEntries = view.getUint16(directory, isLittleEndian);
  for (let index = 0; index < numEntries; index++) {
    const entry = directory + 2 + index * 12;
    if (view.getUint16(entry, isLittleEndian) !== 0x0112) continue;
    return { orientation: view.getUint16(entry + 8, isLittleEndian), offset: entry + 8, isLittleEndian };
  }
  return undefined;
}
