// decode-image.browser.ts in headless Chromium, on the same files as the decoder of Node.

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runInChromium } from "../browser/chromium.ts";
import { bundleProgram, removePrograms } from "../setup/bundle.ts";
import type { BrowserResult } from "./decode.browser.ts";
import { decodedCases, JPEG_AND_WEBP_BOUND, refusedCases } from "./decode-golden.ts";
import { goldenPath } from "./golden.ts";

const { cases, title } = decodedCases();
let results: Readonly<Record<string, BrowserResult>> = {};

beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), "adaptvis-browser-"));
  const names = [...cases, ...refusedCases()].map(({ file }) => file);
  await writeFile(join(folder, "names.json"), JSON.stringify(names));
  await Promise.all(cases.map(({ file, pixels }) => writeFile(join(folder, `${file}.raw`), pixels)));
  const source = await readFile(await bundleProgram("test/preprocess/decode.browser.ts", "browser"), "utf8");
  const found = await runInChromium(source, { "/data": folder, "/files": goldenPath("files") });
  results = found as Readonly<Record<string, BrowserResult>>; // what run() of that module returns
  await rm(folder, { recursive: true });
});
afterAll(removePrograms);

test(`Chromium's decoders equal ${title}, transparent and turned pictures included`, () => {
  // What Node decodes and Chromium does not.
  const refused = ["16-bit-grey.png", "some.bmp", "some.gif", "arithmetic.jpg"];
  for (const { file, size } of cases.filter((one) => !refused.includes(one.file))) {
    const result = results[file];
    const isLossy = !file.endsWith(".png") && !file.includes("lossless");
    expect(result, file).toMatchObject({ size });
    expect(result?.max, file).toBeLessThanOrEqual(isLossy ? JPEG_AND_WEBP_BOUND.max : 0);
  }
  for (const file of refused) expect(results[file], file).toMatchObject({ isInputError: true });
});

test("what PIL refuses is an InputError with the file's name", () => {
  for (const { file } of refusedCases()) {
    expect(results[file], file).toMatchObject({ isInputError: true });
    expect(results[file]?.error).toContain(file);
  }
});
