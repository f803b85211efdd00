// Checkpoints that are not as the embedded one: the page shows what they can, and says why it does not show the rest.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { goldenCheckpoint } from "../setup/golden-checkpoint.ts";
import { openPages } from "./open-pages.ts";
import type { Playground } from "./playground.ts";

const { share } = openPages();
const openShared = share({ pagePrelude: "delete window.showDirectoryPicker;" });
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "adaptvis-others-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** Loads a golden's checkpoint through the folder input and asks it. */
async function ask(golden: string): Promise<Playground> {
  const playground = await openShared();
  const { page } = playground;
  const checkpoint = await goldenCheckpoint(golden, join(folder, golden));
  await page.getByLabel("Open a checkpoint folder").setInputFiles(checkpoint);
  await page.getByRole("definition").filter({ hasText: golden }).waitFor();
  await playground.waitUntilReady();
  await page.getByRole("radio", { name: "Free text" }).check();
  await page.getByRole("textbox", { name: "Your question" }).fill("where is the mug ?");
  return playground;
}

test("LLaVA-NeXT: maps of both resolutions over the whole picture, and the share of newlines", async () => {
  const playground = await ask("llava-next");
  const { page } = playground;
  await page.getByRole("definition").filter({ hasText: "pictures in tiles of 28 × 28 pixels" }).waitFor();
  await playground.askAndWait();
  expect(await page.getByRole("img", { name: /^Heat map/ }).count()).toBe(2);
  expect(await page.locator("#looked").innerText()).toContain("Of it on newlines");
  await page.getByRole("slider", { name: "Factor" }).fill("2");
  await playground.card("Your factor").filter({ hasText: "Factor 2" }).waitFor();
  await playground.showPasses();
});

test("a text-only model: one answer, and nothing about looking at a picture", async () => {
  const playground = await ask("llama-text-tied");
  const { page } = playground;
  await page.getByText("llama-text-tied reads text only").waitFor();
  await playground.button("Ask").click();
  await page.locator("[aria-label='Greedy answer'] .number").waitFor();
  await page.getByText("There was no picture to look at").waitFor();
  expect(await playground.card("AdaptVis").count()).toBe(0);
  for (const id of ["factor", "looked"]) expect(await page.locator(`#${id}`).count(), id).toBe(0);
  await playground.showPasses();
  expect(await page.locator("#kernels").innerText()).not.toMatch(/AdaptVis|factor/);
});

test("Qwen2 in six shards shows its maps", async () => {
  const playground = await ask("llava-qwen2-f16-sharded");
  await playground.askAndWait();
  expect(await playground.page.getByRole("img", { name: /^Heat map/ }).count()).toBe(2);
});
