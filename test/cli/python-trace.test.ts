// The Python package tools/python: its own tests, with a trace of the command; its notebook is as its script makes it.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { runProgram } from "../setup/run-program.ts";
import { adaptvis, knownPictures, newFolder, removeFolders, root } from "./command.ts";

afterAll(removeFolders);

test("pytest passes with a trace of the command", async (context) => {
  const python = process.env.ADAPTVIS_TEST_PYTHON ?? "python3";
  const found = await runProgram(python, ["-c", "import numpy, pytest, safetensors"]).catch(() => undefined);
  if (found?.ending !== 0) {
    return context.skip("no Python with numpy, safetensors and pytest: set ADAPTVIS_TEST_PYTHON to one");
  }
  const [picture] = await knownPictures();
  const out = join(await newFolder(), "trace.safetensors");
  const read = ["--read", 'layers.*.attention_probs@"picture",last', "--max-new-tokens", "1"];
  const traced = await adaptvis(
    "trace",
    "--image",
    picture?.path ?? "",
    "What is in the picture?",
    ...read,
    "--out",
    out,
  );
  expect(traced.ending).toBe(0);
  const options = ["-m", "pytest", "-q", "-p", "no:cacheprovider", join(root, "tools", "python")];
  const env = { ADAPTVIS_TRACE: out, PYTHONDONTWRITEBYTECODE: "1" };
  const { stdout, ending } = await runProgram(python, options, { env });
  expect(ending, stdout).toBe(0);
  expect(stdout).toMatch(/\d+ passed/);
});

test("the notebooks are executed, without errors, and small", async () => {
  for (const name of ["python/notebooks/attention.ipynb", "deno/notebooks/attention.ipynb"]) {
    const text = await readFile(join(root, "tools", name), "utf8");
    expect(text.length, name).toBeLessThan(300e3);
    const { cells } = JSON.parse(text) as {
      cells: { cell_type: string; execution_count?: number; outputs?: { output_type: string }[] }[];
    };
    const code = cells.filter(({ cell_type }) => cell_type === "code");
    expect(
      code.map(({ execution_count }) => execution_count),
      name,
    ).toEqual(code.map((_, index) => index + 1));
    const outputs = code.flatMap((cell) => cell.outputs ?? []);
    expect(
      outputs.some(({ output_type }) => output_type === "error"),
      name,
    ).toBe(false);
    expect(text, name).toMatch(/"image\/(png|svg\+xml)"/);
    expect(text, name).not.toMatch(/\/(tmp|home|root|work)\//); // what a machine calls its folders
  }
});
