// Runs code in a page of the packaged headless Chromium, with WebGPU on SwiftShader.

import { launchChromium } from "./launch.ts";
import { runInPage } from "./run-in-page.ts";

/**
 * Runs `run()` of a module in a fresh page, as {@link runInPage} does.
 * @param files what the page's server has: path in the URL to path on disk
 */
export async function runInChromium(
  moduleSource: string,
  files: Readonly<Record<string, string>> = {},
): Promise<unknown> {
  const browser = await launchChromium();
  try {
    const page = await browser.newPage();
    const printed: string[] = [];
    page.on("console", (message) => printed.push(message.text()));
    page.on("pageerror", (error) => printed.push(String(error)));
    const testPage = {
      goto: (url: string) => page.goto(url),
      evaluate: (expression: string) => page.evaluate(expression),
      printed,
    };
    return await runInPage(testPage, moduleSource, { files });
  } finally {
    await browser.close();
  }
}
