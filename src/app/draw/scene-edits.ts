// Edits of the scene by pointer, key and button, each announced to screen readers.

import {
  describePlace,
  flipObject,
  moveObject,
  raiseObject,
  removeObject,
  resizeObject,
  type Scene,
  type SceneObject,
} from "../scene/scene.ts";
import { announcement, scene, selected } from "../state.ts";

/** A change to one object; `index` is its index afterwards, undefined if it was removed. */
export interface Edit {
  readonly apply: (scene: Scene, index: number) => { readonly scene: Scene; readonly index: number | undefined };
  /** Announced before the object's place; undefined announces the place alone. */
  readonly done?: string;
}

const STEP = 0.02;
const LARGE_STEP = 0.1;
const GROWTH = 1.08;
/** Time without changes after which an object is at rest, milliseconds. */
const REST_MS = 400;

/** Moves the object's centre to a point. */
export function moveTo(x: number, y: number): Edit {
  return { apply: (from, index) => ({ scene: moveObject(from, index, x, y), index }) };
}

/** Makes the object larger or smaller. */
export function grow(isLarger: boolean): Edit {
  const by = isLarger ? GROWTH : 1 / GROWTH;
  return {
    apply: (from, index) => ({ scene: resizeObject(from, index, (from.objects[index]?.size ?? 0) * by), index }),
    done: isLarger ? "larger" : "smaller",
  };
}

/** Mirrors the object horizontally. */
export const flip: Edit = { apply: (from, index) => ({ scene: flipObject(from, index), index }), done: "flipped" };

/** Moves the object in front of all others. */
export const toFront: Edit = {
  apply: (from, index) => ({ scene: raiseObject(from, index), index: from.objects.length - 1 }),
  done: "in front",
};

/** Moves the object behind all others. */
export const toBack: Edit = {
  apply(from, index) {
    const object = from.objects[index];
    if (object === undefined) return { scene: from, index };
    const others = from.objects.filter((_, other) => other !== index);
    return { scene: { ...from, objects: [object, ...others] }, index: 0 };
  },
  done: "behind",
};

/** Removes the object. */
export const remove: Edit = {
  apply: (from, index) => ({ scene: removeObject(from, index), index: undefined }),
  done: "removed",
};

/** The edit that a key applies to the focused object; undefined for other keys. */
export function applyKey(key: string, isShifted: boolean): Edit | undefined {
  const step = isShifted ? LARGE_STEP : STEP;
  const by = (x: number, y: number): Edit => ({
    apply(from, index) {
      const object = from.objects[index];
      return { scene: object ? moveObject(from, index, object.x + x, object.y + y) : from, index };
    },
  });
  switch (key) {
    case "ArrowLeft":
      return by(-step, 0);
    case "ArrowRight":
      return by(step, 0);
    case "ArrowUp":
      return by(0, -step);
    case "ArrowDown":
      return by(0, step);
    case "+":
    case "=":
      return grow(true);
    case "-":
    case "_":
      return grow(false);
    case "f":
    case "F":
      return flip;
    case "PageUp":
      return toFront;
    case "PageDown":
      return toBack;
    case "Delete":
    case "Backspace":
      return remove;
    default:
      return undefined;
  }
}

let telling: ReturnType<typeof setTimeout> | undefined;

/** Applies an edit and announces it once the object is at rest. */
export function edit({ apply, done }: Edit, index: number): void {
  const name = scene.value.objects[index]?.name;
  if (name === undefined) return;
  const result = apply(scene.value, index);
  scene.value = result.scene;
  selected.value = result.index ?? Math.max(0, Math.min(index, result.scene.objects.length - 1));
  clearTimeout(telling);
  telling = setTimeout(() => {
    const place = result.index === undefined ? "" : describePlace(scene.value, result.index);
    announcement.value = `${name} ${[done, place].filter((part) => part !== undefined && part !== "").join(", ")}`;
  }, REST_MS);
}

/**
 * The objects with keys that do not depend on their order, sorted by key: buttons that move in the document would lose the
 * focus.
 */
export function labelled(
  objects: readonly SceneObject[],
): readonly { readonly key: string; readonly object: SceneObject; readonly index: number }[] {
  const counts = new Map<string, number>();
  const list = objects.map((object, index) => {
    const count = (counts.get(object.name) ?? 0) + 1;
    counts.set(object.name, count);
    return { key: `${object.name} ${count}`, object, index };
  });
  return list.sort((left, right) => (left.key < right.key ? -1 : 1));
}
