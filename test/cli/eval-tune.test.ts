// adaptvis eval tune: the ways to give a sweep, the report that it writes, and what it refuses. The numbers are tested in test/evaluate.
import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { adaptvis, jsonOf, newFolder, ownLines, removeFolders } from "./command.ts";

const METHODS = {
  greedy: { method: "greedy" },
  "scaling:factor=0.5": { method: "scaling", factor: 0.5, rows: "last" },
  "scaling:factor=2": { method: "scaling", factor: 2, rows: "last" },
  pai: { method: "pai" },
};
/** CPython's random.sample(range(20), 4) with seed 1. */
const VALIDATION = [2, 4, 8, 18];
const IDS = Array.from({ length: 20 }, (_, id) => id);
const TEST = IDS.filter((id) => !VALIDATION.includes(id));
/** Options to divide four validation questions. */
const FOLDS = ["--folds", "2", "--repeats", "2"];

let folder: string;
let questions: string;
let run: string;
let ofValidation: string;
let ofTest: string;

beforeAll(async () => {
  folder = await newFolder();
  questions = await written("questions.jsonl", lines(IDS.map(questionOf)));
  run = await runFolder("run", { ids: IDS, split: "all" });
  ofValidation = await runFolder("validation", { ids: VALIDATION, split: "validation" });
  ofTest = await runFolder("test", { ids: TEST, split: "test" });
});

afterAll(removeFolders);

const tune = (...args: readonly string[]) => adaptvis("eval", "tune", ...args);

test("--help names every option", async () => {
  const { stdout, ending } = await tune("--help");
  expect(ending).toBe(0);
  for (const part of ["--validation", "--test", "--answers", "--rule", "--unrounded", "--cross-validate", "--folds"]) {
    expect(stdout).toContain(part);
  }
  expect((await adaptvis("eval", "--help")).stdout).toContain("tune");
});

test("a run of all questions, as JSON, which its folder gets too", async () => {
  const result = await tune(run, "--json", ...FOLDS);
  const results = join(run, "results.jsonl");
  const note = `adaptvis: ${results}: Answers that are not part of the sweep, left out: pai.`;
  expect(ownLines(result.stderr)).toEqual([note]);
  const report = jsonOf(result);
  // Unsure where id is odd: factor 0.5 is right there, and factor 2 elsewhere.
  expect(report).toMatchObject({
    dataSet: "Controlled_A",
    rule: "paper",
    confidence: "rounded",
    factors: [0.5, 1, 2],
    pairs: [[0.5, 2]],
    settings: { rows: "last" },
    validation: { file: results, n: 4, numQuestions: 4 },
    test: { file: results, n: 16, numQuestions: 16 },
    scaling: { factor: 2, right: { count: 4, of: 4 } },
    // All validation ids are even, so that all betas up to their least confidence are as good.
    adaptvis: { alpha1: 0.5, alpha2: 2, right: { count: 4 }, plateau: { above: null, upTo: 0.72 } },
    crossValidation: { numFolds: 2, numRepeats: 2, seed: 0, numQuestions: 20 },
  });
  expect(JSON.parse(await readFile(join(run, "tune.json"), "utf8"))).toEqual(report);
});

