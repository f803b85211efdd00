// Changes of the scene by key and button: what they do to the scene, which object they leave chosen, what is told.
import { beforeEach, describe, expect, test, vi } from "vitest";
import { applyKey, edit, flip, labelled, remove, toBack, toFront } from "../../src/app/draw/scene-edits.ts";
import type { Scene } from "../../src/app/scene/scene.ts";
import { announcement, scene, selected } from "../../src/app/state.ts";
import { MUG_AND_DOG } from "./mug-and-dog.ts";

const three: Scene = {
  background: "plain",
  objects: [
    { name: "mug", x: 0.2, y: 0.5, size: 0.3, flipped: false },
    { name: "dog", x: 0.5, y: 0.5, size: 0.3, flipped: false },
    { name: "mug", x: 0.8, y: 0.5, size: 0.3, flipped: false },
  ],
};

beforeEach(() => {
  scene.value = three;
  selected.value = 0;
  announcement.value = "";
});

const press = (key: string, index: number, isShifted = false) => {
  const change = applyKey(key, isShifted);
  if (change !== undefined) edit(change, index);
  return change !== undefined;
};

describe("keys", () => {
  test("arrows move, with shift farther, and stop at the border", () => {
    press("ArrowRight", 1);
    expect(scene.value.objects[1]?.x).toBeCloseTo(0.52);
    press("ArrowUp", 1, true);
    expect(scene.value.objects[1]?.y).toBeCloseTo(0.4);
    for (let step = 0; step < 9; step++) press("ArrowLeft", 1, true);
    expect(scene.value.objects[1]?.x).toBeCloseTo(0.15);
  });

  test("+ and − change the size, F flips", () => {
    press("+", 0);
    expect(scene.value.objects[0]?.size).toBeGreaterThan(0.3);
    press("-", 0);
    press("-", 0);
    expect(scene.value.objects[0]?.size).toBeLessThan(0.3);
    press("f", 0);
    expect(scene.value.objects[0]?.flipped).toBe(true);
  });

  test("other keys are left to the browser", () => {
    expect(["Tab", "Enter", "a", "Escape"].map((key) => press(key, 0))).toEqual([false, false, false, false]);
    expect(scene.value).toBe(three);
  });
});

describe("order", () => {
  test("to the front and back, and the object stays the chosen one", () => {
    edit(toFront, 0);
    expect(scene.value.objects.map(({ x }) => x)).toEqual([0.5, 0.8, 0.2]);
    expect(selected.value).toBe(2);
    edit(toBack, 2);
    expect(scene.value).toEqual(three);
    expect(selected.value).toBe(0);
  });

  test("a removed object leaves another one chosen, and an empty scene none", () => {
    edit(remove, 2);
    expect(selected.value).toBe(1);
    edit(remove, 1);
    edit(remove, 0);
    expect(scene.value.objects).toEqual([]);
    edit(flip, 0);
    expect(scene.value.objects).toEqual([]);
  });

  test("buttons keep their keys and places in the document when the order changes", () => {
    const keys = () => labelled(scene.value.objects).map(({ key }) => key);
    const before = keys();
    expect(before).toEqual(["dog 1", "mug 1", "mug 2"]);
    edit(toFront, 1);
    expect(keys()).toEqual(before);
  });
});

test("what happened is told once the object rests", () => {
  vi.useFakeTimers();
  try {
    scene.value = MUG_AND_DOG;
    press("ArrowRight", 0);
    press("ArrowRight", 0);
    expect(announcement.value).toBe("");
    vi.runAllTimers();
    expect(announcement.value).toBe("mug at the left");
    press("F", 0);
    vi.runAllTimers();
    expect(announcement.value).toBe("mug flipped, at the left");
    press("Delete", 0);
    vi.runAllTimers();
    expect(announcement.value).toBe("mug removed");
  } finally {
    vi.useRealTimers();
  }
});
