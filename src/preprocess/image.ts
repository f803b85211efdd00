// A decoded picture.
import { InputError, kindOf } from "../errors.ts";
import { isTyped, listOf, type Rule, read } from "../options.ts";

/** A decoded picture: 8-bit RGB, rows top to bottom, three bytes per pixel without padding. */
export interface RgbImage {
  readonly width: number;
  readonly height: number;
  /** [height, width, 3] */
  readonly data: Uint8Array;
}

/**
 * A picture, as a copy that shares its bytes. It refuses what an untyped caller may mistake for one, in particular ImageData, whose four
 * bytes per pixel would be read as three.
 */
export const picture: Rule = { expected: "a picture", read: readPicture };

/** Several pictures, or none. */
export const pictureList: Rule = listOf(picture, "a list of pictures, as decodeImage returns them");

/** The frames of a video. */
export const videoFrames: Rule = listOf(picture, "a list of the video's frames, at least one picture", 1);

/** @throws InputError unless there is at least one pixel, and three bytes per pixel. */
function readPicture(value: unknown, name: string): RgbImage {
  const { width, height, data }: Partial<RgbImage> = Object(value);
  const wanted = `${name}: expected { width, height, data } with 3 bytes per pixel, as decodeImage returns it`;
  const isBytes = isTyped(data, "Uint8Array") || isTyped(data, "Uint8ClampedArray");
  if (typeof width !== "number" || typeof height !== "number" || data === undefined || !isBytes) {
    throw new InputError(`${wanted}, got ${kindOf(value)}.`);
  }
  const numPixels = width * height;
  const hasPixels = width > 0 && height > 0;
  const { length } = data;
  if (hasPixels && Number.isInteger(width) && Number.isInteger(height) && length === numPixels * 3) {
    return { width, height, data };
  }
  const isRgba = hasPixels && length === numPixels * 4;
  const advice = isRgba ? ", which is RGBA, as in ImageData: omit every fourth byte" : "";
  throw new InputError(`${wanted}, got ${width} × ${height} pixels and ${length} bytes${advice}.`);
}

/** A picture of an untyped caller's. @throws InputError as {@link picture}, also when it cannot be read. */
export function checkedPicture(image: RgbImage): RgbImage {
  return read("image", image, picture) as RgbImage; // checked by the rule
}
