// Overlap of attention with boxes against exact arithmetic, the geometry of the image processors against the processors
// themselves, and the files that boxes come from.
import { describe, expect, test } from "vitest";
import { parseBoxJson, parseYoloBoxes } from "../../src/evaluate/metrics/box-files.ts";
import {
  boxesOfObjects,
  boxMask,
  boxOverlap,
  type ObjectBox,
  usedBoxes,
  YOLO_BOXES,
} from "../../src/evaluate/metrics/boxes.ts";
import type { ResizeRule } from "../../src/preprocess/image-processor.ts";
import { processorTransform } from "../../src/preprocess/processor-transform.ts";
import { expectMetric, messageOf, readEvaluateGolden, versionsOf } from "./metrics-golden.ts";

type Four = readonly [number, number, number, number];

interface Golden {
  readonly overlap: readonly {
    readonly values: readonly number[];
    readonly shape: readonly [number, number];
    readonly boxes: readonly (readonly [...Four, number | null])[];
    readonly picture: readonly [number, number];
    readonly transform: Four;
    readonly patchSize: number;
    readonly scale: number;
    readonly maxBoxes: number | null;
    readonly expected: { readonly mask: readonly number[] };
  }[];
  readonly geometry: readonly {
    readonly picture: readonly [number, number];
    readonly box: Four;
    readonly imageSize: number;
    readonly padToSquare: boolean;
    readonly centerCrop: boolean;
    readonly resize: { readonly shortest_edge: number } | { readonly width: number; readonly height: number };
    readonly coverage: readonly number[];
  }[];
}

/**
 * Largest difference of a covered share from the mean of a processed patch. PIL's box filter takes whole pixels, which differs
 * from the share by up to 0.0045 where the scale is not a whole number; a crop that is off by one pixel differs by 1/14.
 */
const GEOMETRY_BOUND = 0.01;

const golden = readEvaluateGolden<Golden>("metrics.json");

const box = ([x0, y0, x1, y1]: Four, label?: string, confidence?: number): ObjectBox => ({
  x0,
  y0,
  x1,
  y1,
  label,
  confidence,
});

