// A visitor's first minute: what is fetched, that nothing moves, the sentence about the two answers, a map enlarged, a photo.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { decodeImage } from "../../src/index.node.ts";
import { repositoryRoot } from "../setup/bundle.ts";
import { seriousFindings } from "./accessibility.ts";
import { layoutFaults } from "./layout.ts";
import { openNodeModel } from "./node-model.ts";
import { openPages } from "./open-pages.ts";
import { viewports } from "./playground.ts";
import { countsShifts, hasCamera } from "./preludes.ts";
import { readRecorded, recordExample } from "./record-example.ts";

const { open } = openPages();

/**
 * Gzipped bytes of script: the page's own, and all with the first answer: the engine, its shaders, the template engine and the panels
 * that come after the answer.
 */
const PAGE_BUDGET = 50e3;
const ANSWER_BUDGET = 270e3;

test("a visitor sees at once that AdaptVis makes the difference, can look closely, and take a photo", async () => {
  const fetched = new Set<string>();
  const playground = await open({
    isOpening: true,
    pagePrelude: countsShifts + hasCamera,
    onRequest: (url) => fetched.add(new URL(url).pathname.split("/").at(-1) ?? ""),
  });
  const { page } = playground;
  await page.locator(".verdict").waitFor();
  expect(await page.locator(".verdict").innerText()).toBe(
    "Greedy says “On”; with AdaptVis the model looks more narrowly (factor 3) and says “Right”, which is correct.",
  );
  expect(await page.evaluate<string[]>("shifts"), "what moved while the page came").toEqual([]);

  const scripts = [...fetched].filter((name) => name.endsWith(".js") && name !== "service-worker.js");
  const sizes = scripts.map((name) => [name, gzipped(name)] as const);
  const sum = (of: typeof sizes) => of.reduce((bytes, [, size]) => bytes + size, 0);
  const atOnce = sizes.filter(([name]) => readFileSync(join(APP, "index.html"), "utf8").includes(name));
  const largest = sizes.toSorted(([, a], [, b]) => b - a).slice(0, 8);
  const list = largest.map(([name, bytes]) => `${name} ${bytes}`).join(", ");
  process.stdout.write(`measured: ${sum(atOnce)} bytes of script at once, ${sum(sizes)} with the answer: ${list}\n`);
  expect(sum(atOnce)).toBeGreaterThan(0);
  expect(sum(atOnce)).toBeLessThanOrEqual(PAGE_BUDGET);
  expect(sum(sizes)).toBeLessThanOrEqual(ANSWER_BUDGET);
  const notYet = /^(open-shelf|explain|enlarged-map|camera|model-list|json-constraint|decode-image)/;
  expect(scripts.filter((name) => notYet.test(name))).toEqual([]);

  // The file with the recorded example is what the engine computes.
  const picture = await decodeImage(await playground.download("Download picture (PNG)"));
  expect(differences(await readRecorded(), await recordExample(await openNodeModel(), picture), "example")).toEqual([]);

  // A map by keys alone.
  const enlarge = playground.button("Enlarge the map, AdaptVis");
  await enlarge.focus();
  await page.keyboard.press("Enter");
  const dialog = page.getByRole("dialog", { name: "Where it looked: AdaptVis, factor 3" });
  await dialog.getByRole("img", { name: /^Heat map, AdaptVis/ }).waitFor();
  const transform = () => dialog.locator("canvas").evaluate(transformOf);
  await expect.poll(transform, SOON).toMatch(/^scale\(1\)/);
  await page.keyboard.press("+");
  await expect.poll(transform, SOON).toMatch(/^scale\(1\.\d/);
  await page.keyboard.press("ArrowRight");
  await expect.poll(transform, SOON).toMatch(/^scale\(1\.\d+\) translate\(-\d/);
  await page.keyboard.press("0");
  await expect.poll(transform, SOON).toMatch(/^scale\(1\) translate\(0px, 0px\)/);
  for (const viewport of [viewports.narrow, viewports.desktop]) {
    await page.setViewportSize(viewport);
    expect(await seriousFindings(page), `a map at ${viewport.width}`).toEqual([]);
    const { right = 0 } = (await dialog.boundingBox().then((box) => box && { right: box.x + box.width })) ?? {};
    expect(right).toBeLessThanOrEqual(viewport.width);
  }
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  expect(await enlarge.evaluate(isFocused)).toBe(true);

  await page.getByRole("radio", { name: "Your picture" }).check();
  await playground.button("Change the model").click();
  await page.getByText("Suggestions").waitFor();
  for (const viewport of [viewports.narrow, viewports.desktop]) {
    await page.setViewportSize(viewport);
    expect(await layoutFaults(page), `the models at ${viewport.width}`).toEqual([]);
    expect(await seriousFindings(page), `the models at ${viewport.width}`).toEqual([]);
  }

  await playground.button("Use the camera").click();
  const take = page.getByRole("dialog", { name: "Take a photo" }).getByRole("button", { name: "Take the photo" });
  await expect.poll(() => take.isEnabled()).toBe(true);
  expect(await seriousFindings(page), "the camera").toEqual([]);
  await take.click();
  await page.getByRole("img", { name: "Your picture photo.png, 320 by 240 pixels" }).waitFor();
});

const APP = join(repositoryRoot, "dist", "app");

function gzipped(name: string): number {
  return gzipSync(readFileSync(join(APP, name)), { level: 9 }).length;
}

/** In the page, as text, so that the tests' bundler leaves them as they are. */
const transformOf = new Function("canvas", "return canvas.style.transform;") as (canvas: unknown) => string;
const isFocused = new Function("element", "return element === document.activeElement;") as (
  element: unknown,
) => boolean;

/** For what a browser does at once. */
const SOON = { timeout: 5000 };

/** Two builds of the engine agree within this, and the file has six decimals. */
const BOUND = 1e-3;

/** Where two values differ: texts and whole numbers at all, other numbers by more than the bound. */
function differences(one: unknown, other: unknown, path: string): string[] {
  if (typeof one === "number" && typeof other === "number") {
    // A confidence is rounded to two decimals.
    const bound = path.endsWith(".confidence")
      ? 0.01 + BOUND
      : Number.isInteger(one) && path.endsWith("Id")
        ? 0
        : BOUND;
    return Math.abs(one - other) <= bound * Math.max(1, Math.abs(one)) ? [] : [`${path}: ${one}, now ${other}`];
  }
  if (typeof one !== "object" || one === null || typeof other !== "object" || other === null)
    return one === other ? [] : [`${path}: ${String(one)}, now ${String(other)}`];
  const [a, b] = [new Map(Object.entries(one)), new Map(Object.entries(other))];
  const keys = [...new Set([...a.keys(), ...b.keys()])];
  return keys
    .filter((key) => a.get(key) !== undefined || b.get(key) !== undefined)
    .flatMap((key) => differences(a.get(key), b.get(key), `${path}.${key}`));
}
