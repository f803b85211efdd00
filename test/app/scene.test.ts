// What can be done to a scene, how it is put into words, and the questions about it.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { describe, expect, test } from "vitest";
import { fillIn, QUESTION_FORMS, readForm } from "../../src/app/scene/questions.ts";
import {
  addObject,
  boxOf,
  describePlace,
  describeScene,
  flipObject,
  isObjectName,
  MAX_OBJECTS,
  moveObject,
  OBJECT_NAMES,
  OBJECT_SIZES,
  raiseObject,
  removeObject,
  resizeObject,
  type Scene,
  SIZE_RANGE,
} from "../../src/app/scene/scene.ts";
import { repositoryRoot } from "../setup/bundle.ts";
import { MUG_AND_DOG } from "./mug-and-dog.ts";

const empty: Scene = { background: "plain", objects: [] };

describe("objects", () => {
  test("the table has the sizes of the sprites, and there is no sprite more", async () => {
    const folder = join(repositoryRoot, "src", "app", "sprites");
    const files = readdirSync(folder).filter((file) => file.endsWith(".webp"));
    expect(files.map((file) => file.replace(".webp", "")).sort()).toEqual([...OBJECT_NAMES].sort());
    for (const name of OBJECT_NAMES) {
      const { width, height } = await sharp(join(folder, `${name}.webp`)).metadata();
      expect([width, height], name).toEqual(OBJECT_SIZES[name]);
    }
  });

  test("inherited names are no objects", () => {
    expect(isObjectName("mug")).toBe(true);
    expect(isObjectName("toString")).toBe(false);
  });
});

describe("changing a scene", () => {
  test("the default scene is a mug whose box is left of the dog's", () => {
    const [mug, dog] = MUG_AND_DOG.objects.map(boxOf);
    expect(MUG_AND_DOG.objects.map(({ name }) => name)).toEqual(["mug", "dog"]);
    expect((mug?.left ?? 1) + (mug?.width ?? 1)).toBeLessThan(dog?.left ?? 0);
  });

  test("an object moves, and stays whole in the picture", () => {
    const moved = moveObject(MUG_AND_DOG, 0, 0.5, 0.4).objects[0];
    expect(moved).toMatchObject({ name: "mug", x: 0.5, y: 0.4 });
    const cornered = moveObject(MUG_AND_DOG, 0, -3, 9).objects[0];
    const { left, top, height } = boxOf(cornered ?? { name: "mug", x: 0, y: 0, size: 0, flipped: false });
    expect(left).toBeCloseTo(0, 12);
    expect(top + height).toBeCloseTo(1, 12);
  });

  test("sizes stay in their range", () => {
    expect(resizeObject(MUG_AND_DOG, 1, 5).objects[1]?.size).toBe(SIZE_RANGE[1]);
    expect(resizeObject(MUG_AND_DOG, 1, 0).objects[1]?.size).toBe(SIZE_RANGE[0]);
  });

  test("raising changes the order, removing takes one away, unknown indices change nothing", () => {
    expect(raiseObject(MUG_AND_DOG, 0).objects.map(({ name }) => name)).toEqual(["dog", "mug"]);
    expect(removeObject(MUG_AND_DOG, 0).objects.map(({ name }) => name)).toEqual(["dog"]);
    expect(raiseObject(MUG_AND_DOG, 7)).toEqual(MUG_AND_DOG);
    expect(moveObject(MUG_AND_DOG, 7, 0, 0)).toEqual(MUG_AND_DOG);
    expect(flipObject(flipObject(MUG_AND_DOG, 1), 1)).toEqual(MUG_AND_DOG);
  });

  test("added objects take free places, up to the most", () => {
    let scene = empty;
    for (let index = 0; index < MAX_OBJECTS + 3; index++) scene = addObject(scene, "cat");
    expect(scene.objects).toHaveLength(MAX_OBJECTS);
    expect(scene.objects[0]).toMatchObject({ x: 0.5, y: 0.5 });
    expect(new Set(scene.objects.map(({ x, y }) => `${x} ${y}`)).size).toBe(MAX_OBJECTS);
    expect(addObject(empty, "cat", { x: 0, y: 0.5 }).objects[0]?.x).toBeGreaterThan(0.1);
  });
});

describe("a scene in words", () => {
  test("says where things are and what they lie over", () => {
    expect(describeScene(MUG_AND_DOG)).toBe("A mug at the left and a dog at the right.");
    expect(describeScene(empty)).toBe("An empty scene.");
    const stacked = moveObject(MUG_AND_DOG, 1, 0.3, 0.5);
    expect(describePlace(stacked, 1)).toBe("at the left, over the mug");
    expect(describePlace(moveObject(MUG_AND_DOG, 0, 0.5, 0.2), 0)).toBe("at the top");
    expect(describePlace(MUG_AND_DOG, 9)).toBe("");
  });
});

describe("questions", () => {
  const [side, depth, place, inventory] = QUESTION_FORMS;

  test("are those of the benchmark, word for word", () => {
    const folder = join(repositoryRoot, "weights", "tiny-spatial", "benchmark", "test");
    const asked = ["Controlled_A", "Controlled_B", "COCO_one"].flatMap((name) =>
      readFileSync(join(folder, `${name}_questions.jsonl`), "utf8")
        .trim()
        .split("\n"),
    );
    expect(asked.length).toBeGreaterThan(200);
    for (const line of asked) {
      const question = /(Where is [^\n\\]*?\.)/.exec(line)?.[1] ?? "";
      expect(readForm(question), line).toBeDefined();
    }
  });

  test("a filled form is read back", () => {
    for (const [form, names] of [
      [side, ["mug", "dog"]],
      [depth, ["apple", "hat"]],
      [place, ["cat"]],
      [inventory, []],
    ] as const) {
      if (form === undefined) throw new Error("a form is missing");
      expect(readForm(fillIn(form, names))).toEqual({ form, names });
    }
    expect(readForm("Where is the mug?")).toBeUndefined();
    expect(readForm("")).toBeUndefined();
  });
});
