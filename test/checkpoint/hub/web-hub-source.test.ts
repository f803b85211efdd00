// Models by name where nothing is kept: sources of ids on the hub that are read by ranges, and what a string opens.

import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { openCheckpoint } from "../../../src/checkpoint/checkpoint.ts";
import { modelSource } from "../../../src/checkpoint/hub/resolve-model.node.ts";
import { webHubSource } from "../../../src/checkpoint/hub/web-hub-source.ts";
import { namedSource, setSourceOpener } from "../../../src/checkpoint/named-source.ts";
import { InputError } from "../../../src/errors.ts";
import { repositoryRoot } from "../../setup/bundle.ts";
import { commitNamed, type LocalHub, startLocalHub } from "../../setup/local-hub.ts";
import { shardedRepo } from "./fixtures.ts";

const ID = "org/sharded";
const COMMIT = commitNamed("sharded");

let hub: LocalHub;

beforeAll(async () => {
  hub = await startLocalHub();
  const repo = await shardedRepo();
  hub.repos.set(ID, { ...repo, revisions: { ...repo.revisions, "refs/pr/1": COMMIT } });
});

afterEach(() => {
  hub.calls.length = 0;
  hub.fault = () => undefined;
});

afterAll(() => hub.close());

describe("webHubSource", () => {
  test.each(["main", "refs/pr/1", COMMIT])("reads files of the commit of %s by ranges", async (revision) => {
    const source = webHubSource(ID, { endpoint: hub.url, revision, token: "hf_secret" });
    expect(hub.calls).toEqual([]);
    const checkpoint = await openCheckpoint(source);
    expect(checkpoint.tensors.size).toBeGreaterThan(10);
    const [api, ...files] = hub.calls;
    expect(api).toMatchObject({ kind: "api", authorization: "Bearer hf_secret" });
    expect(hub.calls.filter(({ kind }) => kind === "api")).toHaveLength(1);
    const resolved = files.filter(({ kind }) => kind === "resolve");
    expect(resolved.length).toBeGreaterThan(3);
    for (const { url } of resolved) expect(url.startsWith(`/${ID}/resolve/${COMMIT}/`)).toBe(true);
    const [name] = checkpoint.tensors.keys();
    if (name === undefined) throw new Error("no tensor");
    expect(await checkpoint.read(name, { start: 0, end: 8 })).toHaveLength(8);
    await checkpoint.close();
  });

  test.each([
    ["org/none", "main", "org/none at main is not on"],
    [ID, "v9", "org/sharded at v9 is not on"],
  ])("says that %s at %s is not there", async (id, revision, message) => {
    await expect(webHubSource(id, { endpoint: hub.url, revision }).size("config.json")).rejects.toThrow(message);
  });

  test("asks again after a failure, and names an answer that has no commit", async () => {
    const source = webHubSource(ID, { endpoint: hub.url });
    hub.fault = ({ kind }) => (kind === "api" ? { status: 200, body: '{"sha": "main"}' } : undefined);
    await expect(source.size("config.json")).rejects.toThrow(/expected a commit as sha .* got "main"\.$/);
    hub.fault = () => undefined;
    expect(await source.size("config.json")).toBeGreaterThan(100);
  });

  test("refuses what is no id", () => {
    expect(() => webHubSource("sharded")).toThrow(/expected an id such as .*, got "sharded"\.$/);
  });

  test.each(["http`.0.0.1:9", "example.org", "file:///tmp"])(
    "refuses %s as endpoint before any request",
    (endpoint) => {
      expect(() => webHubSource(ID, { endpoint })).toThrow(/ is not an? .*URL; give the/);
    },
  );
});

describe("a name", () => {
  test("is an id or an address where there are no folders", () => {
    expect(namedSource(ID).name).toBe(ID);
    expect(namedSource("https://example.org/model").name).toBe("https://example.org/model/");
    expect(() => namedSource("./model")).toThrow(InputError);
    expect(() => namedSource("./model")).toThrow(/expected an id on the hub, .* got "\.\/model"\.$/);
  });

  test("is also a folder in Node", async () => {
    setSourceOpener(modelSource);
    const folder = join(repositoryRoot, "weights", "tiny-spatial");
    const checkpoint = await openCheckpoint(namedSource(folder));
    expect(checkpoint.tensors.size).toBeGreaterThan(10);
    await checkpoint.close();
    await expect(namedSource("./no-such-model").size("config.json")).rejects.toThrow(
      "./no-such-model does not exist, and is not an id on the hub",
    );
  });
});
