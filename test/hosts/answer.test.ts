// One core, every host: the built bundles answer the same question in Node, Bun, Chromium and Deno with the same ids. Firefox is in
// test/browser.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, type TestContext, test } from "vitest";
import { driverEnvironment } from "../../src/gpu/hosts/vulkan-drivers.node.ts";
import type * as adaptvis from "../../src/index.node.ts";
import { runInChromium } from "../browser/chromium.ts";
import { runInDeno } from "../deno/deno.ts";
import { bundleProgram, removePrograms, repositoryRoot } from "../setup/bundle.ts";
import { softwareAdapter } from "../setup/device.ts";
import { runProgram } from "../setup/run-program.ts";
import { ask, differences, type HostAnswer } from "./ask.ts";
import { executableOf, RUNTIMES, type Runtime } from "./runtimes.ts";

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

describe.each(RUNTIMES)("%s", (runtime) => {
  test("gives the ids of this Node", async (context) => {
    const driver = softwareAdapter();
    const env = runtime === "bun" ? await driverEnvironment(driver) : {};
    const output = await outputOf(runtime, { context, driver, env });
    expect(differences(output as HostAnswer, expected)).toEqual([]); // what answer.node.ts prints
  });
});

test("Bun, whose process.env the Vulkan loader does not see, says which variables to start it with", async (context) => {
  const none = { VK_ICD_FILENAMES: "/nonexistent/icd.json", VK_DRIVER_FILES: "/nonexistent/icd.json" };
  const output = await outputOf("bun", { context, driver: "swiftshader", env: none });
  expect(output).toMatchObject({ reason: "no-adapter", message: expect.stringContaining("In Bun, start") });
  for (const [name, value] of Object.entries(await driverEnvironment("swiftshader")))
    expect(output).toMatchObject({ message: expect.stringContaining(`${name}=${value}`) });
});

/** What answer.node.ts prints in a runtime; the test is skipped where that was not fetched. */
async function outputOf(
  runtime: Runtime,
  options: {
    readonly context: TestContext;
    readonly driver: "lavapipe" | "swiftshader";
    readonly env: Readonly<Record<string, string>>;
  },
): Promise<unknown> {
  const executable = executableOf(runtime);
  if (executable === undefined) options.context.skip(`${runtime} was not fetched; npm run runtimes fetches it`);
  const program = await bundleProgram("test/hosts/answer.node.ts", "node");
  const args = [program, pathToFileURL(join(DIST, "node.js")).href, MODEL, options.driver];
  const { ending, stdout, stderr } = await runProgram(executable, args, { env: options.env });
  if (ending !== 0) throw new Error(`${runtime} ended with ${ending}:\n${stderr}`);
  return JSON.parse(stdout);
}
