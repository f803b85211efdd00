// The picture that everything starts from.
import { InputError, kindOf } from "../errors.ts";

/** A decoded picture: 8-bit RGB, rows top to bottom, three bytes a pixel without padding. */
export interface RgbImage {
  readonly width: number;
  readonly height: number;
  /** [height, width, 3] */
  readonly data: Uint8Array;
}

/**
 * Refuses what a program without a type checker may take for a picture: above all ImageData, whose four bytes a pixel would
 * be read as three.
 * @throws InputError unless there are three bytes for each of at least one pixel.
 */
export function checkImage(image: RgbImage): void {
  const { width, height, data }: Partial<RgbImage> = image ?? {};
  const wanted = "image: expected { width, height, data } with 3 bytes a pixel, as decodeImage returns it";
  if (typeof width !== "number" || typeof height !== "number" || data === undefined) {
    throw new InputError(`${wanted}, got ${kindOf(image)}.`);
  }
  const numPixels = width * height;
  if (Number.isInteger(width) && Number.isInteger(height) && numPixels > 0 && data.length === numPixels * 3) return;
  const isRgba = numPixels > 0 && data.length === numPixels * 4;
  const advice = isRgba ? ", which is RGBA, as in ImageData: leave every fourth byte out" : "";
  throw new InputError(`${wanted}, got ${width} × ${height} pixels and ${data.length} bytes${advice}.`);
}
