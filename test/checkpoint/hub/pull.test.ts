// Pulling from a hub of the test's own: the cache's layout, interruptions, damage, and what is said when the hub refuses.

import { lstat, mkdir, open, readdir, readFile, readlink, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import type { HubSettings } from "../../../src/checkpoint/hub/hub-settings.node.ts";
import { type PullProgress, pullModel } from "../../../src/checkpoint/hub/pull.node.ts";
import { AbortError, CheckpointError } from "../../../src/errors.ts";
import { hostTag } from "../../../src/gpu/hosts/process-mark.node.ts";
import {
  Arrivals,
  commitNamed,
  etagOf,
  type Fault,
  type HubCall,
  type LocalHub,
  startLocalHub,
} from "../../setup/local-hub.ts";
import {
  newFolder,
  removeFolders,
  repoOf,
  settingsFor,
  shardedRepo,
  TINY_SPATIAL_COMMIT,
  tinySpatialRepo,
} from "./fixtures.ts";

const ID = "org/tiny-spatial";
const WEIGHTS = "model.safetensors";

let hub: LocalHub;
let settings: HubSettings;
let weights: Uint8Array;

beforeAll(async () => {
  hub = await startLocalHub();
  const repo = await tinySpatialRepo();
  weights = repo.commits[TINY_SPATIAL_COMMIT]?.get(WEIGHTS) ?? new Uint8Array();
  hub.repos.set(ID, repo).set("org/sharded", await shardedRepo());
});

beforeEach(async () => {
  hub.fault = () => undefined;
  hub.calls.length = 0;
  settings = await settingsFor(hub);
});

afterEach(() => vi.restoreAllMocks());

afterAll(async () => {
  await hub.close();
  await removeFolders();
});

/** The folder of a model in this test's cache. */
function repoFolder(id = ID): string {
  return join(settings.cacheFolder, `models--${id.replace("/", "--")}`);
}

/** Whether the cache has the weights, byte for byte. */
async function hasWeights(): Promise<boolean> {
  return (await readFile(join(repoFolder(), "snapshots", TINY_SPATIAL_COMMIT, WEIGHTS))).equals(weights);
}

/** The rejection of a pull. */
async function refusalOf(id = ID, options: Parameters<typeof pullModel>[1] = {}): Promise<Error> {
  const result = await pullModel(id, { settings, ...options }).catch((error: unknown) => error);
  if (result instanceof Error) return result;
  throw new Error("the pull succeeded");
}

/** A fault of the first `times` requests for the weights; a function is called for each. */
function firstTimes(times: number, fault: Fault | (() => Fault), path = WEIGHTS): (call: HubCall) => Fault | undefined {
  let left = times;
  return (call) => {
    if (call.path !== path || call.kind === "resolve" || left-- <= 0) return undefined;
    return typeof fault === "function" ? fault() : fault;
  };
}

/** Pulls the model while a number of requests for the weights go wrong, each once some of its bytes have arrived. */
async function pullThrough(times: number, fault: Fault): Promise<void> {
  const arrivals = new Arrivals();
  hub.fault = firstTimes(times, () => arrivals.holding(fault));
  await pullModel(ID, { settings, onProgress: ({ loadedBytes }) => arrivals.note(loadedBytes) });
}

describe("the cache's layout", () => {
  test("blobs named by hash, relative links, ref, absent files, cache tag; only what is needed", async () => {
    const { folder, commit, files } = await pullModel(ID, { settings });
    expect({ folder, commit }).toEqual({
      folder: join(repoFolder(), "snapshots", TINY_SPATIAL_COMMIT),
      commit: TINY_SPATIAL_COMMIT,
    });
    const names = (await readdir(folder)).sort();
    expect(names).toEqual(files.map(({ path }) => path).sort());
    expect(names).toEqual(expect.arrayContaining(["config.json", WEIGHTS, "tokenizer.json", "adaptvis.json"]));
    expect(names.filter((name) => /bin|onnx|README|gitattributes/.test(name))).toEqual([]);
    const etag = etagOf(WEIGHTS, weights);
    expect(await readlink(join(folder, WEIGHTS))).toBe(join("..", "..", "blobs", etag));
    expect(await readFile(join(repoFolder(), "refs", "main"), "utf8")).toBe(TINY_SPATIAL_COMMIT);
    expect(await readdir(join(repoFolder(), ".no_exist", TINY_SPATIAL_COMMIT))).toContain("chat_template.json");
    expect(await readdir(repoFolder())).not.toContain("trees"); // files were left out
    expect(await readFile(join(settings.cacheFolder, "CACHEDIR.TAG"), "utf8")).toMatch(/^Signature: 8a477f597d28d17/);
    expect(await hasWeights()).toBe(true);
    expect(await readdir(join(repoFolder(), ".adaptvis", "partial"))).toEqual([]);
  });

  test("a second pull asks for the commit only", async () => {
    await pullModel(ID, { settings });
    hub.calls.length = 0;
    const { files } = await pullModel(ID, { settings });
    expect(hub.calls.map(({ url }) => url)).toEqual([`/api/models/${ID}/revision/main`]);
    expect(new Set(files.map(({ status }) => status))).toEqual(new Set(["cached"]));
  });

  test("shards are those of the index, and Python's listing is written where nothing was left out", async () => {
    const { files } = await pullModel("org/sharded", { settings });
    expect(files.filter(({ path }) => /-of-00003/.test(path))).toHaveLength(3);
    const commit = commitNamed("sharded");
    const tree = JSON.parse(await readFile(join(repoFolder("org/sharded"), "trees", `${commit}.json`), "utf8"));
    expect(tree.format_version).toBe(1);
    expect(Object.keys(tree.files)).toHaveLength(files.length);
    expect(tree.files["model-00001-of-00003.safetensors"]).toMatchObject({ size: 190464, lfs_size: 190464 });
  });

  test("a revision with slashes, and a commit, which is not looked up", async () => {
    await pullModel(ID, { settings, revision: "refs/pr/1" });
    expect(hub.calls[0]?.url).toBe(`/api/models/${ID}/revision/refs%2Fpr%2F1`);
    expect(await readFile(join(repoFolder(), "refs", "refs", "pr", "1"), "utf8")).toBe(TINY_SPATIAL_COMMIT);
    hub.calls.length = 0;
    await pullModel(ID, { settings, revision: TINY_SPATIAL_COMMIT });
    expect(hub.calls).toEqual([]);
  });

  test("--include takes more files, in folders and with characters that addresses encode", async () => {
    hub.repos.set("org/odd", repoOf({ "config.json": "{}", [WEIGHTS]: "w", "a b/50%#?.txt": "odd", "a b/empty": "" }));
    const { folder } = await pullModel("org/odd", { settings, include: ["a b/*"] });
    expect(await readFile(join(folder, "a b", "50%#?.txt"), "utf8")).toBe("odd");
    expect(await readFile(join(folder, "a b", "empty"), "utf8")).toBe("");
    expect(await readlink(join(folder, "a b", "empty"))).toMatch(/^\.\.\/\.\.\/\.\.\/blobs\/[0-9a-f]{40}$/);
    expect((await refusalOf("org/odd", { include: ["*.gguf"] })).message).toMatch(/no file that fits "\*\.gguf"/);
  });

  test("without links, the snapshot holds the files, and they are found again", async () => {
    settings = { ...settings, noSymlinks: true };
    const { folder } = await pullModel(ID, { settings });
    expect((await lstat(join(folder, WEIGHTS))).isSymbolicLink()).toBe(false);
    expect(await hasWeights()).toBe(true);
    hub.calls.length = 0;
    await pullModel(ID, { settings });
    expect(hub.calls).toHaveLength(1);
  });

  test("a blob that links into a shared store is followed; a damaged one is replaced there, not written through", async () => {
    await pullModel(ID, { settings });
    const etag = etagOf(WEIGHTS, weights);
    const blob = join(repoFolder(), "blobs", etag);
    const shared = join(settings.cacheFolder, "blobs", "ab", "shared");
    await mkdir(join(shared, ".."), { recursive: true });
    await writeFile(shared, weights);
    await rm(blob);
    await symlink("../../blobs/ab/shared", blob);
    hub.calls.length = 0;
    await pullModel(ID, { settings });
    expect(hub.calls).toHaveLength(1);
    await writeFile(shared, "cut");
    await pullModel(ID, { settings });
    expect(await hasWeights()).toBe(true);
    expect((await lstat(blob)).isFile()).toBe(true);
    expect(await readFile(shared, "utf8")).toBe("cut");
  });
});

describe("interruptions", () => {
  test("stopped at ten random bytes, each time continued", async () => {
    hub.fault = ({ path, kind }) => (path === WEIGHTS && kind === "cdn" ? { slowBytes: 128 * 1024 } : undefined);
    let last: PullProgress | undefined;
    let downloadedBytes = 0;
    // Increasing, so that every stop comes after the one before; the last pull is not stopped.
    const stops = Array.from({ length: 10 }, () => Math.random() * weights.length).sort((a, b) => a - b);
    for (const stop of [...stops, Number.POSITIVE_INFINITY]) {
      const abort = new AbortController();
      const onProgress = (progress: PullProgress) => {
        last = progress;
        if (progress.loadedBytes >= stop) abort.abort();
      };
      const result = pullModel(ID, { settings, signal: abort.signal, onProgress });
      if (stop < weights.length) await expect(result).rejects.toThrow(AbortError);
      else await result;
      downloadedBytes += last?.downloadedBytes ?? 0;
    }
    expect(await hasWeights()).toBe(true);
    // Nothing was downloaded twice.
    expect(downloadedBytes).toBe(last?.totalBytes);
    expect(last?.loadedBytes).toBe(last?.totalBytes);
  });

  test.each([
    ["a connection that breaks off", { breakAfter: 1_000_000 }],
    ["a server that falls silent", { stallAfter: 1_000_000 }],
    ["a server error", { status: 503, headers: { "Retry-After": "0" } }],
    ["a limit of requests", { status: 429, headers: { RateLimit: '"resolve";r=5;t=55' } }],
    ["a server that ignores ranges", { isWhole: true }],
  ])("%s", async (_, fault) => {
    // Short only where silence is the fault: a busy machine is silent for as long.
    if ("stallAfter" in fault) settings = { ...settings, stallTimeoutMs: 600 };
    await pullThrough(2, fault);
    expect(await hasWeights()).toBe(true);
    const ranges = hub.calls.filter(({ kind, path }) => kind === "cdn" && path === WEIGHTS).map(({ range }) => range);
    if (!("breakAfter" in fault)) return;
    // It goes on behind what arrived, which is at most what was sent.
    const [, start = "", end = ""] = /^bytes=(\d+)-(\d+)$/.exec(ranges[1] ?? "") ?? [];
    expect(Number(end)).toBe(weights.length - 1);
    expect(Number(start)).toBeGreaterThan(0);
    expect(Number(start)).toBeLessThanOrEqual(1_000_000);
  });

  test("a large file comes in ranges, several at once, and each goes on where it was stopped", async () => {
    const bytes = new Uint8Array(100 * 2 ** 20);
    for (let index = 0; index < bytes.length; index += 4096) bytes[index] = index / 4096;
    hub.repos.set("org/large", repoOf({ "config.json": "{}", [WEIGHTS]: bytes }));
    let atOnce = 0;
    const abort = new AbortController();
    const before = hub.sentBytes();
    hub.fault = ({ kind }) => {
      if (kind === "cdn") atOnce++;
      return undefined;
    };
    const stopped = await refusalOf("org/large", {
      signal: abort.signal,
      onProgress: ({ loadedBytes }) => {
        if (loadedBytes > 50e6) abort.abort();
      },
    });
    expect(stopped).toBeInstanceOf(AbortError);
    expect(atOnce).toBe(4); // 32 MiB each
    const progress: PullProgress[] = [];
    const { folder } = await pullModel("org/large", { settings, onProgress: (each) => progress.push(each) });
    expect((await readFile(join(folder, WEIGHTS))).equals(bytes)).toBe(true);
    expect(progress.at(-1)?.downloadedBytes).toBeLessThan(bytes.length - 49e6);
    expect(hub.sentBytes() - before).toBeLessThan(1.3 * bytes.length);
  });

  test("progress starts the attempts from the beginning", async () => {
    await pullThrough(12, { breakAfter: 200_000 });
    expect(await hasWeights()).toBe(true);
  });

  test("what a killed process had begun to write is removed, and what a running one writes is not", async () => {
    await pullModel(ID, { settings });
    const names = [2 ** 30, process.pid].map((pid) => `config.json.${hostTag()}.${pid}.0123abcd.tmp`);
    const snapshot = join(repoFolder(), "snapshots", TINY_SPATIAL_COMMIT);
    for (const name of names) await writeFile(join(snapshot, name), "half");
    await pullModel(ID, { settings });
    expect((await readdir(snapshot)).filter((name) => name.endsWith(".tmp"))).toEqual(names.slice(1));
  });

  test("two pulls at once download once", async () => {
    hub.fault = ({ kind }) => (kind === "cdn" ? { slowBytes: 512 * 1024 } : undefined);
    const before = hub.sentBytes();
    const both = await Promise.all([pullModel(ID, { settings }), pullModel(ID, { settings })]);
    expect(await hasWeights()).toBe(true);
    expect(both.flatMap(({ files }) => files.map(({ status }) => status))).toContain("other-process");
    expect(hub.sentBytes() - before).toBeLessThan(1.5 * weights.length);
  });

  test("a full disk is one sentence, and loses nothing", async () => {
    const file = await open(join(await newFolder(), "x"), "w");
    const prototype = Object.getPrototypeOf(file) as typeof file; // of every FileHandle
    await file.close();
    const write = prototype.write;
    let room = 2_000_000;
    vi.spyOn(prototype, "write").mockImplementation(function (this: typeof file, ...args: unknown[]) {
      room -= Number(args[2]);
      if (room >= 0) return Reflect.apply(write, this, args);
      return Promise.reject(
        Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC", syscall: "write" }),
      );
    } as typeof write); // one of its signatures
    const error = await refusalOf();
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error.message).toMatch(/^The disk with .* is full: free some space or set HF_HUB_CACHE .* is kept\.$/);
    vi.restoreAllMocks();
    let downloaded = 0;
    await pullModel(ID, {
      settings,
      onProgress: ({ downloadedBytes }) => {
        downloaded = downloadedBytes;
      },
    });
    expect(await hasWeights()).toBe(true);
    expect(downloaded).toBeLessThan(weights.length - 1_500_000);
  });
});

