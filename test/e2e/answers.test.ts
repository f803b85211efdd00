// The page answers as the library does in Node: on the scene, on pictures of the user's, and under any factor.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { encodeHash } from "../../src/app/url-state.ts";
import { decodeImage } from "../../src/index.node.ts";
import type { Llava } from "../../src/llava.ts";
import { MUG_AND_DOG } from "../app/mug-and-dog.ts";
import { MUG_LEFT_OF_DOG, PICTURES } from "./fixtures.ts";
import { answerFile, differencesFromNode, openNodeModel, takeAway } from "./node-model.ts";
import { openPages } from "./open-pages.ts";
import { markAnswers } from "./playground.ts";

const { open, openLoaded } = openPages();
const SIDE_QUESTION = "Where is the mug in relation to the dog? Answer with left, right, on or under.";
/** Of the model's benchmark. */
const TEST_PICTURES = join(PICTURES, "benchmark", "test", "controlled_images");
let model: Llava;

beforeAll(async () => {
  model = await openNodeModel();
});

test("the model loads with progress, and the scene's answers are Node's", async () => {
  const startMs = performance.now();
  const playground = await open({ pagePrelude: keepsProgress });
  await playground.waitUntilReady();
  await playground.askAndWait();
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  process.stdout.write(`measured: first answer in the page, cold, after ${seconds} s\n`);
  expect(await playground.answer("AdaptVis")).toBe("Left");

  // Every value the progress bar had, from an empty bar to where it was when the model stood.
  const progress = await playground.page.evaluate<number[]>("globalThis.progress");
  expect(progress.length).toBeGreaterThan(5);
  expect(progress).toEqual(progress.toSorted((a, b) => a - b));
  expect(progress.at(-1)).toBeGreaterThan(0.9);

  expect(await differencesFromNode(model, await takeAway(playground))).toEqual([]);
});

test("an uploaded JPEG's answers are Node's", async () => {
  const playground = await openLoaded();
  await playground.goTo(questionHash(SIDE_QUESTION));
  await playground.page.getByRole("radio", { name: "Your picture" }).check();
  await playground.page.getByLabel("Choose a picture").setInputFiles(MUG_LEFT_OF_DOG);
  await playground.page.getByRole("img", { name: /mug_left_of_dog\.jpeg/ }).waitFor();
  await playground.askAndWait();
  expect(await playground.answer("Greedy")).toBe("Left");
  const taken = await takeAway(playground);
  expect(taken.file.question).toBe(SIDE_QUESTION);
  expect(await differencesFromNode(model, taken)).toEqual([]);
  // Node's own decoder gives the same picture; browsers' may differ by 2 of 255.
  const decoded = await decodeImage(await readFile(MUG_LEFT_OF_DOG));
  expect(decoded).toMatchObject({ width: taken.picture.width, height: taken.picture.height });
  const largest = decoded.data.reduce(
    (most, value, i) => Math.max(most, Math.abs(value - (taken.picture.data[i] ?? 0))),
    0,
  );
  expect(largest).toBeLessThanOrEqual(2);
});

test("pictures that are dropped and pasted are asked about", async () => {
  const playground = await openLoaded();
  await playground.goTo(questionHash(SIDE_QUESTION.replace("dog", "cat")));
  for (const [way, file, answer] of [
    ["drop", "mug_left_of_cat.jpeg", "Left"],
    ["paste", "mug_right_of_cat.jpeg", "Right"],
  ] as const) {
    const bytes = (await readFile(join(TEST_PICTURES, file))).toString("base64");
    const name = `${way}.jpeg`;
    await playground.page.evaluate(`(${handOver})(${JSON.stringify({ way, bytes, name })})`);
    await playground.page.getByRole("img", { name: new RegExp(name) }).waitFor();
    await playground.askAndWait();
    expect(await playground.answer("Greedy"), way).toBe(answer);
  }
});