describe("overlap", () => {
  test(`mask, mass and cosine (${versionsOf(golden, "numpy", "scipy")})`, () => {
    for (const [index, one] of golden.overlap.entries()) {
      const [height, width] = one.shape;
      const [scaleX, scaleY, offsetX, offsetY] = one.transform;
      const picture = { width: one.picture[0], height: one.picture[1] };
      const transform = { scaleX, scaleY, offsetX, offsetY };
      const settings = { scale: one.scale, maxBoxes: one.maxBoxes ?? undefined };
      const boxes = one.boxes.map(([x0, y0, x1, y1, confidence]) =>
        box([x0, y0, x1, y1], undefined, confidence ?? undefined),
      );
      const { mask, ...expected } = one.expected;
      const { patchSize } = one;
      expectMetric(
        boxMask(usedBoxes(boxes, picture, settings), { transform, grid: { width, height, patchSize } }),
        mask,
        `mask ${index}`,
      );
      const map = { values: Float32Array.from(one.values), width, height };
      const overlap = boxOverlap({ ...map, values: one.values }, boxes, { picture, transform, patchSize, settings });
      expectMetric(overlap, { ...expected, settings: { scale: one.scale } }, `case ${index}`);
      expect(overlap.settings.maxBoxes).toBe(settings.maxBoxes);
    }
  });

  test("the forks' settings are those of the second case", () => {
    const { scale, maxBoxes } = golden.overlap[1] ?? {};
    expect(YOLO_BOXES).toEqual({ scale, maxBoxes });
    const boxes = [box([0, 0, 1, 1], "a", 0.2), box([0, 0, 1, 1], "b", 0.4), box([0, 0, 1, 1], "c")];
    const used = usedBoxes(boxes, { width: 4, height: 4 }, { scale: 1, maxBoxes: 1 });
    expect(used.map(({ label }) => label)).toEqual(["c"]);
  });

  test("an even map has the boxes' coverage as mass", () => {
    const overlap = boxOverlap({ values: new Float32Array(16).fill(0.25), width: 4, height: 4 }, [box([3, 2, 11, 9])], {
      picture: { width: 16, height: 16 },
      transform: { scaleX: 1, scaleY: 1, offsetX: 0, offsetY: 0 },
      patchSize: 4,
    });
    expectMetric(overlap, { mass: 56 / 256, coverage: 56 / 256, numBoxes: 1, settings: { scale: 1 } });
  });

  test("refuses maps and settings out of range", async () => {
    const overlap = (values: readonly number[], scale = 1, maxBoxes?: number) =>
      messageOf(() =>
        boxOverlap({ values, width: 2, height: 1 }, [box([0, 0, 1, 1])], {
          picture: { width: 2, height: 1 },
          transform: { scaleX: 1, scaleY: 1, offsetX: 0, offsetY: 0 },
          patchSize: 1,
          settings: { scale, maxBoxes },
        }),
      );
    expect(await overlap([1])).toBe("InputError: The attention map: expected 2 × 1 values, got 1.");
    expect(await overlap([Number.NaN, 1])).toMatch(/expected values of at least 0, got NaN at 0\.$/);
    expect(await overlap([1, -1])).toBe("InputError: The attention map: expected values of at least 0, got -1 at 1.");
    expect(await overlap([1, 1], 0)).toBe("InputError: scale must be a number above 0, got 0.");
    expect(await overlap([1, 1], 1, 0)).toBe("InputError: maxBoxes must be a whole number of at least 1, got 0.");
  });

  test("boxes of named objects, in any case", () => {
    const boxes = [box([0, 0, 1, 1], "Mug"), box([0, 0, 2, 2], "plate"), box([0, 0, 3, 3])];
    expect(boxesOfObjects(boxes, ["mug ", "table"])).toEqual([boxes[0]]);
    expect(boxesOfObjects(boxes, [])).toEqual([]);
  });
});

test(`processors move boxes where they move pixels (${versionsOf(golden, "transformers", "pillow")})`, () => {
  for (const { picture, box: corners, resize, coverage, ...config } of golden.geometry) {
    const size = { width: picture[0], height: picture[1] };
    const rule: ResizeRule = "shortest_edge" in resize ? { shortestEdge: resize.shortest_edge } : resize;
    const transform = processorTransform(size, { ...config, resize: rule });
    const grid = { width: 4, height: 4, patchSize: config.imageSize / 4 };
    const mask = boxMask([box(corners)], { transform, grid });
    for (const [patch, share] of coverage.entries()) {
      expect(
        Math.abs(Number(mask[patch]) - share),
        `${picture}, patch ${patch}: ${mask[patch]}, ${share}`,
      ).toBeLessThan(GEOMETRY_BOUND);
    }
  }
});

test("without resizing, the crop alone moves boxes", () => {
  const config = { padToSquare: false, resize: undefined, centerCrop: true, imageSize: 4 };
  expect(processorTransform({ width: 9, height: 4 }, config)).toEqual({
    scaleX: 1,
    scaleY: 1,
    offsetX: -2,
    offsetY: 0,
  });
});

