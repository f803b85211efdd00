// The worker's models without a browser: looked up with a plan, measured, kept in memory, loaded and asked.
import { afterAll, beforeAll, expect, test } from "vitest";
import { PlaygroundEngine } from "../../src/app/engine/engine.ts";
import { ModelShelf } from "../../src/app/engine/model-shelf.ts";
import { memoryFiles } from "../../src/store/memory-files.ts";
import type { KeepProgress } from "../../src/store/model-store.ts";
import { ModelStore } from "../../src/store/model-store.ts";
import { type LocalHub, startLocalHub } from "../setup/local-hub.ts";
import { checkpointOf, repositoryOf, SMALL } from "../store/fixtures.ts";
import { TestHost } from "./host.ts";

const ID = "org/small";
const settings = { alpha1: 0.5, alpha2: 1.5, beta: 0.5 };

let hub: LocalHub;
let store: ModelStore;
let shelf: ModelShelf;
let host: TestHost;
let refused: string | undefined;

beforeAll(async () => {
  hub = await startLocalHub();
  hub.repos.set(ID, repositoryOf(checkpointOf(SMALL), "small"));
  store = new ModelStore(memoryFiles());
  host = new TestHost();
  shelf = new ModelShelf({
    requestAdapter: () => host.requestAdapter(),
    store,
    remote: { hub: hub.url, retryDelaysMs: [1] },
    refusedOrigin: () => refused,
  });
});

afterAll(async () => {
  await hub.close();
});

test("a model is looked up, measured, kept quantised, loaded from there and asked", async () => {
  const offer = await shelf.lookUp(ID);
  expect(offer).toMatchObject({ fileDtype: "F16", numImages: 1, remote: { name: ID, licence: "apache-2.0" } });
  expect(offer.forms.map(({ form }) => form)).toEqual(["file", "q8", "q4_1", "q4"]);
  for (const [index, { neededBytes, keptBytes, problem }] of offer.forms.entries()) {
    expect(problem).toBeUndefined();
    expect(neededBytes).toBeLessThan(offer.forms[index - 1]?.neededBytes ?? Number.POSITIVE_INFINITY);
    expect(keptBytes).toBeLessThan(offer.forms[index - 1]?.keptBytes ?? Number.POSITIVE_INFINITY);
  }
  const speed = await shelf.measure(offer.remote, "q4");
  expect([speed.pictureMs, speed.promptMs, speed.tokenMs].every((ms) => ms > 0)).toBe(true);

  const seen: KeepProgress[] = [];
  const kept = await shelf.keep(offer.remote, "q4", (progress) => seen.push(progress));
  expect(kept.keptBytes - (offer.forms.at(-1)?.keptBytes ?? 0)).toBeLessThan(20_000); // its record, and the written JSON
  expect(new Set(seen.map(({ step }) => step))).toEqual(new Set(["download", "check", "quantise"]));
  expect((await shelf.shelf()).models).toEqual([kept]);
  await hub.close(); // nothing is asked of it any more

  const engine = new PlaygroundEngine(
    Object.assign(host, { openKept: (key: string, name: string) => store.source(key, name) }),
  );
  const view = await engine.load({ kind: "kept", key: kept.key, name: ID }, () => undefined);
  expect(view).toMatchObject({ name: ID, dtype: "q4" });
  const image = { width: 56, height: 56, data: new Uint8Array(56 * 56 * 3).fill(90) };
  const answers = await engine.ask({ image, question: "where ?", settings, maxNewTokens: 3 }, () => undefined);
  expect(answers.greedy.tokens.length).toBeGreaterThan(0);

  await shelf.remove(kept.key);
  expect((await shelf.shelf()).models).toEqual([]);
  await expect(engine.load({ kind: "kept", key: kept.key, name: ID }, () => undefined)).rejects.toThrow(
    "The model is not kept here any more",
  );
});

test("one download at a time; a server that the page's policy refused is named", async () => {
  const remote = {
    name: "org/x",
    address: "http://127.0.0.1:9/",
    commit: undefined,
    page: undefined,
    licence: undefined,
  };
  const files = [{ path: "config.json", size: 2, hash: undefined }];
  const first = shelf.keep({ ...remote, files }, "file", () => undefined);
  await expect(shelf.keep({ ...remote, files }, "file", () => undefined)).rejects.toMatchObject({
    failure: { kind: "busy" },
  });
  await expect(first).rejects.toThrow(/could not be read/);
  refused = "https://elsewhere.example";
  await expect(shelf.lookUp(ID)).rejects.toThrow(
    "This page may not load models from https://elsewhere.example: its Content-Security-Policy names the servers",
  );
  refused = undefined;
});
