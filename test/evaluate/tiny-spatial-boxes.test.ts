// The boxes that are shipped with tiny-spatial's benchmark against the pixels of its pictures.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { at } from "../../src/errors.ts";
import { parseBoxJson } from "../../src/evaluate/metrics/box-files.ts";
import { readImageFile } from "../../src/preprocess/decode-image.node.ts";
import type { RgbImage } from "../../src/preprocess/image.ts";

const benchmark = fileURLToPath(new URL("../../weights/tiny-spatial/benchmark/", import.meta.url));

function shippedBoxes(split: string) {
  const file = `${benchmark}${split}/boxes.json`;
  return parseBoxJson(readFileSync(file, "utf8"), file);
}

/** Difference of a channel from the background, of 255, up to which JPEG's ringing reaches in these pictures. */
const RINGING = 32;

/** Pixels by which an object may be smaller than its box, whose edge is where the drawing is 16 % opaque. */
const FAINT_EDGE = 2;

/** Whether each pixel differs from the background, the median of the picture's border. */
function foregroundOf({ width, height, data }: RgbImage): readonly boolean[] {
  const border = Array.from({ length: width * height }, (_, pixel) => pixel).filter((pixel) => {
    const [x, y] = [pixel % width, Math.floor(pixel / width)];
    return x === 0 || y === 0 || x === width - 1 || y === height - 1;
  });
  const background = [0, 1, 2].map((channel) => {
    const values = border.map((pixel) => at(data, pixel * 3 + channel)).sort((a, b) => a - b);
    return at(values, values.length >> 1);
  });
  return Array.from({ length: width * height }, (_, pixel) =>
    background.some((value, channel) => Math.abs(at(data, pixel * 3 + channel) - value) > RINGING),
  );
}

test.each(["test", "validation"])("every picture of %s has the boxes of its named objects", (split) => {
  const boxes = shippedBoxes(split);
  expect(boxes.size).toBe(300);
  for (const [picture, objects] of boxes) {
    expect(objects.length, picture).toBeGreaterThan(0);
    const [, first, second] =
      /(\w+?)_(?:left_of|right_of|on|under|in-front_of|behind)_(\w+)\.jpeg$/.exec(picture) ?? [];
    const labels = objects.map(({ label }) => label);
    if (first !== undefined) expect(labels, picture).toEqual(expect.arrayContaining([first, second]));
    for (const { x0, y0, x1, y1 } of objects) {
      expect(x0 >= 0 && y0 >= 0 && x1 <= 224 && y1 <= 224 && x1 - x0 >= 10 && y1 - y0 >= 10, picture).toBe(true);
    }
  }
});

// Pictures on a plain background without clutter and shadows, so that whatever is not background is an object.
test.each([
  "controlled_images/clock_on_guitar.jpeg",
  "controlled_images/chair_left_of_guitar.jpeg",
  "controlled_clevr/guitar_in-front_of_shoe.jpeg",
  "controlled_clevr/guitar_behind_laptop.jpeg",
  "val2017/000000001023.jpg",
  "val2017/000000001070.jpg",
])("the objects of %s fill their boxes, and nothing is outside of them", async (picture) => {
  const image = await readImageFile(`${benchmark}test/${picture}`);
  const { width, height } = image;
  const boxes = shippedBoxes("test").get(picture) ?? [];
  const foreground = foregroundOf(image);
  const found = boxes.map(() => ({ x0: width, y0: height, x1: 0, y1: 0 }));
  const outside: string[] = [];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!at(foreground, y * width + x)) continue;
      let isInside = false;
      for (const [index, { x0, y0, x1, y1 }] of boxes.entries()) {
        if (x >= x0 - 1 && x <= x1 && y >= y0 - 1 && y <= y1) isInside = true; // one pixel beyond, which JPEG smears
        if (x < x0 || x >= x1 || y < y0 || y >= y1) continue;
        const seen = at(found, index);
        Object.assign(seen, {
          x0: Math.min(seen.x0, x),
          y0: Math.min(seen.y0, y),
          x1: Math.max(seen.x1, x + 1),
          y1: Math.max(seen.y1, y + 1),
        });
      }
      if (!isInside) outside.push(`${x}, ${y}`);
    }
  }
  expect(outside).toEqual([]);
  for (const [index, box] of boxes.entries()) {
    for (const edge of ["x0", "y0", "x1", "y1"] as const) {
      expect(Math.abs(at(found, index)[edge] - box[edge]), `${box.label}, ${edge}`).toBeLessThanOrEqual(FAINT_EDGE);
    }
  }
});
