// The whole way by keyboard alone, from a fresh page to a kernel's pass.

import { expect, test } from "vitest";
import { openPages } from "./open-pages.ts";
import { type Playground, viewports } from "./playground.ts";
import { holdsAdapter } from "./preludes.ts";

const { open } = openPages();
/** More than a page has places for the focus. */
const MOST_TABS = 150;

test("an object is moved, the question chosen and asked, the factor changed and a pass opened by keys alone", async () => {
  const playground = await open();
  const { page } = playground;
  await playground.waitUntilReady();

  // The mug, beside the dog, goes to the dog's other side; the dog makes room.
  await tabTo(playground, "button", /^dog,/);
  for (let press = 0; press < 3; press++) await page.keyboard.press("Shift+ArrowLeft");
  await tabTo(playground, "button", /^mug,/);
  while ((await focused(playground)).name !== "mug, at the right") await page.keyboard.press("Shift+ArrowRight");

  await tabTo(playground, "select", /^Kind of question/);
  await page.keyboard.press("ArrowDown");
  await tabTo(playground, "select", /^Object/);
  const { value } = await focused(playground);
  if (value !== "mug") await page.keyboard.press("m");
  await tabTo(playground, "button", /^Ask$/);
  await page.keyboard.press("Enter");
  await playground.waitForAnswers();
  expect(
    await page.getByText("Where is the mug in relation to the dog? Answer with left, right, front or behind.").count(),
  ).toBeGreaterThan(0);
  expect(await playground.answer("Greedy")).toBe("Right");

  await tabTo(playground, "range", /^Factor/);
  await page.keyboard.press("ArrowRight");
  await playground.card("Your factor").filter({ hasText: "Factor 1.05" }).waitFor();
  await page.keyboard.press("ArrowLeft");
  await playground.card("Your factor").filter({ hasText: "Unmodified" }).waitFor();

  await tabTo(playground, "button", /^Show the passes/);
  await page.keyboard.press("Space");
  const region = page.getByRole("region", { name: "What the kernels do" });
  await region.locator("summary").first().waitFor();
  await tabTo(playground, "summary", /vision/i);
  await page.keyboard.press("Enter");
  await tabTo(playground, "button", /^0\D/);
  await page.keyboard.press("Enter");
  await page.locator("#pass-0-detail").waitFor();
  await tabTo(playground, "summary", /\.wgsl/);
  await page.keyboard.press("Space");
  await page.getByText("@compute").first().waitFor();
});

test("while the model loads, nothing that has the focus lies under the strip that says so", async () => {
  const playground = await open({ viewport: viewports.narrow, workerPrelude: holdsAdapter });
  await playground.button("Stop loading").waitFor();
  const covered: string[] = [];
  for (let press = 0; press < MOST_TABS; press++) {
    await playground.page.keyboard.press("Tab");
    const { name, isCovered } = await focused(playground);
    if (isCovered) covered.push(name);
    if (press > 0 && name === "Skip to the question") break;
  }
  expect(covered).toEqual([]);
});

/** Presses Tab until the focus is on such a control, as it comes. */
async function tabTo(playground: Playground, kind: string, name: RegExp): Promise<void> {
  const passed: string[] = [];
  for (let press = 0; press < MOST_TABS; press++) {
    const at = await focused(playground);
    if (at.kind === kind && name.test(at.name)) {
      expect(at.isVisible, `${at.name} shows that it has the focus`).toBe(true);
      return;
    }
    passed.push(`${at.kind} ${at.name}`);
    await playground.page.keyboard.press("Tab");
  }
  throw new Error(`The Tab key does not reach ${kind} ${name}, only: ${[...new Set(passed)].join(" | ")}`);
}

interface Focused {
  readonly kind: string;
  readonly name: string;
  readonly value: string;
  /** Whether an outline or shadow shows the focus. */
  readonly isVisible: boolean;
  /** Whether something else lies over its middle. */
  readonly isCovered: boolean;
}

function focused({ page }: Playground): Promise<Focused> {
  return page.evaluate<Focused>(`(() => {
    const element = document.activeElement ?? document.body;
    const name = element.ariaLabel ?? element.labels?.[0]?.textContent ?? element.textContent ?? "";
    const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(element);
    const box = element.getBoundingClientRect();
    const top = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
    const isItself = element.contains(top) || top?.contains(element) || top?.closest("label")?.control === element;
    return {
      kind: element.tagName === "INPUT" ? element.type : element.tagName.toLowerCase(),
      name: name.trim().replace(/\\s+/g, " ").slice(0, 60),
      value: element.value ?? "",
      isVisible: (outlineStyle !== "none" && parseFloat(outlineWidth) > 0) || boxShadow !== "none",
      isCovered: element !== document.body && !isItself,
    };
  })()`);
}
