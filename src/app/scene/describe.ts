// A scene in words, for those who do not see it.
import { withArticle } from "./objects.ts";
import { type Box, boxOf, type Scene } from "./scene.ts";

/** Where an object is, in words: "at the upper left", "in the middle, over the dog". */
export function describePlace(scene: Scene, index: number): string {
  const object = scene.objects[index];
  if (object === undefined) return "";
  const covered = scene.objects
    .filter((other, otherIndex) => otherIndex < index && overlaps(boxOf(other), boxOf(object)))
    .map(({ name }) => `the ${name}`);
  const place = placeWords(object.x, object.y);
  return covered.length === 0 ? place : `${place}, over ${listed(covered)}`;
}

/** The whole scene: "A mug at the left and a dog at the right." */
export function describeScene(scene: Scene): string {
  if (scene.objects.length === 0) return "An empty scene.";
  const parts = scene.objects.map(({ name }, index) => `${withArticle(name)} ${describePlace(scene, index)}`);
  const text = listed(parts);
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

function placeWords(x: number, y: number): string {
  const across = third(x, ["left", "", "right"]);
  const down = third(y, ["upper", "", "lower"]);
  if (across === "" && down === "") return "in the middle";
  if (across === "") return down === "upper" ? "at the top" : "at the bottom";
  return down === "" ? `at the ${across}` : `at the ${down} ${across}`;
}

function third(share: number, words: readonly [string, string, string]): string {
  if (share < 0.38) return words[0];
  return share > 0.62 ? words[2] : words[1];
}

function overlaps(a: Box, b: Box): boolean {
  return a.left < b.left + b.width && b.left < a.left + a.width && a.top < b.top + b.height && b.top < a.top + a.height;
}

function listed(parts: readonly string[]): string {
  const last = parts.at(-1) ?? "";
  return parts.length < 2 ? last : `${parts.slice(0, -1).join(", ")} and ${last}`;
}
