// Firefox's WebGPU, on the driver of this run: the library and the playground answer as in Node; and what the playground says without it.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Browser } from "puppeteer-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fileSource, Llava, openNodeAdapter, requestGpuDevice } from "../../src/index.node.ts";
import { MODEL } from "../e2e/fixtures.ts";
import { differencesFromNode, takeAway } from "../e2e/node-model.ts";
import { answersOrNotice, isAskEnabled, markAnswers } from "../e2e/playground.ts";
import { ask, differences, type HostAnswer } from "../hosts/ask.ts";
import { bundleProgram, removePrograms, repositoryRoot } from "../setup/bundle.ts";
import { softwareAdapter } from "../setup/device.ts";
import { launchFirefox, openFirefoxPage, WEBGPU_PREFERENCES, whyNoFirefox } from "./firefox.ts";
import { runInPage, type TestPage } from "./run-in-page.ts";
import { type StaticServer, startServer } from "./static-server.ts";

const DIST = join(repositoryRoot, "dist");
const reason = await whyNoFirefox();

// reason: the title names what is missing.
describe.skipIf(reason !== undefined)(`Firefox${reason === undefined ? "" : `, skipped: ${reason}`}`, () => {
  let browser: Browser;
  let server: StaticServer;
  let model: Llava;
  let expected: HostAnswer;

  beforeAll(async () => {
    const { adapter } = await openNodeAdapter(softwareAdapter());
    const device = await requestGpuDevice(adapter);
    expected = await ask({ Llava }, fileSource(MODEL), device);
    model = await Llava.load(fileSource(MODEL), { device });
    browser = await launchFirefox({ hasWebGpu: true });
    server = await startServer(({ path }) => ({ file: join(DIST, "app", path === "/" ? "index.html" : path) }));
  });
  afterAll(async () => {
    await browser?.close();
    server?.close();
    model?.dispose();
    await removePrograms();
  });

  test("gives Node's ids", async () => {
    const source = await readFile(await bundleProgram("test/browser/answer.browser.ts", "browser"), "utf8");
    const actual = await runInPage(await openFirefoxPage(browser), source, {
      files: { "/dist": DIST, "/model": MODEL },
    });
    expect(differences(actual as HostAnswer, expected)).toEqual([]); // what answer.browser.ts returns
  });

  test("shows Node's answers in the playground", async () => {
    const page = await openFirefoxPage(browser);
    await page.goto(server.origin);
    await page.evaluate(until(isAskEnabled));
    await page.evaluate(markAnswers);
    await page.evaluate(pressButton("Ask"));
    expect(await page.evaluate(until(answersOrNotice))).toBe("answered");
    await page.evaluate(until(isAskEnabled));
    const download = (name: string) => downloadFrom(page, name);
    expect(await differencesFromNode(model, await takeAway({ download }))).toEqual([]);
    expect(page.printed).toEqual([]);
  });

  test("without WebGPU reads in the playground which preferences switch it on", async () => {
    const plain = await launchFirefox({ hasWebGpu: false });
    try {
      const page = await openFirefoxPage(plain);
      await page.goto(server.origin);
      const notice = await page.evaluate(until("document.querySelector('.notice')?.innerText"));
      expect(notice).toMatch(/does not support WebGPU/);
      for (const name of WEBGPU_PREFERENCES) expect(notice).toContain(name);
    } finally {
      await plain.close();
    }
  });
});

/** The value of an expression once it is one, in the page. */
function until(expression: string): string {
  return `(async () => {
    for (;;) {
      const value = ${expression};
      if (value) return value;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  })()`;
}

function pressButton(name: string): string {
  return `[...document.querySelectorAll("button")].find((button) => button.textContent.trim() === ${JSON.stringify(name)}).click()`;
}

/** Presses a button that downloads; the file is taken from the page, so that Firefox saves none. */
async function downloadFrom(page: TestPage, name: string): Promise<Buffer> {
  // Taken as the page makes it: the page's Content-Security-Policy lets no script fetch its address.
  await page.evaluate(`globalThis.saved = undefined; HTMLAnchorElement.prototype.click = () => undefined;
    URL.createObjectURL = (file) => { saved = file; return "blob:"; };`);
  await page.evaluate(pressButton(name));
  const base64 = await page.evaluate(`${until("globalThis.saved")}.then((file) => file.arrayBuffer())
    .then((bytes) => btoa(Array.from(new Uint8Array(bytes), (byte) => String.fromCharCode(byte)).join("")))`);
  return Buffer.from(String(base64), "base64");
}