test("a run per half, as text, and into a file", async () => {
  const out = join(folder, "report.json");
  const { stdout, ending } = await tune(ofTest, ofValidation, "--out", out);
  expect(ending).toBe(0);
  expect(stdout).toContain(
    "Controlled_A, tuned by the paper's rule: 4 of 4 validation questions, 16 of 16 test questions",
  );
  expect(stdout).toMatch(/^validation +2 +100\.0 % \(4 of 4\)/m);
  expect(stdout).toMatch(/^test +2 +37\.5 % \(6 of 16\)/m);
  expect(stdout).toContain("ScalingVis: factor 2, 4 of 4 right\n");
  expect(stdout).toContain("AdaptVis: alpha1 0.5, alpha2 2, beta 0.36, 4 of 4 right; the same for beta from 0 to 0.72");
  expect(stdout).toContain("searched: 5 betas between rounded confidences for each of 0.5/2\n");
  expect(stdout).toMatch(/^greedy +unmodified pass +0\.0 % \(0 of 16\)/m);
  expect(stdout).toMatch(/^adaptvis +tuned +0\.5\/2 at 0\.36 +100\.0 % \(16 of 16\).* \+100\.0 \[100\.0, 100\.0\]/m);
  expect(stdout).toMatch(/^adaptvis +oracle, not to quote +/m);
  expect(stdout).toContain("scaling published 0.8: not judged, the sweep has no factor 0.8");
  expect(stdout).toMatch(/^adaptvis +tuned +\+16 +the only option in the text +16 +0 +0 +0$/m);
  expect(stdout).toMatch(/^5 folds, 10 times from seed 0: 20 questions in 10 clusters, paper's rule/m);
  expect(stdout).toMatch(/^chosen for adaptvis: 0\.5\/2 at /m);
  expect(JSON.parse(await readFile(out, "utf8"))).toMatchObject({ test: { n: 16 } });
});

test("recorded sweeps by their names, and halves that are their own question files", async () => {
  const base = "results1.5_Controlled_Images_A_scaling_vis_1.0_fouroption_";
  const files = [
    await written(`${base}False.json`, JSON.stringify(VALIDATION.map(recordedRow))),
    await written(`${base}True.json`, JSON.stringify(TEST.map(recordedRow))),
  ];
  const answers = files.flatMap((file) => ["--answers", file]);
  const wanted = jsonOf(await tune(run, "--json"));
  const found = jsonOf(await tune(...answers, "--questions", questions, "--json"));
  for (const name of ["scaling", "adaptvis", "onTest", "curve", "crossValidation"]) {
    expect(found[name], name).toEqual(wanted[name]);
  }
  // Benchmarks that have a folder per half are asked as a whole; the ids of both begin at 0.
  const other = await runFolder("other", { ids: IDS, split: "all", confidence: 0.011 });
  const otherQuestions = lines(IDS.map((id) => ({ ...questionOf(id), question: `${questionOf(id).question} Now.` })));
  const benchmark = await runFolder("benchmark", { ids: IDS, split: "all", questionText: otherQuestions });
  const both = jsonOf(await tune("--validation", other, "--test", benchmark, "--json", "--rule", "exactlyOne"));
  expect(both).toMatchObject({
    rule: "exactlyOne",
    validation: { n: 20 },
    test: { n: 20 },
    crossValidation: { numQuestions: 40, numClusters: 10 },
  });
});

test("one half with --cross-validate", async () => {
  const { stdout, ending } = await tune(ofValidation, "--cross-validate", ...FOLDS);
  expect(ending).toBe(0);
  expect(stdout).toContain("Only the validation half is there, so that there is no test half to report on.");
  expect(stdout).toMatch(/^2 folds, 2 times from seed 0: 4 questions in 4 clusters/m);
});

describe("exit code 2 and one sentence", () => {
  test.each<readonly [string, () => readonly string[], RegExp]>([
    ["nothing", () => [], /The sweep is missing: give folders of runs, or --validation and --test, or --answers/],
    ["two ways", () => [run, "--test", ofTest], /The sweep is given in several ways/],
    ["a run twice", () => [run, run], /run is given twice: give each once/],
    [
      "a file as a run",
      () => [questions],
      /questions\.jsonl is not the folder of a run: give results files with --answers/,
    ],
    ["a report over the results", () => [run, "--out", join(run, "results.jsonl")], /would overwrite an input file/],
    ["no data set", () => ["--answers", questions, "--questions", questions], /--dataset is missing, and the name of/],
    [
      "no questions",
      () => ["--answers", questions, "--dataset", "Controlled_A"],
      /--questions is missing: .* does not say where its questions are/,
    ],
  ])("%s", async (_, args, message) => {
    const { stdout, stderr, ending } = await tune(...args());
    expect({ stdout, ending }).toEqual({ stdout: "", ending: 2 });
    expect(ownLines(stderr)).toEqual([expect.stringMatching(message)]);
  });
});

describe("exit code 1 and one sentence", () => {
  test.each<readonly [string, () => Promise<readonly string[]>, RegExp]>([
    [
      "one half",
      async () => [ofTest],
      /test: only the test half is there, so that tuned settings cannot be reported .* or --cross-validate/,
    ],
    [
      "another model",
      async () => [await runFolder("model", { ids: TEST, split: "test", dtype: "q8" }), ofValidation],
      /validation differs from .*model: dtype "q8" instead of "f16"; tune on runs of one model/,
    ],
    ["one half twice", async () => [run, ofTest], /run and .*test both have rows of the test half/],
    [
      "halves with a common question",
      async () => ["--validation", run, "--test", ofTest],
      /question 0 is in .*run for validation and in .*test for the test/,
    ],
    [
      "a run without greedy",
      async () => {
        const { greedy: _, ...methods } = METHODS;
        return [await runFolder("no-greedy", { ids: IDS, split: "all", methods })];
      },
      /has no answers of the unmodified pass \(greedy, factor 1\), only factors 0\.5, 2/,
    ],
    [
      "another data set",
      async () => [run, "--dataset", "VSR"],
      /holds answers to Controlled_A, not to VSR: omit --dataset/,
    ],
    ["too many folds", async () => [run, "--folds", "11"], /as many clusters of questions as folds, got 10 and 11/],
  ])("%s", async (_, argsOf, message) => {
    const { stdout, stderr, ending } = await tune(...(await argsOf()));
    expect({ stdout, ending }).toEqual({ stdout: "", ending: 1 });
    expect(ownLines(stderr).at(-1)).toMatch(message);
  });
});

/** Two questions about each of ten pairs of objects. */
function questionOf(id: number) {
  const question = `Where is the cup in relation to box ${id >> 1}? Answer with left, right, on or under.`;
  return { id, question, answer: [id % 2 === 0 ? "Left" : "Right"] };
}

function textsOf(id: number) {
  return { greedy: "On", wide: id % 2 === 0 ? "Under" : "Right", sharp: id % 2 === 0 ? "Left" : "Under" };
}

/** Low for odd ids: 0.01, 0.03, …; high for even ones: 0.7, 0.71, …. */
function confidenceOf(id: number): number {
  return id % 2 === 0 ? 0.7 + id / 100 : id / 100;
}

/** A row of a recorded sweep. */
function recordedRow(id: number) {
  const { greedy, wide, sharp } = textsOf(id);
  const uncertainty = Math.round(confidenceOf(id) * 100) / 100;
  return { Golden: questionOf(id).answer[0], Generation: { "1.0": greedy, "0.5": wide, "2.0": sharp }, uncertainty };
}

/** Writes a run's folder as `adaptvis eval` does. */
async function runFolder(
  name: string,
  of: {
    readonly ids: readonly number[];
    readonly split: string;
    readonly methods?: Readonly<Record<string, object>>;
    readonly dtype?: string;
    readonly confidence?: number;
    readonly questionText?: string;
  },
): Promise<string> {
  const { ids, split, methods = METHODS, dtype = "f16", confidence, questionText } = of;
  await mkdir(join(folder, name));
  const text = questionText ?? lines(IDS.map(questionOf));
  const questionFile = questionText === undefined ? questions : await written(join(name, "q.jsonl"), questionText);
  const hash = createHash("sha256").update(text).digest("hex");
  const identity = { dataset: "Controlled_A", split, ids: null, methods, dtype, questions: hash };
  await written(
    join(name, "manifest.json"),
    JSON.stringify({ format: 1, identity, shard: null, about: { questionFile, numQuestions: ids.length } }),
  );
  const rows = ids.flatMap((id) => {
    const { greedy, wide, sharp } = textsOf(id);
    const texts = { greedy, "scaling:factor=0.5": wide, "scaling:factor=2": sharp, pai: greedy };
    return Object.entries(texts)
      .filter(([method]) => Object.hasOwn(methods, method))
      .map(([method, answer]) => ({
        ...{ doc_id: id, method, filtered_resps: [answer], confidence: confidence ?? confidenceOf(id) },
      }));
  });
  await written(join(name, "results.jsonl"), lines(rows));
  return join(folder, name);
}

async function written(name: string, text: string): Promise<string> {
  await writeFile(join(folder, name), text);
  return join(folder, name);
}

function lines(rows: readonly object[]): string {
  return rows.map((row) => `${JSON.stringify(row)}\n`).join("");
}
