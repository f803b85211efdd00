// Whatever happens to the device or in the middle of a question, the page goes on.

import { expect, test } from "vitest";
import { answerFile } from "./node-model.ts";
import { openPages } from "./open-pages.ts";
import type { Playground } from "./playground.ts";
import { markAnswers, waitUntil } from "./playground.ts";
import { adapterAtSecondAsk, gatesReadbacks, holdsAdapter, keepsDevices } from "./preludes.ts";

/** Keeps the text of every notice, however short it stands. */
const keepsNotices = `globalThis.notices = [];
  new MutationObserver(() => {
    for (const notice of document.querySelectorAll(".notice")) notices.push(notice.innerText);
  }).observe(document, { subtree: true, childList: true });`;

const { open, share } = openPages();
/** Two losses at most: after three within a minute the page gives up. */
const openShared = share({
  workerPrelude: adapterAtSecondAsk + keepsDevices + gatesReadbacks,
  pagePrelude: keepsNotices,
});

test("a browser that finds no adapter for a moment is asked again", async () => {
  const playground = await openShared();
  expect(await playground.worker.evaluate("numAdaptersAsked")).toBeGreaterThan(1);
});

test("Stop ends a question in the middle, says so, and the next one is answered", async () => {
  const playground = await openShared(); // nobody asked it yet: a stopped question leaves no answer
  const { page } = playground;
  await stopMidway(playground);
  const messages = await playground.worker.evaluate<number>("gate.messages");
  await playground.button("Stop").click();
  await expect.poll(() => playground.worker.evaluate<number>("gate.messages")).toBeGreaterThan(messages);
  await playground.worker.evaluate("gate.release()");
  await page.getByRole("status").filter({ hasText: "Stopped" }).first().waitFor();
  await playground.waitUntilReady();
  expect(await playground.card("Greedy").count()).toBe(0);
  expect(await playground.button("Stop").count()).toBe(0);
  await playground.askAndWait();
  expect(await playground.answer("Greedy")).toBe("Left");
});

test("a second question while one runs is refused in words, and the first is answered", async () => {
  const playground = await openShared();
  const { page } = playground;
  await page.getByRole("radio", { name: "Free text" }).check();
  const text = page.getByRole("textbox", { name: "Your question" });
  await text.focus();
  await playground.worker.evaluate("gate.hold()");
  await page.keyboard.press("Enter");
  await expect.poll(() => playground.worker.evaluate<number>("gate.waiting")).toBeGreaterThan(0);
  await page.keyboard.press("Enter");
  expect(await playground.notice("One at a time")).toContain("wait for its answer or press Stop");
  await page.evaluate(markAnswers);
  await playground.worker.evaluate("gate.release()");
  await playground.waitForAnswers();
  expect(await playground.answer("Greedy")).toBe("Left");
});

test("a device that is lost at rest comes back by itself, and the answer is the same", async () => {
  const playground = await openShared();
  await playground.askAndWait();
  const before = await answerFile(playground);
  const numDevices = await playground.worker.evaluate<number>("devices.length");
  await playground.page.evaluate("notices = []");
  await playground.worker.evaluate("devices.at(-1).destroy()");
  await waitUntil(playground.page, `notices.some((text) => text.includes("The GPU was lost"))`);
  await waitUntil(playground.page, `!document.querySelector(".notice")`);
  await playground.askAndWait();
  expect(answersOf(await answerFile(playground))).toEqual(answersOf(before));
  expect(await playground.worker.evaluate("devices.length")).toBe(numDevices + 1);
});

test("a device that is lost under a question comes back, and the question is answered", async () => {
  const playground = await openShared();
  await playground.askAndWait();
  const before = await answerFile(playground);
  await playground.page.evaluate(`notices = []; ${markAnswers}`);
  await stopMidway(playground);
  await playground.worker.evaluate("devices.at(-1).destroy(); gate.release()");
  await waitUntil(playground.page, `notices.some((text) => text.includes("The GPU was lost"))`);
  await waitUntil(playground.page, `!document.querySelector(".notice")`);
  await playground.waitForAnswers();
  expect(answersOf(await answerFile(playground))).toEqual(answersOf(before));
});

test("a GPU process that is killed comes back too", async () => {
  const playground = await open({ pagePrelude: keepsNotices });
  await playground.waitUntilReady();
  await playground.killGpuProcess();
  await waitUntil(playground.page, `notices.some((text) => text.includes("The GPU was lost"))`);
  await waitUntil(playground.page, `!document.querySelector(".notice")`);
  await playground.askAndWait();
  expect(await playground.answer("Greedy")).toBe("Left");
});

test("a worker that crashes is told, and the model is loaded again in a new one", async () => {
  const playground = await open();
  await playground.waitUntilReady();
  await playground.worker.evaluate(`setTimeout(() => { throw new Error("a bug"); })`);
  expect(await playground.notice("stopped")).toMatch(/load the model again/);
  await playground.button("Load tiny-habit again").click();
  await playground.askAndWait();
  expect(await playground.answer("Greedy")).toBe("Left");
});

test("loading is stopped by its button, and started again", async () => {
  const playground = await open({ workerPrelude: holdsAdapter });
  const { page } = playground;
  await page.getByText(/^Loading tiny-habit/).waitFor();
  await playground.button("Stop loading").click();
  await page.getByText("No model is loaded.").waitFor();
  expect(await playground.button("Ask").isDisabled()).toBe(true);
  await playground.worker.evaluate("releaseAdapter()");
  await playground.button("Load tiny-habit again").click();
  await playground.askAndWait();
  expect(await playground.answer("Greedy")).toBe("Left");
});

/** Asks, and returns when the engine waits in the middle of the question. */
async function stopMidway(playground: Playground): Promise<void> {
  await playground.worker.evaluate("gate.hold()");
  await playground.button("Ask").click();
  await expect.poll(() => playground.worker.evaluate<number>("gate.waiting"), { timeout: 30_000 }).toBeGreaterThan(0);
}

/** All but the times. */
function answersOf({ greedy, adaptvis }: Awaited<ReturnType<typeof answerFile>>) {
  return [greedy, adaptvis].map((answer) => ({ ...answer, elapsedMs: undefined }));
}
