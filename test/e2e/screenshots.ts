// The set of pictures of the playground that is looked at: every state at phone and desktop width, in light and dark.

import { type PageOptions, type Playground, Playgrounds, viewports } from "./playground.ts";
import { withoutAdapter, withoutMemory, withoutWebGpu } from "./preludes.ts";

/** A state of the page, reached from a fresh one. */
interface Scene {
  readonly name: string;
  readonly options?: PageOptions;
  readonly reach: (playground: Playground) => Promise<void>;
}

const failure = async ({ page }: Playground) => page.getByRole("alert").first().waitFor();

const scenes: readonly Scene[] = [
  { name: "fresh", reach: (playground) => playground.waitUntilReady() },
  {
    name: "answered",
    reach: async (playground) => {
      await playground.waitUntilReady();
      await playground.askAndWait();
    },
  },
  { name: "no-webgpu", options: { pagePrelude: withoutWebGpu, workerPrelude: withoutWebGpu }, reach: failure },
  { name: "no-adapter", options: { pagePrelude: withoutAdapter, workerPrelude: withoutAdapter }, reach: failure },
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
          playground.page.setDefaultTimeout(30_000);
          try {
            await reach(playground);
          } catch (error) {
            yield `${file}: not reached, as it stands: ${String(error).split("\n")[0]}`;
          }
          yield await playground.screenshot(folder, file);
          for (const problem of playground.problems) yield `${file}: the page's error: ${problem}`;
          await playground.close();
        }
      }
    }
  } finally {
    await playgrounds.close();
  }
}