describe("damage", () => {
  test("a file that arrives damaged is named and fetched again", async () => {
    const notes: string[] = [];
    hub.fault = firstTimes(1, { isDamaged: true });
    await pullModel(ID, { settings, onNote: (text) => notes.push(text) });
    expect(notes).toEqual([
      expect.stringMatching(/^model\.safetensors of org\/tiny-spatial arrived damaged .* fetching it again$/),
    ]);
    expect(await hasWeights()).toBe(true);
  });

  test("one that is damaged again is refused, and is not in the cache", async () => {
    hub.fault = (call) => (call.path === "tokenizer.json" ? { isDamaged: true } : undefined);
    expect((await refusalOf()).message).toMatch(/tokenizer\.json .* arrived damaged .*, 2 times: a proxy/);
    expect(await readdir(join(repoFolder(), "snapshots", TINY_SPATIAL_COMMIT))).not.toContain("tokenizer.json");
  });

  test("a blob that was cut short is fetched again; one with other bytes is found by verify", async () => {
    await pullModel(ID, { settings });
    const blob = join(repoFolder(), "blobs", etagOf(WEIGHTS, weights));
    const notes: string[] = [];
    const onNote = (text: string) => notes.push(text);
    await writeFile(blob, weights.subarray(0, 1000));
    await pullModel(ID, { settings, onNote });
    expect(notes).toEqual([expect.stringMatching(/model\.safetensors .* damaged in the cache \(it has 1000 bytes/)]);
    expect(await hasWeights()).toBe(true);
    const changed = Uint8Array.from(weights);
    changed[5000] = (changed[5000] ?? 0) ^ 1;
    await writeFile(blob, changed);
    await pullModel(ID, { settings, onNote });
    expect(notes).toHaveLength(1); // sizes are equal
    await pullModel(ID, { settings, onNote, verify: true });
    expect(notes[1]).toMatch(/model\.safetensors .* damaged in the cache \(its hash is/);
    expect(await hasWeights()).toBe(true);
  });

  test("a listing that names a file outside the folder is refused", async () => {
    hub.repos.set("org/evil", repoOf({ "config.json": "{}", [WEIGHTS]: "w", "../../evil": "x" }));
    expect((await refusalOf("org/evil")).message).toMatch(/"\.\.\/\.\.\/evil" is not a plain path/);
  });

  test("a file of another size than listed is refused", async () => {
    hub.fault = (call) => (call.path === "config.json" ? { isWhole: true } : undefined);
    const repo = repoOf({ "config.json": "{}", [WEIGHTS]: "w" }, "sizes");
    hub.repos.set("org/sizes", repo);
    await pullModel("org/sizes", { settings }); // whole, and of the right size
    hub.fault = (call) =>
      call.path === WEIGHTS && call.kind === "cdn"
        ? { status: 206, headers: { "Content-Range": "bytes 0-0/2" }, body: "w" }
        : undefined;
    settings = await settingsFor(hub);
    expect((await refusalOf("org/sizes")).message).toMatch(
      /cannot be read in ranges: .* of 1, the server sent bytes 0-0\/2/,
    );
  });
});

describe("what the hub refuses, in one sentence with what to do", () => {
  const token = { value: "hf_secret", from: "HF_TOKEN" };
  const api =
    (fault: Fault) =>
    ({ kind }: HubCall) =>
      kind === "api" ? fault : undefined;
  const coded = (status: number, code: string) => ({ status, headers: { "X-Error-Code": code } });

  test.each([
    [
      "gated, without a token",
      coded(401, "GatedRepo"),
      undefined,
      /is gated: accept its terms at .*\/org\/tiny-spatial, then set HF_TOKEN/,
    ],
    ["gated, with one", coded(403, "GatedRepo"), token, /is gated: .* with the account of the token in HF_TOKEN/],
    [
      "missing or private",
      coded(404, "RepoNotFound"),
      undefined,
      /There is no model org\/tiny-spatial .* for a private one, set HF_TOKEN/,
    ],
    ["hidden", { status: 401 }, token, /There is no model .* the token in HF_TOKEN may not read it/],
    ["no such revision", coded(404, "RevisionNotFound"), undefined, /has no revision "main": the branches, tags/],
    [
      "a bad token",
      { status: 401, headers: { "X-Error-Message": "Invalid credentials in Authorization header" } },
      token,
      /refuses the token in HF_TOKEN: make a new one/,
    ],
    [
      "a disabled model",
      { status: 403, headers: { "X-Error-Message": "Access to this resource is disabled." } },
      undefined,
      /has been disabled by the hub/,
    ],
    ["forbidden", { status: 403 }, token, /does not let org\/tiny-spatial be read .* the token in HF_TOKEN may not/],
    [
      "too many requests",
      { status: 429, headers: { RateLimit: '"api";r=0;t=900' } },
      undefined,
      /limits the number of requests .* try again in 901 s, or set HF_TOKEN/,
    ],
    ["a server error", { status: 500 }, undefined, /cannot answer now \(HTTP status 500/],
    ["something else", { status: 418 }, undefined, /HTTP status 418 for org\/tiny-spatial: check HF_ENDPOINT/],
    ["no JSON", { status: 200, body: "<html>" }, undefined, /something other than JSON; check HF_ENDPOINT/],
    ["JSON of something else", { status: 200, body: "[1]" }, undefined, /something other than a commit/],
  ])("%s", async (_, fault, given, sentence) => {
    settings = { ...settings, token: given };
    hub.fault = api(fault);
    const error = await refusalOf();
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error.message).toMatch(sentence);
    expect(error.message).toMatch(/^[^\n]+\.$/);
    expect(error.message).not.toContain("hf_secret");
  });

  test("a file that is gone, or whose terms are not accepted", async () => {
    hub.fault = (call) => (call.path === WEIGHTS ? coded(404, "EntryNotFound") : undefined);
    expect((await refusalOf()).message).toMatch(/org\/tiny-spatial has no file model\.safetensors at revision/);
    hub.fault = (call) => (call.path === WEIGHTS ? coded(403, "GatedRepo") : undefined);
    expect((await refusalOf()).message).toMatch(/is gated/);
  });

  test("no network, and a server that never answers", async () => {
    const gone = await startLocalHub();
    await gone.close();
    expect((await refusalOf(ID, { settings: { ...settings, endpoint: gone.url } })).message).toMatch(
      /127\.0\.0\.1:\d+ could not be reached or broke off \(.*ECONNREFUSED.*\): check the connection/,
    );
    hub.fault = ({ path }) => (path === WEIGHTS ? { stallAfter: 0 } : undefined);
    const quick = { ...settings, stallTimeoutMs: 100, retryDelaysMs: [1] };
    expect((await refusalOf(ID, { settings: quick })).message).toMatch(/sent nothing for 0\.1 s/);
  });

  test("the time that RateLimit or Retry-After ask for is waited", async () => {
    const notes: string[] = [];
    let left = 1;
    hub.fault = ({ kind }) =>
      kind === "api" && left-- > 0 ? { status: 429, headers: { RateLimit: '"api";r=0;t=0' } } : undefined;
    const started = performance.now();
    await pullModel(ID, { settings, onNote: (text) => notes.push(text) });
    expect(performance.now() - started).toBeGreaterThan(990); // t + 1 s
    const abort = new AbortController();
    settings = await settingsFor(hub);
    hub.fault = () => ({ status: 429, headers: { "Retry-After": "60" } });
    const pending = refusalOf(ID, {
      signal: abort.signal,
      onNote: (text) => {
        notes.push(text);
        abort.abort();
      },
    });
    expect(await pending).toBeInstanceOf(AbortError);
    expect(notes).toEqual(["the hub asks to wait 60 s before the next request"]);
  });

  test("the token goes to the hub and not to the server that it redirects to", async () => {
    settings = { ...settings, token };
    await pullModel(ID, { settings });
    const sentTo = (kind: string) =>
      new Set(hub.calls.filter((call) => call.kind === kind).map((call) => call.authorization));
    expect(sentTo("api")).toEqual(new Set(["Bearer hf_secret"]));
    expect(sentTo("resolve")).toEqual(new Set(["Bearer hf_secret"]));
    expect(sentTo("cdn")).toEqual(new Set([undefined]));
  });

  test("offline, nothing is asked", async () => {
    expect((await refusalOf(ID, { settings: { ...settings, isOffline: true } })).message).toMatch(
      /cannot be pulled offline/,
    );
    expect(hub.calls).toEqual([]);
  });

  test.each(["tiny-spatial", "a/b/c", "../x", "org/-x", "org/a--b", "org/"])(
    "the id %s is refused at once",
    async (id) => {
      expect((await refusalOf(id)).message).toMatch(/is not a model's id on the hub/);
      expect(hub.calls).toEqual([]);
    },
  );

  test.each(["../main", "a b", "x\\y", ""])("the revision %j is refused at once", async (revision) => {
    expect((await refusalOf(ID, { revision })).message).toMatch(/is not one: give a branch/);
    expect(hub.calls).toEqual([]);
  });

  test("what onSmallFiles refuses has cost no weights", async () => {
    const error = await refusalOf(ID, { onSmallFiles: () => Promise.reject(new CheckpointError("no", { file: "x" })) });
    expect(error.message).toBe("no");
    expect(hub.calls.some(({ path }) => path === WEIGHTS)).toBe(false);
  });
});
