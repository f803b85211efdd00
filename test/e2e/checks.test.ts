// The checks of layout and accessibility find what they are there for: each fault on a small page of its own.

import { expect, test } from "vitest";
import { seriousFindings } from "./accessibility.ts";
import { layoutFaults } from "./layout.ts";
import { openPages } from "./open-pages.ts";
import { withoutWebGpu } from "./preludes.ts";

const { open } = openPages();
const GOOD = `<!doctype html><html lang="en"><title>A page</title><main><h1>A page</h1><button>Press</button></main>`;

test.each([
  ["nothing", "", []],
  [
    "a page that is too wide",
    `<p style="width: 2000px">wide</p>`,
    [/^the page is 20\d\d pixels wide in a window of 1280$/],
  ],
  [
    "a covered button",
    `<button>Under</button><div style="position: fixed; inset: 0">over</div>`,
    [/"Under" is covered/, /"Press" is covered/],
  ],
  [
    "overlapping buttons",
    `<button>One</button><button style="margin-left: -20px">Two</button>`,
    [/"One" overlaps button "Two"/],
  ],
  [
    "text that is cut off",
    `<p style="width: 40px; overflow: hidden; white-space: nowrap">a long text</p>`,
    [/cut off at its side/],
  ],
  [
    "lines that are cut off",
    `<p style="width: 40px; height: 20px; overflow: hidden">a long text</p>`,
    [/cut off below/],
  ],
])("layout: %s", async (_, html, expected) => {
  const { page } = await open({ pagePrelude: withoutWebGpu, workerPrelude: withoutWebGpu });
  await page.setContent(GOOD.replace("</main>", `${html}</main>`));
  const faults = await layoutFaults(page);
  for (const pattern of expected) expect(faults).toContainEqual(expect.stringMatching(pattern));
  if (expected.length === 0) expect(faults).toEqual([]);
});

test("accessibility: targets that are small and close are found", async () => {
  const { page } = await open({ pagePrelude: withoutWebGpu, workerPrelude: withoutWebGpu });
  const small = `<button style="font-size: 8px; padding: 0">a</button><button style="font-size: 8px; padding: 0">b</button>`;
  await page.setContent(GOOD.replace("</main>", `<p>${small}</p></main>`));
  expect((await seriousFindings(page)).map((finding) => finding.split(":")[0])).toEqual(["target-size"]);
});

test("accessibility: a button without a name and a pale text are found, in the colours of the scheme", async () => {
  const { page } = await open({ pagePrelude: withoutWebGpu, workerPrelude: withoutWebGpu });
  await page.setContent(GOOD);
  expect(await seriousFindings(page)).toEqual([]);
  const pale = `<p style="background: light-dark(white, #777); color: light-dark(black, white)">text</p>`;
  await page.setContent(
    GOOD.replace(
      "</main>",
      `<button style="width: 3em; height: 3em"></button>${pale}<style>:root { color-scheme: light dark }</style></main>`,
    ),
  );
  expect(await seriousFindings(page)).toEqual([expect.stringContaining("button-name")]);
  await page.emulateMedia({ colorScheme: "dark" });
  expect((await seriousFindings(page)).map((finding) => finding.split(":")[0])).toEqual([
    "button-name",
    "color-contrast",
  ]);
});
