// The scene is moved by mouse and by touch, and the answer and the heat map follow it.

import { expect, test } from "vitest";
import { fillIn, QUESTION_FORMS } from "../../src/app/scene/questions.ts";
import { boxOf, type Scene, type SceneObject } from "../../src/app/scene/scene.ts";
import { encodeHash } from "../../src/app/url-state.ts";
import { openPages } from "./open-pages.ts";
import type { Playground } from "./playground.ts";

const { open, openLoaded } = openPages();
const MUG_LEFT_OF_DOG: Scene = {
  background: "plain",
  objects: [
    { name: "mug", x: 0.16, y: 0.6, size: 0.28, flipped: false },
    { name: "dog", x: 0.5, y: 0.6, size: 0.28, flipped: false },
  ],
};
const SIDE_QUESTION = "Where is the mug in relation to the dog? Answer with left, right, on or under.";

test("the mug dragged by mouse to the dog's other side turns the answer", async () => {
  const playground = await openLoaded();
  const { page } = playground;
  await playground.goTo(hashOf(MUG_LEFT_OF_DOG, SIDE_QUESTION));
  await playground.askAndWait();
  expect(await playground.answer("Greedy")).toBe("Left");
  const { from, to } = await dragPath(playground);
  await page.mouse.move(from.x, from.y);
  await page.mouse.down();
  await page.mouse.move(to.x, to.y, { steps: 8 });
  await page.mouse.up();
  await handle(playground, /^mug, .*right/).waitFor();
  await playground.askAndWait();
  expect(await playground.answer("Greedy")).toBe("Right");
  expect(await playground.answer("AdaptVis")).toBe("Right");
});

test("so does a finger, and the page does not scroll under it", async () => {
  const phone = { viewport: { width: 390, height: 844 }, hasTouch: true };
  const playground = await open({ ...phone, hash: hashOf(MUG_LEFT_OF_DOG, SIDE_QUESTION) });
  await playground.waitUntilReady();
  const { from, to } = await dragPath(playground);
  const scrolled = await playground.page.evaluate<number>("scrollY");
  const session = await playground.page.context().newCDPSession(playground.page);
  const touch = (type: "touchStart" | "touchMove" | "touchEnd", points: { readonly x: number; readonly y: number }[]) =>
    session.send("Input.dispatchTouchEvent", { type, touchPoints: points });
  await touch("touchStart", [from]);
  for (let step = 1; step <= 8; step++) {
    // Downwards too, which would scroll a page that does not hold it back.
    await touch("touchMove", [{ x: from.x + ((to.x - from.x) * step) / 8, y: from.y + step }]);
  }
  await touch("touchEnd", []);
  await handle(playground, /^mug, .*right/).waitFor();
  expect(await playground.page.evaluate<number>("scrollY")).toBe(scrolled);
  await playground.askAndWait();
  expect(await playground.answer("Greedy")).toBe("Right");
});

test("the heat map is brightest where the object is", async () => {
  const form = QUESTION_FORMS.find(({ id }) => id === "place");
  if (form === undefined) throw new Error("There is no form about places.");
  const playground = await openLoaded();
  const places = [
    ["left", { name: "guitar", x: 0.2, y: 0.5 }],
    ["right", { name: "apple", x: 0.8, y: 0.45 }],
    ["top", { name: "clock", x: 0.5, y: 0.2 }],
    ["bottom", { name: "shoe", x: 0.55, y: 0.8 }],
  ] as const;
  for (const [place, where] of places) {
    const object: SceneObject = { ...where, size: 0.3, flipped: false };
    const hash = hashOf({ background: "gradient", objects: [object] }, fillIn(form, [object.name]));
    await playground.goTo(hash);
    await handle(playground, new RegExp(`^${object.name},`)).waitFor();
    await playground.askAndWait();
    expect((await playground.answer("AdaptVis")).toLowerCase()).toBe(place);
    // In decoder layer 3 the heads 0 and 1 were trained to look at the objects' patches.
    await playground.page.getByRole("slider", { name: "Layer" }).fill("3");
    await playground.page.getByRole("combobox", { name: "Head" }).selectOption("0");
    const maps = playground.page.getByRole("img", { name: /^Heat map/ });
    expect(await maps.count()).toBe(2);
    for (const index of [0, 1]) {
      const { x, y, numColors } = JSON.parse(await maps.nth(index).evaluate(brightestPixel)) as Brightest;
      expect(numColors, `${place}: colours of map ${index}`).toBeGreaterThan(100);
      const { left, top, width, height } = boxOf(object);
      expect(x, `${place}: map ${index}`).toBeGreaterThan(left);
      expect(x, `${place}: map ${index}`).toBeLessThan(left + width);
      expect(y, `${place}: map ${index}`).toBeGreaterThan(top);
      expect(y, `${place}: map ${index}`).toBeLessThan(top + height);
    }
  }
});

interface Brightest {
  /** Of the map's side, from the left. */
  readonly x: number;
  /** Of the map's side, from the top. */
  readonly y: number;
  readonly numColors: number;
}

function hashOf(scene: Scene, question: string): string {
  return encodeHash({ scene, question }).slice(1);
}

function handle(playground: Playground, name: RegExp) {
  return playground.scene.getByRole("button", { name });
}

/** From the mug's middle to a place on the dog's right. */
async function dragPath(playground: Playground) {
  await handle(playground, /^mug,/).scrollIntoViewIfNeeded();
  const stage = await playground.scene.boundingBox();
  if (stage === null) throw new Error("The scene is not shown.");
  const at = (x: number, y: number) => ({ x: stage.x + x * stage.width, y: stage.y + y * stage.height });
  return { from: at(0.16, 0.6), to: at(0.84, 0.6) };
}

/** In the page; a function that Playwright serializes may not come through the tests' bundler, a text does. */
const brightestPixel = new Function(
  "canvas",
  `const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  let [best, bestAt] = [-1, 0];
  const colors = new Set();
  for (let at = 0; at < data.length; at += 4) {
    const luma = 0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2];
    colors.add((data[at] << 16) | (data[at + 1] << 8) | data[at + 2]);
    if (luma > best) [best, bestAt] = [luma, at / 4];
  }
  const [x, y] = [(bestAt % width + 0.5) / width, (Math.floor(bestAt / width) + 0.5) / height];
  return JSON.stringify({ x, y, numColors: colors.size });`,
) as (canvas: unknown) => string;
