// Models on servers before any of them is kept: what the hub and other servers say about them, and what is said when they do not.

import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { AbortError, CheckpointError, InputError } from "../../src/errors.ts";
import { downloadBytes, findRemoteModel, type RemoteOptions, remoteSource } from "../../src/store/remote-model.ts";
import { startServer } from "../browser/static-server.ts";
import { repositoryRoot } from "../setup/bundle.ts";
import { commitNamed, etagOf, type LocalHub, startLocalHub } from "../setup/local-hub.ts";
import { checkpointOf, repositoryOf, SMALL } from "./fixtures.ts";

const ID = "org/small";
const COMMIT = commitNamed("small");
const files = checkpointOf(SMALL);
const shards = [...files.keys()].filter((path) => path.endsWith(".safetensors"));

let hub: LocalHub;
let options: RemoteOptions;

beforeAll(async () => {
  hub = await startLocalHub();
  hub.repos.set(ID, repositoryOf(files, "small"));
  options = { hub: hub.url, retryDelaysMs: [1, 1] };
});

afterEach(() => {
  hub.calls.length = 0;
  hub.fault = () => undefined;
});

afterAll(() => hub.close());

test.each([
  ["an id", () => ID],
  ["an id between spaces", () => ` ${ID}\n`],
  ["the address of its page", () => `${hub.url}/${ID}`],
  ["the address of a revision", () => `${hub.url}/${ID}/tree/v1`],
])("%s gives the commit, the licence and the files that are needed, with sizes and hashes", async (_, text) => {
  const found = await findRemoteModel(text(), options);
  expect(found).toMatchObject({
    name: ID,
    commit: COMMIT,
    licence: "apache-2.0",
    page: `${hub.url}/${ID}`,
    address: `${hub.url}/${ID}/resolve/${COMMIT}/`,
  });
  expect(shards.length).toBeGreaterThan(3);
  expect(found.files.map(({ path }) => path).sort()).toEqual([...files.keys()].sort());
  for (const { path, size, hash } of found.files) {
    const bytes = files.get(path) ?? new Uint8Array();
    expect([size, hash], path).toEqual([bytes.length, etagOf(path, bytes)]);
  }
  expect(downloadBytes(found)).toBe([...files.values()].reduce((sum, { length }) => sum + length, 0));
  // The lists come in pages, and of the files only the index has been read.
  expect(hub.calls.filter(({ kind }) => kind === "api").length).toBeGreaterThan(2);
  expect(new Set(hub.calls.flatMap(({ path }) => path ?? []))).toEqual(new Set(["model.safetensors.index.json"]));
});

test("the page of a model on another hub is asked there, and the name is its address", async () => {
  const found = await findRemoteModel(`${hub.url}/${ID}`, { ...options, hub: "https://hub.example" });
  expect(found).toMatchObject({ name: `${hub.url}/${ID}`, commit: COMMIT });
});

test("a folder on any server is taken as it is, without hashes", async () => {
  const server = await startServer(({ path }) => ({ file: `${repositoryRoot}${path}` }));
  try {
    const address = `${server.origin}/weights/tiny-spatial/`;
    const found = await findRemoteModel(address.slice(0, -1), options);
    expect(found).toMatchObject({ name: address, address, commit: undefined, licence: undefined });
    const paths = found.files.map(({ path }) => path);
    expect(paths).toEqual(
      expect.arrayContaining(["config.json", "tokenizer.json", "adaptvis.json", "model.safetensors"]),
    );
    expect(paths.some((path) => path.startsWith("demo"))).toBe(false);
    expect(found.files.every(({ hash, size }) => hash === undefined && size > 0)).toBe(true);
    const source = remoteSource(found, options);
    expect(await source.size("config.json")).toBe(found.files.find(({ path }) => path === "config.json")?.size);
    expect(new TextDecoder().decode(await source.read("config.json", 0, 1))).toBe("{");
  } finally {
    server.close();
  }
});

test.each([
  ["small", InputError, /Expected a model's id such as .*, or an address that begins with https:\/\/, got "small"\./],
  ["", InputError, /got ""/],
  ["ftp://example.org/m", InputError, /Expected a model's id/],
])("%j is no model's name", async (text, kind, message) => {
  const refusal = findRemoteModel(text, options);
  await expect(refusal).rejects.toThrow(kind);
  await expect(refusal).rejects.toThrow(message);
  expect(hub.calls).toEqual([]);
});

test("a model or revision that is not there is one sentence, and a gated one says what to do", async () => {
  await expect(findRemoteModel("org/none", options)).rejects.toThrow(
    /^127\.0\.0\.1:\d+ has no model org\/none, or only for its owner: check the id\.$/,
  );
  await expect(findRemoteModel(`${hub.url}/${ID}/tree/v9`, options)).rejects.toThrow(/has no model org\/small at "v9"/);
  hub.fault = () => ({ status: 401, headers: { "X-Error-Code": "GatedRepo" } });
  await expect(findRemoteModel(ID, options)).rejects.toThrow(
    /gives org\/small only to those who have accepted its terms/,
  );
});

test("a failing hub is asked again, and then it is said what it did", async () => {
  let numFailures = 0;
  hub.fault = () => (numFailures++ < 2 ? { status: 503 } : undefined);
  expect((await findRemoteModel(ID, options)).commit).toBe(COMMIT);
  hub.fault = () => ({ status: 503 });
  await expect(findRemoteModel(ID, options)).rejects.toThrow(/could not be asked about org\/small \(HTTP status 503\)/);
  hub.fault = () => ({ status: 200, body: "<html>" });
  await expect(findRemoteModel(ID, options)).rejects.toThrow(CheckpointError);
});

test("a folder without config.json and a repository without safetensors are refused", async () => {
  const server = await startServer(() => undefined);
  try {
    await expect(findRemoteModel(`${server.origin}/models/deep/inside`, options)).rejects.toThrow(
      /has no config\.json/,
    );
  } finally {
    server.close();
  }
  hub.repos.set("org/pickled", repositoryOf(new Map([["pytorch_model.bin", new Uint8Array(3)]]), "pickled"));
  await expect(findRemoteModel("org/pickled", options)).rejects.toThrow(/neither model\.safetensors nor/);
});

test("a signal stops it", async () => {
  const stop = new AbortController();
  hub.fault = () => {
    stop.abort();
    return undefined;
  };
  await expect(findRemoteModel(ID, { ...options, signal: stop.signal })).rejects.toThrow(AbortError);
});
