// What a line keeps of an answer's attention: overlaps of a map made by hand, and the map of one layer.
import { expect, test } from "vitest";
import { at } from "../../src/errors.ts";
import { ALL_BOXES, type ObjectBox } from "../../src/evaluate/metrics/boxes.ts";
import { boxesOfQuestion } from "../../src/evaluate/metrics/question-boxes.ts";
import { attentionFields, type QuestionBoxes } from "../../src/evaluate/run/attention-fields.ts";
import { answerAttention } from "../../src/inspect/attention-map.ts";
import type { MappedImage } from "../../src/inspect/picture-placement.ts";
import type { AttentionRow } from "../../src/inspect/places.ts";

/** One key of text, then 2 × 2 patches, then two keys of text. */
const image: MappedImage = { runs: [[1, 5]], grid: { width: 2, height: 2 } };

/** Attention in 16ths: [layer][head][key]; the second head of layer 1 does not look at the picture. */
const USED = [
  [
    [8, 2, 2, 2, 2, 0, 0],
    [4, 8, 0, 4, 0, 0, 0],
  ],
  [
    [0, 1, 2, 4, 8, 1, 0],
    [16, 0, 0, 0, 0, 0, 0],
  ],
];

function rowsOf(layers: readonly (readonly (readonly number[])[])[]): readonly AttentionRow[] {
  return layers.map((heads, layer) => {
    const probs = Float32Array.from(heads.flat(), (value) => value / 16);
    return { layer, scores: new Float32Array(probs.length), probs };
  });
}

/** A picture of 8 × 8 pixels that the model sees as it is: its left half is a box, patches are 4 × 4. */
const boxes: QuestionBoxes = {
  boxes: [{ x0: 0, y0: 0, x1: 4, y1: 8, label: "mug", confidence: undefined }],
  settings: ALL_BOXES,
  picture: { width: 8, height: 8 },
  processor: {
    imageSize: 8,
    padToSquare: false,
    resize: undefined,
    filter: "bicubic",
    centerCrop: false,
    rescaleFactor: undefined,
    normalize: undefined,
    imageMean: [0, 0, 0],
    imageGridPinpoints: undefined,
  },
  patchSize: 4,
  seesAll: false,
};

function fieldsOf(
  of: { readonly boxes?: QuestionBoxes; readonly unmodified?: typeof USED; readonly image?: MappedImage } = {},
) {
  const unmodified = of.unmodified && rowsOf(of.unmodified);
  const attention = answerAttention({ used: rowsOf(USED), unmodified }, [of.image ?? image], 2);
  return attentionFields(attention, { mapLayer: 1, boxes: of.boxes });
}

const short = (value: number) => Number(value.toPrecision(6));

test("overlap of every layer and head with the left half", () => {
  // The mask is [1, 0, 1, 0], of norm √2. A layer's map is the sum over its heads: [10, 2, 6, 2] and [1, 2, 4, 8].
  expect(fieldsOf({ boxes }).box_overlap).toEqual({
    num_boxes: 1,
    coverage: 0.5,
    mass: [
      [0.5, 1],
      [short(5 / 15), null],
    ],
    cosine: [
      [short(4 / (4 * Math.SQRT2)), short(12 / Math.sqrt(80 * 2))],
      [short(5 / Math.sqrt(85 * 2)), null],
    ],
    layer_mass: [short(16 / 20), short(5 / 15)],
    layer_cosine: [short(16 / Math.sqrt(144 * 2)), short(5 / Math.sqrt(85 * 2))],
  });
});

test("share and entropy do not depend on boxes; without boxes, or with none that the model sees, there is no overlap", () => {
  const fields = fieldsOf();
  expect(fields.image_share).toEqual([(8 + 12) / 32, 15 / 32]);
  expect(fields).toMatchObject({ box_overlap: null });
  const outside: ObjectBox = { x0: 20, y0: 0, x1: 30, y1: 8, label: undefined, confidence: undefined };
  for (const none of [[], [outside]]) {
    expect(fieldsOf({ boxes: { ...boxes, boxes: none } })).toEqual(fields);
  }
});

test("the map of a layer as bytes, and that of an unmodified pass only where it differs", () => {
  const { image_map: map, unmodified_map: unmodified } = fieldsOf({ unmodified: USED });
  expect(map).toMatchObject({ layer: 1, rows: 2, columns: 2, peak: 8 / 32 });
  // 255 · [1, 2, 4, 8] / 8
  expect([...Buffer.from(String(map?.weights), "base64")]).toEqual([32, 64, 128, 255]);
  expect(unmodified).toBeNull();
  const flat = [at(USED, 0), [at(USED, 1)[1] ?? [], at(USED, 1)[1] ?? []]];
  expect(fieldsOf({ unmodified: flat }).unmodified_map).toEqual({
    layer: 1,
    rows: 2,
    columns: 2,
    weights: Buffer.from([0, 0, 0, 0]).toString("base64"),
    peak: 0,
  });
});

test("an answer without a picture has nothing", () => {
  const nothing = { image_share: null, image_entropy: null, box_overlap: null, image_map: null, unmodified_map: null };
  expect(attentionFields(undefined, { mapLayer: 1, boxes })).toEqual(nothing);
});

test("a picture in tiles: boxes are put on a map of the whole picture, wherever a processor would crop it", () => {
  // The base tile's only patch, then the upper and the lower half as a grid of one column, a newline after each.
  const views = [
    { left: 0, top: 0, right: 1, bottom: 1 },
    { left: 0, top: 0, right: 1, bottom: 0.5 },
    { left: 0, top: 0.5, right: 1, bottom: 1 },
  ];
  const tiled: MappedImage = {
    runs: [[1, 6]],
    grid: undefined,
    rowIndex: Int32Array.of(0, 1, -1, 2, -1),
    tiles: { imageSize: [300, 100], patchGrid: 1, views },
  };
  const top: ObjectBox = { x0: 0, y0: 0, x1: 100, y1: 150, label: undefined, confidence: undefined };
  const seen = { ...boxes, boxes: [top], picture: { width: 100, height: 300 }, seesAll: true };
  const fields = fieldsOf({ boxes: seen, image: tiled });
  // Layer 0, in 16ths: base 2, upper 2, newline 2, lower 2, newline 0 and 8, 0, 4, 0, 0; the box is the upper half.
  expect(fields.image_share?.[0]).toBe((8 + 12) / 32);
  expect(fields.box_overlap).toMatchObject({ coverage: 0.5, mass: [[0.5, 1 / 2], expect.anything()] });
  expect(fields.image_map).toMatchObject({ rows: 2, columns: 1 });
});

test("the boxes of a question are those of its objects, or all where nothing says which", () => {
  const named = (label: string | undefined): ObjectBox => ({ ...at(boxes.boxes, 0), label });
  const [mug, cup, plate] = [named("Mug"), named("cup"), named("plate")];
  const objects = { first: "mug", second: "plate" };
  expect(boxesOfQuestion([mug, cup, plate], { objects }, "named")).toEqual([mug, plate]);
  expect(boxesOfQuestion([mug, cup], { objects: { first: "cup", second: null } }, "named")).toEqual([cup]);
  expect(boxesOfQuestion([cup], { objects }, "named")).toEqual([]);
  expect(boxesOfQuestion([mug, cup, plate], { objects }, "all")).toEqual([mug, cup, plate]);
  expect(boxesOfQuestion([mug, cup], { objects: null }, "named")).toEqual([mug, cup]);
  expect(boxesOfQuestion([named(undefined)], { objects }, "named")).toEqual([named(undefined)]);
});
