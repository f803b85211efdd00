// The store of models in memory, filled from a hub of the test's own: what is fetched and what is not, interruptions, damage, room.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.ts";
import { AbortError, CheckpointError } from "../../src/errors.ts";
import { architectureOf } from "../../src/models/checkpoint-architecture.ts";
import { quantizedConfig, quantizedFiles, quantizedIndex } from "../../src/models/quantized-checkpoint.ts";
import { planWeights } from "../../src/models/weight-table.ts";
import { type FileStore, StoreError } from "../../src/store/file-store.ts";
import { memoryFiles } from "../../src/store/memory-files.ts";
import { type KeepOptions, type KeepProgress, ModelStore } from "../../src/store/model-store.ts";
import { findRemoteModel, type RemoteModel } from "../../src/store/remote-model.ts";
import { memorySource } from "../checkpoint/fixtures.ts";
import { Arrivals, isWeights, type LocalHub, startLocalHub, weightBytesAsked } from "../setup/local-hub.ts";
import { checkpointOf, largeFiles, repositoryOf, SMALL } from "./fixtures.ts";

const PIECE_BYTES = 2 ** 17;
/** Five pieces, the last one short. */
const LARGE_BYTES = 4 * PIECE_BYTES + 4000;
const small = checkpointOf(SMALL);
const shards = [...small.keys()].filter((path) => path.endsWith(".safetensors")).sort();
const WAITS = { retryDelaysMs: [1, 1, 1], stallTimeoutMs: 60_000, pieceBytes: PIECE_BYTES };

let hub: LocalHub;
let store: ModelStore;
let backing: FileStore;
let smallModel: RemoteModel;
let largeModel: RemoteModel;
let large: Map<string, Uint8Array>;

beforeAll(async () => {
  hub = await startLocalHub();
  large = largeFiles(LARGE_BYTES);
  hub.repos.set("org/small", repositoryOf(small, "small")).set("org/large", repositoryOf(large, "large"));
  smallModel = await findRemoteModel("org/small", { hub: hub.url });
  largeModel = await findRemoteModel("org/large", { hub: hub.url });
});

beforeEach(() => {
  backing = memoryFiles();
  store = new ModelStore(backing);
  hub.calls.length = 0;
});

afterEach(() => {
  hub.fault = () => undefined;
});

afterAll(() => hub.close());

/** The files of a kept model by path. */
async function keptFiles(key: string, paths: Iterable<string>): Promise<Map<string, Uint8Array>> {
  const source = store.source(key);
  const found = new Map<string, Uint8Array>();
  for (const path of paths) {
    const size = await source.size(path);
    if (size !== undefined) found.set(path, await source.read(path, 0, size));
  }
  return found;
}

/** Where a kept model's files differ from those that are expected, by path. */
async function differences(key: string, expected: ReadonlyMap<string, Uint8Array>): Promise<string[]> {
  const kept = await keptFiles(key, expected.keys());
  return [...expected].flatMap(([path, bytes]) => {
    const found = kept.get(path);
    if (found === undefined) return [`${path} is missing`];
    return Buffer.compare(found, bytes) === 0 ? [] : [`${path} differs`];
  });
}

/** Keeps a model until a condition on its progress, where it is stopped. */
async function stopWhen(remote: RemoteModel, isEnough: (progress: KeepProgress) => boolean, options: KeepOptions = {}) {
  const stop = new AbortController();
  const onProgress = (progress: KeepProgress) => isEnough(progress) && stop.abort();
  const keeping = store.keep(remote, { ...WAITS, ...options, signal: stop.signal, onProgress });
  await expect(keeping).rejects.toThrow(AbortError);
}

