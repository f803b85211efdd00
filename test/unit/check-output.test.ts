// Files that a command writes: never one that it reads, by whatever name.

import { link, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { checkOutput } from "../../src/cli/checks.ts";
import { UsageError } from "../../src/cli/session.ts";

let folder: string;
const at = (name: string) => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "adaptvis-output-"));
  await mkdir(at("model"));
  for (const name of [
    "picture.png",
    "other.png",
    "model/tokenizer.json",
    "model/model.safetensors",
    "model/heat-map.png",
  ]) {
    await writeFile(at(name), name);
  }
  await symlink(at("picture.png"), at("link.png"));
  await link(at("picture.png"), at("hard.png"));
  await symlink(at("model/model.safetensors"), at("weights"));
  await symlink(at("model"), at("model-link"));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

test.each(["picture.png", "link.png", "hard.png", "./model/../picture.png"])("%s is the picture", async (name) => {
  await expect(checkOutput("--heatmap", at(name), [undefined, at("picture.png")])).rejects.toThrow(UsageError);
});

test.each(["model/tokenizer.json", "model/model.safetensors", "weights", "model-link/tokenizer.json"])(
  "%s is a file of the checkpoint",
  async (name) => {
    const message = `--out ${at(name)} would overwrite an input file: choose another place.`;
    for (const model of ["model", "model-link"]) {
      await expect(checkOutput("--out", at(name), [at(model)])).rejects.toThrow(message);
    }
  },
);

test.each(["other.png", "new.png", "model/heat-map.png", "model/new.json"])("%s may be written", async (name) => {
  await expect(checkOutput("--out", at(name), [at("picture.png"), at("model"), "org/model"])).resolves.toBeUndefined();
});
