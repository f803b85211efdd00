// Patches that are drawn, tapped or numbered: where they lie on the picture after a crop, with padding or in tiles, and which image
// tokens they are.
import { describe, expect, test } from "vitest";
import { patchAt } from "../../src/app/draw/attention-view.ts";
import { marked, neighbour, partOf, rectangle } from "../../src/app/draw/patch-marks.ts";
import { patchesOfCells, positionOfCell } from "../../src/app/engine/patches.ts";
import type { MappedImage } from "../../src/inspect/picture-placement.ts";
import { imageColumns } from "../../src/interventions/image-columns.ts";
import type { EditContext } from "../../src/interventions/intervention.ts";
import { runsOf } from "../../src/interventions/intervention.ts";

/** A picture of 400 × 200 pixels of which the middle square was seen, as 4 × 4 patches. */
const cropped = {
  width: 4,
  height: 4,
  view: { imageSize: [200, 400] as const, part: { left: 0.25, top: 0, right: 0.75, bottom: 1 } },
};
/** The same picture padded to a square. */
const padded = { ...cropped, view: { ...cropped.view, part: { left: 0, top: -0.5, right: 1, bottom: 1.5 } } };

describe("marks", () => {
  test("lie where the patches are in the original picture", () => {
    expect(partOf(cropped, 5)).toEqual({ left: 0.375, top: 0.25, width: 0.125, height: 0.25 });
    expect(partOf(padded, 5)).toEqual({ left: 0.25, top: 0, width: 0.25, height: 0.5 });
    for (const grid of [cropped, padded]) {
      for (let cell = 0; cell < 16; cell++) {
        const { left, top, width, height } = partOf(grid, cell);
        expect(patchAt(grid, left + width / 2, top + height / 2)).toBe(cell);
      }
    }
    expect(patchAt(cropped, 0.2, 0.5)).toBeUndefined();
  });

  test("are rectangles between any two corners; a single one is taken away again", () => {
    expect(rectangle(cropped, 5, 10)).toEqual([5, 6, 9, 10]);
    for (const [from, to] of [
      [10, 5],
      [6, 9],
      [9, 6],
    ] as const)
      expect(rectangle(cropped, from, to)).toEqual([5, 6, 9, 10]);
    expect(marked([9, 5], [6, 5])).toEqual([5, 6, 9]);
    expect(marked([5, 6], [6])).toEqual([5]);
    expect(marked([5], [2])).toEqual([2, 5]);
  });

  test("are reached by arrow keys, within the picture", () => {
    const all = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Tab"];
    expect(all.map((key) => neighbour(cropped, 5, key))).toEqual([4, 6, 1, 9, undefined]);
    expect(all.map((key) => neighbour(cropped, 0, key))).toEqual([0, 1, 0, 4, undefined]);
    expect(all.map((key) => neighbour(cropped, 15, key))).toEqual([14, 15, 11, 15, undefined]);
  });
});

describe("image tokens", () => {
  const single = (start: number): MappedImage & { readonly rowIndex: Int32Array<ArrayBuffer> } => ({
    runs: [[start, start + 17]],
    grid: { width: 4, height: 4 },
    rowIndex: Int32Array.from({ length: 17 }, (_, row) => row),
    view: cropped.view,
  });

  test("of a single grid come after a class token, and after those of pictures before", () => {
    const images = [single(3), single(40)];
    expect(patchesOfCells(images, 0, [0, 5])).toEqual([1, 6]);
    expect(patchesOfCells(images, 1, [0, 15])).toEqual([18, 33]);
    expect(positionOfCell(single(40), 5)).toBe(46);
    expect(positionOfCell(single(40), 16)).toBeUndefined();
  });

  test("are those that the library takes for the same part of the picture, also in tiles", () => {
    // As LLaVA-NeXT: a base tile of 2 × 2 patches over the whole, and two tiles beside each other; a newline after each row.
    const rowIndex = Int32Array.from([0, 1, 2, 3, 4, 5, 8, 9, -1, 6, 7, 10, 11, -1]);
    const whole = { left: 0, top: 0, right: 1, bottom: 1 };
    const tiles = {
      imageSize: [100, 200] as const,
      patchGrid: 2,
      views: [whole, { ...whole, right: 0.5 }, { ...whole, left: 0.5 }],
    };
    const image = { runs: [[5, 19]] as const, grid: undefined, tiles, view: undefined, rowIndex };
    const context: EditContext = {
      numLayers: 1,
      numHeads: 1,
      numKeyValueHeads: 1,
      hiddenSize: 4,
      intermediateSize: 4,
      promptLength: 30,
      tieWordEmbeddings: false,
      imageRuns: image.runs,
      images: [image],
    };
    // Cells: 4 columns of 50 pixels, 2 rows of 50.
    for (const [cells, box] of [
      [[0], [0, 0, 50, 50]],
      [
        [2, 3],
        [100, 0, 200, 50],
      ],
      [
        [1, 2, 5, 6],
        [50, 0, 150, 100],
      ],
    ] as const) {
      const patches = patchesOfCells([image], 0, cells);
      expect(runsOf(patches.map((patch) => 5 + patch))).toEqual(imageColumns({ box }, context));
    }
    // The finer tile shows a cell better than the base tile.
    expect(positionOfCell(image, 0)).toBe(5 + 4);
    expect(positionOfCell(image, 6)).toBe(5 + 11);
  });
});
