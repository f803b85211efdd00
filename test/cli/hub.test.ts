// Models from a hub of the test's own, as a user of the command sees them, and a cache that Python shares.

import { spawn } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  newFolder,
  removeFolders,
  repoOf,
  shardedRepo,
  TINY_SPATIAL_COMMIT,
  tinySpatialRepo,
} from "../checkpoint/hub/fixtures.ts";
import { adapterOfEnvironment } from "../setup/device.ts";
import { etagOf, type LocalHub, startLocalHub } from "../setup/local-hub.ts";
import { type ProgramResult, runProgram } from "../setup/run-program.ts";
import { jsonOf, knownPictures, ownLines, root } from "./command.ts";

const ID = "org/tiny-spatial";
const WEIGHTS = "model.safetensors";

let hub: LocalHub;
let weights: Uint8Array;
let cache: string;

beforeAll(async () => {
  hub = await startLocalHub();
  const repo = await tinySpatialRepo();
  weights = repo.commits[TINY_SPATIAL_COMMIT]?.get(WEIGHTS) ?? new Uint8Array();
  hub.repos.set(ID, repo).set("org/sharded", await shardedRepo());
});

beforeEach(async () => {
  hub.fault = () => undefined;
  hub.calls.length = 0;
  cache = join(await newFolder(), "hub");
});

afterAll(async () => {
  await hub.close();
  await removeFolders();
});

/** The variables of a process that uses the hub and cache of this test. */
function environment(): Readonly<Record<string, string | undefined>> {
  return {
    HF_ENDPOINT: hub.url,
    HF_HUB_CACHE: cache,
    HF_HOME: join(cache, ".."),
    HF_HUB_OFFLINE: undefined,
    TRANSFORMERS_OFFLINE: undefined,
    HF_TOKEN: undefined,
    HF_HUB_DISABLE_TELEMETRY: "1",
    NO_COLOR: "1",
    FORCE_COLOR: undefined,
  };
}

