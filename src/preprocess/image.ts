/** A decoded picture: 8-bit RGB, rows top to bottom, three bytes a pixel without padding. */
export interface RgbImage {
  readonly width: number;
  readonly height: number;
  /** [height, width, 3] */
  readonly data: Uint8Array;
}
