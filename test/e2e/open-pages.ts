// One browser and server a test file, every page closed after its test, and a test that fails on errors nobody expected. Tests
// that do not concern loading share loaded pages: SwiftShader takes five seconds to compile a model's kernels.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect } from "vitest";
import { repositoryRoot } from "../setup/bundle.ts";
import { type PageOptions, type Playground, Playgrounds } from "./playground.ts";
import { countsWorkgroups, gatesReadbacks, watchesBlobs } from "./preludes.ts";

/** What `npm run build:app` makes; tools/test.mjs does before the tests. */
const APP = join(repositoryRoot, "dist", "app");

/** The page that the tests of every file in this process share, and its own browser. */
let plain: { readonly playgrounds: Playgrounds; page: Playground | undefined } | undefined;

/** For the top of a test file. @returns what its tests open pages with, and its server. */
export function openPages(): {
  /** Opens a page; errors in it fail the test, unless it empties {@link Playground.problems}. */
  readonly open: (options?: PageOptions) => Promise<Playground>;
  /**
   * A function for the file's tests: the page with the embedded model loaded, opened once and left as the test before left it.
   * After a test that fails the next one has a new page.
   */
  readonly share: (options: PageOptions) => () => Promise<Playground>;
  /**
   * The desktop page with the embedded model loaded that the tests of all files share, with scene, question and controls as at
   * first ({@link Playground.startOver}); the last answer stays. After a test that fails the next one has a new page. Its worker
   * has {@link countsWorkgroups}, {@link watchesBlobs} and {@link gatesReadbacks}.
   */
  readonly openLoaded: () => Promise<Playground>;
  /** Ends the server. */
  readonly switchOff: () => void;
} {
  let playgrounds: Playgrounds | undefined;
  const opened: Playground[] = [];
  const shared: { page: Playground | undefined }[] = [];
  beforeAll(() => {
    if (!existsSync(join(APP, "index.html"))) throw new Error("dist/app is missing: run npm run build:app first.");
  });
  afterEach(async ({ task }) => {
    const kept = [plain, ...shared].filter((place) => place !== undefined);
    const problems = [...opened, ...kept.map(({ page }) => page)].flatMap((page) => page?.problems.splice(0) ?? []);
    await Promise.all(opened.splice(0).map((playground) => playground.close()));
    const isGood = task.result?.state !== "fail" && problems.length === 0;
    for (const place of isGood ? [] : kept) {
      await place.page?.close();
      place.page = undefined;
    }
    expect(problems, "errors in the page").toEqual([]);
  });
  afterAll(() => playgrounds?.close());
  const started = async () => {
    playgrounds ??= await Playgrounds.start(APP);
    return playgrounds;
  };
  return {
    async open(options) {
      const playground = await (await started()).open(options);
      opened.push(playground);
      return playground;
    },
    share(options) {
      const place: (typeof shared)[number] = { page: undefined };
      shared.push(place);
      return async () => {
        place.page ??= await (await started()).open(options);
        await place.page.waitUntilReady();
        return place.page;
      };
    },
    async openLoaded() {
      plain ??= { playgrounds: await Playgrounds.start(APP), page: undefined };
      plain.page ??= await plain.playgrounds.open({ workerPrelude: countsWorkgroups + watchesBlobs + gatesReadbacks });
      await plain.page.waitUntilReady();
      await plain.page.startOver();
      return plain.page;
    },
    switchOff: () => playgrounds?.switchOff(),
  };
}
