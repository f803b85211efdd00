// The focus stays where one works, though buttons come and go with what they do; and what is told is told again.

import { expect, test } from "vitest";
import { openPages } from "./open-pages.ts";
import type { Playground } from "./playground.ts";

const { openLoaded } = openPages();

test("a button that goes away leaves the focus in its panel, and a closed notice leaves it on the page's heading", async () => {
  const playground = await openLoaded();
  const { page } = playground;

  await playground.worker.evaluate("gate.hold()");
  await playground.button("Ask").click();
  await expect.poll(() => playground.worker.evaluate<number>("gate.waiting")).toBeGreaterThan(0);
  await playground.button("Stop").press("Enter");
  await playground.worker.evaluate("gate.release()");
  await page.getByText("Stopped.").first().waitFor();
  await expect.poll(() => focused(playground)).toBe("question: Question");

  await playground.askAndWait();
  await playground.button("Show the passes").press("Enter");
  await expect.poll(() => focused(playground)).toBe("kernels: What the kernels do");

  for (const left of [1, 0]) {
    await playground.button("Remove").click();
    await playground.scene.getByRole("button").nth(left).waitFor({ state: "detached" });
  }
  await playground.button("Ask").click();
  await page.getByRole("button", { name: /^Close the notice/ }).press("Enter");
  await expect.poll(() => focused(playground)).toBe(": adaptvis playground");
});

test("the same answer again is told again", async () => {
  const playground = await openLoaded();
  await playground.page.evaluate(keepsTold);
  for (let round = 0; round < 2; round++) await playground.askAndWait();
  const told = await playground.page.evaluate<string[]>("told");
  expect(told.filter((text) => text.startsWith("Greedy: Left."))).toHaveLength(2);
});

/** The panel's id and the text of what has the focus. */
function focused({ page }: Playground): Promise<string> {
  return page.evaluate<string>(`(() => {
    const { activeElement: element } = document;
    const name = element === document.body ? "nothing" : element.textContent;
    return (element.closest(".panel")?.id ?? "") + ": " + name;
  })()`);
}

/** Keeps what a screen reader is told, in order. */
const keepsTold = `globalThis.told = [];
  new MutationObserver(() => told.push(document.querySelector("[aria-live=polite]").textContent))
    .observe(document.querySelector("[aria-live=polite]"), { subtree: true, childList: true, characterData: true });`;
