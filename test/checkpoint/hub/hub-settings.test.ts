// The environment variables of Python's huggingface_hub, and what is needed of a repository.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { type Environment, expandPath, readHubSettings } from "../../../src/checkpoint/hub/hub-settings.node.ts";
import { neededFiles, shardsOf } from "../../../src/checkpoint/hub/needed-files.ts";
import { newFolder, removeFolders } from "./fixtures.ts";

afterAll(removeFolders);

const HOME = { HOME: "/home/ada" };

describe("the cache's folder", () => {
  test.each<[Environment, string]>([
    [{}, "/home/ada/.cache/huggingface/hub"],
    [{ XDG_CACHE_HOME: "/var/$USER", USER: "ada" }, "/var/ada/huggingface/hub"],
    [{ HF_HOME: "~/hf", XDG_CACHE_HOME: "/var" }, "/home/ada/hf/hub"],
    [{ HUGGINGFACE_HUB_CACHE: "/old", HF_HOME: "/hf" }, "/old"],
    [{ HF_HUB_CACHE: "\x24{DISK}/hub", DISK: "/disk", HUGGINGFACE_HUB_CACHE: "/old" }, "/disk/hub"],
    [{ HF_HUB_CACHE: "" }, "/home/ada/.cache/huggingface/hub"],
  ])("%j", (environment, folder) => {
    expect(readHubSettings({ ...HOME, ...environment }).cacheFolder).toBe(folder);
  });

  test("unknown variables and a ~ in the middle stay", () => {
    expect(expandPath("/a/~/$NONE/\x24{NONE}", HOME)).toBe("/a/~/$NONE/\x24{NONE}");
    expect(expandPath("~bob/x", HOME)).toBe("~bob/x");
  });
});

describe("the token", () => {
  test("HF_TOKEN, then HUGGING_FACE_HUB_TOKEN, then the file", async () => {
    const folder = await newFolder();
    await writeFile(join(folder, "token"), " hf_file\n");
    await writeFile(join(folder, "other"), "other_kind_of_token\n");
    const tokenOf = (environment: Environment, token?: string) =>
      readHubSettings({ ...HOME, HF_HOME: folder, ...environment }, { token }).token;
    expect(tokenOf({ HF_TOKEN: "a\n", HUGGING_FACE_HUB_TOKEN: "b" })).toEqual({ value: "a", from: "HF_TOKEN" });
    expect(tokenOf({ HUGGING_FACE_HUB_TOKEN: "b" })?.value).toBe("b");
    expect(tokenOf({})).toEqual({ value: "hf_file", from: join(folder, "token") });
    expect(tokenOf({ HF_TOKEN_PATH: "$X/other", X: folder })?.value).toBe("other_kind_of_token");
    expect(tokenOf({ HF_TOKEN_PATH: "/none" })).toBeUndefined();
    expect(tokenOf({ HF_TOKEN: "a", HF_HUB_DISABLE_IMPLICIT_TOKEN: "1" })).toBeUndefined();
    expect(tokenOf({ HF_TOKEN: "a", HF_HUB_DISABLE_IMPLICIT_TOKEN: "1" }, "given")?.value).toBe("given");
  });

  test("one that no header can hold is refused without being shown", () => {
    const read = () => readHubSettings({ ...HOME, HF_TOKEN: "hf_a\u00e9b" });
    expect(read).toThrow(/^The token in HF_TOKEN holds characters that no token has/);
    expect(read).not.toThrow(/hf_a/);
  });
});

test("switches, address and time limits", () => {
  const read = (environment: Environment) => readHubSettings({ ...HOME, ...environment });
  expect(read({})).toMatchObject({ endpoint: "https://huggingface.co", isOffline: false, metadataTimeoutMs: 10_000 });
  for (const value of ["1", "on", "YES", "True"]) expect(read({ HF_HUB_OFFLINE: value }).isOffline).toBe(true);
  for (const value of ["0", "no", ""]) expect(read({ HF_HUB_OFFLINE: value }).isOffline).toBe(false);
  expect(read({ TRANSFORMERS_OFFLINE: "1" }).isOffline).toBe(true);
  expect(read({ HF_ENDPOINT: "http://mirror/hub//" }).endpoint).toBe("http://mirror/hub");
  expect(read({ HF_HUB_ETAG_TIMEOUT: "2", HF_HUB_DOWNLOAD_TIMEOUT: "0.5" })).toMatchObject({
    metadataTimeoutMs: 2000,
    stallTimeoutMs: 500,
  });
  expect(() => read({ HF_ENDPOINT: "mirror" })).toThrow(/HF_ENDPOINT must be an http or https address, got "mirror"/);
  expect(() => read({ HF_HUB_ETAG_TIMEOUT: "soon" })).toThrow(/HF_HUB_ETAG_TIMEOUT must be a number of seconds/);
});

describe("needed files", () => {
  const SMALL = ["config.json", "tokenizer.json", "preprocessor_config.json"];

  test("the small ones, and the single file where both forms are there", () => {
    const paths = [...SMALL, "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "README.md"];
    const { small, weights, included } = neededFiles("a/b", paths);
    expect({ small: [...small].sort(), weights, included }).toEqual({
      small: [...SMALL].sort(),
      weights: "model.safetensors",
      included: [],
    });
  });

  test("patterns are of whole paths, and what is needed anyway is not counted twice", () => {
    const paths = [...SMALL, "model.safetensors", "demo/a.png", "demo/b.png", "xdemo/c.png"];
    expect(neededFiles("a/b", paths, ["demo/*", "*.json", "?emo/a.png"]).included).toEqual([
      "demo/a.png",
      "demo/b.png",
    ]);
  });

  test.each([
    [
      ["pytorch_model.bin"],
      /a\/b has neither model\.safetensors nor .*, but pytorch_model\.bin: convert it to safetensors/,
    ],
    [["x-q4.gguf"], /but x-q4\.gguf: choose the repository that it was converted from/],
    [["onnx/model.onnx"], /exported from/],
    [["adapter_model.safetensors"], /the repository of the whole model/],
    [[], /has no weights/],
  ])("without safetensors: %j", (paths, message) => {
    expect(() => neededFiles("a/b", ["config.json", ...paths])).toThrow(message);
  });

  test("without config.json", () => {
    expect(() => neededFiles("a/b", ["model.safetensors"])).toThrow(/a\/b has no config\.json/);
  });

  test("shards of an index have to be in the repository, and inside of it", () => {
    const index = (...files: readonly string[]) => JSON.stringify({ weight_map: Object.fromEntries(files.entries()) });
    expect(
      shardsOf("a/b", index("2.safetensors", "1.safetensors", "2.safetensors"), ["1.safetensors", "2.safetensors"]),
    ).toEqual(["1.safetensors", "2.safetensors"]);
    expect(() => shardsOf("a/b", index("1.safetensors"), [])).toThrow(
      /names the shard "1\.safetensors", which the repository lacks/,
    );
    expect(() => shardsOf("a/b", index("../1.safetensors"), ["../1.safetensors"])).toThrow(/not a plain path/);
  });
});