describe("box files", () => {
  test("plain JSON, with and without label and confidence", () => {
    const boxes = parseBoxJson('{"a.jpg": [[1, 2, 3, 4], [0, 0, 9.5, 8, "mug", 0.5]], "b.jpg": []}', "boxes.json");
    expect([...boxes]).toEqual([
      ["a.jpg", [box([1, 2, 3, 4]), box([0, 0, 9.5, 8], "mug", 0.5)]],
      ["b.jpg", []],
    ]);
  });

  test("plain JSON that is malformed is refused with its place", async () => {
    const message = (text: string) => messageOf(() => parseBoxJson(text, "boxes.json"));
    expect(await message('{"a.jpg": [[1, 2, 3, 4], [1, 2, 3]]}')).toBe(
      "InputError: boxes.json: a.jpg[1]: expected [x0, y0, x1, y1], optionally with a label and a confidence, got [1,2,3].",
    );
    for (const entry of [
      "[3, 2, 1, 4]",
      "[1, 4, 2, 3]",
      '[1, 2, 3, "4"]',
      "[1, 2, 3, 4, 5]",
      '["0", 2, 3, 4]',
      '[1, "0", 3, 4]',
      '[1, 2, "3", 4]',
      "[1, 2, 3]",
      "[]",
      '[1, 2, 3, 4, "a", -1]',
      '[1, 2, 3, 4, "a", "1"]',
      '[1, 2, 3, 4, "a", 1, 1]',
      '[1, 2, 3, 4, "a", 2]',
      "7",
    ]) {
      expect(await message(`{"a.jpg": [${entry}]}`)).toMatch(/^InputError: boxes.json: a.jpg\[0\]: expected/);
    }
    expect(parseBoxJson('{"a.jpg": [[1, 2, 1, 2, "point", 0]]}', "boxes.json").get("a.jpg")).toHaveLength(1);
    expect(await message(`{"a.jpg": ["${"x".repeat(100)}"]}`)).toMatch(/got "x{79}…\.$/);
    expect(await message('{"a.jpg": 1}')).toMatch(/a.jpg: expected a list of boxes/);
    expect(await message("[1]")).toBe(
      "InputError: boxes.json: expected boxes as COCO or plain JSON, that is an object, got [1].",
    );
    expect(await message("{")).toMatch(/^InputError: boxes.json: expected boxes .* not JSON \(/);
  });

  const coco = (annotations: readonly object[], more: object = {}) =>
    JSON.stringify({
      images: [
        { id: 7, file_name: "a.jpg" },
        { id: 8, file_name: "b.jpg" },
      ],
      categories: [{ id: 1, name: "cup" }],
      annotations,
      ...more,
    });

  test("COCO's annotations, crowds left out", () => {
    const boxes = parseBoxJson(
      coco([
        { image_id: 7, category_id: 1, bbox: [10, 20, 30, 5], iscrowd: 0 },
        { image_id: 7, category_id: 1, bbox: [0, 0, 100, 100], iscrowd: 1 },
        { image_id: 7, category_id: 1, bbox: [1, 1, 1, 1], score: 0.25 },
      ]),
      "coco.json",
    );
    expect([...boxes]).toEqual([
      ["a.jpg", [box([10, 20, 40, 25], "cup"), box([1, 1, 2, 2], "cup", 0.25)]],
      ["b.jpg", []],
    ]);
  });

  test("COCO's ids may be texts", () => {
    const text = coco([{ image_id: "x", category_id: 1, bbox: [0, 0, 1, 1] }], {
      images: [{ id: "x", file_name: "x.jpg" }],
    });
    expect([...parseBoxJson(text, "coco.json")]).toEqual([["x.jpg", [box([0, 0, 1, 1], "cup")]]]);
  });

  test("COCO's annotations that are malformed are refused with their place", async () => {
    const good = { image_id: 7, category_id: 1, bbox: [0, 0, 1, 1] };
    const message = (second: object, more?: object) =>
      messageOf(() => parseBoxJson(coco([good, second], more), "coco.json"));
    expect(await message({ ...good, bbox: [0, 0, 1] })).toBe(
      "InputError: coco.json: annotations[1]: expected bbox to be [x, y, width, height], got [0,0,1].",
    );
    for (const bbox of [
      [0, 0, -1, 1],
      [0, 0, 1, -1],
      ["0", 0, 1, 1],
      [0, "0", 1, 1],
      [0, 0, "1", 1],
      [0, 0, 1, "1"],
      7,
    ]) {
      expect(await message({ ...good, bbox })).toMatch(/annotations\[1\]: expected bbox/);
    }
    expect(parseBoxJson(coco([{ ...good, bbox: [1, 1, 0, 0] }]), "coco.json").get("a.jpg")).toEqual([
      box([1, 1, 1, 1], "cup"),
    ]);
    expect(await message({ ...good, image_id: 9 })).toMatch(/expected an image_id that images has, got 9\.$/);
    expect(await message({ ...good, category_id: 2 })).toMatch(/expected a category_id that categories has, got 2\.$/);
    expect(await message({ ...good, score: 7 })).toMatch(/expected score to be from 0 to 1, got 7\.$/);
    expect(await message([])).toMatch(/annotations\[1\]: expected an object, got \[\]\.$/);
    expect(await message(good, { images: undefined })).toMatch(/images must be a list, got nothing\.$/);
    expect(await message(good, { images: [{ id: true, file_name: "a.jpg" }] })).toMatch(
      /images\[0\]: expected an object/,
    );
    expect(await message(good, { images: [{ id: 7 }] })).toMatch(
      /images\[0\]: expected an object with id and file_name/,
    );
    expect(
      await message(good, {
        categories: [
          { id: 1, name: "a" },
          { id: 1, name: "b" },
        ],
      }),
    ).toMatch(/categories\[1\]: the id 1 appears twice/);
  });

  const picture = { width: 200, height: 100 };

  test("YOLO's text files, with and without confidence and class names", () => {
    const text = "0 0.5 0.5 0.2 0.4\r\n\n1 .25 5e-1 0.5 1 0.875\n";
    const [first, second] = parseYoloBoxes(text, { file: "a.txt", picture });
    expectMetric(first, { x0: 80, y0: 30, x1: 120, y1: 70, label: "0" });
    expectMetric(second, { x0: 0, y0: 0, x1: 100, y1: 100, label: "1", confidence: 0.875 });
    expect(parseYoloBoxes("0 0.5 0.5 1e0 1", { file: "a.txt", picture })).toMatchObject([{ x1: 200, y1: 100 }]);
    const spaced = parseYoloBoxes("   \n  12   10e-2\t+0.1 1e-01 0.10  \n", { file: "a.txt", picture });
    expectMetric(spaced, [{ x0: 10, y0: 5, x1: 30, y1: 15, label: "12" }]);
    const named = parseYoloBoxes(text, { file: "a.txt", picture, classNames: ["person", "cup"] });
    expect(named.map(({ label, confidence }) => [label, confidence])).toEqual([
      ["person", undefined],
      ["cup", 0.875],
    ]);
    expect(parseYoloBoxes("", { file: "a.txt", picture })).toEqual([]);
  });

  test("YOLO's lines that are malformed are refused with file and line", async () => {
    const message = (line: string) =>
      messageOf(() =>
        parseYoloBoxes(`0 0.5 0.5 0.2 0.4\n${line}\n`, { file: "a.txt", picture, classNames: ["person", "cup"] }),
      );
    expect(await message("1 0.5 0.5 0.2")).toBe(
      'InputError: a.txt:2: expected "class cx cy width height" with an optional confidence, numbers from 0 to 1 except the class, got "1 0.5 0.5 0.2".',
    );
    for (const line of [
      "1 0.5 0.5 0.2 1.5",
      "1 x 0.5 0.2 0.4",
      "1 0x1 0.5 0.2 0.4",
      "1 0 0 0 0 0 0",
      "1 0 0 0 0 2",
      "1 0 0 0 -0.1",
      "1 0 0 0 0 -1",
    ]) {
      expect(await message(line)).toMatch(/^InputError: a.txt:2: expected "class cx cy/);
    }
    expect(await message("cup 0.5 0.5 0.2 0.4")).toMatch(/the class is a whole number, got/);
    expect(await message("-1 0.5 0.5 0.2 0.4")).toMatch(/the class is a whole number, got/);
    expect(await message("1.5 0.5 0.5 0.2 0.4")).toMatch(/the class is a whole number, got/);
    expect(await message("2 0.5 0.5 0.2 0.4")).toMatch(/expected a class below 2, the number of class names, got/);
  });
});
