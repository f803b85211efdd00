// From what a user calls a model to its folder; what the cache holds; sources from the hub.

import { cp, mkdir, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { openCheckpoint } from "../../../src/checkpoint/checkpoint.ts";
import { cachedModels, findModel, removeModel } from "../../../src/checkpoint/hub/cached-models.node.ts";
import type { HubSettings } from "../../../src/checkpoint/hub/hub-settings.node.ts";
import { pullModel } from "../../../src/checkpoint/hub/pull.node.ts";
import { hubSource, resolveModel } from "../../../src/checkpoint/hub/resolve-model.node.ts";
import { AbortError } from "../../../src/errors.ts";
import { commitNamed, type LocalHub, startLocalHub } from "../../setup/local-hub.ts";
import { newFolder, removeFolders, repoOf, settingsFor, shardedRepo } from "./fixtures.ts";

const ID = "org/sharded";
const COMMIT = commitNamed("sharded");

let hub: LocalHub;
let settings: HubSettings;
/** A cache that has the model. */
let full: string;

beforeAll(async () => {
  hub = await startLocalHub();
  hub.repos.set(ID, await shardedRepo());
  settings = await settingsFor(hub);
  await pullModel(ID, { settings });
  full = settings.cacheFolder;
});

beforeEach(async () => {
  hub.fault = () => undefined;
  hub.calls.length = 0;
  const cacheFolder = join(await newFolder(), "hub");
  await cp(full, cacheFolder, { recursive: true, verbatimSymlinks: true });
  settings = { ...settings, cacheFolder, isOffline: false };
});

afterEach(() => vi.unstubAllEnvs());

afterAll(async () => {
  await hub.close();
  await removeFolders();
});

const repoFolder = () => join(settings.cacheFolder, "models--org--sharded");
const snapshot = () => join(repoFolder(), "snapshots", COMMIT);

describe("a model's name", () => {
  test("an existing folder wins over an id of the same name", async () => {
    const parent = await newFolder();
    await mkdir(join(parent, "org", "sharded"), { recursive: true });
    const before = process.cwd();
    process.chdir(parent);
    try {
      expect(await resolveModel(ID, { settings })).toEqual({ folder: ID, name: ID, commit: undefined });
    } finally {
      process.chdir(before);
    }
    expect(hub.calls).toEqual([]);
  });

  test("an id that is in the cache costs one request; a commit, and offline mode, none", async () => {
    const found = { folder: snapshot(), name: ID, commit: COMMIT };
    expect(await resolveModel(ID, { settings })).toEqual(found);
    expect(hub.calls).toHaveLength(1);
    hub.calls.length = 0;
    expect(await resolveModel(ID, { settings, revision: COMMIT })).toEqual(found);
    expect(await resolveModel(ID, { settings: { ...settings, isOffline: true } })).toEqual(found);
    expect(hub.calls).toEqual([]);
  });

  test("the repository's folder, a snapshot and a link to one are folders of the model", async () => {
    const found = { name: ID, commit: COMMIT };
    expect(await resolveModel(repoFolder(), { settings })).toEqual({ ...found, folder: snapshot() });
    expect(await resolveModel(snapshot(), { settings })).toEqual({ ...found, folder: snapshot() });
    const link = join(await newFolder(), "link");
    await symlink(snapshot(), link);
    expect(await resolveModel(link, { settings })).toEqual({ ...found, folder: link });
    await rm(join(repoFolder(), "refs"), { recursive: true });
    expect((await resolveModel(`${repoFolder()}/`, { settings })).folder).toBe(snapshot()); // the only one
    await expect(resolveModel(repoFolder(), { settings, revision: "v2" })).rejects.toThrow(
      /has no snapshot of v2, but the snapshots/,
    );
    expect(hub.calls).toEqual([]);
  });

  test("what is neither", async () => {
    await expect(resolveModel("./none", { settings })).rejects.toThrow(
      /^\.\/none does not exist, and is not an id on the hub/,
    );
    await expect(resolveModel("none", { settings })).rejects.toThrow(/not an id on the hub/);
    const file = join(await newFolder(), "file");
    await writeFile(file, "");
    await expect(resolveModel(file, { settings })).rejects.toThrow(/is not a folder: expected/);
    const folder = await newFolder();
    await expect(resolveModel(folder, { settings, revision: "main" })).rejects.toThrow(
      /A revision \(main\) is given for the folder/,
    );
  });
});

describe("when the hub has changed, or does not answer", () => {
  test("a new commit is pulled; without the network, the copy is used", async () => {
    const next = commitNamed("next");
    const repo = await shardedRepo();
    const files = new Map(repo.commits[COMMIT]).set("generation_config.json", Buffer.from("{}"));
    hub.repos.set("org/moving", repo);
    await pullModel("org/moving", { settings });
    hub.repos.set("org/moving", { revisions: { main: next }, commits: { ...repo.commits, [next]: files } });
    const notes: string[] = [];
    hub.fault = () => ({ status: 503 });
    hub.calls.length = 0;
    const stale = await resolveModel("org/moving", { settings, onNote: (text) => notes.push(text) });
    expect(stale.commit).toBe(COMMIT);
    expect(notes).toEqual(["the hub cannot be asked for changes of org/moving: using the copy in the cache"]);
    expect(hub.calls).toHaveLength(1); // no second attempt
    hub.fault = () => undefined;
    hub.calls.length = 0;
    expect((await resolveModel("org/moving", { settings })).commit).toBe(next);
    expect(hub.calls.filter(({ kind }) => kind === "resolve").map(({ path }) => path)).toEqual([
      "generation_config.json",
    ]);
  });

  test("a snapshot without listing, as Python leaves it, is completed", async () => {
    await rm(join(repoFolder(), ".adaptvis"), { recursive: true });
    await rm(join(repoFolder(), "trees"), { recursive: true });
    await rm(join(snapshot(), "generation_config.json"));
    const offline = { ...settings, isOffline: true };
    expect((await resolveModel(ID, { settings: offline })).commit).toBe(COMMIT); // nothing says that it lacks something
    await resolveModel(ID, { settings });
    expect(await readdir(snapshot())).toContain("generation_config.json");
  });

  test("offline, what is missing is named", async () => {
    const offline = { ...settings, isOffline: true };
    await rm(join(snapshot(), "model-00002-of-00003.safetensors"));
    await expect(resolveModel(ID, { settings: offline })).rejects.toThrow(
      /lacks model-00002-of-00003\.safetensors of org\/sharded at main, and offline mode is on: unset HF_HUB_OFFLINE/,
    );
    await expect(resolveModel("org/other", { settings: offline })).rejects.toThrow(
      /org\/other at main is not in the cache/,
    );
    expect(hub.calls).toEqual([]);
  });
});

describe("the cache's models", () => {
  test("sizes count files once; states; removal", async () => {
    const bytes = [...(hub.repos.get(ID)?.commits[COMMIT]?.values() ?? [])].reduce(
      (sum, { length }) => sum + length,
      0,
    );
    const second = commitNamed("second");
    const folder = join(repoFolder(), "snapshots", second);
    await cp(snapshot(), folder, { recursive: true, verbatimSymlinks: true });
    await rm(join(folder, "model-00001-of-00003.safetensors"));
    await mkdir(join(folder, "sub"));
    await mkdir(join(repoFolder(), "refs", "refs", "pr"), { recursive: true });
    await writeFile(join(repoFolder(), "refs", "refs", "pr", "7"), second);
    await mkdir(join(settings.cacheFolder, "datasets--org--data"));
    await mkdir(join(settings.cacheFolder, "models--empty"));
    const [empty, model, ...others] = await cachedModels(settings);
    expect(others).toEqual([]);
    expect(empty).toMatchObject({ id: "empty", bytes: 0, revisions: [] });
    expect(model).toMatchObject({ id: ID, bytes, partialBytes: 0 });
    expect(model?.revisions.map(({ commit, refs, problem }) => ({ commit, refs, problem }))).toEqual(
      expect.arrayContaining([
        { commit: COMMIT, refs: ["main"], problem: undefined },
        { commit: second, refs: ["refs/pr/7"], problem: "lacks model-00001-of-00003.safetensors" },
      ]),
    );
    await expect(findModel("org/none", settings)).rejects.toThrow(
      /"org\/none" is not in the cache .*, which has only empty, org\/sharded/,
    );
    await removeModel(ID, settings);
    expect((await readdir(settings.cacheFolder)).sort()).toEqual([
      "CACHEDIR.TAG",
      "datasets--org--data",
      "models--empty",
    ]);
  });

  test("a download that was stopped is counted", async () => {
    hub.repos.set("org/stopped", repoOf({ "config.json": "{}", "model.safetensors": new Uint8Array(2e6) }));
    hub.fault = ({ path }) => (path === "model.safetensors" ? { breakAfter: 1e6 } : undefined);
    const abort = new AbortController();
    const onProgress = ({ loadedBytes }: { readonly loadedBytes: number }) => {
      if (loadedBytes > 5e5) abort.abort();
    };
    await expect(pullModel("org/stopped", { settings, signal: abort.signal, onProgress })).rejects.toThrow(AbortError);
    const { partialBytes, revisions } = await findModel("org/stopped", settings);
    expect(partialBytes).toBeGreaterThan(5e5);
    expect(revisions[0]?.problem).toBe("lacks model.safetensors");
  });
});

describe("hubSource", () => {
  test("downloads at its first use, once, and reads like a folder", async () => {
    const cacheFolder = join(await newFolder(), "hub");
    vi.stubEnv("HF_ENDPOINT", hub.url);
    vi.stubEnv("HF_HUB_OFFLINE", "");
    let loaded = 0;
    const source = hubSource(ID, {
      cacheFolder,
      onProgress: ({ loadedBytes }) => {
        loaded = loadedBytes;
      },
    });
    expect(hub.calls).toEqual([]);
    const stopped = AbortSignal.abort();
    await expect(source.size("config.json", stopped)).rejects.toThrow(AbortError);
    const [size] = await Promise.all([source.size("config.json"), source.read("config.json", 0, 1)]);
    expect(size).toBe(862);
    expect(hub.calls.filter(({ url }) => url.includes("/revision/"))).toHaveLength(1);
    expect(loaded).toBeGreaterThan(5e5);
    const checkpoint = await openCheckpoint(source);
    expect(checkpoint.source.name).toBe(ID);
    expect(checkpoint.tensors.size).toBeGreaterThan(10);
    await checkpoint.close();
  });

  test("refuses what is no id or revision at once", () => {
    expect(() => hubSource("weights")).toThrow(/hubSource: expected an id such as/);
    expect(() => hubSource(ID, { revision: "../x" })).toThrow(/The revision/);
  });
});
