// Decodes picture files in Node with sharp: the same bytes as `ImageOps.exif_transpose(PIL.Image.open(file)).convert("RGB")`.
//
// Alpha is dropped, not blended; grey and palettes are expanded; colour profiles, gAMA and cICP are ignored; of an animation
// the first frame is used; CMYK is converted without a profile. sharp 0.35 and Pillow 13 agree byte for byte on everything in
// test/preprocess/decode-image.test.ts, which allows a difference of 2 of 255 for other versions of the JPEG and WebP decoders.

import { readFileBytes } from "../checkpoint/read-file.node.ts";
import { InputError } from "../errors.ts";
import { checkedText, readOptions } from "../options.ts";
import { applyOrientation, orientationOf } from "./exif-orientation.ts";
import type { RgbImage } from "./image.ts";
import {
  checkPixelLimit,
  DECODE,
  type DecodeOptions,
  type PictureFile,
  pictureBytes,
  readImageHeader,
} from "./image-header.ts";
import { DEFAULT_MAX_PIXELS } from "./resize-bicubic.ts";
import { loadSharp } from "./sharp.node.ts";

/**
 * Decodes a JPEG, PNG or WebP file.
 * @throws InputError when the file has another format, is damaged, exceeds the pixel limit, or is a 12-bit JPEG or 16-bit grey PNG.
 */
export async function decodeImage(file: PictureFile, options: DecodeOptions = {}): Promise<RgbImage> {
  const asked = readOptions("decodeImage", options, DECODE);
  const { applyExif = true, maxPixels = DEFAULT_MAX_PIXELS } = asked;
  const { bytes, name } = await pictureBytes(file, asked);
  const header = readImageHeader(bytes, name);
  checkPixelLimit(header, name, { maxPixels });
  const sharp = await loadSharp();
  try {
    // failOn "error" accepts files that libjpeg only warns about, as PIL does; truncated files are always refused.
    const input = sharp(bytes, { failOn: "error", ignoreIcc: true, limitInputPixels: false });
    const picture = header.isCmyk
      ? input.pipelineColourspace("cmyk").toColourspace("cmyk")
      : input.removeAlpha().toColourspace("srgb");
    const { data, info } = await picture.raw({ depth: "uchar" }).toBuffer({ resolveWithObject: true });
    const rgb = header.isCmyk ? cmykToRgb(data) : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const orientation = applyExif ? await orientationOf(bytes, header.format) : 1;
    return applyOrientation({ width: info.width, height: info.height, data: rgb }, orientation);
  } catch (cause) {
    throw new InputError(
      `${name} is a damaged or truncated ${header.format.toUpperCase()} picture (${firstLine(cause)}).`,
      { cause },
    );
  }
}

/**
 * Reads and decodes a picture file.
 * @throws InputError when it cannot be read, or as {@link decodeImage}.
 */
export async function readImageFile(path: string, options: Omit<DecodeOptions, "name"> = {}): Promise<RgbImage> {
  checkedText("path", path);
  const { name: _, ...rules } = DECODE;
  const asked = readOptions<Omit<DecodeOptions, "name">>("readImageFile", options, rules);
  let bytes: Uint8Array;
  try {
    bytes = await readFileBytes(path);
  } catch (cause) {
    throw new InputError(`The picture ${path} cannot be read: ${READ_ERRORS[codeOf(cause)] ?? firstLine(cause)}.`, {
      cause,
    });
  }
  return decodeImage(bytes, { ...asked, name: path });
}

const READ_ERRORS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EISDIR: "it is a folder",
  EACCES: "its permissions forbid it",
};

/** PIL's cmyk2rgb (src/libImaging/Convert.c); libvips, like PIL, treats every CMYK JPEG as inverted. */
function cmykToRgb(cmyk: Uint8Array): Uint8Array {
  const rgb = new Uint8Array((cmyk.length / 4) * 3);
  let out = 0;
  for (let at = 0; at < cmyk.length; at += 4) {
    const light = 255 - (cmyk[at + 3] as number); // in range by the loop's bound, as below
    for (let channel = 0; channel < 3; channel++) {
      rgb[out++] = light - scaleBy255(cmyk[at + channel] as number, light);
    }
  }
  return rgb;
}

/** Pillow's MULDIV255: a·b / 255, rounded. */
function scaleBy255(a: number, b: number): number {
  const product = a * b + 128;
  return ((product >> 8) + product) >> 8;
}

function codeOf(cause: unknown): string {
  return cause instanceof Error && "code" in cause ? String(cause.code) : "";
}

function firstLine(cause: unknown): string {
  const message = cause instanceof Error ? cause.message : String(cause);
  return (message.split("\n")[0] ?? "").replace(/[.:\s]+$/, "");
}
