// Decodes picture files with the browser's own decoders. The result is that of decode-image.node.ts, with these differences.
//
// Files that the browser cannot decode are an InputError (in Chromium: arithmetic-coded JPEG, and PNG without its last chunk).
// Transparent pictures go through WebGL, because a 2D canvas loses the colours of transparent pixels. The orientation is applied
// here: Chromium always applies it to JPEG and PNG, and never to WebP.

import { InputError } from "../errors.ts";
import { readOptions } from "../options.ts";
import { applyOrientation, findOrientation, markUpright, orientationOf } from "./exif-orientation.ts";
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

/**
 * Decodes a JPEG, PNG or WebP file.
 * @throws InputError when the file has another format, is damaged, exceeds the pixel limit, or is of a kind the browser cannot decode.
 */
export async function decodeImage(file: PictureFile, options: DecodeOptions = {}): Promise<RgbImage> {
  const asked = readOptions("decodeImage", options, DECODE);
  const { applyExif = true, maxPixels = DEFAULT_MAX_PIXELS } = asked;
  const { bytes, name } = await pictureBytes(file, asked);
  const header = readImageHeader(bytes, name);
  checkPixelLimit(header, name, { maxPixels });
  const entry = findOrientation(bytes, header.format);
  const upright = entry === undefined ? Uint8Array.from(bytes) : markUpright(bytes, entry);
  let bitmap: ImageBitmap;
  try {
    const blob = new Blob([upright], { type: `image/${header.format}` });
    bitmap = await createImageBitmap(blob, { premultiplyAlpha: "none", colorSpaceConversion: "none" });
  } catch (cause) {
    throw new InputError(
      `${name} is damaged, truncated, or of a kind of ${header.format.toUpperCase()} that this browser cannot decode.`,
      { cause },
    );
  }
  try {
    const { width, height } = bitmap;
    const pixels = drawOpaque(bitmap) ?? readUnblended(bitmap, name);
    const orientation = applyExif ? await orientationOf(bytes, header.format) : 1;
    return applyOrientation({ width, height, data: dropAlpha(pixels) }, orientation);
  } finally {
    bitmap.close();
  }
}

/** RGBA through a 2D canvas; undefined when a pixel is transparent. */
function drawOpaque(bitmap: ImageBitmap): Uint8ClampedArray | undefined {
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d", { willReadFrequently: true });
  if (context === null) return undefined;
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
  for (let at = 3; at < data.length; at += 4) if (data[at] !== 255) return undefined;
  return data;
}

/** RGBA through a WebGL texture, which does not multiply colours by alpha. */
function readUnblended(bitmap: ImageBitmap, name: string): Uint8Array {
  const { width, height } = bitmap;
  const gl = new OffscreenCanvas(1, 1).getContext("webgl2");
  if (gl === null || Math.max(width, height) > gl.getParameter(gl.MAX_TEXTURE_SIZE)) {
    throw new InputError(
      `${name} has transparent pixels, whose colours this browser does not return: save it without alpha.`,
    );
  }
  gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, 0);
  const texture = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
  const pixels = new Uint8Array(width * height * 4);
  gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
  const error = gl.getError();
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  if (error === gl.NO_ERROR) return pixels;
  throw new InputError(
    `${name} has transparent pixels, and reading their colours failed (WebGL error ${error}): save it without alpha.`,
  );
}

function dropAlpha(pixels: Uint8Array | Uint8ClampedArray): Uint8Array {
  const rgb = new Uint8Array((pixels.length / 4) * 3);
  for (let at = 0, out = 0; at < pixels.length; at += 4, out += 3) rgb.set(pixels.subarray(at, at + 3), out);
  return rgb;
}

// The part of the DOM that is used, declared here because the project is checked without the DOM library.

interface ImageBitmap {
  readonly width: number;
  readonly height: number;
  close(): void;
}

interface BitmapOptions {
  readonly premultiplyAlpha: "none";
  readonly colorSpaceConversion: "none";
}

declare function createImageBitmap(blob: Blob, options: BitmapOptions): Promise<ImageBitmap>;

declare class OffscreenCanvas {
  constructor(width: number, height: number);
  getContext(kind: "2d", options: { readonly willReadFrequently: boolean }): Canvas2d | null;
  getContext(kind: "webgl2"): WebGl2 | null;
}

interface Canvas2d {
  drawImage(bitmap: ImageBitmap, x: number, y: number): void;
  getImageData(x: number, y: number, width: number, height: number): { readonly data: Uint8ClampedArray };
}

interface WebGl2 {
  readonly MAX_TEXTURE_SIZE: number;
  readonly UNPACK_PREMULTIPLY_ALPHA_WEBGL: number;
  readonly TEXTURE_2D: number;
  readonly RGBA: number;
  readonly UNSIGNED_BYTE: number;
  readonly FRAMEBUFFER: number;
  readonly COLOR_ATTACHMENT0: number;
  readonly NO_ERROR: number;
  getParameter(name: number): number;
  pixelStorei(name: number, value: number): void;
  createTexture(): object;
  bindTexture(target: number, texture: object): void;
  texImage2D(
    ...args: readonly [
      target: number,
      level: number,
      internalFormat: number,
      format: number,
      type: number,
      source: ImageBitmap,
    ]
  ): void;
  createFramebuffer(): object;
  bindFramebuffer(target: number, framebuffer: object): void;
  framebufferTexture2D(
    ...args: readonly [target: number, attachment: number, textureTarget: number, texture: object, level: number]
  ): void;
  readPixels(
    ...args: readonly [
      x: number,
      y: number,
      width: number,
      height: number,
      format: number,
      type: number,
      pixels: Uint8Array,
    ]
  ): void;
  getError(): number;
  getExtension(name: "WEBGL_lose_context"): { loseContext(): void } | null;
}
