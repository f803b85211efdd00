// What the command line refuses before any model is loaded, how it says so, and what --help promises.

import { existsSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { adapterOfEnvironment } from "../setup/device.ts";
import { runProgram } from "../setup/run-program.ts";
import { adaptvis, jsonOf, knownPictures, modelCopy, newFolder, ownLines, removeFolders, root } from "./command.ts";

let picture: string;

beforeAll(async () => {
  picture = (await knownPictures())[0]?.path ?? "";
});

afterAll(removeFolders);

test("a closed stderr does not cost the answer", async () => {
  const ask = `"${process.execPath}" tools/adaptvis.mjs ask --adapter ${adapterOfEnvironment()} --image "${picture}" "Where is the mug?"`;
  const out = join(await newFolder(), "answer.txt");
  // The reader of the pipe that stderr goes to ends at once.
  await runProgram("sh", ["-c", `(cd "${root}" && ${ask} 2>&1 >"${out}") | true`]);
  await expect.poll(() => readFileSync(out, "utf8")).toMatch(/\w/);
});

describe("exit code 2 and one sentence", () => {
  test.each([
    ["no command", [], /The command is missing/],
    ["an unknown command", ["frob"], /unknown command 'frob'/],
    ["an unknown option", ["ask", "--colour", "blue"], /unknown option '--colour'/],
    ["a mistyped option", ["ask", "--imgae", "x.png"], /unknown option '--imgae' \(Did you mean --image\?\)/],
    ["a mistyped subcommand", ["eval", "compar", "a"], /eval has no subcommand 'compar': did you mean compare\?/],
    ["an unknown adapter", ["doctor", "--adapter", "cuda"], /'cuda' is invalid/],
    ["an unknown toggle of Dawn's", ["doctor", "--dawn-toggle", "f17"], /Dawn toggle "f17": this Dawn has none such/],
    ["an unknown dtype", ["ask", "--dtype", "int8", "--image", "x.png", "where?"], /'int8' is invalid.*f32.*q4/],
    [
      "an unknown dtype of keys and values",
      ["ask", "--kv", "q4", "--image", "x.png", "where?"],
      /'q4' is invalid.*f32, f16, q8/,
    ],
    ["an unknown dtype of demo", ["demo", "--dtype", "Q4"], /'Q4' is invalid/],
    ["no question", ["ask", "--image", "x.png"], /The question is missing/],
    ["an empty question", ["ask", "--image", "x.png", " "], /question is empty/],
    ["two questions", ["ask", "--image", "x.png", "where?", "who?"], /too many arguments/],
    [
      "a question and a prompt",
      ["ask", "--image", "x.png", "--prompt", "<image>", "where?"],
      /Both a question and a --prompt/,
    ],
    ["no picture", ["ask", "where?"], /The picture is missing/],
    [
      "an unknown method",
      ["ask", "--image", "x.png", "--method", "magic", "where?"],
      /'magic' is invalid.*greedy, scaling, adaptvis/,
    ],
    [
      "a factor that is not a number",
      ["ask", "--image", "x.png", "--factor", "NaN", "where?"],
      /'NaN' is invalid.*at least 0/,
    ],
    ["a negative factor", ["ask", "--image", "x.png", "--factor", "-0.5", "where?"], /'-0.5' is invalid.*at least 0/],
    ["a beta above 1", ["ask", "--image", "x.png", "--beta", "1.5", "where?"], /'1.5' is invalid.*at most 1/],
    [
      "a factor for AdaptVis",
      ["ask", "--image", "x.png", "--method", "adaptvis", "--factor", "1", "where?"],
      /cannot be combined with adaptvis/,
    ],
    [
      "layers without a factor",
      ["ask", "--image", "x.png", "--layers", "0", "where?"],
      /--layers is a setting of .*cannot be combined with greedy/,
    ],
    ["layers that are not a list", ["ask", "--image", "x.png", "--layers", "0;1", "where?"], /'0;1' is invalid/],
    ["no new tokens", ["ask", "--image", "x.png", "--max-new-tokens", "0", "where?"], /at least 1/],
    ["compare with nothing to compare on", ["compare", "weights/tiny-spatial", "--dtype", "q4"], /--benchmark.*--text/],
    [
      "compare with nothing that differs",
      ["compare", "weights/tiny-spatial", "--dtype", "f32", "--text", "README.md"],
      /--dtype, --kv or both/,
    ],
    ["inspect without a model", ["inspect"], /missing required argument 'model'/],
    ["trace without --out", ["trace", "--prompt", "x"], /required option '--out/],
  ])("%s", async (_, args, message) => {
    const { stdout, stderr, ending } = await adaptvis(...args);
    expect({ stdout, ending }).toEqual({ stdout: "", ending: 2 });
    expect(ownLines(stderr)).toEqual([expect.stringMatching(message)]);
  });
});

describe("exit code 1 and one sentence", () => {
  test("files that cannot be used", async () => {
    const folder = await newFolder();
    const text = join(folder, "text.jpg");
    await writeFile(text, "hello");
    const ask = ["--image", picture, "where?"];
    for (const [args, message] of [
      [["ask", "--image", join(folder, "none.png"), "where?"], /none\.png cannot be read: there is no such file/],
      [["ask", "--image", text, "where?"], /text\.jpg is not a picture/],
      [["ask", "--heatmap", folder, ...ask], /it is a folder/],
      [["ask", "--model", join(folder, "none"), ...ask], /none does not exist/],
      [["ask", "--model", text, ...ask], /text\.jpg is not a folder/],
      [["ask", "--model", "name", ...ask], /name does not exist, and is not an id on the hub/],
      [["ask", "--model", folder, ...ask], /config\.json is not in/],
      [["inspect", join(folder, "none")], /does not exist/],
      [["inspect", folder], /config\.json|model\.safetensors/],
      [["inspect", text], /text\.jpg: /],
    ] as const) {
      const { stdout, stderr, ending } = await adaptvis(...args);
      expect({ args, stdout, ending }).toEqual({ args, stdout: "", ending: 1 });
      expect(ownLines(stderr)).toEqual([expect.stringMatching(message)]);
    }
  });

  test("a checkpoint that is damaged, with --json", async () => {
    const ask = async (model: string) => {
      const result = await adaptvis("ask", "--json", "--model", model, "--image", picture, "where?");
      expect(result.ending).toBe(1);
      return jsonOf(result);
    };
    const cut = await modelCopy({ "model.safetensors": new Uint8Array(100) });
    expect(await ask(cut)).toMatchObject({ error: { name: "CheckpointError", file: "model.safetensors" } });
    const wrong = await modelCopy({ "adaptvis.json": '{"beta": 2}' });
    expect(await ask(wrong)).toMatchObject({ error: { name: "CheckpointError", file: "adaptvis.json" } });
  });
});

test("an error with --json is one object on stdout, and the sentence on stderr", async () => {
  const result = await adaptvis("ask", "--json", "--image", picture, "--factor", "x", "where?");
  expect(result.ending).toBe(2);
  const { error } = jsonOf(result);
  expect(error).toEqual({ name: "UsageError", message: expect.stringContaining("'x' is invalid") });
});

test("a stack is printed with --debug only", async () => {
  const args = ["ask", "--image", "none.png", "where?"];
  expect((await adaptvis(...args)).stderr).not.toMatch(/\n\s+at /);
  expect((await adaptvis("--debug", ...args)).stderr).toMatch(/\n\s+at /);
});

test.each([
  "ask",
  "sweep",
  "trace",
  "patch",
  "explain",
  "doctor",
  "inspect",
  "compare",
  "quantize",
  "pull",
  "models",
  "demo",
])("%s --help has examples, and their pictures exist", async (name) => {
  const { stdout, ending } = await adaptvis(name, "--help");
  expect(ending).toBe(0);
  expect(stdout).toMatch(/^Examples:\n {2}\$ npm run -s adaptvis -- \w/m);
  expect(stdout).toMatch(/--adapter <name>/);
  for (const [, path] of stdout.matchAll(/--image (\S+\.\w+)/g)) expect(existsSync(join(root, path ?? ""))).toBe(true);
});

test("the built command can be linked: its first line names node, and it calls itself adaptvis there", async () => {
  const file = join(root, "dist", "cli.js");
  expect(readFileSync(file, "utf8")).toMatch(/^#!\/usr\/bin\/env node\n/);
  const { stdout } = await runProgram(process.execPath, [file, "ask", "--help"]);
  expect(stdout).toMatch(/^Examples:\n {2}\$ adaptvis ask /m);
});

test("--version is package.json's", async () => {
  expect(await adaptvis("--version")).toMatchObject({ stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/), ending: 0 });
});
