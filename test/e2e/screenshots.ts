// The set of pictures of the playground that is looked at: every state at phone and desktop width, in light and dark.

import { type PageOptions, type Playground, Playgrounds, viewports } from "./playground.ts";
import { gatesReadbacks, hasCamera, keepsDevices, withoutAdapter, withoutMemory, withoutWebGpu } from "./preludes.ts";

/** A state of the page, reached from a fresh one. */
interface Scene {
  readonly name: string;
  readonly options?: PageOptions & {
    /** Pictures the window in place of the whole page. */
    readonly isWindow?: boolean;
  };
  readonly reach: (playground: Playground) => Promise<void>;
}

const expectOn = async ({ page }: Playground) => page.locator("dialog button.primary:not([disabled])").waitFor();

const failure = async ({ page }: Playground) => page.getByRole("alert").first().waitFor();

const answered = async (playground: Playground) => {
  await playground.waitUntilReady();
  await playground.askAndWait();
};

const scenes: readonly Scene[] = [
  {
    name: "loading",
    options: { workerPrelude: gatesReadbacks },
    reach: (playground) => playground.page.locator(".load-strip").waitFor(),
  },
  {
    name: "opening",
    options: { isOpening: true },
    reach: async ({ page }) => page.locator(".verdict").waitFor(),
  },
  { name: "fresh", reach: (playground) => playground.waitUntilReady() },
  { name: "answered", reach: answered },
  {
    name: "factor",
    reach: async (playground) => {
      await answered(playground);
      for (const value of ["0.5", "2", "1.5"]) {
        await playground.page.getByRole("slider", { name: "Factor" }).fill(value);
        await playground
          .card("Your factor")
          .filter({ hasText: `Factor ${value}` })
          .waitFor();
      }
      await playground.page.getByRole("slider", { name: "Layer" }).fill("3");
      await playground.page.getByRole("combobox", { name: "Head" }).selectOption("0");
    },
  },
  {
    name: "enlarged",
    options: { isOpening: true, isWindow: true },
    reach: async (playground) => {
      await playground.page.locator(".verdict").waitFor();
      await playground.button(/^Enlarge the map, AdaptVis/).click();
      await playground.button("Zoom in").click();
    },
  },
  {
    name: "asked-on-phone",
    options: { hasTouch: true, isWindow: true },
    reach: answered,
  },
  {
    name: "models",
    reach: async (playground) => {
      await playground.waitUntilReady();
      await playground.button("Change the model").click();
      await playground.page.getByText("Suggestions").waitFor();
    },
  },
  {
    name: "camera",
    options: { pagePrelude: hasCamera, isWindow: true },
    reach: async (playground) => {
      await playground.waitUntilReady();
      await playground.page.getByRole("radio", { name: "Your picture" }).check();
      await playground.button("Use the camera").click();
      await expectOn(playground);
    },
  },
  {
    name: "kernels",
    reach: async (playground) => {
      await answered(playground);
      await playground.showPasses();
      await playground.page.evaluate(`location.hash = "pass=70"`);
      await playground.page.locator("#pass-70-detail").waitFor();
      await playground.page.locator("#pass-70-detail summary").last().click();
    },
  },
  {
    name: "own-picture",
    reach: async (playground) => {
      await playground.waitUntilReady();
      await playground.page.getByRole("radio", { name: "Your picture" }).check();
      await playground.button(/^Example: .*guitar/).click();
      await playground.page.getByRole("img", { name: /gift_behind_guitar/ }).waitFor();
      await playground.askAndWait();
    },
  },
  {
    name: "later-panels",
    reach: async (playground) => {
      const { page } = playground;
      await answered(playground);
      await page.locator("#conversation").getByLabel("Your follow-up").fill("Where is the dog?");
      await playground.button("Ask this too").click();
      await page.locator("#conversation .turn .hint").first().waitFor();
      await playground.button("Show where it looked").click();
      await page.locator("#words figcaption").waitFor();
      await page.locator("#compare").getByRole("button", { name: "Compare" }).click();
      await page.getByRole("article", { name: "Answer B" }).waitFor();
    },
  },
  {
    name: "asking",
    options: { workerPrelude: gatesReadbacks },
    reach: async (playground) => {
      await playground.waitUntilReady();
      await playground.worker.evaluate("gate.hold()");
      await playground.button("Ask").click();
      await playground.button("Stop").waitFor();
    },
  },
  {
    name: "bad-picture",
    reach: async (playground) => {
      await playground.waitUntilReady();
      await playground.page.getByRole("radio", { name: "Your picture" }).check();
      const file = { name: "notes.jpg", mimeType: "image/jpeg", buffer: Buffer.from("This is a text.") };
      await playground.page.getByLabel("Choose a picture").setInputFiles(file);
      await failure(playground);
    },
  },
  {
    name: "device-lost",
    options: { workerPrelude: keepsDevices },
    reach: async (playground) => {
      await answered(playground);
      await playground.worker.evaluate("devices.at(-1).destroy()");
      await playground.notice("The GPU was lost");
    },
  },
  {
    name: "no-webgpu",
    options: { pagePrelude: withoutWebGpu, workerPrelude: withoutWebGpu, isOpening: true },
    reach: async (playground) => {
      await failure(playground);
      await playground.page.getByRole("heading", { name: "A recorded example" }).waitFor();
    },
  },
  { name: "no-adapter", options: { workerPrelude: withoutAdapter }, reach: failure },
  { name: "out-of-memory", options: { workerPrelude: withoutMemory }, reach: failure },
];

/**
 * Takes the pictures one after the other.
 * @param app the folder that `npm run build:app` makes
 * @param names only pictures whose name contains one of these; all unless given
 * @returns the files as they come, `STATE-WIDTH-COLOURS.png`; a state that cannot be reached is told as such and left out.
 */
export async function* takeScreenshots(
  app: string,
  { folder, names }: { readonly folder: string; readonly names: readonly string[] },
): AsyncGenerator<string> {
  const playgrounds = await Playgrounds.start(app);
  try {
    for (const { name, options, reach } of scenes) {
      for (const width of ["phone", "desktop"] as const) {
        for (const colorScheme of ["light", "dark"] as const) {
          const file = `${name}-${width}-${colorScheme}`;
          if (names.length > 0 && !names.some((part) => file.includes(part))) continue;
          const playground = await playgrounds.open({ ...options, viewport: viewports[width], colorScheme });
          playground.page.setDefaultTimeout(60_000);
          try {
            await reach(playground);
          } catch (error) {
            yield `${file}: not reached, as it stands: ${String(error).split("\n")[0]}`;
          }
          yield await playground.screenshot(folder, file, options?.isWindow !== true);
          for (const problem of playground.problems) yield `${file}: the page's error: ${problem}`;
          await playground.close();
        }
      }
    }
  } finally {
    await playgrounds.close();
  }
}
