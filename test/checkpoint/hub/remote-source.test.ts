// A look at a model of the hub: its headers come by ranges, and nothing of it is kept.
import { readdir } from "node:fs/promises";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { openCheckpoint } from "../../../src/checkpoint/checkpoint.ts";
import { pullModel } from "../../../src/checkpoint/hub/pull.node.ts";
import { viewModel } from "../../../src/checkpoint/hub/remote-source.node.ts";
import { tinySpatial } from "../../cli/command.ts";
import { type LocalHub, startLocalHub } from "../../setup/local-hub.ts";
import {
  newFolder,
  removeFolders,
  settingsFor,
  shardedRepo,
  TINY_SPATIAL_COMMIT,
  tinySpatialRepo,
} from "./fixtures.ts";

let hub: LocalHub;

beforeAll(async () => {
  hub = await startLocalHub();
  hub.repos.set("org/tiny", await tinySpatialRepo()).set("org/sharded", await shardedRepo());
});

beforeEach(() => {
  hub.fault = () => undefined;
  hub.calls.length = 0;
});

afterAll(async () => {
  await hub.close();
  await removeFolders();
});

/** Bytes of each range of a weight file that was asked for. */
function weightRanges(): readonly number[] {
  return hub.calls
    .filter(({ kind }) => kind === "cdn")
    .map(({ range }) => {
      const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(range ?? "") ?? [];
      return Number(last) + 1 - Number(first);
    });
}

test("of weights, only headers are asked for, and the cache stays empty", async () => {
  const settings = await settingsFor(hub);
  const before = hub.sentBytes();
  const view = await viewModel("org/tiny", { settings });
  const checkpoint = await openCheckpoint(view.source);
  const local = await openCheckpoint((await viewModel(tinySpatial)).source);
  expect([...checkpoint.tensors.keys()]).toEqual([...local.tensors.keys()]);
  expect(view).toMatchObject({ name: "org/tiny", commit: TINY_SPATIAL_COMMIT });
  const files = hub.repos.get("org/tiny")?.commits[TINY_SPATIAL_COMMIT];
  const weights = files?.get("model.safetensors")?.length ?? 0;
  expect(view.downloadBytes).toBeGreaterThan(weights);
  expect(view.downloadBytes).toBeLessThan(weights + 200_000); // and the small files, without the pickled twin
  expect(weightRanges()).toEqual([8, expect.any(Number)]); // the length of the header, and the header
  expect(Math.max(...weightRanges())).toBeLessThan(0.02 * weights);
  expect(hub.sentBytes() - before).toBeLessThan(0.05 * weights);
  expect(await readdir(settings.cacheFolder).catch(() => [])).toEqual([]);
  await local.close();
});

test("shards are found by their index; a complete copy in the cache is taken instead", async () => {
  const settings = await settingsFor(hub);
  const view = await viewModel("org/sharded", { settings });
  await openCheckpoint(view.source);
  expect(weightRanges()).toHaveLength(2 * 3); // the length and the header of each
  const pulled = await pullModel("org/sharded", { settings });
  expect(view.downloadBytes).toBe(pulled.files.reduce((sum, { size }) => sum + size, 0));
  hub.calls.length = 0;
  const cached = await viewModel("org/sharded", { settings });
  await openCheckpoint(cached.source);
  expect(cached).toMatchObject({ name: "org/sharded", commit: pulled.commit, downloadBytes: 0 });
  expect(hub.calls.map(({ kind }) => kind)).toEqual(["api"]); // what main is now
  const offline = await viewModel("org/sharded", { settings: { ...settings, isOffline: true } });
  expect(offline.downloadBytes).toBe(0);
  expect(hub.calls).toHaveLength(1);
  await Promise.all([cached.source.close?.(), offline.source.close?.()]);
});

test("a server that ignores ranges, one that breaks off, and models that are not there", async () => {
  const settings = await settingsFor(hub);
  const look = async (id: string) => openCheckpoint((await viewModel(id, { settings })).source);
  hub.fault = ({ kind }) => (kind === "cdn" ? { isWhole: true } : undefined);
  await expect(look("org/tiny")).rejects.toThrow(
    /^model.safetensors cannot be read in ranges: asked for bytes from 0 to 7 of \d+, the server sent status 200; /,
  );
  let isBroken = true;
  hub.fault = ({ kind }) => {
    if (kind !== "cdn" || !isBroken) return undefined;
    isBroken = false;
    return { breakAfter: 3 };
  };
  await expect(look("org/tiny")).resolves.toBeDefined(); // asked for again
  await expect(look("org/absent")).rejects.toThrow(/^There is no model org\/absent at /);
  await expect(look(`${await newFolder()}/absent`)).rejects.toThrow("does not exist");
});
