// What cannot be used is told in words, and the page goes on; what can is read piece by piece.

import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { blackPng, shardCheckpoint, truncateShard } from "./fixtures.ts";
import { openPages } from "./open-pages.ts";
import type { Playground } from "./playground.ts";
import { watchesBlobs, withoutAdapter, withoutMemory, withoutWebGpu } from "./preludes.ts";
import { readRecorded } from "./record-example.ts";

/** As in Firefox and Safari, where the page falls back to a file input. */
const withoutFolderDialog = "delete window.showDirectoryPicker;";
const { open, openLoaded, share } = openPages();
const openWithoutFolderDialog = share({ pagePrelude: withoutFolderDialog, workerPrelude: watchesBlobs });
/** Bytes of the embedded checkpoint that the model has a use for, at least. */
const WEIGHT_BYTES = 3_000_000;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "adaptvis-e2e-"));
  await writeFile(join(folder, "notes.jpg"), "This is a text, whatever its name says.\n");
  await writeFile(join(folder, "huge.png"), blackPng(10_000, 10_000));
  await mkdir(join(folder, "no-config"));
  await writeFile(join(folder, "no-config", "model.safetensors"), "");
  await shardCheckpoint(join(folder, "own-model"));
  await shardCheckpoint(join(folder, "truncated"));
  await truncateShard(join(folder, "truncated"));
});
afterAll(() => rm(folder, { recursive: true }));

test.each([
  [
    "no WebGPU",
    { pagePrelude: withoutWebGpu, workerPrelude: withoutWebGpu },
    /does not support WebGPU/,
    /chrome:\/\/flags/,
  ],
  [
    "no adapter",
    { workerPrelude: withoutAdapter },
    /finds no graphics adapter/,
    /graphics driver[\s\S]*--use-webgpu-adapter=swiftshader/,
  ],
  ["too little memory", { workerPrelude: withoutMemory }, /memory/i, /Close other tabs/],
])("%s: the page says what is wrong and what to do", async (_, preludes, what, advice) => {
  const playground = await open(preludes);
  await playground.page.getByRole("alert").waitFor();
  const text = await playground.page.getByRole("alert").innerText();
  expect(text).toMatch(what);
  expect(text).toMatch(advice);
  expect(await playground.button("Ask").isDisabled()).toBe(true);
  // In place of empty boxes, what the model said when it was recorded.
  const { answers } = await readRecorded();
  await playground.page.getByRole("heading", { name: "A recorded example" }).waitFor();
  expect(await playground.answer("Greedy")).toBe(answers.greedy.text);
  expect(await playground.answer("AdaptVis")).toBe(answers.adaptvis.text);
  expect(await playground.page.locator(".verdict").innerText()).toContain(
    `“${answers.adaptvis.text}”, which is correct`,
  );
  expect(await playground.page.getByRole("img", { name: /^Heat map/ }).count()).toBe(2);
  // The rest of the page works: the scene can be moved.
  await playground.scene.getByRole("button", { name: /^mug,/ }).press("ArrowDown");
  await playground.scene.getByRole("button", { name: /^mug,/ }).waitFor();
});

test("pictures that cannot be used are refused in words, and a question is answered after", async () => {
  const playground = await openLoaded();
  await playground.page.getByRole("radio", { name: "Your picture" }).check();
  const input = playground.page.getByLabel("Choose a picture");
  const numBitmaps = await playground.worker.evaluate<number>("numBitmaps");
  await input.setInputFiles(join(folder, "notes.jpg"));
  expect(await playground.notice("notes.jpg")).toMatch(/notes\.jpg is not a picture: expected a JPEG, PNG or WebP/);
  await input.setInputFiles(join(folder, "huge.png"));
  expect(await playground.notice("huge.png")).toMatch(/10000×10000/);
  // The header was enough: no decoder had to find memory for it.
  expect(await playground.worker.evaluate("numBitmaps")).toBe(numBitmaps);
  await expectAnswerAboutScene(playground);
});

test("folders that hold no whole checkpoint are refused in words, and the model of before goes on", async () => {
  const playground = await openWithoutFolderDialog();
  const input = playground.page.getByLabel("Open a checkpoint folder");
  await input.setInputFiles(join(folder, "no-config"));
  expect(await playground.notice("no-config")).toMatch(/no-config holds no config\.json/);
  await input.setInputFiles(join(folder, "truncated"));
  expect(await playground.notice("truncated")).toMatch(/model-00002-of-00002\.safetensors/);
  await expectAnswerAboutScene(playground);
});

test("a checkpoint of the user's in shards is read by ranges, and answers", async () => {
  const playground = await openWithoutFolderDialog();
  await playground.worker.evaluate("readBytes = []");
  await playground.page.getByLabel("Open a checkpoint folder").setInputFiles(join(folder, "own-model"));
  await playground.page.getByRole("definition").filter({ hasText: "own-model" }).waitFor();
  const pieces = await playground.worker.evaluate<number[]>("readBytes");
  expect(pieces.reduce((sum, bytes) => sum + bytes, 0)).toBeGreaterThan(WEIGHT_BYTES);
  expect(Math.max(...pieces)).toBeLessThan(WEIGHT_BYTES / 4);
  await expectAnswerAboutScene(playground);
});

test("a checkpoint comes by the browser's dialog, and another by loose files that are dropped", async () => {
  const playground = await openWithoutFolderDialog();
  await playground.page.evaluate(ownCheckpoint);
  await expectAnswerAboutScene(playground); // after which the page has seen that there is a dialog now
  await playground.button("Open a checkpoint folder").click();
  await playground.page.getByRole("definition").filter({ hasText: "from-dialog" }).waitFor();
  await expectAnswerAboutScene(playground);
  await playground.page.evaluate("dropFiles()");
  await playground.page.getByRole("definition").filter({ hasText: "What was dropped" }).waitFor();
  await expectAnswerAboutScene(playground);
});

async function expectAnswerAboutScene(playground: Playground): Promise<void> {
  await playground.waitUntilReady();
  await playground.page.getByRole("radio", { name: "Scene" }).check();
  await playground.askAndWait();
  expect(await playground.answer("Greedy")).toBe("Left");
}

/** The embedded checkpoint as a folder of the browser's own file system in place of the dialog's, and as dropped files. */
const ownCheckpoint = `{
  const names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "preprocessor_config.json",
    "processor_config.json", "special_tokens_map.json", "generation_config.json", "chat_template.jinja", "adaptvis.json"];
  const files = () => Promise.all(names.map(async (name) =>
    new File([await (await fetch(new URL("weights/tiny-habit/" + name, document.baseURI))).blob()], name)));
  window.showDirectoryPicker = async () => {
    const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("from-dialog", { create: true });
    for (const file of await files()) {
      const stream = await (await folder.getFileHandle(file.name, { create: true })).createWritable();
      await stream.write(file);
      await stream.close();
    }
    return folder;
  };
  window.dropFiles = async () => {
    const data = new DataTransfer();
    for (const file of await files()) data.items.add(file);
    document.querySelector("main").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
  };
}`;
