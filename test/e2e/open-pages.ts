// One browser and server a test file, every page closed after its test, and a test that fails on errors nobody expected.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect } from "vitest";
import { repositoryRoot } from "../setup/bundle.ts";
import { type PageOptions, type Playground, Playgrounds } from "./playground.ts";

/** What `npm run build:app` makes; tools/test.mjs does before the tests. */
const APP = join(repositoryRoot, "dist", "app");

/** For the top of a test file. @returns what its tests open pages with, and its server. */
export function openPages(): {
  /** Opens a page; errors in it fail the test, unless it empties {@link Playground.problems}. */
  readonly open: (options?: PageOptions) => Promise<Playground>;
  /** Ends the server. */
  readonly switchOff: () => void;
} {
  let playgrounds: Playgrounds | undefined;
  const opened: Playground[] = [];
  beforeAll(async () => {
    if (!existsSync(join(APP, "index.html"))) throw new Error("dist/app is missing: run npm run build:app first.");
    playgrounds = await Playgrounds.start(APP);
  });
  afterEach(async () => {
    const problems = opened.flatMap((playground) => playground.problems);
    await Promise.all(opened.splice(0).map((playground) => playground.close()));
    expect(problems, "errors in the page").toEqual([]);
  });
  afterAll(() => playgrounds?.close());
  const started = () => {
    if (playgrounds === undefined) throw new Error("The browser has not started.");
    return playgrounds;
  };
  return {
    async open(options) {
      const playground = await started().open(options);
      opened.push(playground);
      return playground;
    },
    switchOff: () => started().switchOff(),
  };
}
