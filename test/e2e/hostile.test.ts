// What curious and impatient people do to the page: it answers what was asked last, stops when told, and says what is so.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { blackPng, copyCheckpoint } from "./fixtures.ts";
import { openPages } from "./open-pages.ts";
import { markAnswers, type Playground, waitUntil } from "./playground.ts";
import { countsBuffers, gatesReadbacks, keepsDevices } from "./preludes.ts";

const { open, openLoaded } = openPages();

test("a question that replaces another is answered without a word of stopping, and Stop ends one that still waits", async () => {
  const playground = await openLoaded();
  await playground.askAndWait();
  await holdFactor(playground, "0.5");
  await playground.page.evaluate(markAnswers);
  await playground.button("Ask").click();
  await playground.worker.evaluate("gate.release()");
  await playground.waitForAnswers();
  expect(await playground.page.getByText("Stopped.").count()).toBe(0);

  await holdFactor(playground, "0.75");
  await playground.button("Ask").click();
  await playground.button("Stop").click();
  await playground.worker.evaluate("gate.release()");
  await playground.waitUntilReady();
  // The last thing that was told, where an answer would be told too.
  await expect.poll(() => playground.page.locator("[aria-live=polite]").innerText()).toBe("Stopped.");
});

test("a device that is lost while the model loads is not told as lost for ever", async () => {
  const playground = await open({ workerPrelude: `${keepsDevices}${gatesReadbacks}gate.hold();` });
  await expect.poll(() => playground.worker.evaluate<number>("devices.length")).toBe(1);
  await playground.worker.evaluate("devices[0].destroy(); gate.release()");
  await playground.waitUntilReady();
  expect(await playground.worker.evaluate("devices.length")).toBe(2);
  await waitUntil(playground.page, `!document.querySelector(".notice")`);
});

test("a link to a pass that the answer lacks says so, and later answers are not explained unasked", async () => {
  const playground = await open({ hash: "pass=99999" });
  const { page } = playground;
  await playground.waitUntilReady();
  await playground.askAndWait();
  await page.getByText(/names pass 99999, but the last pass of this answer is \d+/).waitFor();
  await playground.askAndWait();
  await playground.button("Show the passes").waitFor();
});

test("of two pictures that are chosen one after the other the second one stays, whichever is decoded first", async () => {
  const playground = await openLoaded();
  const { page } = playground;
  await playground.worker.evaluate(holdsFirstBitmap);
  await page.getByRole("radio", { name: "Your picture" }).check();
  const input = page.getByLabel("Choose a picture");
  await input.setInputFiles({ name: "first.png", mimeType: "image/png", buffer: blackPng(8, 8) });
  await expect.poll(() => playground.worker.evaluate("typeof releaseBitmap")).toBe("function");
  await input.setInputFiles({ name: "second.png", mimeType: "image/png", buffer: blackPng(8, 8) });
  await page.getByRole("img", { name: /second\.png/ }).waitFor();
  await playground.worker.evaluate("releaseBitmap()");
  // What is opened after it has been heard of, so that the first one had its time.
  await input.setInputFiles({ name: "notes.png", mimeType: "image/png", buffer: Buffer.from("text") });
  await playground.notice("notes.png");
  expect(await page.getByRole("img", { name: /second\.png/ }).count()).toBe(1);
});

test("text pasted into the question stays text, though a program put a picture of it beside; a picture alone is taken", async () => {
  const playground = await openLoaded();
  const { page } = playground;
  await page.getByRole("radio", { name: "Free text" }).check();
  await page.getByRole("textbox", { name: "Your question" }).focus();
  expect(await page.evaluate(paste({ withText: true }))).toBe("left to the browser");
  expect(await page.getByRole("radio", { name: "Scene" }).isChecked()).toBe(true);
  expect(await page.evaluate(paste({ withText: false }))).toBe("taken");
  await page.getByRole("img", { name: /Your picture pasted\.png/ }).waitFor();
});

test("what is dragged over the page covers it, and the cover goes when the drag does", async () => {
  const playground = await openLoaded();
  const { page } = playground;
  const cover = page.getByText(/^Drop a picture to ask about it/);
  for (const end of ["dragleave", "silence"]) {
    await page.evaluate(drag("dragenter"));
    await page.evaluate(drag("dragover"));
    await cover.waitFor();
    // An element that went away under the pointer: nobody tells that the drag left the page.
    if (end === "dragleave") await page.evaluate(drag("dragleave"));
    await cover.waitFor({ state: "detached" });
  }
});

test("of several dropped files the picture is taken and the page says so; nothing dropped is said, too", async () => {
  const playground = await openLoaded();
  const { page } = playground;
  await page.evaluate(drag("drop", ["notes.txt", "picture.png", "other.png"]));
  await page.getByRole("img", { name: /Your picture picture\.png/ }).waitFor();
  expect(await playground.notice("One picture")).toContain("3 files were dropped; picture.png is the picture now.");
  await page.evaluate(drag("drop", ["model.safetensors"]));
  expect(await playground.notice("config.json")).toContain("choose the folder of a checkpoint");
});

