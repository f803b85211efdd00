// The page for everybody: no serious finding of axe-core in any state, light or dark, and nothing cut off, covered or
// overlapping at a phone's and a desk's width.

import { expect, test } from "vitest";
import { seriousFindings } from "./accessibility.ts";
import { layoutFaults } from "./layout.ts";
import { openPages } from "./open-pages.ts";
import { markAnswers, type PageOptions, type Playground, viewports } from "./playground.ts";
import {
  countsShifts,
  gatesReadbacks,
  holdsAdapter,
  withoutAdapter,
  withoutMemory,
  withoutWebGpu,
} from "./preludes.ts";

const { open } = openPages();
type Viewport = (typeof viewports)[keyof typeof viewports];

test.each([
  ["phones", { hasTouch: true }, [viewports.phone, viewports.narrow]],
  ["a desk", {}, [viewports.desktop, viewports.enlarged]],
] satisfies [string, PageOptions, Viewport[]][])(
  "fresh, answered, and with a kernel's pass open: on %s",
  async (_, options, sizes) => {
    const pagePrelude = countsShifts;
    const playground = await open({ ...options, pagePrelude, viewport: sizes[0], reducedMotion: "reduce" });
    const { page } = playground;
    const expectNoFaults = async (state: string) => {
      for (const viewport of sizes) {
        await page.setViewportSize(viewport);
        expect(await faults(playground), `${state}, ${viewport.width} pixels wide`).toEqual([]);
      }
    };
    await playground.waitUntilReady();
    expect(await page.evaluate<string[]>("shifts"), "what moved while the page came").toEqual([]);
    await expectNoFaults("fresh");
    if ("hasTouch" in options) await expectForThumbs(playground);
    else await playground.askAndWait();
    await page.getByRole("slider", { name: "Factor" }).fill("1.5");
    await playground.card("Your factor").filter({ hasText: "Factor 1.5" }).waitFor();
    await expectNoFaults("answered");
    await playground.showPasses();
    await page.evaluate(`location.hash = "pass=12"`);
    await page.locator("#pass-12-detail").waitFor();
    await page.locator("#pass-12-detail summary").last().click();
    await expectNoFaults("with a pass open");
    await page.getByRole("radio", { name: "Your picture" }).check();
    await page.getByRole("radio", { name: "Free text" }).check();
    await expectNoFaults("for a picture and a question of one's own");
  },
);

test.each([
  ["no WebGPU", { pagePrelude: withoutWebGpu, workerPrelude: withoutWebGpu }],
  ["no adapter", { workerPrelude: withoutAdapter }],
  ["too little memory", { workerPrelude: withoutMemory }],
] satisfies [string, PageOptions][])("%s, on a phone and on a desk", async (_, preludes) => {
  const playground = await open({ ...preludes, reducedMotion: "reduce" });
  await playground.page.getByRole("alert").waitFor();
  for (const viewport of [viewports.narrow, viewports.desktop]) {
    await playground.page.setViewportSize(viewport);
    expect(await faults(playground), `${viewport.width} pixels wide`).toEqual([]);
  }
});

test("while the model loads and while a question runs, on a phone and on a desk, and nothing moves by itself", async () => {
  const playground = await open({ workerPrelude: holdsAdapter + gatesReadbacks, reducedMotion: "reduce" });
  const { page } = playground;
  const onBoth = async (state: string) => {
    for (const viewport of [viewports.narrow, viewports.desktop]) {
      await page.setViewportSize(viewport);
      expect(await faults(playground), `${state}, ${viewport.width} pixels wide`).toEqual([]);
    }
    expect(await page.evaluate<number>(`document.getAnimations().length`), state).toBe(0);
  };
  await playground.button("Stop loading").waitFor();
  await onBoth("loading");
  await playground.worker.evaluate("releaseAdapter()");
  await playground.waitUntilReady();
  await playground.worker.evaluate("gate.hold()");
  await playground.button("Ask").click();
  await playground.button("Stop").waitFor();
  await onBoth("asking");
});

/** Ask is in reach from the page's top and asks; the answers come into sight; and nothing is said of keys. */
async function expectForThumbs(playground: Playground): Promise<void> {
  const { page } = playground;
  await page.evaluate("scrollTo(0, 0)");
  expect(await page.evaluate<boolean>(isAskInSight)).toBe(true);
  await page.evaluate(markAnswers);
  await playground.button("Ask").tap();
  await playground.waitForAnswers();
  const { top, height } = JSON.parse(await page.evaluate<string>(answersInWindow)) as Record<string, number>;
  expect(top).toBeGreaterThanOrEqual(0);
  expect(top).toBeLessThan((height ?? 0) / 2);
  expect(await page.getByText("By keyboard").filter({ visible: true }).count()).toBe(0);
}

const isAskInSight = `(() => {
  const ask = document.querySelector(".ask-bar .primary");
  const { left, top, width, height } = ask.getBoundingClientRect();
  return document.elementFromPoint(left + width / 2, top + height / 2) === ask;
})()`;
const answersInWindow = `JSON.stringify({
  top: document.getElementById("answers").getBoundingClientRect().top, height: innerHeight })`;

/** Of the layout, and of axe-core in both colour schemes. */
async function faults({ page }: Playground): Promise<string[]> {
  const found = [...(await layoutFaults(page))];
  const size = page.viewportSize() ?? viewports.desktop;
  // In a window as high as the page nothing that sticks to an edge covers, for a moment, what can be scrolled free of it.
  await page.setViewportSize({ ...size, height: 4000 });
  for (const [colorScheme, of] of [
    ["light", "everything"],
    ["dark", "colors"], // the schemes differ in nothing else: in the style sheet's light-dark()
  ] as const) {
    await page.emulateMedia({ colorScheme });
    found.push(...(await seriousFindings(page, of)).map((finding) => `${colorScheme}: ${finding}`));
  }
  await page.setViewportSize(size);
  return found;
}
