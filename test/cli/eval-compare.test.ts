// adaptvis eval compare: folders of runs and results files, the ids that it writes, and what it refuses. The numbers are tested in test/evaluate.
import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { adaptvis, jsonOf, newFolder, ownLines, removeFolders, root } from "./command.ts";

const golden = join(root, "test", "golden", "evaluate", "rescore");
const goldenQuestions = join(golden, "controlled_a.jsonl");
const base = join(golden, "results1.5_Controlled_Images_A_base_1.0_fouroption_True.json");
const samples = join(golden, "samples.jsonl");

const GOLDS = ["Left", "Right", "On", "Under"];
/** By question; undefined for a question without an answer. */
const ANSWERS = {
  greedy: ["Left", "Left", "On", "On", undefined],
  scaling: ["Right", "Right", "On", "Under", "Left"],
};

let folder: string;
let questions: string;
let run: string;
let other: string;

beforeAll(async () => {
  folder = await newFolder();
  const rows = [...GOLDS, "Left"].map((gold, id) => {
    const first = id < 4 ? "cup" : "fork";
    return { id, question: `Where is the ${first} in relation to the box? Answer with left or right.`, answer: [gold] };
  });
  const text = lines(rows);
  questions = await written("questions.jsonl", text);
  run = await runFolder("run", { answers: ANSWERS, questionText: text });
  other = await runFolder("other", { answers: { greedy: ANSWERS.scaling }, questionText: text, dtype: "q8" });
});

afterAll(removeFolders);

const compare = (...args: readonly string[]) => adaptvis("eval", "compare", ...args);

test("--help names every option", async () => {
  const { stdout, ending } = await compare("--help");
  expect(ending).toBe(0);
  for (const part of ["run-a", "run-b", "--method-a", "--method-b", "--rule", "exactlyOne", "--questions", "--fixed"]) {
    expect(stdout).toContain(part);
  }
  expect((await adaptvis("eval", "--help")).stdout).toContain("compare");
});

test("two methods of a run, as JSON and as files of ids", async () => {
  const [fixed, broken] = [join(folder, "fixed.json"), join(folder, "broken.json")];
  const methods = ["--method-a", "greedy", "--method-b", "scaling"];
  const result = await compare(run, run, ...methods, "--fixed", fixed, "--broken", broken, "--json");
  expect(ownLines(result.stderr)).toEqual([]);
  const results = join(run, "results.jsonl");
  expect(jsonOf(result)).toMatchObject({
    dataSet: "Controlled_A",
    rule: "paper",
    a: { file: results, run: "greedy", numJudged: 4, individual: { count: 2, of: 4 } },
    b: { file: results, run: "scaling", numJudged: 5, individual: { count: 3, of: 4 } },
    ...{ n: 4, both: 1, onlyA: 1, onlyB: 2, neither: 0, p: 1 },
    // The four questions are about one pair of objects: a single cluster, which every resample draws.
    difference: { mean: 0.25, lower: 0.25, upper: 0.25, numRows: 4, numClusters: 1 },
    byRelation: {
      left: { a: { count: 1, of: 1 }, b: { count: 0, of: 1 }, onlyA: 1, onlyB: 0 },
      on: { a: { count: 1, of: 1 }, b: { count: 1, of: 1 }, onlyA: 0, onlyB: 0 },
    },
    fixed: [1, 3],
    broken: [0],
  });
  expect(JSON.parse(await readFile(fixed, "utf8"))).toEqual({ ids: [1, 3] });
  expect(JSON.parse(await readFile(broken, "utf8"))).toEqual({ ids: [0] });
});

test("two runs as text, with what else differs between them", async () => {
  const { stdout, stderr, ending } = await compare(run, other, "--method-a", "greedy");
  expect(ending).toBe(0);
  expect(ownLines(stderr)).toEqual([
    `adaptvis: ${join(run, "results.jsonl")} differs from ${join(other, "results.jsonl")}: dtype "f16" instead of "q8".`,
  ]);
  expect(stdout).toContain("Controlled_A, paper's rule: 4 questions answered in both");
  expect(stdout).toMatch(/^A +\S+ +greedy +50\.0 % \(2 of 4\) +4$/m);
  expect(stdout).toMatch(/^B +\S+ +greedy +75\.0 % \(3 of 4\) +5$/m);
  expect(stdout).toMatch(/both right +only A \(broken\) +only B \(fixed\) +neither +McNemar p +B − A, points/);
  expect(stdout).toMatch(/^1 +1 +2 +0 +1\.00 +\+25\.0 \[25\.0, 25\.0\]$/m);
  expect(stdout).toMatch(/^left +1 of 1 +0 of 1 +1 +0$/m);
  expect(stdout).toMatch(/^fixed: 1, 3\nbroken: 0$/m);
  expect(stdout).toContain("2000 resamples, seed 0. A cluster is all questions about one ordered pair of objects.");
});

