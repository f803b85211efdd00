// `adaptvis trace`: a file that another program reads, and tensors that another program wrote.

import { readdir, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import { readSafetensorsHeader } from "../../src/checkpoint/safetensors.ts";
import { encodeSafetensors, type TensorToWrite } from "../../src/checkpoint/safetensors-writer.ts";
import { readProcessedTensors } from "../../src/cli/trace.ts";
import { InputError } from "../../src/errors.ts";
import type { VisionConfig } from "../../src/models/config.ts";
import { adaptvis, jsonOf, knownPictures, newFolder, ownLines, removeFolders, tinyLlava } from "./command.ts";

afterAll(removeFolders);

/** As tiny-llava's. */
const VISION = { imageSize: 56, numChannels: 3 } as VisionConfig; // what the pixels' shape is checked against

test("--inputs gives transformers' greedy ids and logits", async () => {
  const out = join(await newFolder(), "trace.safetensors");
  const inputs = join(tinyLlava, "expected.safetensors");
  const length = ["--max-new-tokens", "8", "--ignore-eos"];
  const result = await adaptvis("trace", "--model", tinyLlava, "--inputs", inputs, ...length, "--out", out, "--json");
  expect(result.ending).toBe(0);
  const generated = await readNumbers(inputs, "generated", Int32Array);
  const expectedIds = Array.from(generated.slice(-8));
  expect(jsonOf(result)).toMatchObject({
    out,
    method: "greedy",
    factor: 1,
    generatedIds: expectedIds,
    imageSpan: [3, 19],
  });
  expect(Array.from(await readNumbers(out, "generated_ids", Int32Array))).toEqual(expectedIds);
  const logits = await readNumbers(out, "logits", Float32Array);
  const expected = (await readNumbers(inputs, "logits", Float32Array)).slice(-logits.length);
  const worst = expected.reduce(
    (most, value, index) => Math.max(most, Math.abs(value - (logits[index] ?? Number.NaN))),
    0,
  );
  expect(worst).toBeLessThan(2e-4); // the project's parity bound
  const { metadata, tensors } = await headerOf(out);
  expect(metadata).toMatchObject({ image_start: "3", image_end: "19", factor: "1", dtype: "f32", kv_dtype: "f32" });
  expect([...tensors.keys()]).toEqual(
    expect.arrayContaining([
      "pixel_values",
      "vision.hidden_states.0",
      "image_features",
      "inputs_embeds",
      "layers.1.attention_probs",
    ]),
  );
});

test("a picture's trace can be traced again, with a factor", async () => {
  const [picture] = await knownPictures();
  const folder = await newFolder();
  const [first, second] = [join(folder, "first.safetensors"), join(folder, "second.safetensors")];
  const question = "What is in the picture?";
  const written = await adaptvis("trace", "--image", picture?.path ?? "", question, "--out", first);
  expect(written).toMatchObject({ stdout: `${first}\n`, ending: 0 });
  expect(written.stderr).not.toContain("chat template");
  const again = await adaptvis(
    "trace",
    "--inputs",
    first,
    "--factor",
    "0.5",
    "--out",
    second,
    "--max-new-tokens",
    "1",
    "--json",
  );
  expect(jsonOf(again)).toMatchObject({ method: "scaling", factor: 0.5, generatedIds: [expect.any(Number)] });
  const [before, after, plain] = await Promise.all([
    readNumbers(first, "layers.0.attention_probs", Float32Array),
    readNumbers(second, "layers.0.attention_probs", Float32Array),
    readNumbers(second, "unmodified.layers.0.attention_probs", Float32Array),
  ]);
  expect(after).not.toEqual(before);
  expect(plain).toEqual(before);

  // The first token was run to choose the second; under a factor, only one was chosen.
  const { metadata, tensors } = await headerOf(first);
  const numTokens = Number(tensors.get("generated_ids")?.shape[0]);
  const kinds: readonly string[] = JSON.parse(metadata.token_kinds ?? "");
  const texts: readonly string[] = JSON.parse(metadata.token_texts ?? "");
  const promptLength = kinds.indexOf("generated");
  expect(tensors.get("generated.layers.0.attention_probs")?.shape).toEqual([
    numTokens - 1,
    4,
    promptLength + numTokens - 1,
  ]);
  expect([kinds.length, texts.length]).toEqual([promptLength + numTokens, promptLength + numTokens]);
  expect(texts.filter((_, position) => kinds[position] === "text").join("")).toContain(question);
  expect(new Set(texts.filter((_, position) => kinds[position] === "image 0"))).toEqual(new Set(["<image>"]));
  expect([...tensors.keys()].some((name) => name.startsWith("unmodified."))).toBe(false);
  expect([...(await headerOf(second)).tensors.keys()].some((name) => name.startsWith("generated."))).toBe(false);
});

test("a prompt that does not have the template's form is traced as it is, and the difference mentioned", async () => {
  const [picture] = await knownPictures();
  const out = join(await newFolder(), "trace.safetensors");
  const of = ["trace", "--image", picture?.path ?? "", "--max-new-tokens", "1", "--out", out, "--prompt"];
  const other = await adaptvis(...of, "USER: <image> What is in the picture? ASSISTANT:");
  expect(other.ending).toBe(0);
  expect(ownLines(other.stderr)).toContain(
    'adaptvis: --prompt does not have the form of the checkpoint\'s chat template, "<image>\\nUSER: QUESTION\\nASSISTANT:", so that answers may differ: give the question alone, or this form.',
  );
  const same = await adaptvis(...of, "<image>\nUSER: What is in the picture?\nASSISTANT:");
  expect(same.stderr).not.toContain("chat template");
});

test("--read writes only what it names, with texts and geometry for a reader that knows nothing else", async () => {
  const [picture] = await knownPictures();
  const out = join(await newFolder(), "reads.safetensors");
  const question = "What is in the picture?";
  const reads = [
    "--read",
    'blocks.*.attn.hook_pattern[1,3]@"picture",last,generated',
    "--read",
    "layers.1.hidden_states@image",
  ];
  const { ending } = await adaptvis("trace", "--image", picture?.path ?? "", question, ...reads, "--out", out);
  expect(ending).toBe(0);
  const { metadata, tensors } = await headerOf(out);
  const names = [0, 1, 2, 3].map((layer) => `blocks.${layer}.attn.hook_pattern[1,3]`);
  expect([...tensors.keys()].sort()).toEqual([...names, "generated_ids", "input_ids", "layers.1.hidden_states"]);
  const about = JSON.parse(metadata.reads ?? "");
  const texts: readonly string[] = JSON.parse(metadata.token_texts ?? "");
  const { positions, ...pattern } = about[names[2] ?? ""];
  expect(pattern).toEqual({ place: "layers.2.attention_probs", axes: ["position", "head", "key"], heads: [1, 3] });
  const promptLength = Number(tensors.get("input_ids")?.shape[0]);
  expect(texts.slice(positions[0], promptLength).join("")).toMatch(/^ picture\?/);
  const numRun = Number(tensors.get("generated_ids")?.shape[0]) - 1;
  expect(positions.slice(-numRun - 1)).toEqual(
    Array.from({ length: numRun + 1 }, (_, index) => promptLength - 1 + index),
  );
  expect(tensors.get(names[2] ?? "")?.shape).toEqual([positions.length, 2, promptLength + numRun]);
  const [{ runs, map, cells }] = JSON.parse(metadata.pictures ?? "");
  expect(about["layers.1.hidden_states"].positions).toHaveLength(runs[0][1] - runs[0][0]);
  expect(cells).toHaveLength(map[0] * map[1]);
  expect(cells.at(-1)).toEqual([1 - 1 / map[1], 1 - 1 / map[0], 1, 1]);
});

describe("refuses inputs that do not fit", () => {
  const ids: TensorToWrite = { name: "input_ids", dtype: "I32", shape: [1, 4], data: Int32Array.of(0, 120, 5, 6) };
  const pixels: TensorToWrite = {
    name: "pixel_values",
    dtype: "F32",
    shape: [1, 3, 56, 56],
    data: new Float32Array(3 * 56 ** 2),
  };
  test.each<[string, readonly TensorToWrite[], RegExp]>([
    ["no input_ids", [pixels], /lacks the tensor input_ids/],
    [
      "ids as floats",
      [{ ...ids, dtype: "F32", data: new Float32Array(4) }, pixels],
      /input_ids must be I64 or I32 .*got F32/,
    ],
    ["two prompts", [{ ...ids, shape: [2, 2] }, pixels], /input_ids must be .*got I32 of shape \[2, 2\]/],
    [
      "pixels as integers",
      [ids, { ...pixels, dtype: "I32", data: new Int32Array(3 * 56 ** 2) }],
      /pixel_values must be F32/,
    ],
    [
      "pixels of another size",
      [ids, { ...pixels, shape: [1, 3, 28, 112] }],
      /pixel_values must be F32 of shape .*got F32 of shape \[1, 3, 28, 112\]/,
    ],
  ])("%s", async (_, tensors, message) => {
    const inputs = join(await newFolder(), "inputs.safetensors");
    await writeFile(inputs, encodeSafetensors(tensors));
    const reading = readProcessedTensors(inputs, { vision: VISION, signal: new AbortController().signal });
    await expect(reading).rejects.toThrow(InputError);
    await expect(reading).rejects.toThrow(message);
  });

  test.each<[string, readonly TensorToWrite[], RegExp]>([
    [
      "two pictures",
      [ids, { ...pixels, shape: [2, 3, 56, 56], data: new Float32Array(6 * 56 ** 2) }],
      /1 image token .* for 2 pictures/,
    ],
    ["an id outside of the vocabulary", [{ ...ids, data: Int32Array.of(0, 120, 5, 128) }, pixels], /token 3 is 128/],
  ])("%s: with exit code 1, and nothing is written", async (_, tensors, message) => {
    const folder = await newFolder();
    const inputs = join(folder, "inputs.safetensors");
    await writeFile(inputs, encodeSafetensors(tensors));
    const out = join(folder, "trace.safetensors");
    const { stdout, stderr, ending } = await adaptvis("trace", "--model", tinyLlava, "--inputs", inputs, "--out", out);
    expect({ stdout, ending }).toEqual({ stdout: "", ending: 1 });
    expect(ownLines(stderr)).toEqual([expect.stringMatching(message)]);
    expect(await readdir(folder)).toEqual(["inputs.safetensors"]);
  });

  test("a file that is no safetensors", async () => {
    const inputs = join(await newFolder(), "inputs.safetensors");
    await writeFile(inputs, "not a tensor in sight");
    const result = await adaptvis(
      "trace",
      "--model",
      tinyLlava,
      "--inputs",
      inputs,
      "--out",
      `${inputs}.out`,
      "--json",
    );
    expect(result.ending).toBe(1);
    expect(jsonOf(result)).toMatchObject({ error: { name: "CheckpointError", file: basename(inputs) } });
  });
});

test.each([
  ["nothing to run", [], /The input is missing/],
  [
    "tensors and a prompt",
    ["--inputs", "in.safetensors", "--prompt", "<image>"],
    /--inputs cannot be combined with a question, --image or --prompt/,
  ],
  ["rows left out of chosen places", ["--read", "inputs_embeds", "--no-generated", "hi"], /leave out --no-generated/],
  ["an output that is the input", ["--inputs", "out.safetensors"], /overwrite an input file/],
])("refuses with exit code 2: %s", async (_, args, message) => {
  const { stderr, ending } = await adaptvis("trace", "--out", "out.safetensors", ...args);
  expect(ending).toBe(2);
  expect(ownLines(stderr)).toEqual([expect.stringMatching(message)]);
});

async function headerOf(path: string) {
  const source = fileSource(dirname(path));
  const header = await readSafetensorsHeader(source, basename(path));
  await source.close?.();
  return header;
}

/** A tensor's numbers; 64-bit integers are narrowed. */
async function readNumbers<T extends Int32Array | Float32Array>(
  path: string,
  name: string,
  array: { new (buffer: ArrayBuffer): T; from(values: Iterable<number>): T },
): Promise<T> {
  const source = fileSource(dirname(path));
  const entry = (await readSafetensorsHeader(source, basename(path))).tensors.get(name);
  if (entry === undefined) throw new Error(`${path} has no ${name}`);
  const { buffer } = await source.read(basename(path), entry.start, entry.end);
  await source.close?.();
  return entry.dtype === "I64" ? array.from(Array.from(new BigInt64Array(buffer), Number)) : new array(buffer);
}
