// The live run of the kernels' pages: the tests of a kernel, run by its page on Chromium's WebGPU.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bundleLive } from "../../tools/docs/kernels/bundle-live.mjs";
import { ENTRIES } from "../../tools/docs/kernels/groups.mjs";
import { launchChromium } from "../browser/launch.ts";
import { type StaticServer, startServer } from "../browser/static-server.ts";
import { seriousFindings } from "./accessibility.ts";

const KERNELS = ["rms-norm", "matvec", "attention-decode-split", "choose-token", "quantize", "add-rows"];

const folder = mkdtempSync(join(tmpdir(), "kernel-live-"));
let server: StaticServer;
let browser: Browser;
/** The page that the tests share; scripts under /wrong/ have a root mean square that is off by 1e-4. */
let page: Page;
const problems: string[] = [];

beforeAll(async () => {
  await bundleLive(folder, [...KERNELS, "matmul-octet"]);
  server = await startServer(({ path }) => {
    if (path === "/") return { text: pageWith("/live/element.js"), extension: ".html" };
    if (path === "/wrong") return { text: pageWith("/wrong/element.js"), extension: ".html" };
    const [, kind, name] = /^\/(live|wrong)\/([\w.-]+\.js)$/.exec(path) ?? [];
    if (name === undefined) return undefined;
    const text = readFileSync(join(folder, name), "utf8");
    return {
      text: kind === "wrong" ? text.replaceAll("inverseSqrt(", "1.0001 * inverseSqrt(") : text,
      extension: ".js",
    };
  });
  browser = await launchChromium();
  page = await browser.newPage({ viewport: { width: 390, height: 844 } });
  page.on("pageerror", (error) => problems.push(String(error)));
  await page.goto(server.origin);
});

afterAll(async () => {
  await browser?.close();
  server?.close();
  rmSync(folder, { recursive: true, force: true });
});

test.each(KERNELS)("%s runs, and its largest error is within the bound", async (kernel) => {
  const { status, text, option } = await press(kernel);
  expect(status).toMatch(/^✓ Passes: /);
  expect(text).toMatch(new RegExp(`ran ${kernel} \\(.* workgroups\\).* in [\\d.]+ (µs|ms) \\(.*\\d+ runs?`));
  expect(text).toContain("First values that are read");
  const { liveCase } = ENTRIES.get(kernel) ?? {};
  if (liveCase !== undefined) expect(option).toBe(liveCase);
  if (kernel === "quantize") return; // compares words, not values
  expect(text).toContain("Compared with the f64 twin");
  expect(status).toMatch(
    /the largest error is (\d\.\d+\s×\s10\S+ where \d\.\d+\s×\s10\S+ is allowed, [\d.]+\s% of the bound|0)/,
  );
  expect(Number(/([\d.]+)\s% of the bound/.exec(status)?.[1] ?? 0)).toBeLessThanOrEqual(100);
});

test("a case that was chosen from the list runs, and nothing of the page is closed to a keyboard or a screen reader", async () => {
  const select = page.locator("#rms-norm select");
  await select.selectOption({ label: "2 × 128, values of about 10000" });
  const { status, text } = await press("rms-norm");
  expect(status).toMatch(/^✓ Passes/);
  expect(text).toContain("2 × 128");
  expect(await seriousFindings(page)).toEqual([]);
  expect(await page.evaluate("document.documentElement.scrollWidth - innerWidth")).toBeLessThanOrEqual(0);
});

test("all cases of a kernel run one after the other", async () => {
  const { status, text } = await press("add-rows", "button.second");
  expect(status).toBe("✓ All 4 cases pass on google swiftshader.");
  expect(text).toContain("Largest error of each case as a share of its bound");
});

test("a kernel that this GPU cannot run says what it needs", async () => {
  expect((await press("matmul-octet")).status).toBe(
    "google swiftshader cannot run this kernel: it needs subgroups of exactly eight threads, which CPU adapters such as lavapipe have.",
  );
});

test("a wrong kernel is shown to fail, with where", async () => {
  await page.goto(`${server.origin}/wrong`);
  const { status, text } = await press("rms-norm");
  expect(status).toBe("✗ Fails: the GPU's result is not that of the f64 twin.");
  expect(text).toMatch(/\d+ of 10240 values outside of bound "rmsNorm": the worst at \[[01], \d+\] is /);
  expect(text).toContain("✗");
  expect((await press("rms-norm", "button.second")).status).toBe("✗ 8 of 8 cases fail on google swiftshader.");
  // The kernels beside it are as they were.
  expect((await press("add-rows")).status).toMatch(/^✓ Passes/);
});

test("without WebGPU the page says what to do", async () => {
  const other = await browser.newPage();
  await other.addInitScript("Object.defineProperty(Navigator.prototype, 'gpu', { value: undefined })");
  await other.goto(server.origin);
  const said = await other.evaluate(`document.querySelector("#rms-norm").shadowRoot.textContent`);
  expect(said).toContain("To run this kernel here, open this page over https in a browser with WebGPU");
  expect(await other.locator("#rms-norm button").count()).toBe(0);
  await other.close();
  expect(problems).toEqual([]);
});

function pageWith(script: string): string {
  const elements = [...KERNELS, "matmul-octet"].map((kernel) => {
    const { liveCase, needs } = ENTRIES.get(kernel) ?? {};
    const options = `${liveCase ? ` case="${liveCase}"` : ""}${needs ? ` needs="${needs}"` : ""}`;
    return `<h2>${kernel}</h2><kernel-live-run id="${kernel}" kernel="${kernel}"${options}></kernel-live-run>`;
  });
  const head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Kernels</title>';
  const body = `<main><h1>Kernels</h1>${elements.join("")}</main>`;
  return `<!doctype html><html lang="en">${head}<script type="module" src="${script}"></script><body>${body}</body></html>`;
}

/** Presses a kernel's button, waits for the end, and reads what stands there. */
async function press(
  kernel: string,
  button = "button:not(.second)",
): Promise<{ status: string; text: string; option: string }> {
  await page.locator(`#${kernel} ${button}`).click();
  await page.locator(`#${kernel} ${button}:not([disabled])`).waitFor();
  return await page.evaluate(`(({ shadowRoot }) => ({
    status: shadowRoot.querySelector(".status").textContent,
    text: shadowRoot.querySelector(".result").textContent,
    option: shadowRoot.querySelector("select").value,
  }))(document.getElementById(${JSON.stringify(kernel)}))`);
}
