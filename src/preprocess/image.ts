// A decoded picture.
import { InputError, kindOf } from "../errors.ts";

/** A decoded picture: 8-bit RGB, rows top to bottom, three bytes per pixel without padding. */
export interface RgbImage {
  readonly width: number;
  readonly height: number;
  /** [height, width, 3] */
  readonly data: Uint8Array;
}

/**
 * Refuses what an untyped caller may mistake for a picture, in particular ImageData, whose four bytes per pixel would be read as
 * three.
 * @throws InputError unless there is at least one pixel, and three bytes per pixel.
 */
export function checkImage(image: RgbImage): void {
  const { width, height, data }: Partial<RgbImage> = image ?? {};
  const wanted = "image: expected { width, height, data } with 3 bytes per pixel, as decodeImage returns it";
  if (typeof width !== "number" || typeof height !== "number" || data === undefined) {
    throw new InputError(`${wanted}, got ${kindOf(image)}.`);
  }
  const numPixels = width * height;
  const hasPixels = width > 0 && height > 0;
  if (hasPixels && Number.isInteger(width) && Number.isInteger(height) && data.length === numPixels * 3) return;
  const isRgba = hasPixels && data.length === numPixels * 4;
  const advice = isRgba ? ", which is RGBA, as in ImageData: omit every fourth byte" : "";
  throw new InputError(`${wanted}, got ${width} × ${height} pixels and ${data.length} bytes${advice}.`);
}
