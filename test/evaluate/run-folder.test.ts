// The lock of a run's folder: taken over from a process that is gone, whenever it was killed.
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { InputError } from "../../src/errors.ts";
import { type Manifest, RunFolder, type RunIdentity } from "../../src/evaluate/run/run-folder.node.ts";

const MANIFEST: Manifest = {
  format: 1,
  identity: { dataset: "VSR", methods: { greedy: {} } } as unknown as RunIdentity, // nothing here reads the rest
  shard: null,
  about: {},
};

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "adaptvis-run-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

test.each([
  ["of a process that is gone", JSON.stringify({ pid: 2 ** 30, host: hostname() })],
  ["of a process that was killed before it wrote who it is", ""],
])("a lock %s is taken over", async (_, lock) => {
  await writeFile(join(folder, "lock"), lock);
  const run = await RunFolder.open(folder, MANIFEST);
  run.close();
  expect(existsSync(join(folder, "lock"))).toBe(false);
});

test("a lock of a process that runs is respected", async () => {
  await writeFile(join(folder, "lock"), JSON.stringify({ pid: process.pid, host: hostname() }));
  await expect(RunFolder.open(folder, MANIFEST)).rejects.toThrow(InputError);
  expect(existsSync(join(folder, "lock"))).toBe(true);
});
