// Tensors of a Hugging Face processor, as the pictures of a prompt.
import { InputError } from "../errors.ts";
import { floats, isTyped, listOf, objectOf, read, required, rule, whole } from "../options.ts";
import type { ImageProcessorConfig } from "../preprocess/image-processor.ts";
import type { Architecture, FrameLayout, ImageSize, PictureLayout } from "./architecture.ts";
import type { Picture } from "./placed-pictures.ts";

/** Inputs as a Hugging Face processor makes them. */
export interface ProcessedTensors {
  /** [T], each image token once or already expanded */
  readonly inputIds: ArrayLike<number>;
  /** [N, C, S, S] f32: the tiles of all pictures, one picture after the other; undefined for text only */
  readonly pixelValues: Float32Array<ArrayBuffer> | undefined;
  /** [height, width] of each original picture; needed for LLaVA-NeXT */
  readonly imageSizes?: readonly ImageSize[] | undefined;
  /** [time, height, width] of each picture in patches; needed for Qwen2-VL, whose pixel values are [ΣP, 3·t·p²] */
  readonly imageGridThw?: readonly (readonly [time: number, height: number, width: number])[] | undefined;
  /** [ΣF, C, S, S] f32: the frames of all videos; of LLaVA-OneVision */
  readonly pixelValuesVideos?: Float32Array<ArrayBuffer> | undefined;
  /** [height, width] of each original frame of each video; needed with `pixelValuesVideos` */
  readonly imageSizesVideos?: readonly (readonly ImageSize[])[] | undefined;
}

const idList = listOf(whole(0), "a list of token ids");
const ids = rule("a list of token ids", (value) =>
  ["Int32Array", "Uint32Array", "Uint16Array"].some((kind) => isTyped(value, kind)),
);

const imageSize = listOf(whole(1, 2 ** 20), "[height, width]", 2);
const frameSizes = listOf(imageSize, "a list of [height, width], one for each frame and at least one", 1);

const TENSORS = objectOf<ProcessedTensors>("tensors of a Hugging Face processor", {
  inputIds: required({
    expected: "a list of token ids",
    read: (value, name) => (ArrayBuffer.isView(value) ? ids : idList).read(value, name),
  }),
  pixelValues: floats,
  imageSizes: listOf(imageSize, "a list of [height, width]"),
  imageGridThw: listOf(listOf(whole(1, 2 ** 16), "[time, height, width]", 3), "a list of [time, height, width]"),
  pixelValuesVideos: floats,
  imageSizesVideos: listOf(frameSizes, "a list of videos, each a list of its frames' [height, width]"),
});

/** Validates tensors from an untyped caller. @throws InputError naming what is malformed. */
export function checkedTensors(tensors: ProcessedTensors): ProcessedTensors {
  return read("tensors", tensors, TENSORS) as ProcessedTensors; // checked by the rule
}

/** The pictures. @throws InputError when the values are not those of whole pictures. */
export function tensorPictures(
  { pixelValues, imageSizes, imageGridThw }: ProcessedTensors,
  {
    layout,
    config,
    imageProcessor: processor,
  }: Pick<Architecture, "config"> & {
    readonly layout: PictureLayout;
    readonly imageProcessor: ImageProcessorConfig | undefined;
  },
): readonly Picture[] {
  if (pixelValues === undefined) return [];
  const { patchSize = 1 } = config.multimodal?.vision ?? {};
  const knownSizes = imageSizes ?? (imageGridThw && gridSizes(imageGridThw, patchSize));
  const tileLength = lengthOf(layout.tileShape);
  const context = {
    ...(processor && imageGridThw === undefined && { processor }),
    ...(knownSizes && { numPictures: knownSizes.length }),
  };
  const pictures: Picture[] = [];
  let at = 0;
  // Without sizes there are as many pictures as the values are long for.
  while (knownSizes === undefined ? at < pixelValues.length || at === 0 : pictures.length < knownSizes.length) {
    const positions = layout.positions(knownSizes?.[pictures.length], context);
    const length = positions.numTiles * tileLength;
    pictures.push({ positions, pixelValues: pixelValues.subarray(at, at + length) });
    at += length;
  }
  if (at !== pixelValues.length) throw wrongLength("pixel_values", pixelValues, { length: at, layout });
  return pictures;
}

/** The frames of each video. @throws InputError when the values are not those of whole frames. */
export function tensorVideos(
  { pixelValuesVideos = new Float32Array(), imageSizesVideos }: ProcessedTensors,
  layout: Pick<PictureLayout, "tileShape">,
  frames: FrameLayout,
): readonly (readonly Picture[])[] {
  if (imageSizesVideos === undefined) {
    throw new InputError("image_sizes_videos is missing: videos need the original [height, width] of each frame.");
  }
  const tileLength = lengthOf(layout.tileShape);
  let at = 0;
  const videos = imageSizesVideos.map((video) =>
    video.map((imageSize, index): Picture => {
      const pixelValues = pixelValuesVideos.subarray(at, at + tileLength);
      at += tileLength;
      return { pixelValues, positions: frames.positions(imageSize, { isLast: index === video.length - 1 }) };
    }),
  );
  if (at !== pixelValuesVideos.length)
    throw wrongLength("pixel_values_videos", pixelValuesVideos, { length: at, layout });
  return videos;
}

function lengthOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

function wrongLength(
  name: string,
  { length: got }: Float32Array,
  expected: { readonly length: number; readonly layout: Pick<PictureLayout, "tileShape"> },
): InputError {
  const { tileShape } = expected.layout;
  return new InputError(
    `${name} must hold ${expected.length / lengthOf(tileShape)} × [${tileShape.join(", ")}] numbers, got ${got}: prepare the picture with this checkpoint's processor.`,
  );
}

/** Sizes in pixels of pictures whose patches are given. */
function gridSizes(grids: NonNullable<ProcessedTensors["imageGridThw"]>, patchSize: number): readonly ImageSize[] {
  return grids.map(([time, height, width]) => {
    if (time === 1) return [height * patchSize, width * patchSize];
    throw new InputError(`imageGridThw: expected pictures of one frame, got ${time}: videos are not supported.`);
  });
}
