// The prediction of a model's speed, by arithmetic, and the file that the rates of an adapter are kept in.
import { readFile, rm, writeFile } from "node:fs/promises";
import { afterEach, expect, test, vi } from "vitest";
import { type MachineSpeed, parseSpeed, predictSpeed } from "../../src/bench/machine-speed.ts";
import { keepSpeed, readSpeed, speedFile } from "../../src/cli/speed-cache.ts";
import { newFolder, removeFolders } from "../checkpoint/hub/fixtures.ts";

const SPEED: MachineSpeed = {
  format: 1,
  key: "an adapter",
  readGbps: 10,
  dispatchUs: 50,
  readbackMs: 2,
  matvecGbps: { f32: 8, f16: 6, q8: 4, q4: 2 },
  matmulGflops: { f32: 100, f16: 80, q8: 50, q4: 40 },
};

afterEach(async () => {
  vi.unstubAllEnvs();
  await removeFolders();
});

test("weights at their dtype's rate, attention, keys and values, dispatches and a readback", () => {
  const work = {
    stepBytes: { q4: 400e6, q8: 40e6, bf16: 6e6 },
    stepDispatches: 100,
    rowMacs: { q4: 80e6, bf16: 4e6 },
    attentionMacs: 1e6,
    promptDispatches: 200,
  };
  const { promptMs, promptRate, tokenMs, tokenRate } = predictSpeed(
    { work, cacheBytesPerToken: 1e6, promptLength: 99 },
    SPEED,
  );
  // 200 + 10 + 1 ms of weights, 9.9 of keys and values, 5 of dispatches, 2 of reading back
  expect(tokenMs).toBeCloseTo(227.9, 9);
  expect(tokenRate).toBeCloseTo(1000 / 227.9, 9);
  // 2 operations · 99 rows · (80e6 / 40 + 4e6 / 80) / 1e6, 99 · 100 / 2 keys · 2 operations, 10 of dispatches, 2 of reading back
  expect(promptMs).toBeCloseTo(2 * 99 * (2 + 0.05) + 99 + 10 + 2, 9);
  expect(promptRate).toBeCloseTo((1000 * 99) / promptMs, 9);
});

test("rates that were kept are read again for their adapter only; what is damaged is none", async () => {
  vi.stubEnv("XDG_CACHE_HOME", await newFolder());
  expect(await readSpeed(SPEED.key)).toBeUndefined();
  const file = speedFile(SPEED.key);
  expect(await keepSpeed(SPEED)).toBe(`kept in ${file}`);
  expect(await readSpeed(SPEED.key)).toEqual(SPEED);
  expect(await readSpeed("another adapter")).toBeUndefined();
  await writeFile(file, (await readFile(file, "utf8")).replace("an adapter", "a third"));
  expect(await readSpeed(SPEED.key)).toBeUndefined();
  await writeFile(file, "{");
  expect(await readSpeed(SPEED.key)).toBeUndefined();
  await rm(file);
});

test("where nothing can be written, rates are of use for the run alone", async () => {
  vi.stubEnv("XDG_CACHE_HOME", "/proc/none");
  expect(await keepSpeed(SPEED)).toMatch(/^not kept: ENOENT/);
});

test.each([
  null,
  { ...SPEED, format: 2 },
  { ...SPEED, readGbps: 0 },
  { ...SPEED, dispatchUs: Number.NaN },
  { ...SPEED, matvecGbps: { f32: 1, f16: 1, q8: 1 } },
  { ...SPEED, matmulGflops: undefined },
])("refuses %j", (value) => {
  expect(() => parseSpeed(value)).toThrow("measure them again");
});
