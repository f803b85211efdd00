// The header of a picture file, read before decoding: format and size, and the kinds that no decoder would decode as PIL does.

import { accepts, InputError, kindOf } from "../errors.ts";
import { flag, numberFrom, type Schema, text } from "../options.ts";

/** Formats that can be decoded. */
export type ImageFormat = "jpeg" | "png" | "webp";

/** What is known about a file before it is decoded. */
export interface ImageHeader {
  readonly format: ImageFormat;
  /** As stored, before any EXIF orientation. */
  readonly width: number;
  readonly height: number;
  /** JPEG: four colour components (CMYK or YCCK). */
  readonly isCmyk: boolean;
}

/** A picture file: its bytes, or a Blob such as a File of an input element. */
export type PictureFile = Uint8Array | Blob;

/**
 * The bytes of a picture file, and its name in messages: the one that is given, else a File's own.
 * @throws InputError for something that is not a picture file.
 */
export async function pictureBytes(
  file: PictureFile,
  { name }: Pick<DecodeOptions, "name">,
): Promise<{ readonly bytes: Uint8Array; readonly name: string }> {
  if (isA(Uint8Array, file)) return { bytes: file, name: name ?? NAMELESS };
  if (!isA(Blob, file)) {
    const got = kindOf(file);
    throw new InputError(`${name ?? NAMELESS}: expected a Blob, or a Uint8Array with a file's bytes, got ${got}.`);
  }
  const own = "name" in file && typeof file.name === "string" && file.name !== "" ? file.name : NAMELESS;
  return { bytes: new Uint8Array(await file.arrayBuffer()), name: name ?? own };
}

/** As `instanceof`, but false for a proxy that throws. */
function isA<T>(kind: new (...args: never[]) => T, value: unknown): value is T {
  return accepts(value, () => value instanceof kind);
}

const NAMELESS = "The picture";

/** Options of both decoders. */
export interface DecodeOptions {
  /** Turns the picture by its EXIF orientation, as transformers' load_image does; true by default. */
  readonly applyExif?: boolean;
  /** The picture's name in messages. */
  readonly name?: string;
  /** The most pixels it may have; 100 megapixels by default. */
  readonly maxPixels?: number;
}

/** What each option of the decoders may be. */
export const DECODE: Schema<DecodeOptions> = { applyExif: flag, name: text, maxPixels: numberFrom({ above: 0 }) };

/**
 * Reads a picture file's header.
 * @param name the file's name in messages
 * @throws InputError when it is empty, not a JPEG, PNG or WebP, or of a kind that cannot be decoded faithfully.
 */
export function readImageHeader(bytes: Uint8Array, name: string): ImageHeader {
  if (!(bytes instanceof Uint8Array)) {
    throw new InputError(`${name}: expected a Uint8Array with a file's bytes, got ${kindOf(bytes)}.`);
  }
  if (bytes.length === 0) throw new InputError(`${name} is empty (0 bytes): expected a JPEG, PNG or WebP picture.`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    if (startsWith(bytes, [0xff, 0xd8, 0xff])) return readJpegHeader(view, name);
    if (startsWith(bytes, [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])) return readPngHeader(view, name);
    if (ascii(bytes, 0, 4) === "RIFF" && ascii(bytes, 8, 12) === "WEBP") return readWebpHeader(view, name);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new InputError(`${name} is truncated: its header ends before the picture begins.`, { cause }); // read past the end
  }
  const other = otherFormat(bytes);
  const found = other === undefined ? "not a picture" : `a ${other} file`;
  throw new InputError(`${name} is ${found}: expected a JPEG, PNG or WebP picture.`);
}

/** @throws InputError when a picture of this size exceeds the limit. */
export function checkPixelLimit(
  { width, height }: { readonly width: number; readonly height: number },
  name: string,
  { maxPixels }: { readonly maxPixels: number },
): void {
  if (width * height <= maxPixels) return;
  throw new InputError(
    `${name} has ${width}×${height} = ${width * height} pixels, more than the limit of ${maxPixels}: make it smaller.`,
  );
}

