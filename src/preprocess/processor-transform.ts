// Where the vision tower's input lies in the original picture, for processors that make one square of it.
import type { TileView } from "./anyres.ts";
import { type ImageProcessorConfig, withShortestEdge } from "./image-processor.ts";
import type { Size } from "./resize-bicubic.ts";

/** The settings of an image processor that move pixels. */
export type TransformSettings = Pick<ImageProcessorConfig, "padToSquare" | "resize" | "centerCrop" | "imageSize">;

/** Maps the original picture to the vision tower's input: x ↦ x · scaleX + offsetX, y ↦ y · scaleY + offsetY. */
export interface PictureTransform {
  readonly scaleX: number;
  readonly scaleY: number;
  readonly offsetX: number;
  readonly offsetY: number;
}

/**
 * The map of an image processor from the original picture to its S×S result, in pixels: padding, resizing and centre crop.
 *
 * The rounding is that of transformers (longer side truncated, crop offset rounded down) and the scales are those of PIL,
 * which maps the whole input to the whole output: for CLIP at 336 and 640×427, 503/640 and 336/427, 83 columns cut off left.
 * Source: transformers 5.23, image_transforms.py (get_resize_output_image_size, center_crop); Pillow 13, Resample.c.
 */
export function processorTransform(picture: Size, config: TransformSettings): PictureTransform {
  const { padToSquare, resize, centerCrop, imageSize } = config;
  const side = Math.max(picture.width, picture.height);
  const padded = padToSquare ? { width: side, height: side } : picture;
  const padX = (padded.width - picture.width) >> 1;
  const padY = (padded.height - picture.height) >> 1;
  const size =
    resize === undefined ? padded : "width" in resize ? resize : withShortestEdge(padded, resize.shortestEdge);
  const scaleX = size.width / padded.width;
  const scaleY = size.height / padded.height;
  const cropX = centerCrop ? Math.floor((size.width - imageSize) / 2) : 0;
  const cropY = centerCrop ? Math.floor((size.height - imageSize) / 2) : 0;
  return { scaleX, scaleY, offsetX: padX * scaleX - cropX, offsetY: padY * scaleY - cropY };
}

/**
 * The part of an original picture that the tower's patches cover, in shares of its width and height; beyond 0 and 1 is padding.
 * @param config the settings of its processor
 * @param side pixels of the tower's input that whole patches cover, from its upper left corner
 */
export function coveredPart(picture: Size, config: TransformSettings, side: number): TileView {
  const { scaleX, scaleY, offsetX, offsetY } = processorTransform(picture, config);
  const x = (pixel: number) => (pixel - offsetX) / (picture.width * scaleX);
  const y = (pixel: number) => (pixel - offsetY) / (picture.height * scaleY);
  return { left: x(0), top: y(0), right: x(side), bottom: y(side) };
}