describe("as in the files", () => {
  test("every file comes byte for byte, progress ends at all bytes, and a second call fetches nothing", async () => {
    const seen: KeepProgress[] = [];
    const kept = await store.keep(smallModel, { ...WAITS, onProgress: (progress) => seen.push(progress) });
    expect(kept).toMatchObject({ form: "file", isComplete: true, downloadedBytes: kept.downloadBytes });
    expect(await differences(kept.key, small)).toEqual([]);
    for (const [index, { loadedBytes }] of seen.entries()) {
      expect(loadedBytes).toBeGreaterThanOrEqual(seen[index - 1]?.loadedBytes ?? 0);
    }
    expect(seen.at(-1)).toMatchObject({ loadedBytes: kept.downloadBytes, receivedBytes: kept.downloadBytes });
    expect(seen.some(({ step }) => step === "check")).toBe(true);
    hub.calls.length = 0;
    await store.keep(smallModel);
    expect(hub.calls).toEqual([]);
    expect(await store.source(kept.key).size("onnx/model.onnx")).toBeUndefined();
  });

  test("a stopped download goes on where it ended: the server sees only the missing ranges", async () => {
    await stopWhen(largeModel, ({ loadedBytes }) => loadedBytes > LARGE_BYTES / 2);
    const [unfinished] = await store.list();
    if (unfinished === undefined) throw new Error("nothing is kept");
    expect(unfinished.isComplete).toBe(false);
    expect(unfinished.downloadedBytes).toBeGreaterThan(LARGE_BYTES / 2);
    await expect(store.source(unfinished.key, "org/large").size("config.json")).rejects.toThrow(
      "org/large has not come completely: resume its download first.",
    );
    hub.calls.length = 0;
    // As a page that was loaded anew: another store over the same files.
    store = new ModelStore(backing);
    const kept = await store.keep(unfinished.remote, WAITS);
    expect(weightBytesAsked(hub.calls)).toBe(unfinished.downloadBytes - unfinished.downloadedBytes);
    expect(await differences(kept.key, large)).toEqual([]);
    expect(kept.keptBytes).toBeLessThan(LARGE_BYTES + 4096);
  });

  test("a record that was damaged or is of another file costs the file, not its correctness", async () => {
    await stopWhen(largeModel, ({ loadedBytes }) => loadedBytes > PIECE_BYTES);
    const [{ key } = { key: "" }] = await store.list();
    await backing.replace(key, "model.safetensors~part", new TextEncoder().encode('{"size":1'));
    hub.calls.length = 0;
    await store.keep(largeModel, WAITS);
    expect(weightBytesAsked(hub.calls)).toBe(LARGE_BYTES);
  });

  test.each([
    ["breaks off", { breakAfter: 3e4 }],
    ["stalls", { stallAfter: 3e4 }],
    ["is refused for a moment", { status: 503 }],
  ])("a connection that %s is opened again from where it was", async (_, fault) => {
    const arrivals = new Arrivals();
    let numFaults = 0;
    hub.fault = (call) => (isWeights(call) && numFaults++ < 2 ? arrivals.holding(fault, 3e4) : undefined);
    const onProgress = ({ receivedBytes }: KeepProgress) => arrivals.note(receivedBytes);
    // Short only where silence is the fault: a busy machine is silent for as long.
    const waits = "stallAfter" in fault ? { ...WAITS, stallTimeoutMs: 600 } : WAITS;
    const kept = await store.keep(largeModel, { ...waits, onProgress });
    expect(await differences(kept.key, large)).toEqual([]);
    // Nothing that had come was asked for again.
    const again = "status" in fault ? 2 * PIECE_BYTES : 2 * (PIECE_BYTES - 3e4);
    expect(weightBytesAsked(hub.calls)).toBeLessThanOrEqual(LARGE_BYTES + again);
  });

  test("a wrong hash is refused in one sentence, the file is thrown away, and the next try is clean", async () => {
    hub.fault = (call) => (isWeights(call) && call.path === shards[1] ? { isDamaged: true } : undefined);
    await expect(store.keep(smallModel, WAITS)).rejects.toThrow(
      /^model-00002-of-\d+\.safetensors of org\/small arrived damaged \(its sha256 is [0-9a-f]{12}…, expected [0-9a-f]{12}…\) and was thrown away: download it again, on another network if that fails too\.$/,
    );
    const [unfinished] = await store.list();
    const sizes = await backing.sizes(unfinished?.key ?? "");
    expect([...sizes.keys()].filter((name) => name.startsWith("model-00002"))).toEqual([]);
    hub.fault = () => undefined;
    hub.calls.length = 0;
    expect((await store.keep(smallModel, WAITS)).isComplete).toBe(true);
    expect(hub.calls.filter(isWeights).map(({ path }) => path)).not.toContain(shards[0]);
  });

  test("a small file is compared with git's hash", async () => {
    hub.fault = ({ path }) => (path === "tokenizer_config.json" ? { isDamaged: true } : undefined);
    await expect(store.keep(smallModel, WAITS)).rejects.toThrow(
      /^tokenizer_config\.json of org\/small .*\(its sha1 is/,
    );
  });

  test.each([
    ["shorter", (bytes: Uint8Array) => bytes.slice(0, -100)],
    ["longer", (bytes: Uint8Array) => new Uint8Array([...bytes, 1, 2, 3])],
  ])("a file that is %s than announced is refused", async (_, change) => {
    const repo = repositoryOf(small, "small");
    const [commit = ""] = Object.keys(repo.commits);
    const changed = new Map(small).set(shards[0] ?? "", change(small.get(shards[0] ?? "") ?? new Uint8Array()));
    hub.repos.set("org/small", { ...repo, commits: { [commit]: changed } });
    try {
      await expect(store.keep(smallModel, WAITS)).rejects.toThrow(
        /^model-00001-of-\d+\.safetensors of org\/small is not as its server announced \(it has \d+ bytes there, expected \d+\): look the model up again\.$/,
      );
    } finally {
      hub.repos.set("org/small", repo);
    }
  });

  test("a server that ignores ranges is refused for large files", async () => {
    hub.fault = (call) => (isWeights(call) ? { isWhole: true } : undefined);
    await expect(store.keep(largeModel, WAITS)).rejects.toThrow(/^The server of model\.safetensors ignores Range/);
    await expect(store.keep(smallModel, WAITS)).resolves.toMatchObject({ isComplete: true });
  });

  test("a file that is gone from the server is named", async () => {
    hub.fault = (call) => (isWeights(call) ? { status: 404 } : undefined);
    await expect(store.keep(smallModel, WAITS)).rejects.toThrow(/the server does not have it any more/);
  });

  test("without room nothing is fetched, and when it runs out what has come is kept", async () => {
    store = new ModelStore(memoryFiles(1e5));
    const refusal = store.keep(largeModel, WAITS);
    await expect(refusal).rejects.toThrow(StoreError);
    await expect(refusal).rejects.toThrow(/^org\/large needs \S+ KiB more, and \S+ KiB are free for this page: delete/);
    expect(hub.calls).toEqual([]);
    // A browser may say that there is more room than there is.
    const files = memoryFiles(3e5);
    store = new ModelStore({ ...files, room: async () => ({ ...(await files.room()), quotaBytes: undefined }) });
    await expect(store.keep(largeModel, WAITS)).rejects.toThrow(/^There is no room for more in memory/);
    expect(hub.calls.filter(isWeights).length).toBeLessThanOrEqual(5); // no request was repeated
    const [unfinished] = await store.list();
    expect(unfinished?.downloadedBytes).toBeGreaterThan(1e5);
  });

  test("another commit takes the place of the one that is kept", async () => {
    await store.keep(smallModel, WAITS);
    const changed = new Map(small).set("generation_config.json", Buffer.from('{"eos_token_id": 1}'));
    const repo = repositoryOf(changed, "changed");
    hub.repos.set("org/small", repo);
    try {
      const newer = await findRemoteModel("org/small", { hub: hub.url });
      const kept = await store.keep(newer, WAITS);
      expect(await store.list()).toHaveLength(1);
      expect(await store.source(kept.key).size("generation_config.json")).toBe(19);
    } finally {
      hub.repos.set("org/small", repositoryOf(small, "small"));
    }
  });
});

describe("quantised on arrival", () => {
  /** The files that `adaptvis quantize` writes. */
  async function expectedFiles(): Promise<Map<string, Uint8Array>> {
    const files = Object.fromEntries([...small].map(([path, bytes]) => [path, new Uint8Array(bytes)]));
    const checkpoint = await openCheckpoint(memorySource(files));
    const made = quantizedFiles(checkpoint, await architectureOf(checkpoint), "q4");
    const expected = new Map<string, Uint8Array>();
    for (const file of made) {
      const bytes = new Uint8Array(file.fileBytes);
      for await (const chunk of file.chunks()) bytes.set(chunk.bytes, chunk.position);
      expected.set(file.name, bytes);
    }
    const json = (value: object) => new TextEncoder().encode(`${JSON.stringify(value, undefined, 2)}\n`);
    expected.set("config.json", json(quantizedConfig(checkpoint, "q4")));
    return expected.set("model.safetensors.index.json", json(quantizedIndex(made)));
  }

  test("it is what adaptvis quantize writes, and the originals are gone", async () => {
    const steps = new Set<string>();
    const kept = await store.keep(smallModel, { ...WAITS, form: "q4", onProgress: ({ step }) => steps.add(step) });
    expect([...steps].sort()).toEqual(["check", "download", "quantise"]);
    const expected = await expectedFiles();
    expect(await differences(kept.key, expected)).toEqual([]);
    expect(await store.source(kept.key).size("tokenizer.json")).toBe(small.get("tokenizer.json")?.length);
    expect([...(await backing.sizes(kept.key)).keys()].filter((name) => /~(part|source)$/.test(name))).toEqual([]);
    expect(kept.keptBytes).toBeLessThan(kept.downloadBytes * 0.8); // the tokenizer stays as it is
    const checkpoint = await openCheckpoint(store.source(kept.key));
    const weights = planWeights(checkpoint, await architectureOf(checkpoint), undefined);
    expect(weights.some(({ dtype }) => dtype === "q4")).toBe(true);
  });

  test.each(["download", "quantise"] as const)(
    "stopped in the step %s, it goes on with what is missing",
    async (step) => {
      const isThird = (progress: KeepProgress) => progress.step === step && progress.path === shards[2];
      await stopWhen(smallModel, isThird, { form: "q4" });
      const [unfinished] = await store.list();
      const before = [...small].reduce((sum, [path, { length }]) => {
        const isHere = !path.endsWith(".safetensors") || path === shards[0] || path === shards[1];
        return sum + (isHere || (step === "quantise" && path === shards[2]) ? length : 0);
      }, 0);
      expect(unfinished).toMatchObject({ isComplete: false, form: "q4" });
      expect(unfinished?.downloadedBytes).toBeGreaterThanOrEqual(before);
      hub.calls.length = 0;
      let receivedBytes = 0;
      const onProgress = (progress: KeepProgress) => {
        receivedBytes = progress.receivedBytes;
      };
      const kept = await store.keep(smallModel, { ...WAITS, form: "q4", onProgress });
      expect(receivedBytes).toBe(kept.downloadBytes - (unfinished?.downloadedBytes ?? 0));
      const expected = await expectedFiles();
      expect(await differences(kept.key, expected)).toEqual([]);
    },
  );

  test("both forms of a model are kept side by side, and removed one by one", async () => {
    const q8 = await store.keep(smallModel, { ...WAITS, form: "q8" });
    const plain = await store.keep(smallModel, WAITS);
    expect((await store.list()).map(({ form }) => form)).toEqual(["file", "q8"]);
    expect(await store.find(q8.key)).toEqual(q8);
    expect(store.keyOf(smallModel, "q8")).toBe(q8.key);
    await store.remove(q8.key);
    expect(await store.list()).toEqual([plain]);
    await expect(store.source(q8.key).size("config.json")).rejects.toThrow("The model is not kept here any more");
    expect(await store.find(q8.key)).toBeUndefined();
    const { usedBytes } = await store.room();
    expect(usedBytes).toBe(plain.keptBytes);
  });
});

test("two downloads of one model at once: the second is refused, and so is its removal", async () => {
  const first = store.keep(smallModel, WAITS);
  const key = store.keyOf(smallModel, "file");
  await expect(store.keep(smallModel, WAITS)).rejects.toThrow(StoreError);
  await expect(store.remove(key)).rejects.toThrow(StoreError);
  expect((await first).isComplete).toBe(true);
});

test("folders of another version, or with a damaged record, are not listed and do no harm", async () => {
  await backing.replace("1234-file", "model~kept", new TextEncoder().encode('{"format":2}'));
  await backing.replace("5678-file", "model~kept", new TextEncoder().encode("{"));
  expect(await store.list()).toEqual([]);
  expect(await store.find("1234-file")).toBeUndefined();
});

test("a source of a kept model refuses paths outside of it, and what it does not have", async () => {
  const { key } = await store.keep(smallModel, WAITS);
  const source = store.source(key, "org/small");
  await expect(source.read("../model", 0, 1)).rejects.toThrow(CheckpointError);
  await expect(source.read("none.json", 0, 1)).rejects.toThrow("none.json is not in org/small");
  await expect(source.read("config.json", 0, 1e9)).rejects.toThrow(/config\.json has \d+ bytes/);
});
