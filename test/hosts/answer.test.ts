// One core, three hosts: the built bundles answer the same question in Node, Chromium and Deno with the same ids.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import type * as adaptvis from "../../src/index.node.ts";
import { runInChromium } from "../browser/chromium.ts";
import { runInDeno } from "../deno/deno.ts";
import { bundleProgram, removePrograms, repositoryRoot } from "../setup/bundle.ts";
import { runProgram } from "../setup/run-program.ts";
import { ask, differences, type HostAnswer } from "./ask.ts";

const MODEL = join(repositoryRoot, "weights", "tiny-spatial");
const DIST = join(repositoryRoot, "dist");
let expected: HostAnswer;

beforeAll(async () => {
  const built = await runProgram(process.execPath, [join(repositoryRoot, "tools", "build.mjs")]);
  expect(built.ending, built.stderr).toBe(0);
  const host = (await import(pathToFileURL(join(DIST, "node.js")).href)) as typeof adaptvis; // the bundle of that module
  const { adapter } = await host.openNodeAdapter("swiftshader");
  expected = await ask(host, host.fileSource(MODEL), await host.requestGpuDevice(adapter));
});

afterAll(removePrograms);

test("Node answers from the built bundle", () => {
  expect(expected.ids).toHaveLength(6);
  expect(expected.text.trim()).not.toBe("");
  expect(expected.confidence).toBeGreaterThan(0);
});

test("headless Chromium gives Node's ids", async () => {
  const page = await readFile(await bundleProgram("test/browser/answer.browser.ts", "browser"), "utf8");
  const actual = await runInChromium(page, { "/dist": DIST, "/model": MODEL });
  expect(differences(actual as HostAnswer, expected)).toEqual([]); // what answer.browser.ts returns
});

test("Deno gives Node's ids", async () => {
  const program = await bundleProgram("test/deno/answer.deno.ts", "deno");
  const { stdout } = await runInDeno(program, [pathToFileURL(join(DIST, "deno.js")).href, MODEL]);
  const [actual] = JSON.parse(stdout) as [HostAnswer]; // what answer.deno.ts prints
  expect(differences(actual, expected)).toEqual([]);
});
