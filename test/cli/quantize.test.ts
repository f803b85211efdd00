// `adaptvis quantize`: a folder that loads like its source, and what is refused.
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { checkpointFingerprint } from "../../src/evaluate/run/fingerprint.node.ts";
import { adaptvis, jsonOf, newFolder, ownLines, removeFolders, tinyLlava, tinySpatial } from "./command.ts";

afterAll(removeFolders);

test("tiny-spatial in q4 answers like its source with --dtype q4, and inspect shows its forms", async () => {
  const out = join(await newFolder(), "q4");
  const result = await adaptvis("quantize", tinySpatial, out, "--dtype", "q4", "--json");
  expect(result.ending).toBe(0);
  const { size } = await stat(join(out, "model.safetensors"));
  expect(jsonOf(result)).toMatchObject({ out, dtype: "q4", files: ["model.safetensors"], bytes: size });
  expect(size).toBeLessThan((await stat(join(tinySpatial, "model.safetensors"))).size * 0.6); // of f16; the tower is in q8
  const names = ["adaptvis.json", "chat_template.jinja", "generation_config.json", "tokenizer.json"];
  expect(await readdir(out)).toEqual(expect.arrayContaining([...names, "config.json", "LICENSE-fluent-emoji"]));
  for (const name of names) expect(await readFile(join(out, name))).toEqual(await readFile(join(tinySpatial, name)));
  expect(await checkpointFingerprint(out)).not.toBe(await checkpointFingerprint(tinySpatial));

  const report = jsonOf(await adaptvis("inspect", out, "--json"));
  const [name, rows, columns] = ["language_model.model.layers.0.self_attn.o_proj.weight", 128, 128] as const;
  const bytes = rows * (columns / 2) + rows * (columns / 32) * 2;
  expect(report.tensors).toContainEqual({
    name,
    dtype: "q4",
    shape: [rows, columns],
    bytes,
    file: "model.safetensors",
  });
  expect(Object.keys(report.memory ?? {})).toEqual(["q4"]);
  const source = jsonOf(await adaptvis("inspect", tinySpatial, "--json"));
  expect(report.memory).toEqual({ q4: (source.memory as { readonly q4: number }).q4 }); // inspect's own report
  const picture = join(tinySpatial, "demo", "mug_left_of_dog.jpeg");
  const question = "Where is the mug in relation to the dog? Answer with left, right, on or under.";
  const ask = async (...flags: readonly string[]) => {
    const { answer, dtype, tokens } = jsonOf(await adaptvis("ask", ...flags, "--image", picture, question, "--json"));
    return { answer, dtype, tokens };
  };
  expect(await ask("--model", out)).toEqual(await ask("--dtype", "q4"));
});

test("--report lists every matrix's error in every form, the worst first, and what stays in q8", async () => {
  const { stdout, ending } = await adaptvis("quantize", tinySpatial, "--report");
  expect(ending).toBe(0);
  const [head, ...rows] = stdout.trimEnd().split("\n");
  expect(head).toMatch(/^matrix, by relative RMS error +q8 +q4_1 +q4 +with --dtype q4_1$/);
  expect(rows.length).toBeGreaterThan(40);
  const q4 = rows.map((row) => Number(/ % +(\d+\.\d+) % /.exec(row)?.[1]));
  expect(q4).toEqual([...q4].sort((a, b) => b - a));
  const kept = rows.filter((row) => row.endsWith("q8"));
  expect(kept).toContainEqual(
    expect.stringMatching(/^language_model\.lm_head\.weight +0\.\d+ % +\d\.\d+ % +\d\.\d+ % +q8$/),
  );
  const others = rows.filter((row) => !row.endsWith("q8"));
  expect(others.every((row) => /^language_model\.model\.layers\..* q4_1$/.test(row))).toBe(true);
  expect(kept.some((row) => row.startsWith("language_model.model."))).toBe(false);
});

describe("refuses", () => {
  test.each([
    ["no dtype", ["quantize", tinyLlava, "out"], /--dtype is missing: give q8, q4_1 or q4\./],
    ["no folder", ["quantize", tinyLlava, "--dtype", "q8"], /The folder to write is missing: give one, or --report\./],
    [
      "a dtype that is not quantised",
      ["quantize", tinyLlava, "out", "--dtype", "f16"],
      /'f16' is invalid.*q8, q4_1, q4/,
    ],
    ["the model's own folder", ["quantize", tinyLlava, tinyLlava, "--dtype", "q8"], /the folder of the model itself/],
  ])("%s", async (_, args, message) => {
    const { ending, stderr, stdout } = await adaptvis(...args);
    expect([ending, stdout]).toEqual([2, ""]);
    expect(ownLines(stderr)).toEqual([expect.stringMatching(message)]);
  });

  test("a folder that holds files, one that does not exist, and what is quantised already", async () => {
    const folder = await newFolder();
    const out = join(folder, "out");
    await mkdir(out);
    await writeFile(join(out, "notes.txt"), "mine");
    const run = async (model: string, target: string, ...flags: readonly string[]) => {
      const { ending, stderr } = await adaptvis("quantize", model, target, "--dtype", "q8", ...flags);
      return [ending, ...ownLines(stderr)];
    };
    const refusal = `adaptvis: ${out} exists and is not empty; choose another folder, or add --overwrite.`;
    expect(await run(tinyLlava, out)).toEqual([1, refusal]);
    expect(await run(tinyLlava, out, "--overwrite")).toEqual([0]);
    expect(await readFile(join(out, "notes.txt"), "utf8")).toBe("mine");
    expect(await run(out, join(folder, "again"))).toEqual([1, expect.stringContaining("is quantised already")]);
    expect(await run(join(folder, "none"), out)).toEqual([1, expect.stringContaining("does not exist")]);
    expect(await readdir(folder)).toEqual(["out"]);
  });
});
