// `adaptvis doctor`, `inspect` and `demo`: what they report.

import { copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, expect, test } from "vitest";
import { adapterOfEnvironment } from "../setup/device.ts";
import {
  adaptvis,
  jsonOf,
  knownPictures,
  modelCopy,
  newFolder,
  removeFolders,
  root,
  tinyLlava,
  tinySpatial,
} from "./command.ts";

afterAll(removeFolders);

test("doctor names the adapter, what it has and what it lacks", async () => {
  const result = await adaptvis("doctor", "--json");
  expect(result.ending).toBe(0);
  expect(jsonOf(result)).toMatchObject({
    adapter: {
      kind: adapterOfEnvironment(),
      isSoftware: adapterOfEnvironment() !== "gpu",
      features: { shaderF16: expect.any(Boolean), subgroups: expect.any(Boolean) },
      limits: { maxStorageBufferBindingSize: expect.any(Number) },
      gaps: expect.any(Array),
    },
    software: { swiftshader: { present: expect.any(Boolean) }, lavapipe: { present: expect.any(Boolean) } },
    host: { node: process.version },
  });
  const { stdout, ending } = await adaptvis("doctor");
  expect(ending).toBe(0);
  expect(stdout).toMatch(/^adapter \S/m);
  expect(stdout).toMatch(/^features shader-f16 (yes|no), subgroups (yes|no)/m);
});

test("doctor without an adapter reports the rest and exits with 1", async (context) => {
  const result = await adaptvis("doctor", "--adapter", "gpu", "--json");
  if (result.ending === 0) context.skip("this machine has a GPU, so that there is an adapter to find");
  expect(result.ending).toBe(1);
  expect(jsonOf(result)).toMatchObject({
    error: { name: "GpuError", reason: "no-adapter", host: { node: process.version } },
  });
});

test("inspect sums the parts of a checkpoint", async () => {
  const report = jsonOf(await adaptvis("inspect", tinyLlava, "--json"));
  const tensors = report.tensors;
  expect(tensors).toContainEqual({
    name: "language_model.lm_head.weight",
    dtype: "F32",
    shape: [128, 64],
    bytes: 128 * 64 * 4,
    file: "model.safetensors",
  });
  const parts = ["vision tower", "projector", "decoder", "lm_head"].map((part) => expect.objectContaining({ part }));
  expect(report).toMatchObject({ config: { modelType: "llava" }, totals: parts });
  const { stdout, ending } = await adaptvis("inspect", tinySpatial);
  expect(ending).toBe(0);
  expect(stdout).toMatch(/^decoder {2}llama, 4 layers, width 128/m);
  expect(stdout).toMatch(/^language_model\.lm_head\.weight +F16 +\[448, 128\] +112\.0 KiB +model\.safetensors$/m);
});

test("inspect tells the memory and the error of every dtype", async () => {
  const report = jsonOf(await adaptvis("inspect", tinySpatial, "--dtype", "q8", "--json"));
  expect(report.memory).toEqual(
    Object.fromEntries(["f32", "f16", "bf16", "q8", "q4_1", "q4"].map((dtype) => [dtype, expect.any(Number)])),
  );
  // 4 layers, keys and values, 4 heads: 32 values, in q8 with a word of scales.
  expect(report.cachePerToken).toEqual({ f32: 32 * 128, f16: 32 * 64, q8: 32 * 36 });
  expect(report.errors).toMatchObject({ dtype: "q8", worst: { relativeRms: expect.any(Number) } });
  const { stdout, ending } = await adaptvis("inspect", tinySpatial, "--dtype", "q8");
  expect(ending).toBe(0);
  expect(stdout).toMatch(/^mean 0\.\d+ %, worst 0\.\d+ % in \S+\.weight$/m);
  expect((await adaptvis("inspect", join(tinyLlava, "expected.safetensors"), "--dtype", "q8")).ending).toBe(2);
});

test("inspect lists one safetensors file", async () => {
  const file = join(tinyLlava, "expected.safetensors");
  const report = jsonOf(await adaptvis("inspect", file, "--json"));
  expect(report).toMatchObject({ model: file, config: null });
  expect(report.tensors).toContainEqual(expect.objectContaining({ name: "pixel_values", shape: [1, 3, 56, 56] }));
});

test("demo answers every question twice and draws both", async () => {
  const model = await modelCopy();
  const pictures = await knownPictures();
  await mkdir(join(model, "demo"));
  const questions = pictures.map(({ file, question, answer }) => ({ image: file, question, answer, note: "A note." }));
  for (const { path, file } of pictures) await copyFile(path, join(model, "demo", file));
  await writeFile(join(model, "demo", "demo.json"), JSON.stringify(questions));

  const out = join(await newFolder(), "maps");
  const { stdout, ending } = await adaptvis("demo", "--model", model, "--out", out);
  expect(ending).toBe(0);
  expect(stdout.match(/^ {2}greedy +\w+ \((right|wrong)\), confidence [\d.]+$/gm)).toHaveLength(pictures.length);
  expect(stdout.match(/^ {2}AdaptVis +\w+ \((right|wrong)\), factor [\d.]+: confidence [\d.]+ is /gm)).toHaveLength(
    pictures.length,
  );
  const maps = await readdir(out);
  expect(maps).toHaveLength(pictures.length);
  for (const file of maps) {
    const { channels } = await sharp(await readFile(join(out, file))).stats();
    expect(Math.min(...channels.map(({ stdev }) => stdev))).toBeGreaterThan(20); // not blank
  }
});

test("demo without options says what the README shows of npm start", async () => {
  const readme = await readFile(join(root, "README.md"), "utf8");
  const [, shown = ""] = /^```text\n([^`]*^teapot_under_book[^`]*)^```/m.exec(readme) ?? [];
  const lines = shown.split("\n").filter((line) => !/^(adaptvis: .*|…|)$| heat map /.test(line));
  expect(lines).toHaveLength(5);
  const { stdout, ending } = await adaptvis("demo", "--out", join(await newFolder(), "maps"));
  expect(ending).toBe(0);
  expect(stdout).toContain(lines.join("\n"));
});

test("demo without a demo.json is an error", async () => {
  const { stdout, stderr, ending } = await adaptvis("demo", "--model", tinyLlava);
  expect({ stdout, ending }).toEqual({ stdout: "", ending: 1 });
  expect(stderr).toMatch(/demo\.json cannot be read/);
});
