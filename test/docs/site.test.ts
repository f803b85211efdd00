// The site that `npm run docs` wrote, in headless Chromium: nothing comes from another host, no page complains, the search finds
// things, links lead into the playground, and pages are accessible and fit a phone.
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { AxeResults } from "axe-core";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { launchChromium } from "../browser/launch.ts";
import { type StaticServer, startServer } from "../browser/static-server.ts";
import { root } from "../cli/command.ts";

const site = join(root, "dist", "docs");
const isBuilt = existsSync(join(site, "base.txt"));
const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
/** One page of each kind. */
const PAGES = [
  "index.html",
  "method/index.html",
  "guide/library.html",
  "api/core/classes/Llava.html",
  "source/shaders/rms-norm.wgsl.html",
];
/** What a page shows that is VitePress' own: its bar with the search. */
const THEME = [".VPNav"];

let server: StaticServer;
let browser: Browser;
let base: string;

beforeAll(async () => {
  if (!isBuilt) return;
  base = await readFile(join(site, "base.txt"), "utf8");
  server = await startServer(({ path }) => {
    const inside = path.startsWith(base) ? path.slice(base.length) : "none";
    return { file: join(site, inside === "" || inside.endsWith("/") ? `${inside}index.html` : inside) };
  });
  browser = await launchChromium();
});

afterAll(async () => {
  await browser?.close();
  server?.close();
});

/** Opens a page of the site and collects what is wrong: requests to other hosts, files that are not there, messages, errors. */
async function open(path: string, width = 1280, colorScheme: "light" | "dark" = "light") {
  const context = await browser.newContext({ viewport: { width, height: 844 }, colorScheme });
  const problems: string[] = [];
  await context.route("**/*", (route) => {
    const url = route.request().url();
    if (url.startsWith(server.origin)) return route.continue();
    problems.push(`asks for ${url}`);
    return route.abort();
  });
  const page = await context.newPage();
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) problems.push(message.text());
  });
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("response", (response) => {
    if (response.status() >= 400) problems.push(`${response.status()} ${response.url()}`);
  });
  await page.goto(`${server.origin}${base}${path}`);
  await page.locator("html.dark, html:not(.dark)").waitFor();
  await page.waitForLoadState("networkidle");
  return { page, problems, close: () => context.close() };
}

async function seriousFindings(page: Page): Promise<string[]> {
  await page.addScriptTag({ path: axe });
  const { violations } = await page.evaluate<AxeResults, string[]>(
    (exclude) => (globalThis as unknown as { axe: typeof import("axe-core") }).axe.run({ exclude }),
    THEME,
  );
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, nodes }) => nodes.map(({ target }) => `${id}: ${target.join(" ")}`));
}

describe("pages ask for nothing elsewhere, have no serious finding and fit", () => {
  const looks = [
    [1280, "light"],
    [390, "dark"],
  ] as const;
  test.for(PAGES)("%s", async (path, context) => {
    if (!isBuilt) return context.skip("there is no site: run npm run docs");
    for (const [width, scheme] of looks) {
      const { page, problems, close } = await open(path, width, scheme);
      expect(await seriousFindings(page)).toEqual([]);
      expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
      expect(problems).toEqual([]);
      await close();
    }
  });
});

test("the figure computes what the page about one number says, and a shift turns the share's change round", async (context) => {
  if (!isBuilt) return context.skip("there is no site: run npm run docs");
  const { page, problems, close } = await open("method/index.html");
  const panels = page.locator(".live-figure .panel");
  // Layer 2, head 0, factor 0.5 are what the figure has at first.
  await expect.poll(() => panels.nth(0).innerText()).toMatch(/100\.0 % on the picture\s+entropy 0\.83 bits/);
  expect(await panels.nth(1).innerText()).toMatch(/Factor 0\.50\s+96\.1 % on the picture\s+entropy 2\.20 bits/);
  await page.getByLabel("Head").selectOption("1");
  const shares = async () => {
    const texts = await panels.allInnerTexts();
    return texts.map((text) => Number(/([\d.]+) % on the picture/.exec(text)?.[1]));
  };
  const [before = 0, after = 0] = await shares();
  expect(after).toBeLessThan(before);
  await page.getByLabel("Lower every score by 12").check();
  await expect.poll(async () => (await shares())[1]).toBeGreaterThanOrEqual(before);
  expect((await shares())[0]).toBe(before);
  // The answers, too.
  const answers = page.locator(".live-figure", { has: page.locator("svg") });
  expect(await answers.innerText()).toContain("The model says Behind, which is right");
  await answers.locator("input[type=range]").fill("9");
  await expect.poll(() => answers.innerText()).toContain("The model says Left, which is wrong");
  expect(problems).toEqual([]);
  await close();
});

test("the search works without another host, and finds guide and API", async (context) => {
  if (!isBuilt) return context.skip("there is no site: run npm run docs");
  const { page, problems, close } = await open("index.html");
  await page.keyboard.press("Control+k");
  const found = page.locator(".VPLocalSearchBox .result");
  for (const [text, path] of [
    ["what a factor does", "method/"],
    ["requestGpuDevice", "api/core/functions/requestGpuDevice.html"],
  ] as const) {
    await page.locator(".VPLocalSearchBox input").fill(text);
    await expect
      .poll(() => found.evaluateAll((links) => links.map((link) => link.getAttribute("href"))))
      .toEqual(expect.arrayContaining([expect.stringContaining(path)]));
  }
  expect(problems).toEqual([]);
  await close();
});

test("the playground is inside", async (context) => {
  if (!isBuilt) return context.skip("there is no site: run npm run docs");
  const { page, problems, close } = await open("index.html");
  await page.getByRole("link", { name: "Open the playground" }).click();
  await page.waitForURL(/playground\/index\.html/);
  await page.getByRole("button", { name: "Ask" }).first().waitFor();
  expect(problems).toEqual([]);
  await close();
});
