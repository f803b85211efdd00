// From a map's cells, which the page draws and people point at, to the image tokens that show them, and back.
import { at } from "../../errors.ts";
import { type MappedImage, placementOf } from "../../inspect/picture-placement.ts";

/**
 * Numbers of the image tokens, from 0 in the order of the prompt, that show a part of some cells of a picture's map: the `patches` of
 * interventions. Of a picture in tiles, those of both resolutions.
 * @param images the prompt's pictures
 * @param index of the picture
 */
export function patchesOfCells(
  images: readonly MappedImage[],
  index: number,
  cells: readonly number[],
): readonly number[] {
  const first = numPositions(images.slice(0, index));
  const wanted = new Set(cells);
  const { positions, starts, cells: shown } = placementOf(at(images, index));
  return positions.flatMap((_, patch) => {
    const parts = shown.subarray(at(starts, patch), at(starts, patch + 1));
    return parts.some((cell) => wanted.has(cell)) ? [first + patch] : [];
  });
}

/** The prompt position that shows a cell best: of a picture in tiles, the one with most of itself in the cell. */
export function positionOfCell(image: MappedImage, cell: number): number | undefined {
  const { positions, starts, cells, weights } = placementOf(image);
  let best: { readonly position: number; readonly weight: number } | undefined;
  for (const [patch, position] of positions.entries()) {
    for (let part = at(starts, patch); part < at(starts, patch + 1); part++) {
      const weight = at(weights, part);
      if (at(cells, part) === cell && weight > (best?.weight ?? 0)) best = { position, weight };
    }
  }
  return best?.position;
}

function numPositions(images: readonly MappedImage[]): number {
  return images.reduce((sum, { runs }) => sum + runs.reduce((length, [start, end]) => length + end - start, 0), 0);
}
