// The page of `adaptvis report` as people meet it: on a phone, on a desk and printed, light and dark, without network.
// Its screenshots are in dist/screenshots/report.
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { dataSetNamed } from "../../src/evaluate/datasets/registry.ts";
import { makeGallery } from "../../src/evaluate/report/gallery.node.ts";
import { evaluationHtml } from "../../src/evaluate/report/report-html.node.ts";
import { readReportRuns } from "../../src/evaluate/report/report-run.ts";
import { tableGroups } from "../../src/evaluate/report/tables.ts";
import { readManifest } from "../../src/evaluate/run/run-folder.node.ts";
import { launchChromium } from "../browser/launch.ts";
import { repositoryRoot } from "../setup/bundle.ts";
import { writeMadeUpRuns } from "../setup/made-up-runs.ts";
import { seriousFindings } from "./accessibility.ts";
import { layoutFaults } from "./layout.ts";

const screenshots = join(repositoryRoot, "dist", "screenshots", "report");
const NUM_CARDS = 15;

let folder: string;
let address: string;
let browser: Browser;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "adaptvis-report-page-"));
  const made = await writeMadeUpRuns(folder);
  const files = [];
  for (const path of [made.controlledA, made.vsr]) {
    const manifest = readManifest(path);
    if (manifest === undefined) throw new Error(`no manifest in ${path}`);
    const named = async (name: string) => ({ name, text: await readFile(name, "utf8") });
    files.push({
      folder: path,
      manifest,
      dataSet: dataSetNamed(manifest.identity.dataset),
      questions: await named(String(manifest.about.questionFile)),
      results: await named(join(path, "results.jsonl")),
    });
  }
  const runs = readReportRuns(files);
  const gallery = await makeGallery(runs, { limit: NUM_CARDS, folders: () => [folder] });
  const facts = { analyses: new Map(), version: "0.0.0", date: "2026-01-31" };
  const path = join(folder, "report.html");
  await writeFile(path, await evaluationHtml({ runs, groups: tableGroups(runs), gallery, ...facts }));
  address = pathToFileURL(path).href;
  await mkdir(screenshots, { recursive: true });
  browser = await launchChromium();
});

afterAll(async () => {
  await browser?.close();
  await rm(folder, { recursive: true, force: true });
});

/**
 * Takes a picture of the page, for people to look at, down to the height that Chromium can draw in software. A high one it refuses now
 * and then: the picture of what the window shows is taken in its place, and none fails the test.
 */
async function screenshot(page: Page, name: string): Promise<void> {
  const height = await page.evaluate<number>("document.documentElement.scrollHeight");
  const { width = 0 } = page.viewportSize() ?? {};
  const clip = { x: 0, y: 0, width, height: Math.min(height, 6000) };
  const path = join(screenshots, `${name}.png`);
  await page
    .screenshot({ path, fullPage: true, clip })
    .catch(() => page.screenshot({ path }))
    .catch(() => undefined);
}

interface PageOptions {
  readonly width: number;
  readonly colorScheme?: "light" | "dark";
  readonly javaScriptEnabled?: boolean;
}

/** Opens the page and runs `work`; the page's errors fail the test. */
async function withPage(
  { width, colorScheme = "light", javaScriptEnabled = true }: PageOptions,
  work: (page: Page) => Promise<void>,
): Promise<void> {
  const viewport = { width, height: 900 };
  const context = await browser.newContext({ viewport, colorScheme, javaScriptEnabled, offline: true });
  const errors: string[] = [];
  try {
    const page = await context.newPage();
    page.on("pageerror", (error) => errors.push(String(error)));
    page.on("console", (message) => message.type() === "error" && errors.push(message.text())); // violations of its policy too
    page.on("requestfailed", (request) => errors.push(`request: ${request.url().slice(0, 100)}`));
    await page.goto(address);
    await work(page);
    expect(errors).toEqual([]);
  } finally {
    await context.close();
  }
}

