// adaptvis eval rescore: its help, its results as text and JSON, and what it refuses. The numbers are tested in test/evaluate.

import { copyFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { adaptvis, jsonOf, newFolder, ownLines, removeFolders, root } from "./command.ts";

const golden = join(root, "test", "golden", "evaluate", "rescore");
const questions = ["--questions", join(golden, "controlled_a.jsonl")];
const base = join(golden, "results1.5_Controlled_Images_A_base_1.0_fouroption_True.json");
const sweep = join(
  golden,
  "results_Controlled_Images_A_adapt_vis_var_uncertainties_var_weights_1.0_0.5_1.5_0.4_True.json",
);
const samples = join(golden, "samples.jsonl");

let folder: string;

beforeAll(async () => {
  folder = await newFolder();
});

afterAll(removeFolders);

const rescore = (...args: readonly string[]) => adaptvis("eval", "rescore", ...args);

test("--help names every option, the data sets and the rules", async () => {
  const { stdout, ending } = await rescore("--help");
  expect(ending).toBe(0);
  for (const part of [
    "--dataset",
    "--split",
    "--questions",
    "--answers",
    "--scores",
    "--no-scores",
    "--validation-ids",
  ]) {
    expect(stdout).toContain(part);
  }
  for (const part of [
    "--alpha1",
    "--alpha2",
    "--beta",
    "Controlled_A",
    "VSR",
    "exactly one option",
    "of n/2 and n/4",
  ]) {
    expect(stdout).toContain(part);
  }
  expect((await adaptvis("eval", "--help")).stdout).toContain("rescore");
});

test("--json: one object, with data set, half and gate from the file's name", async () => {
  const result = await rescore(...questions, "--answers", sweep, "--json");
  expect(result.ending).toBe(0);
  const report = jsonOf(result);
  expect(report).toMatchObject({
    dataSet: "Controlled_A",
    split: { name: "test", numExpected: 37, isPapers: true },
    published: { factor: 0.8 },
    bootstrap: {
      numResamples: 2000,
      level: 0.95,
      seed: 0,
      clusters: expect.stringContaining("ordered pair of objects"),
    },
    files: [
      { file: sweep, form: "sweep", n: 37, gate: { alpha1: 0.5, alpha2: 1.5, beta: 0.4, run: "gate 0.5/1.5 at 0.4" } },
    ],
    definitions: { "rule paper": expect.stringContaining("substring") },
  });
  expect(ownLines(result.stderr)).toEqual([expect.stringMatching(/46 rows where Controlled_A has 412/)]);
});

test("text: tables of the rules, pairs, relations, the gate, the verdicts beside the file, and two files compared", async () => {
  const { stdout, ending } = await rescore(...questions, "--answers", base, "--answers", sweep);
  expect(ending).toBe(0);
  expect(stdout).toContain("Controlled_A, test half: 37 of 46 questions");
  expect(stdout).toMatch(/run +n +paper's rule +exactly one option +best first token +bare options/);
  expect(stdout).toMatch(/pairs of n\/2 +ceiling +of complete +sets of n\/4/);
  expect(stdout).toMatch(/paper's rule +left +right +on +under/);
  expect(stdout).toMatch(/Truescores\.json agrees with answer/);
  expect(stdout).toMatch(/confidence \(Uncertainty\) below 0\.4: \d+ of 37 rounded, \d+ of 37 unrounded/);
  expect(stdout).toMatch(/no confidence recorded \(uncertainty: not a probability/);
  expect(stdout).toMatch(/both right +only A +only B +neither +McNemar p +B − A, points/);
  // Intervals of the two rules that have metrics, and of the difference; the first file has no confidences to calibrate.
  expect(stdout).toMatch(/^1\.0 +37 +73\.0 % \[\d+\.\d, \d+\.\d\] +64\.9 % \[\d+\.\d, \d+\.\d\] +29\.7 % /m);
  expect(stdout).toMatch(/ [01]\.\d+ +[+-]\d+\.\d \[-?\d+\.\d, -?\d+\.\d\]$/m);
  expect(stdout.match(/^expected calibration error, paper's rule: 1\.0 35\.1 %, /gm)).toHaveLength(1);
  expect(stdout).toContain("[ ]: 95 % bootstrap interval, 2000 resamples, seed 0. A cluster is all questions about");
});

test("text of VSR, of a prefix and of res.json", async () => {
  const vsr = await rescore(
    "--questions",
    join(golden, "vsr.jsonl"),
    "--split",
    "test",
    "--answers",
    join(golden, "results_VSR_base_1.0.json"),
  );
  expect(vsr.stdout).toMatch(/true positive rate +true negative rate +balanced +F1 +authors' "F1"/);
  const prefix = join(golden, "results1.5_COCO_QA_one_obj_adapt_vis_entropy_1.0_0.9_fouroption_True.json");
  const cut = await rescore("--questions", join(golden, "coco_one.jsonl"), "--answers", prefix);
  expect(cut.stdout).toContain("plain, 22 of 29 answered (incomplete)");
  expect(cut.stdout).toMatch(/scores\.json belongs to another run/);
  const lines = await rescore(...questions, "--answers", base, "--scores", join(golden, "res.json"));
  expect(lines.stdout).toMatch(/2 runs of this data set; skipped broken lines 2, 4\n +line 5 agrees with answer/);
  const none = await rescore(...questions, "--answers", base, "--no-scores");
  expect(none.stdout).not.toContain("agrees with");
});

test("options that contradict the file's name are used, and the contradiction is reported", async () => {
  const ids = ["--validation-ids", join(golden, "sampled_idx_a.npy")];
  const result = await rescore(...questions, ...ids, "--answers", sweep, "--beta", "0.3", "--alpha2", "2", "--json");
  expect(jsonOf(result)).toMatchObject({
    files: [{ gate: { alpha1: 0.5, alpha2: 2, beta: 0.3, run: "gate 0.5/2 at 0.3" } }],
    notes: [
      expect.stringMatching(/its name says 1\.5, but --alpha2 2 is used/),
      expect.stringMatching(/its name says 0\.4, but --beta 0\.3 is used/),
      expect.any(String),
    ],
  });
});

describe("exit code 2 and one sentence", () => {
  test.each([
    ["no questions", ["--answers", base], /required option '--questions/],
    ["no answers", questions, /required option '--answers/],
    [
      "an unknown data set",
      [...questions, "--answers", base, "--dataset", "GQA"],
      /unknown data set "GQA": expected one of/,
    ],
    [
      "an unknown half",
      [...questions, "--answers", base, "--split", "train"],
      /'train' is invalid.*test, validation, all/,
    ],
    [
      "a name that does not say the data set",
      [...questions, "--answers", samples],
      /--dataset is missing, and the names/,
    ],
    [
      "a name that does not say the half",
      [...questions, "--answers", samples, "--dataset", "VSR"],
      /--split is missing/,
    ],
    [
      "names that contradict each other",
      [...questions, "--answers", base, "--answers", join(golden, "results_VSR_base_1.0.json")],
      /--dataset is missing, and the names .* contradict each other: Controlled_A, VSR/,
    ],
    ["the same file twice", [...questions, "--answers", base, "--answers", base], /is given twice/],
    [
      "too few scores",
      [...questions, "--answers", base, "--answers", sweep, "--scores", join(golden, "res.json")],
      /--scores is given 1 times and --answers 2 times/,
    ],
    ["a beta above 1", [...questions, "--answers", base, "--beta", "2"], /'2' is invalid.*at most 1/],
    ["a negative factor", [...questions, "--answers", base, "--alpha1", "-1"], /'-1' is invalid.*at least 0/],
    ["an argument", ["answers.json", ...questions, "--answers", base], /too many arguments/],
    ["no subcommand", undefined, /--dataset is missing/],
    ["an unknown subcommand", null, /eval has no subcommand 'frob': expected run, merge, .*\.$/],
  ])("%s", async (_, args, message) => {
    const { stdout, stderr, ending } = await (args === undefined
      ? adaptvis("eval")
      : args === null
        ? adaptvis("eval", "frob")
        : rescore(...args));
    expect({ stdout, ending }).toEqual({ stdout: "", ending: 2 });
    expect(ownLines(stderr)).toEqual([expect.stringMatching(message)]);
  });
});

describe("exit code 1 and one sentence", () => {
  const known = ["--dataset", "Controlled_A", "--split", "test"];
  const written = async (name: string, text: string) => {
    await writeFile(join(folder, name), text);
    return join(folder, name);
  };

  test.each<readonly [string, () => Promise<readonly string[]>, RegExp]>([
    [
      "a missing file",
      async () => [...questions, "--answers", join(folder, "none.json")],
      /none\.json of --answers cannot be read: there is no such file/,
    ],
    [
      "a folder",
      async () => ["--questions", folder, "--answers", base],
      /of --questions cannot be read: it is a folder/,
    ],
    [
      "a cut file",
      async () => [...questions, "--answers", await written("cut.json", '[{"Prompt": "x"')],
      /cut\.json is not JSON/,
    ],
    [
      "another half",
      async () => [...questions, "--split", "validation", "--answers", base],
      /has 37 rows, but the validation half of Controlled_A has 9/,
    ],
    [
      "another data set",
      async () => ["--questions", join(golden, "controlled_b.jsonl"), "--dataset", "Controlled_B", "--answers", base],
      /has 37 rows, but the test half of Controlled_B has 33|expected the right answer/,
    ],
    [
      "a malformed question",
      async () => ["--questions", await written("q.jsonl", "{\n"), "--answers", base],
      /q\.jsonl, line 1: expected a JSON object/,
    ],
    [
      "empty answers",
      async () => [...questions, "--answers", await written("empty.json", '[{"Generation": ""}]')],
      /empty\.json: every answer is empty/,
    ],
    [
      "factors that the sweep lacks",
      async () => [...questions, "--answers", sweep, "--alpha1", "0.7"],
      /The gate of --alpha1 and --alpha2 cannot be applied .*the sweep has no factor 0\.7, only 1\.0, 0\.5/,
    ],
    [
      "ids in another format",
      async () => [...questions, "--answers", base, "--validation-ids", base],
      /is not a NumPy file/,
    ],
    [
      "broken verdicts beside the answers",
      async () => {
        await copyFile(base, join(folder, "answers.json"));
        await written("answersscores.json", "{");
        return [...questions, "--answers", join(folder, "answers.json")];
      },
      /answersscores\.json has no verdicts/,
    ],
  ])("%s", async (_, argsOf, message) => {
    const args = await argsOf();
    const { stdout, stderr, ending } = await rescore(
      ...known.slice(args.includes("--dataset") ? 2 : 0, args.includes("--split") ? 2 : 4),
      ...args,
    );
    expect({ stdout, ending }).toEqual({ stdout: "", ending: 1 });
    expect(ownLines(stderr)).toEqual([expect.stringMatching(message)]);
  });
});