function adaptvis(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<ProgramResult> {
  const command = [join(root, "tools", "adaptvis.mjs"), "--adapter", adapterOfEnvironment(), ...args];
  return runProgram(process.execPath, command, { env: { ...environment(), ...env } });
}

async function hasWeights(): Promise<boolean> {
  const path = join(cache, "models--org--tiny-spatial", "snapshots", TINY_SPATIAL_COMMIT, WEIGHTS);
  return (await readFile(path)).equals(weights);
}

test("ask --model ID downloads, answers, and answers offline without a request", async () => {
  const [picture] = await knownPictures();
  if (picture === undefined) throw new Error("no picture");
  const ask = ["ask", "--model", ID, "--image", picture.path, "--json", picture.question];
  const first = await adaptvis(ask);
  expect(first.ending, first.stderr).toBe(0);
  expect(jsonOf(first)).toMatchObject({ answer: picture.answer, model: ID, commit: TINY_SPATIAL_COMMIT });
  expect(ownLines(first.stderr)).toEqual([
    `adaptvis: downloading ${ID}`,
    expect.stringMatching(/^adaptvis: downloaded 3\.\d+ MiB of org\/tiny-spatial in \d+ s$/),
  ]);
  hub.calls.length = 0;
  const inspected = await adaptvis(["inspect", ID, "--json"], { HF_HUB_OFFLINE: "1" });
  expect(jsonOf(inspected)).toMatchObject({ model: ID });
  expect(hub.calls).toEqual([]);
});

describe("pull and models", () => {
  test("pull, models, models remove", async () => {
    const pulled = await adaptvis(["pull", ID, "--json"]);
    const folder = join(cache, "models--org--tiny-spatial", "snapshots", TINY_SPATIAL_COMMIT);
    expect(jsonOf(pulled)).toMatchObject({ model: ID, revision: "main", commit: TINY_SPATIAL_COMMIT, folder });
    const again = await adaptvis(["pull", ID, "--verify"]);
    expect(again.stdout).toMatch(
      /^org\/tiny-spatial at main \([0-9a-f]{40}\)\n\d+ files, .* MiB, all in the cache before\n/,
    );
    const listed = await adaptvis(["models"]);
    expect(listed.stdout).toMatch(/org\/tiny-spatial +main +[0-9a-f]{8} +3\.\d+ MiB +complete\n\n1 model, /);
    const json = jsonOf(await adaptvis(["models", "list", "--json"]));
    expect(json).toMatchObject({
      cacheFolder: cache,
      models: [{ id: ID, revisions: [{ refs: ["main"], isComplete: true }] }],
    });
    const refused = await adaptvis(["models", "remove", ID]);
    expect(refused.ending).toBe(2);
    expect(ownLines(refused.stderr)).toEqual([
      expect.stringMatching(/\(1 revision, 3\.\d+ MiB\) would be removed: give --yes/),
    ]);
    expect(await hasWeights()).toBe(true);
    expect((await adaptvis(["models", "remove", ID, "--yes"])).stdout).toMatch(
      /^removed org\/tiny-spatial, 3\.\d+ MiB\n$/,
    );
    expect((await adaptvis(["models"])).stdout).toBe(`No models in ${cache}.\n`);
  });

  test("two processes at once", async () => {
    hub.fault = ({ kind }) => (kind === "cdn" ? { slowBytes: 64 * 1024 } : undefined);
    const before = hub.sentBytes();
    const both = await Promise.all([adaptvis(["pull", ID, "--json"]), adaptvis(["pull", ID, "--json"])]);
    expect(both.map(({ ending }) => ending)).toEqual([0, 0]);
    expect(await hasWeights()).toBe(true);
    expect(hub.sentBytes() - before).toBeLessThan(1.5 * weights.length);
  });

  test("killed while it downloads, the next process goes on", async () => {
    hub.fault = ({ kind }) => (kind === "cdn" ? { slowBytes: 16 * 1024 } : undefined);
    const before = hub.sentBytes();
    const child = spawn(process.execPath, [join(root, "dist", "cli.js"), "pull", ID], {
      env: { ...process.env, ...environment() },
      stdio: "ignore",
    });
    await expect
      .poll(() => hub.sentBytes() - before, { timeout: 30_000, interval: 10 })
      .toBeGreaterThan(weights.length / 2);
    await new Promise((resolve) => child.once("exit", resolve).kill("SIGKILL"));
    const state = jsonOf(await adaptvis(["models", "--json"]));
    expect(state).toMatchObject({
      models: [{ id: ID, revisions: [{ isComplete: false, problem: `lacks ${WEIGHTS}` }] }],
    });
    hub.fault = () => undefined;
    const resumed = hub.sentBytes();
    expect((await adaptvis(["pull", ID])).ending).toBe(0);
    expect(await hasWeights()).toBe(true);
    expect(hub.sentBytes() - resumed).toBeLessThan(weights.length - 100_000);
  });
});

describe("one sentence for each way it fails", () => {
  test.each([
    [
      "a model that does not exist",
      ["ask", "--model", "org/none", "--image", "x.png", "where?"],
      1,
      /There is no model org\/none at http/,
    ],
    ["a revision that does not", ["inspect", ID, "--revision", "v2"], 1, /org\/tiny-spatial has no revision "v2"/],
    ["an id that is none", ["pull", "tiny-spatial"], 2, /"tiny-spatial" is not a model's id on the hub/],
    [
      "only pickled weights",
      ["pull", "org/pickled"],
      1,
      /neither model\.safetensors nor .*, but pytorch_model\.bin: convert it/,
    ],
    ["a family that is not known", ["pull", "org/bert"], 1, /config\.json: model_type .*bert/],
    [
      "a revision of a folder",
      ["inspect", "weights/tiny-spatial", "--revision", "main"],
      2,
      /A revision \(main\) is given for the folder/,
    ],
    [
      "a revision of the embedded model",
      ["ask", "--revision", "main", "--image", "x.png", "where?"],
      2,
      /--revision belongs to a model on the hub/,
    ],
    [
      "a model that is not in the cache",
      ["models", "remove", "org/none", "--yes"],
      1,
      /"org\/none" is not in the cache .*, which has no models/,
    ],
  ])("%s", async (_, args, ending, message) => {
    hub.repos.set("org/pickled", repoOf({ "config.json": "{}", "pytorch_model.bin": "x" }));
    hub.repos.set("org/bert", repoOf({ "config.json": '{"model_type":"bert"}', [WEIGHTS]: "x" }));
    const result = await adaptvis(args);
    expect({ stdout: result.stdout, ending: result.ending }).toEqual({ stdout: "", ending });
    const lines = ownLines(result.stderr).filter((line) => !/: download/.test(line));
    expect(lines).toEqual([expect.stringMatching(message)]);
    expect(hub.calls.some(({ path }) => path === WEIGHTS)).toBe(false);
  });

  test("offline", async () => {
    const { ending, stderr } = await adaptvis(["inspect", ID], { HF_HUB_OFFLINE: "1" });
    expect(ending).toBe(1);
    expect(ownLines(stderr)).toEqual([
      expect.stringMatching(/is not in the cache .*, and offline mode is on: unset HF_HUB_OFFLINE/),
    ]);
    expect(hub.calls).toEqual([]);
  });
});

describe("Python's huggingface_hub", () => {
  const python = process.env.ADAPTVIS_TEST_PYTHON ?? "python3";
  let version: string | undefined;

  beforeAll(async () => {
    const found = await runProgram(python, ["-c", "import huggingface_hub; print(huggingface_hub.__version__)"]).catch(
      () => undefined,
    );
    version = found?.ending === 0 ? found.stdout.trim() : undefined;
  });

  const runPython = (code: string, env: Readonly<Record<string, string>>) =>
    runProgram(python, ["-c", code], { env: { ...environment(), ...env } });

  test("finds what was pulled, and its cache report is without warnings", async (context) => {
    if (version === undefined) return context.skip("no Python with huggingface_hub: set ADAPTVIS_TEST_PYTHON to one");
    for (const id of [ID, "org/sharded"]) expect((await adaptvis(["pull", id])).ending).toBe(0);
    hub.calls.length = 0;
    const { stdout, stderr, ending } = await runPython(
      `
import json
from huggingface_hub import hf_hub_download, scan_cache_dir, snapshot_download, try_to_load_from_cache
report = scan_cache_dir()
print(json.dumps({
  "file": hf_hub_download("${ID}", "${WEIGHTS}"),
  "folder": snapshot_download("${ID}"),
  "whole": snapshot_download("org/sharded"),
  "absent": str(try_to_load_from_cache("${ID}", "chat_template.json")),
  "warnings": [str(warning) for warning in report.warnings],
  "repos": sorted(repo.repo_id for repo in report.repos),
}))`,
      { HF_HUB_OFFLINE: "1" },
    );
    expect(ending, stderr).toBe(0);
    const folder = join(cache, "models--org--tiny-spatial", "snapshots", TINY_SPATIAL_COMMIT);
    expect(JSON.parse(stdout)).toMatchObject({
      file: join(folder, WEIGHTS),
      folder,
      absent: expect.stringMatching(/object/), // its mark for a file that is known not to exist
      warnings: [],
      repos: ["org/sharded", ID],
    });
    expect(hub.calls).toEqual([]);
  });

  test("what it downloaded is found, and completed", async (context) => {
    if (version === undefined) return context.skip("no Python with huggingface_hub: set ADAPTVIS_TEST_PYTHON to one");
    const code = `from huggingface_hub import snapshot_download; print(snapshot_download("${ID}", ignore_patterns=["tokenizer.json"]))`;
    const { stdout, stderr, ending } = await runPython(code, { HF_HUB_DISABLE_XET: "1" });
    expect(ending, stderr).toBe(0);
    const folder = join(cache, "models--org--tiny-spatial", "snapshots", TINY_SPATIAL_COMMIT);
    expect(stdout.trim()).toBe(folder);
    expect(await readdir(join(cache, "models--org--tiny-spatial", "blobs"))).toContain(etagOf(WEIGHTS, weights));
    hub.calls.length = 0;
    const pulled = jsonOf(await adaptvis(["pull", ID, "--json"]));
    const fetched = hub.calls.filter(({ kind }) => kind !== "api").map(({ path }) => path);
    expect({ folder: pulled.folder, fetched }).toEqual({ folder, fetched: ["tokenizer.json"] });
  });
});