/** JPEG's marker segments (ITU-T T.81, table B.1) up to the frame header. */
function readJpegHeader(view: DataView, name: string): ImageHeader {
  let at = 2;
  for (;;) {
    const marker = view.getUint8(at + 1);
    if (view.getUint8(at) !== 0xff || marker === 0xff) {
      at++; // fill bytes, or garbage between segments, which decoders skip too
    } else if (marker === 0x00 || marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8)) {
      at += 2; // markers without a segment
    } else if (marker === 0xda || marker === 0xd9) {
      throw new InputError(`${name} is a JPEG without a frame header: it is damaged.`);
    } else if (isFrameMarker(marker)) {
      const precision = view.getUint8(at + 4);
      if (precision !== 8) {
        throw new InputError(
          `${name} is a JPEG of ${precision} bits per sample: only 8 bits can be decoded, so convert it.`,
        );
      }
      const isCmyk = view.getUint8(at + 9) === 4;
      return { format: "jpeg", width: view.getUint16(at + 7), height: view.getUint16(at + 5), isCmyk };
    } else {
      at += 2 + view.getUint16(at + 2);
    }
  }
}

/** SOF0 to SOF15: 0xC0 to 0xCF except DHT, JPG and DAC. */
function isFrameMarker(marker: number): boolean {
  return marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
}

/** PNG's IHDR (PNG specification, 11.2.2). */
function readPngHeader(view: DataView, name: string): ImageHeader {
  const isGrey = view.getUint8(25) === 0;
  if (view.getUint8(24) === 16 && isGrey) {
    // PIL clips such values at 255 instead of scaling them, which gives a white picture.
    throw new InputError(`${name} is a 16-bit grey PNG, which PIL would turn mostly white: convert it to 8 bits.`);
  }
  return { format: "png", width: view.getUint32(16), height: view.getUint32(20), isCmyk: false };
}

/** The first chunk of a WebP file (RFC 9649, sections 2.5 to 2.7 and 3.4). */
function readWebpHeader(view: DataView, name: string): ImageHeader {
  const plain = { format: "webp", isCmyk: false } as const;
  const chunk = String.fromCharCode(view.getUint8(12), view.getUint8(13), view.getUint8(14), view.getUint8(15));
  if (chunk === "VP8X") {
    const width = (view.getUint32(24, true) & 0xffffff) + 1;
    return { ...plain, width, height: (view.getUint32(26, true) >>> 8) + 1 };
  }
  if (chunk === "VP8 ")
    return { ...plain, width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff };
  if (chunk !== "VP8L") throw new InputError(`${name} is a WebP file without a picture: it is damaged.`);
  const sides = view.getUint32(21, true);
  return { ...plain, width: (sides & 0x3fff) + 1, height: ((sides >>> 14) & 0x3fff) + 1 };
}

function otherFormat(bytes: Uint8Array): string | undefined {
  if (ascii(bytes, 0, 4) === "GIF8") return "GIF";
  if (ascii(bytes, 0, 2) === "BM") return "BMP";
  if (ascii(bytes, 0, 4) === "%PDF") return "PDF";
  if (ascii(bytes, 4, 8) === "ftyp") return "HEIF or AVIF";
  if (startsWith(bytes, [0x49, 0x49, 0x2a, 0x00]) || startsWith(bytes, [0x4d, 0x4d, 0x00, 0x2a])) return "TIFF";
  if (startsWith(bytes, [0x00, 0x00, 0x00, 0x0c]) || startsWith(bytes, [0xff, 0x0a])) return "JPEG XL or JPEG 2000";
  return ascii(bytes, 0, 1024).includes("<svg") ? "SVG" : undefined;
}

function startsWith(bytes: Uint8Array, signature: readonly number[]): boolean {
  return signature.every((byte, index) => bytes[index] === byte);
}

function ascii(bytes: Uint8Array, start: number, end: number): string {
  return String.fromCharCode(...bytes.subarray(start, end));
}
