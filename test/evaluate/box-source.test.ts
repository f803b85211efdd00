// Where a run's boxes come from: a JSON file, or a folder of YOLO's text files.
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readBoxSource } from "../../src/evaluate/run/box-source.node.ts";
import { messageOf } from "./metrics-golden.ts";

const size = { width: 100, height: 50 };
const pictures = ["images/a.jpg", "images/b.jpg", "images/c.jpg"];
let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "adaptvis-boxes-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function written(name: string, text: string): Promise<string> {
  await writeFile(join(folder, name), text);
  return join(folder, name);
}

test("a JSON file names pictures as the data set does, or by file name", async () => {
  const text =
    '{"images/a.jpg": [[1, 2, 3, 4]], "b.jpg": [[5, 6, 7, 8, "mug"]], "x/c.jpg": [[0, 0, 1, 1]], "y/c.jpg": []}';
  const source = await readBoxSource(await written("boxes.json", text), pictures);
  expect(source.numPictures).toBe(2);
  expect(source.boxesOf("images/a.jpg", size)).toMatchObject([{ x0: 1, y1: 4 }]);
  expect(source.boxesOf("images/b.jpg", size)).toMatchObject([{ x0: 5, label: "mug" }]);
  expect(source.boxesOf("images/c.jpg", size)).toEqual([]); // two folders have one
  const other = await readBoxSource(await written("other.json", `${text}\n`), pictures);
  expect(other.hash).not.toBe(source.hash);
});

test("a folder has a text file per picture, in the same subfolder or in none, and may have names of classes", async () => {
  const labels = join(folder, "labels");
  await mkdir(join(labels, "images"), { recursive: true });
  await writeFile(join(labels, "images", "a.txt"), "1 0.5 0.5 0.2 0.4 0.9\n");
  await writeFile(join(labels, "b.txt"), "");
  const plain = await readBoxSource(labels, pictures);
  expect(plain.numPictures).toBe(1);
  expect(plain.boxesOf("images/a.jpg", size)).toMatchObject([{ x0: 40, y0: 15, x1: 60, y1: 35, confidence: 0.9 }]);
  expect(plain.boxesOf("images/a.jpg", size)[0]?.label).toBeUndefined();
  expect(plain.boxesOf("images/b.jpg", size)).toEqual([]);
  await writeFile(join(labels, "classes.txt"), "person\nmug\n\n");
  const named = await readBoxSource(labels, pictures);
  expect(named.boxesOf("images/a.jpg", size)).toMatchObject([{ label: "mug" }]);
  expect(named.hash).not.toBe(plain.hash);
  await writeFile(join(labels, "b.txt"), "2 0.5 0.5 0.2 0.4\n");
  expect(await messageOf(() => readBoxSource(labels, pictures))).toMatch(/b\.txt:1: expected a class below 2/);
});

test("a source without a box of any picture, or that is not there, is refused", async () => {
  const file = await written("strange.json", '{"z.jpg": [[1, 2, 3, 4]], "a.jpg": []}');
  expect(await messageOf(() => readBoxSource(file, pictures))).toBe(
    `InputError: ${file} has no box of any of the 3 pictures, of which the first is images/a.jpg: check that its boxes belong to the data set.`,
  );
  expect(await messageOf(() => readBoxSource(join(folder, "none"), pictures))).toMatch(/none does not exist/);
});