test("results files: an array by its name, and sample lines by --dataset", async () => {
  const given = ["--questions", goldenQuestions, "--dataset", "Controlled_A"];
  const result = jsonOf(await compare(base, samples, ...given, "--rule", "exactlyOne", "--json"));
  const { comparisons } = JSON.parse(await readFile(join(golden, "expected.json"), "utf8"));
  const { both, onlyA, onlyB, neither, fixed, broken } = comparisons[2];
  expect(result).toMatchObject({ n: 35, both, onlyA, onlyB, neither, fixed, broken });
});

describe("exit code 2 and one sentence", () => {
  test.each<readonly [string, () => readonly string[], RegExp]>([
    ["one run", () => [run], /missing required argument 'run-b'/],
    ["several methods", () => [run, other], /results\.jsonl holds greedy, scaling: choose one of them with --method-a/],
    ["an unknown method", () => [other, run, "--method-b", "vcd"], /--method-b vcd: .* only greedy, scaling/],
    ["an unknown rule", () => [run, run, "--rule", "mine"], /'mine' is invalid.*paper, exactlyOne/],
    ["no data set", () => [samples, samples, "--questions", goldenQuestions], /--dataset is missing, and .*samples/],
    ["no questions", () => [base, base], /--questions is missing/],
    [
      "an array without a half",
      () => [
        ...[join(golden, "a_options.json"), base, "--dataset", "Controlled_A"],
        ...["--questions", goldenQuestions],
      ],
      /--split is missing, and the name of .*a_options\.json/,
    ],
    ["one file for both lists", () => [run, other, "--fixed", "x", "--broken", "./x"], /are both x/],
    [
      "a list over a run",
      () => [run, other, "--fixed", join(run, "results.jsonl")],
      /--fixed .* would overwrite an input file/,
    ],
  ])("%s", async (_, args, message) => {
    const { stdout, stderr, ending } = await compare(...args());
    expect({ stdout, ending }).toEqual({ stdout: "", ending: 2 });
    expect(ownLines(stderr)).toEqual([expect.stringMatching(message)]);
  });
});

describe("exit code 1 and one sentence", () => {
  test.each<readonly [string, () => Promise<readonly string[]>, RegExp]>([
    ["a path that is not there", async () => [run, join(folder, "none")], /none does not exist: give the folder/],
    ["a folder that is no run", async () => [run, folder], /has no manifest\.json: expected the folder of a run/],
    [
      "another data set",
      async () => {
        const b = await runFolder("b", { answers: { greedy: ["Left"] }, questionText: "", dataset: "Controlled_B" });
        return [run, b, "--method-a", "greedy"];
      },
      /to Controlled_A and .* to Controlled_B: only runs of one data set can be compared/,
    ],
    [
      "another --dataset",
      async () => [run, other, "--dataset", "VSR"],
      /holds answers to Controlled_A, not to VSR: omit --dataset/,
    ],
    [
      "other questions",
      async () => {
        const b = await runFolder("c", { answers: { greedy: ["Left"] }, questionText: "other" });
        return [run, b, "--method-a", "greedy"];
      },
      /were answered with different question files: only runs over the same questions can be compared/,
    ],
    [
      "a question file of another data set",
      async () => [run, other, "--questions", goldenQuestions],
      /controlled_a\.jsonl is not the question file that the run was answered with/,
    ],
    [
      "a rule that the answers lack",
      async () => [run, other, "--method-a", "greedy", "--rule", "wholeString"],
      /have no question in common that the rule wholeString can judge/,
    ],
  ])("%s", async (_, argsOf, message) => {
    const { stdout, stderr, ending } = await compare(...(await argsOf()));
    expect({ stdout, ending }).toEqual({ stdout: "", ending: 1 });
    expect(ownLines(stderr).at(-1)).toMatch(message);
  });
});

/** Writes a run's folder as `adaptvis eval` does. */
async function runFolder(
  name: string,
  of: {
    readonly answers: Readonly<Record<string, readonly (string | undefined)[]>>;
    readonly questionText: string;
    readonly dataset?: string;
    readonly dtype?: string;
  },
): Promise<string> {
  const { answers, questionText, dataset = "Controlled_A", dtype = "f16" } = of;
  await mkdir(join(folder, name));
  const methods = Object.fromEntries(Object.keys(answers).map((method) => [method, { method }]));
  const hash = createHash("sha256").update(questionText).digest("hex");
  const identity = { dataset, split: "all", ids: null, methods, dtype, questions: hash };
  const manifest = { format: 1, identity, shard: null, about: { questionFile: questions, numQuestions: 5 } };
  await written(join(name, "manifest.json"), JSON.stringify(manifest));
  const samplesOf = ([method, texts]: readonly [string, readonly (string | undefined)[]]) =>
    texts.flatMap((text, id) => (text === undefined ? [] : [{ doc_id: id, method, filtered_resps: [text] }]));
  await written(join(name, "results.jsonl"), lines(Object.entries(answers).flatMap(samplesOf)));
  return join(folder, name);
}

async function written(name: string, text: string): Promise<string> {
  await writeFile(join(folder, name), text);
  return join(folder, name);
}

function lines(rows: readonly object[]): string {
  return rows.map((row) => `${JSON.stringify(row)}\n`).join("");
}
