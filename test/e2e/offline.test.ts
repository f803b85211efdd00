// The page works without a server once it has been there.

import { expect, test } from "vitest";
import { openPages } from "./open-pages.ts";

const { open, switchOff } = openPages();

test("after one visit the page loads and answers with the server gone", async () => {
  const playground = await open({ serviceWorkers: true });
  await playground.waitUntilReady();
  await playground.page.getByText("Works offline").waitFor();
  switchOff();
  await playground.page.reload();
  await playground.waitUntilReady();
  await playground.askAndWait();
  expect(await playground.answer("Greedy")).toBe("Left");
  expect(await playground.answer("AdaptVis")).toBe("Left");
  // The panels that come later and the example pictures are kept too.
  await playground.page.getByRole("region", { name: "Compare two methods" }).waitFor();
  await playground.page.getByRole("radio", { name: "Your picture" }).check();
  await playground.button(/^Example: .*bucket/).click();
  await playground.page.getByRole("img", { name: /bucket_right_of_cat\.png/ }).waitFor();
});