test("a number out of range becomes the nearest, a broken one stays as it was, and Ask goes on", async () => {
  const playground = await openLoaded();
  const { page } = playground;
  await page.getByText("Length of the answer").click();
  const length = page.getByRole("spinbutton", { name: /Longest answer/ });
  for (const [typed, shown] of [
    ["24.4", "24"],
    ["-3", "1"],
    ["1000000000", "512"],
    ["", "512"],
    ["9", "9"],
    ["9.4", "9"], // what was there before
  ] as const) {
    await length.fill(typed);
    await length.press("Tab");
    expect(await length.inputValue(), `typed ${typed}`).toBe(shown);
  }
  await length.fill("0");
  await length.press("Tab");
  await page.getByText("from 1 to 512").waitFor();
  await length.fill("8");
  await page.evaluate(markAnswers);
  await length.press("Enter"); // asks, with the new number
  await playground.waitForAnswers();
  expect(await length.inputValue()).toBe("8");
  const factor = page.getByRole("spinbutton", { name: "Exactly" });
  await factor.fill("1e9");
  await factor.press("Tab");
  await playground.card("Your factor").filter({ hasText: "Factor 10" }).waitFor();
  await factor.fill("0.125");
  await factor.press("Tab");
  await playground.card("Your factor").filter({ hasText: "Factor 0.125" }).waitFor();
  await length.fill("24"); // as at first, for the tests that share the page
  await length.press("Tab");
  await page.getByText("Length of the answer").click();
});

test("a question is text, whatever is in it", async () => {
  const playground = await openLoaded();
  const { page } = playground;
  await page.getByRole("radio", { name: "Free text" }).check();
  const box = page.getByRole("textbox", { name: "Your question" });
  const asked = page.locator(".asked");
  for (const text of [
    "<img src=x onerror=alert(1)><b>Where</b>?",
    "\u{1F600}\u{1F44D}\u{1F3FD} where?",
    "أين الكوب؟",
  ]) {
    await box.fill(text);
    await playground.askAndWait();
    expect(await asked.innerText()).toBe(text);
  }
  await box.fill("x".repeat(10_000));
  await page.getByText("as long as a question may be").waitFor();
  await expect(playground.askAndWait()).rejects.toThrow(/context has 1024: shorten the text/);
  await box.fill("What is <image>?");
  await expect(playground.askAndWait()).rejects.toThrow(/The user's text holds <image>/);
});

test("asking, trying factors, explaining and loading again leave nothing on the GPU", async () => {
  const playground = await open({ workerPrelude: countsBuffers, pagePrelude: "delete window.showDirectoryPicker;" });
  const { page } = playground;
  await playground.waitUntilReady();
  const held = () => playground.worker.evaluate<readonly number[]>("[bufferBytes, numBuffers]");
  await playground.askAndWait();
  await playground.showPasses();
  const before = await held();
  for (let round = 0; round < 5; round++) await playground.askAndWait();
  await page.getByRole("slider", { name: "Factor" }).fill("0.5");
  await playground.card("Your factor").filter({ hasText: "Factor 0.5" }).waitFor();
  await playground.showPasses();
  expect(await held()).toEqual(before);
  const folder = await mkdtemp(join(tmpdir(), "adaptvis-again-"));
  await copyCheckpoint(folder);
  for (let round = 0; round < 2; round++) {
    await page.getByLabel("Open a checkpoint folder").setInputFiles(folder);
    await page.locator(".load-strip").waitFor();
    await playground.waitUntilReady();
  }
  await rm(folder, { recursive: true });
  await playground.askAndWait();
  await playground.showPasses();
  expect(await held()).toEqual(before);
  expect(page.workers()).toHaveLength(1);
});

/** Keeps the next picture's decoder waiting until `releaseBitmap()`. For the worker. */
const holdsFirstBitmap = `{
  const { createImageBitmap } = globalThis;
  globalThis.releaseBitmap = undefined;
  globalThis.createImageBitmap = async (...options) => {
    if (globalThis.releaseBitmap === undefined) {
      await new Promise((resolve) => { globalThis.releaseBitmap = resolve; });
    }
    return createImageBitmap(...options);
  };
}`;

/** Files as a drag or the clipboard has them: pictures are real, all else is text. */
const transferOf = (names: readonly string[]) => `(() => {
  const data = new DataTransfer();
  const png = Uint8Array.from(atob("${blackPng(8, 8).toString("base64")}"), (char) => char.charCodeAt(0));
  for (const name of ${JSON.stringify(names)}) {
    const isPicture = name.endsWith(".png");
    data.items.add(new File([isPicture ? png : "text"], name, { type: isPicture ? "image/png" : "" }));
  }
  return data;
})()`;

/** A drag's event in the page. */
function drag(
  kind: "dragenter" | "dragover" | "dragleave" | "drop",
  names: readonly string[] = ["picture.png"],
): string {
  return `document.querySelector("main").dispatchEvent(new DragEvent("${kind}", {
    dataTransfer: ${transferOf(names)}, bubbles: true, cancelable: true }))`;
}

/** A paste where the focus is. */
function paste({ withText }: { readonly withText: boolean }): string {
  return `(() => {
    const clipboardData = ${transferOf(["pasted.png"])};
    if (${withText}) clipboardData.setData("text/plain", "Where is the mug?");
    const event = new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true });
    return document.activeElement.dispatchEvent(event) ? "left to the browser" : "taken";
  })()`;
}

/** Tries a factor; its answer waits in the worker until `gate.release()`. */
async function holdFactor(playground: Playground, factor: string): Promise<void> {
  await playground.worker.evaluate("gate.hold()");
  await playground.page.getByRole("slider", { name: "Factor" }).fill(factor);
  await expect.poll(() => playground.worker.evaluate<number>("gate.waiting")).toBeGreaterThan(0);
}