test("the factor slider answers live, as Node does, by one extra step", async () => {
  const playground = await openLoaded();
  // A scene that nobody asked about: its whole prompt is to be computed.
  await playground.goTo(encodeHash({ scene: { ...MUG_AND_DOG, background: "checks" }, question: SIDE_QUESTION }));
  await playground.worker.evaluate("workgroups = {}");
  await playground.askAndWait();
  const factor = playground.page.getByRole("slider", { name: "Factor" });
  const first = await playground.worker.evaluate<Record<string, number>>("workgroups");
  expect(first.vision).toBeGreaterThan(0);
  for (const [value, words] of [
    [0.5, "Factor 0.5"],
    [2, "Factor 2"],
    [0, "Factor 0"],
  ] as const) {
    await playground.worker.evaluate("workgroups = {}");
    const startMs = performance.now();
    await factor.fill(String(value));
    await playground.card("Your factor").filter({ hasText: words }).waitFor();
    const seconds = ((performance.now() - startMs) / 1000).toFixed(2);
    process.stdout.write(`measured: answer under factor ${value} after ${seconds} s\n`);
    // The prompt's last row again and the tokens; neither the vision tower nor the rest of the prompt.
    const { vision, prefill } = await playground.worker.evaluate<Record<string, number>>("workgroups");
    expect(vision).toBeUndefined();
    expect(prefill).toBeGreaterThan(0);
    expect(prefill).toBeLessThan((first.prefill ?? 0) / 4);
  }
  const taken = await takeAway(playground);
  expect(taken.file.factors.map((tried) => tried.factor).toSorted((a, b) => a - b)).toEqual([0, 0.5, 2]);
  expect(await differencesFromNode(model, taken)).toEqual([]);
});

test("the answer streams: its words come one after the other", async () => {
  const playground = await openLoaded();
  await playground.goTo(questionHash("What is in the picture?"));
  await playground.page.evaluate(keepsTexts);
  await playground.askAndWait();
  const text = await playground.answer("Greedy");
  expect(text.split(" ").length).toBeGreaterThan(3);
  const texts = await playground.page.evaluate<string[]>("globalThis.texts");
  const parts = texts.filter((part) => part !== "" && text.startsWith(part));
  expect(parts.length).toBeGreaterThan(3);
  expect(parts.at(-1)).toBe(text);
  expect(await differencesFromNode(model, await takeAway(playground))).toEqual([]);
});

test("with Ask on every change a moved object is answered about by itself", async () => {
  const playground = await openLoaded();
  const { page } = playground;
  await playground.askAndWait();
  expect(await playground.answer("Greedy")).toBe("Left");
  await page.getByRole("checkbox", { name: "Ask on every change" }).check();
  await page.evaluate(markAnswers);
  // The mug and the dog change places.
  await page.evaluate(`location.hash = "scene=wall;mug,740,620,320;dog,280,600,360"`);
  await playground.waitForAnswers();
  expect(await playground.answer("Greedy")).toBe("Right");
});

test("the page draws on while a question runs", async () => {
  const playground = await openLoaded();
  // A scene that nobody asked about, so that the question takes its time.
  await playground.goTo(encodeHash({ scene: { ...MUG_AND_DOG, background: "gradient" }, question: SIDE_QUESTION }));
  await playground.page.evaluate(countFrames);
  await playground.askAndWait();
  expect(await playground.page.evaluate<number>("globalThis.frames")).toBeGreaterThan(3);
  expect((await answerFile(playground)).question).toBe(SIDE_QUESTION);
});

function questionHash(question: string): string {
  return new URLSearchParams({ q: question }).toString();
}

const keepsProgress = `globalThis.progress = [];
  new MutationObserver(() => {
    const value = document.querySelector(".load-strip progress")?.value;
    if (value !== undefined && value !== progress.at(-1)) progress.push(value);
  }).observe(document, { subtree: true, childList: true, attributes: true });`;

/** Every text that the greedy answer had, in turn. */
const keepsTexts = `globalThis.texts = [];
  new MutationObserver(() => {
    const text = document.querySelector("[aria-label='Greedy answer'] .answer-text")?.innerText.trim() ?? "";
    if (text !== texts.at(-1)) texts.push(text);
  }).observe(document, { subtree: true, childList: true, characterData: true });`;

const countFrames = `globalThis.frames = 0;
  const next = () => { frames++; requestAnimationFrame(next); };
  requestAnimationFrame(next);`;

/** As a browser does when a person drops or pastes a file. */
const handOver = `async ({ way, bytes, name }) => {
  const file = new File([Uint8Array.from(atob(bytes), (char) => char.charCodeAt(0))], name, { type: "image/jpeg" });
  const data = new DataTransfer();
  data.items.add(file);
  const target = document.querySelector("main");
  if (way === "paste") return target.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
  for (const kind of ["dragenter", "dragover", "drop"])
    target.dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
}`;
