// Starts the system's Firefox ESR (Debian's package firefox-esr) without a window, with WebGPU on a software driver.
// Puppeteer drives it over WebDriver BiDi, which Playwright does only for a Firefox that it patched.

import { spawnSync } from "node:child_process";
import { type Browser, launch } from "puppeteer-core";
import { openNodeAdapter } from "../../src/gpu/hosts/adapter.node.ts";
import { driverEnvironment } from "../../src/gpu/hosts/vulkan-drivers.node.ts";
import { softwareAdapter } from "../setup/device.ts";
import type { TestPage } from "./run-in-page.ts";

const EXECUTABLE = "firefox-esr";

/** WebGPU on Linux, where Firefox ESR 153 has it switched off; the playground names both to people who lack it. */
export const WEBGPU_PREFERENCES = ["dom.webgpu.enabled", "gfx.webgpu.ignore-blocklist"] as const;

/** Why Firefox's tests are skipped; undefined where they can run. */
export async function whyNoFirefox(): Promise<string | undefined> {
  if (spawnSync(EXECUTABLE, ["--version"]).status !== 0) {
    return "no firefox-esr on this machine (Debian's package firefox-esr)";
  }
  const adapter = softwareAdapter();
  const reason = await openNodeAdapter(adapter).then(
    () => undefined,
    (error: unknown) => String(error),
  );
  return reason && `no ${adapter} on this machine: ${reason}`;
}

/** Launches Firefox on {@link softwareAdapter}; close it when done. */
export async function launchFirefox(options: { readonly hasWebGpu: boolean }): Promise<Browser> {
  return await launch({
    browser: "firefox",
    executablePath: pathOf(EXECUTABLE),
    headless: true,
    extraPrefsFirefox: Object.fromEntries(WEBGPU_PREFERENCES.map((name) => [name, options.hasWebGpu])),
    env: { ...process.env, ...(await driverEnvironment(softwareAdapter())) },
    protocolTimeout: 300_000,
  });
}

/** Opens an empty page. */
export async function openFirefoxPage(browser: Browser): Promise<TestPage> {
  const page = await browser.newPage();
  const printed: string[] = [];
  page.on("console", (message) => printed.push(message.text()));
  page.on("pageerror", (error) => printed.push(String(error)));
  return {
    goto: (url) => page.goto(url),
    evaluate: (expression) => page.evaluate(expression),
    printed,
  };
}

/** The executable's path: Puppeteer does not search for it. */
function pathOf(name: string): string {
  return spawnSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).stdout.trim();
}