/** In the page, as text: texts of plots that overlap each other, or reach out of the window. */
const PLOT_FAULTS = `[...document.querySelectorAll(".plots svg")].flatMap((svg) => {
  const texts = [...svg.querySelectorAll("text")].filter((text) => text.textContent.trim() !== "");
  const boxes = texts.map((text) => [text.textContent, text.getBoundingClientRect()]);
  const name = svg.ariaLabel.slice(0, 40);
  return boxes.flatMap(([text, a], index) => [
    ...(a.left < -0.5 || a.right > innerWidth + 0.5 ? [name + ": " + text + " is outside"] : []),
    ...boxes.slice(index + 1).flatMap(([other, b]) => {
      const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      return across > 1 && down > 2 ? [name + ": " + text + " overlaps " + other] : [];
    }),
  ]);
})`;

test.each([
  [390, "dark"],
  [1280, "light"],
] as const)(
  "%d pixels wide: nothing is cut, covered or overlapping, and axe-core finds nothing in %s",
  async (width, colorScheme) => {
    await withPage({ width }, async (page) => {
      for (const scheme of ["light", "dark"] as const) {
        await page.emulateMedia({ colorScheme: scheme });
        await screenshot(page, `${width}-${scheme}`);
      }
      await page.emulateMedia({ colorScheme });
      await page.evaluate(`for (const details of document.querySelectorAll("details")) details.open = true`);
      expect(await page.evaluate(PLOT_FAULTS)).toEqual([]);
      expect(await layoutFaults(page)).toEqual([]);
      expect(await seriousFindings(page)).toEqual([]);
    });
  },
);

test("printed, nothing is folded or cut, and the filters are gone", async () => {
  await withPage({ width: 688, colorScheme: "dark" }, async (page) => {
    await page.emulateMedia({ media: "print", colorScheme: "dark" });
    // As wide as an A4 page between its margins.
    expect(await page.evaluate("document.documentElement.scrollWidth")).toBeLessThanOrEqual(688);
    const cut = `[...document.querySelectorAll(".frame, pre")].filter((frame) => frame.scrollWidth > frame.clientWidth + 1).map((frame) => frame.ariaLabel)`;
    expect(await page.evaluate(cut)).toEqual([]);
    expect(await page.evaluate(PLOT_FAULTS)).toEqual([]);
    expect(await page.evaluate(`document.querySelector("#filters").checkVisibility()`)).toBe(false);
    expect(
      await page.evaluate(
        `[...document.querySelectorAll("details table")].every((table) => table.getBoundingClientRect().height > 20)`,
      ),
    ).toBe(true);
    // On paper the colours are the light ones.
    expect(await page.evaluate("getComputedStyle(document.body).color")).toBe("rgb(34, 34, 34)");
    await screenshot(page, "print");
    const pdf = await page.pdf({ path: join(screenshots, "print.pdf"), format: "A4" });
    expect(pdf.length).toBeGreaterThan(50_000);
  });
});

test("the filters choose cards by change, method and run", async () => {
  await withPage({ width: 1280 }, async (page) => {
    const shown = () => page.locator(".card:visible").count();
    expect(await shown()).toBe(NUM_CARDS);
    await page.getByRole("checkbox", { name: /^broken/ }).uncheck();
    await page.getByRole("checkbox", { name: /^format only/ }).uncheck();
    const numFixed = await page.locator('.card[data-change="fixed"]').count();
    expect(numFixed).toBeGreaterThan(0);
    expect(await shown()).toBe(numFixed);
    await page.locator("select[name=method]").selectOption("AdaptVis");
    const numOfMethod = await page.locator('.card[data-change="fixed"][data-method="AdaptVis"]').count();
    expect(numOfMethod).toBeLessThan(numFixed);
    expect(await shown()).toBe(numOfMethod);
    expect(await page.locator("#shown").textContent()).toBe(`${numOfMethod} of ${NUM_CARDS} cards`);
    // Enter in a filter sends nothing.
    await page.getByRole("checkbox", { name: /^fixed/ }).press("Enter");
    expect(page.url()).toBe(address);
    await page.locator("select[name=run]").selectOption("VSR · other-model");
    expect(await shown()).toBe(0);
  });
});

test("without script every card is shown, and no control that does nothing", async () => {
  await withPage({ width: 390, javaScriptEnabled: false }, async (page) => {
    expect(await page.locator(".card:visible").count()).toBe(NUM_CARDS);
    expect(await page.locator("#filters").isVisible()).toBe(false);
  });
});
