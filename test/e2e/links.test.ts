// Scene, question, settings and pass are in the address, so that they can be shared.

import { expect, test } from "vitest";
import { DEFAULT_SCENE, OPENING_OBJECTS, type Scene } from "../../src/app/scene/scene.ts";
import { decodeHash, encodeHash } from "../../src/app/url-state.ts";
import { openPages } from "./open-pages.ts";
import { waitUntil } from "./playground.ts";
import { holdsAdapter } from "./preludes.ts";

const { open } = openPages();
const SCENE: Scene = {
  background: "checks",
  objects: [
    { name: "teapot", x: 0.25, y: 0.3, size: 0.3, flipped: true },
    { name: "book", x: 0.7, y: 0.7, size: 0.35, flipped: false },
  ],
};
const QUESTION = "Where is the book in relation to the teapot? Answer with left, right, front or behind.";
const SETTINGS = { alpha1: 0.7, alpha2: 1.6, beta: 0.45 };

test("a link restores scene, question, settings and pass, and Copy link gives it again", async () => {
  const state = { scene: SCENE, question: QUESTION, settings: SETTINGS, pass: 7 };
  const playground = await open({ hash: encodeHash(state).slice(1) });
  const { page } = playground;
  await playground.waitUntilReady();
  await playground.scene.getByRole("button", { name: "teapot, at the upper left" }).waitFor();
  await playground.scene.getByRole("button", { name: "book, at the lower right" }).waitFor();
  expect(await page.getByRole("combobox", { name: "Background" }).inputValue()).toBe("checks");
  await playground.askAndWait();
  await page.getByText(QUESTION).first().waitFor();
  expect(await page.getByRole("spinbutton", { name: /beta/ }).inputValue()).toBe("0.45");
  expect(await page.getByRole("spinbutton", { name: /alpha1/ }).inputValue()).toBe("0.7");
  expect(await page.getByRole("spinbutton", { name: /alpha2/ }).inputValue()).toBe("1.6");
  await page.locator("#pass-7-detail").waitFor(); // which a link to a pass opens without being asked

  await playground.button("Copy link").click();
  await page.getByRole("status").filter({ hasText: "Copied" }).waitFor();
  const copied = await page.evaluate<string>("navigator.clipboard.readText()");
  expect(decodeHash(new URL(copied).hash)).toEqual(state);

  // What is changed is in the next link: the book goes to the left edge.
  const book = playground.scene.getByRole("button", { name: /^book,/ });
  for (let press = 0; press < 12; press++) await book.press("Shift+ArrowLeft");
  await playground.scene.getByRole("button", { name: /^book, .*left/ }).waitFor();
  await playground.button("Copy link").click();
  const moved = decodeHash(new URL(await page.evaluate<string>("navigator.clipboard.readText()")).hash);
  expect(moved.scene?.objects.find(({ name }) => name === "book")?.x).toBeLessThan(0.4);
  // The page's own address follows, so that reloading gives it too.
  await waitUntil(page, `location.hash === ${JSON.stringify(encodeHash({ ...state, ...moved }))}`);
});

test.each(["scene=nowhere;mug,1,2&q=&a=1,x&pass=-1", "%E0%A4%A", "scene=plain;unicorn,500,500,300", "answers"])(
  "a broken link (#%s) opens the page as it is at first",
  async (hash) => {
    const playground = await open({ hash, workerPrelude: holdsAdapter });
    for (const { name } of DEFAULT_SCENE.objects) {
      await playground.scene.getByRole("button", { name: new RegExp(`^${name},`) }).waitFor();
    }
    expect(await playground.scene.getByRole("button").count()).toBe(DEFAULT_SCENE.objects.length);
    expect(await playground.page.locator(".notice").count()).toBe(0);
    const [first, second] = OPENING_OBJECTS;
    await playground.page.getByText(`Where is the ${first} in relation to the ${second}?`).first().waitFor();
  },
);
