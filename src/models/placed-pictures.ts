// Prepared pictures of a prompt, and where they are in it.
import { at } from "../errors.ts";
import type { PicturePositions } from "./architecture.ts";
import type { ImageInput, PictureView, Run } from "./inputs.ts";

/** A prepared picture. */
export interface Picture {
  readonly pixelValues: Float32Array<ArrayBuffer>;
  readonly positions: PicturePositions;
  readonly view?: PictureView;
  /** Index of the video that the picture is a frame of; undefined if it is of none. */
  readonly video?: number;
}

/** Pictures that one token stands for, and the runs of each. */
export interface PlacedPictures {
  readonly pictures: readonly Picture[];
  readonly runs: readonly (readonly Run[])[];
}

/** The inputs of pictures, in the order of their positions. */
export function placedPictures(groups: readonly PlacedPictures[]): readonly ImageInput[] {
  const images = groups.flatMap(({ pictures, runs }) =>
    pictures.map(({ pixelValues, positions, view, video }, index): ImageInput => {
      const { rowIndex, featureGrids, grid, tiles } = positions;
      const optional = { ...(featureGrids && { featureGrids }), ...(tiles && { tiles }), ...(view && { view }) };
      const frame = { ...(video !== undefined && { video }) };
      return { pixelValues, runs: at(runs, index), rowIndex, grid, ...optional, ...frame };
    }),
  );
  const start = ({ runs }: ImageInput) => runs[0]?.[0] ?? 0;
  return images.sort((a, b) => start(a) - start(b));
}

/**
 * Puts the text that a family writes for its pictures in the place of their image tokens, before the prompt is encoded; pictures
 * without such a text keep the token.
 */
export function expandText(
  prompt: string,
  { imageToken, texts }: { readonly imageToken: string; readonly texts: readonly (string | undefined)[] },
): string {
  return prompt
    .split(imageToken)
    .map((part, index) => (index === 0 ? part : `${texts[index - 1] ?? imageToken}${part}`))
    .join("");
}
