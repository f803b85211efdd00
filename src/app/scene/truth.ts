// What a question's answer is by how its scene is built, with the relations of tools/train-tiny/world.py; nothing where a scene
// leaves room for more than one answer.

import { readForm } from "./questions.ts";
import { type Box, boxOf, type Scene } from "./scene.ts";

/** Least distance from the middle of an object that is clearly in one part of the picture, and how much nearer the other axis may be. */
const LEAST_OFFSET = 0.17;
const MOST_ACROSS = 0.6;
/** How deep an upper object may sink into the one it stands on, or hang above it. */
const SINK = [-0.02, 0.05] as const;
/** How far the foot of an object in front lies below that of the one behind it. */
const FOOT = [0.05, 0.16] as const;

/**
 * The right answer, in the question's own word; undefined when the question is no form's, asks about an object that the scene has
 * none or several of, or the scene does not decide it.
 */
export function rightAnswer(scene: Scene, question: string): string | undefined {
  const filled = readForm(question);
  const boxes = filled?.names.map((name) => onlyBox(scene, name)) ?? [];
  const [first, second] = boxes;
  if (filled === undefined || first === undefined || boxes.includes(undefined)) return undefined;
  const answer = second === undefined ? placeOf(first.box) : relationOf(first, second, filled.form.id);
  return answer !== undefined && filled.form.options.includes(answer) ? answer : undefined;
}

interface Found {
  readonly box: Box;
  /** In painter's order. */
  readonly index: number;
}

function onlyBox(scene: Scene, name: string): Found | undefined {
  const found = scene.objects.flatMap((object, index) => (object.name === name ? [{ box: boxOf(object), index }] : []));
  return found.length === 1 ? found[0] : undefined;
}

/** The part of the picture that an object is clearly in. */
function placeOf(box: Box): string | undefined {
  const [dx, dy] = [middle(box).x - 0.5, middle(box).y - 0.5];
  const far = Math.max(Math.abs(dx), Math.abs(dy));
  if (far < LEAST_OFFSET || Math.min(Math.abs(dx), Math.abs(dy)) > MOST_ACROSS * far) return undefined;
  if (Math.abs(dx) === far) return dx < 0 ? "left" : "right";
  return dy < 0 ? "top" : "bottom";
}

function relationOf(one: Found, other: Found, form: string): string | undefined {
  const [a, b] = [middle(one.box), middle(other.box)];
  const apart = Math.abs(a.x - b.x) - (one.box.width + other.box.width) / 2;
  if (apart > 0 && Math.abs(a.x - b.x) > 2 * Math.abs(a.y - b.y)) return a.x < b.x ? "left" : "right";
  if (form === "side") {
    if (standsOn(one.box, other.box)) return "on";
    return standsOn(other.box, one.box) ? "under" : undefined;
  }
  if (apart >= 0) return undefined;
  if (isInFront(one, other)) return "front";
  return isInFront(other, one) ? "behind" : undefined;
}

function standsOn(upper: Box, lower: Box): boolean {
  const sink = upper.top + upper.height - lower.top;
  const isOver = Math.abs(middle(upper).x - middle(lower).x) <= 0.3 * lower.width;
  return isOver && sink >= SINK[0] && sink <= SINK[1];
}

/** Whether an object is drawn later, over the other one, with its foot lower in the picture. */
function isInFront(near: Found, far: Found): boolean {
  const foot = near.box.top + near.box.height - (far.box.top + far.box.height);
  const isOver = near.box.top < far.box.top + far.box.height;
  return near.index > far.index && isOver && foot >= FOOT[0] && foot <= FOOT[1];
}

function middle({ left, top, width, height }: Box): { readonly x: number; readonly y: number } {
  return { x: left + width / 2, y: top + height / 2 };
}
