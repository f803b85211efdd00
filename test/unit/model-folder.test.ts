// A model's folder is written completely or not at all.
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { companionFiles, ModelFolder } from "../../src/cli/model-folder.ts";
import { AbortError, InputError } from "../../src/errors.ts";
import { rejection } from "../checkpoint/fixtures.ts";

let root = "";
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "adaptvis-folder-"));
});
afterEach(() => rm(root, { recursive: true }));

const MARKER = ".adaptvis-unfinished";
const fresh = { overwrite: false };

async function* pieces(...all: readonly (readonly [position: number, text: string])[]) {
  for (const [position, text] of all) yield { position, bytes: new TextEncoder().encode(text) };
}

test("files have their names only when all are whole; pieces come in any order", async () => {
  const out = join(root, "new", "model");
  const folder = await ModelFolder.open(out, fresh);
  await writeFile(join(root, "from"), "copied");
  await folder.writeText("config.json", "{}");
  await folder.write("model.safetensors", pieces([3, "def"], [0, "abc"]));
  await folder.copy("tokenizer.json", join(root, "from"));
  const parts = ["config.json.part", "model.safetensors.part", "tokenizer.json.part"];
  expect((await readdir(out)).sort()).toEqual([MARKER, ...parts]);
  await folder.finish();
  expect((await readdir(out)).sort()).toEqual(["config.json", "model.safetensors", "tokenizer.json"]);
  expect(await readFile(join(out, "model.safetensors"), "utf8")).toBe("abcdef");
  expect(await readFile(join(out, "tokenizer.json"), "utf8")).toBe("copied");
});

test("a failure in the middle leaves nothing, and an older model as it was", async () => {
  async function* stopped() {
    yield* pieces([0, "abc"]);
    throw new AbortError("Quantising the model");
  }
  const run = async (out: string) => {
    const folder = await ModelFolder.open(out, { overwrite: true });
    expect(await rejection(folder.write("model.safetensors", stopped()))).toBeInstanceOf(AbortError);
    await folder.discard();
  };
  await run(join(root, "new"));
  expect(await readdir(root)).toEqual([]);
  const old = join(root, "old");
  await mkdir(old);
  await writeFile(join(old, "model.safetensors"), "old");
  await run(old);
  expect(await readdir(old)).toEqual(["model.safetensors"]);
  expect(await readFile(join(old, "model.safetensors"), "utf8")).toBe("old");
});

test("a folder with files is refused, unless it is overwritten or a run was interrupted in it", async () => {
  await writeFile(join(root, "model-00001-of-00002.safetensors"), "old");
  await writeFile(join(root, "notes.txt"), "mine");
  const error = await rejection(ModelFolder.open(root, fresh));
  expect(error).toBeInstanceOf(InputError);
  expect(String(error)).toContain(`${root} exists and is not empty; choose another folder, or add --overwrite.`);
  expect(await readdir(root)).toHaveLength(2);

  await writeFile(join(root, MARKER), "");
  await writeFile(join(root, "model-00002-of-00002.safetensors.part"), "half");
  const folder = await ModelFolder.open(root, fresh);
  await folder.write("model.safetensors", pieces([0, "new"]));
  await folder.finish();
  expect((await readdir(root)).sort()).toEqual(["model.safetensors", "notes.txt"]); // no shard of an older model
});

// reason: only Linux has /dev/full
test.runIf(process.platform === "linux")("a full disk is one sentence", async () => {
  await symlink("/dev/full", join(root, "model.safetensors.part"));
  const folder = await ModelFolder.open(root, { overwrite: true });
  const error = await rejection(folder.write("model.safetensors", pieces([0, "abc"])));
  expect(error).toBeInstanceOf(InputError);
  expect(String(error)).toContain("model.safetensors cannot be written: the disk is full; choose another place.");
  await folder.discard();
  expect(await readdir(root)).toEqual([]);
});

test("a file in the folder's place is one sentence", async () => {
  await writeFile(join(root, "file"), "");
  for (const out of [join(root, "file"), join(root, "file", "model")]) {
    const error = await rejection(ModelFolder.open(out, fresh));
    expect(String(error)).toContain(
      `InputError: ${out} cannot be written: its folder is a file; choose another place.`,
    );
  }
});

test("companions are tokenizer, processor, settings and licence, not weights", async () => {
  const meant = ["LICENSE", "README.md", "adaptvis.json", "chat_template.jinja", "merges.txt", "tokenizer.model"];
  const others = [
    ".hidden.json",
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "picture.png",
    "pytorch_model.bin",
  ];
  for (const name of [...meant, ...others]) await writeFile(join(root, name), "");
  await mkdir(join(root, "folder.json"));
  expect(await companionFiles(root)).toEqual(meant);
});
