// The report's numbers, tables and files, from made-up runs. How the page looks is tested in test/e2e.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { at } from "../../src/errors.ts";
import { dataSetNamed } from "../../src/evaluate/datasets/registry.ts";
import { publishedAccuracies, publishedModelNamed } from "../../src/evaluate/published-accuracies.ts";
import { definitionsOf } from "../../src/evaluate/report/definitions.ts";
import { makeGallery } from "../../src/evaluate/report/gallery.node.ts";
import { layersOf } from "../../src/evaluate/report/layers.ts";
import { plotsOf } from "../../src/evaluate/report/plots.ts";
import { evalCommand, findingsOf } from "../../src/evaluate/report/prose.ts";
import { evaluationHtml } from "../../src/evaluate/report/report-html.node.ts";
import { type ReportRun, type RunFiles, readReportRuns } from "../../src/evaluate/report/report-run.ts";
import {
  csvFiles,
  emptyCell,
  markdownText,
  type ReportTable,
  type TableGroup,
  textCell,
} from "../../src/evaluate/report/table.ts";
import { tableGroups } from "../../src/evaluate/report/tables.ts";
import { rescore } from "../../src/evaluate/rescore.ts";
import { readManifest } from "../../src/evaluate/run/run-folder.node.ts";
import { DEFAULT_ADAPTVIS } from "../../src/interventions/adaptvis.ts";
import { type MadeUpRuns, writeMadeUpRuns } from "../setup/made-up-runs.ts";

let folder: string;
let made: MadeUpRuns;
let files: readonly RunFiles[];
let runs: readonly ReportRun[];
let groups: readonly TableGroup[];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "adaptvis-report-"));
  made = await writeMadeUpRuns(folder);
  files = [await filesOf(made.controlledA), await filesOf(made.vsr)];
  runs = readReportRuns(files);
  groups = tableGroups(runs);
});

afterAll(() => rm(folder, { recursive: true, force: true }));

async function filesOf(path: string): Promise<RunFiles> {
  const manifest = readManifest(path);
  if (manifest === undefined) throw new Error(`no manifest in ${path}`);
  const questionFile = String(manifest.about.questionFile);
  const results = join(path, "results.jsonl");
  return {
    folder: path,
    manifest,
    dataSet: dataSetNamed(manifest.identity.dataset),
    questions: { name: questionFile, text: await readFile(questionFile, "utf8") },
    results: { name: results, text: await readFile(results, "utf8") },
  };
}

function tableNamed(name: string, group = 0): ReportTable {
  const found = at(groups, group).tables.find((table) => table.name === name);
  if (found === undefined) throw new Error(`no table ${name}`);
  return found;
}

describe("published numbers", () => {
  test.each([
    ["Controlled_A", "LLaVA-1.5-7B", "adaptvis", 84.9],
    ["Controlled_B", "LLaVA-1.5-7B", "scaling", 75.2],
    ["COCO_two", "LLaVA-1.6", "greedy", 41.8],
    ["VG_two", "LLaVA-1.6", "adaptvis", 17.2],
    ["VSR", "LLaVA-1.5-7B", "dola", 62.8],
  ])("%s, %s, %s", (name, model, method, accuracy) => {
    const found = publishedAccuracies({ name }).filter((each) => each.model === model && each.method === method);
    expect(found.map((each) => each.accuracy)).toEqual([accuracy]);
    expect(found.every((each) => (each.harmonicMeanOfRates !== null) === (name === "VSR"))).toBe(true);
  });

  test("belong to the data sets that they are about", () => {
    expect(publishedAccuracies({ name: "POPE" })).toEqual([]);
  });

  test.each([
    ["llava-1.5-7b-hf", "LLaVA-1.5-7B"],
    ["llava-v1.6-vicuna-7b-hf", "LLaVA-1.6"],
    ["llava-1.5-13b-hf", null],
    ["tiny-spatial", null],
  ])("%s is %s", (name, model) => expect(publishedModelNamed(name)).toBe(model));
});

describe("tables", () => {
  test("the numbers are those of summary.json", () => {
    const { dataSet, questions, results } = at(files, 0);
    const answers = [{ ...results, named: null, gate: dataSet.published?.adaptvis ?? DEFAULT_ADAPTVIS }];
    const summary = rescore({ dataSet, split: "test", questions, answers });
    expect(at(runs, 0).scores).toEqual(summary);
    const greedy = at(at(summary.files, 0).runs, 0);
    const { individual } = greedy.metrics.rules.paper ?? {};
    const [row] = tableNamed("accuracy", 1).rows;
    expect(row?.[1]?.values).toEqual([
      100 * Number(individual?.mean),
      100 * Number(individual?.lower),
      100 * Number(individual?.upper),
      330,
    ]);
  });

  test("the difference is ours minus the published one, where questions and settings are the same", () => {
    const rows = tableNamed("published").rows.filter(([run]) => run?.text === "Controlled_A · llava-1.5-7b-hf");
    const own = new Map(rows.map((row) => [row[1]?.text, row]));
    const adaptvis = own.get("AdaptVis");
    expect(adaptvis?.[3]?.values).toEqual([84.9]);
    expect(adaptvis?.[5]?.values).toEqual([Number(adaptvis?.[2]?.values[0]) - 84.9, "LLaVA-1.5-7B"]);
    expect([...own.keys()]).toEqual(["Greedy", "VCD", "DoLa", "ScalingVis, factor 0.8", "AdaptVis"]);
    expect(own.get("VCD")?.[2]?.text).toBe("–");
    const ofVsr = tableNamed("published").rows.filter(([run]) => run?.text === "VSR · other-model");
    expect(ofVsr.map((row) => row[5]?.text)).toEqual(ofVsr.map(() => "–"));
    expect(tableNamed("published").caption).toContain("its file has 60 questions and the published VSR 1222");
  });

  test("fixed and broken with the gains by format are McNemar's discordant cells", () => {
    for (const { changes, paired } of at(runs, 0).methods) {
      if (changes === null || paired === null) continue;
      expect(changes.fixed + changes.formatGained).toBe(paired.paper?.onlyB);
      expect(changes.broken + changes.formatLost).toBe(paired.paper?.onlyA);
    }
    const adaptvis = at(runs, 0).methods.find(({ name }) => name === "adaptvis");
    expect(adaptvis?.changes?.formatGained).toBeGreaterThan(0);
  });

  test("pairs and sets have ceilings, VSR its rates under their true names", () => {
    const names = (group: number) => at(groups, group).tables.map(({ name }) => name);
    expect(names(1)).toEqual(["accuracy", "pairs", "sets", "relations", "beside-greedy", "calibration", "layers"]);
    expect(names(2)).toEqual(["accuracy", "yes-no", "relations", "beside-greedy", "calibration", "layers"]);
    expect(tableNamed("sets", 1).rows.at(-1)?.[0]?.text).toBe("Ceiling");
    expect(tableNamed("yes-no", 2).columns.map(({ title }) => title)).toContain("Harmonic mean of the rates");
  });

  test("every term that a title links to is defined", () => {
    const defined = new Set(definitionsOf(runs).map(({ key }) => key));
    const used = groups.flatMap(({ tables }) =>
      tables.flatMap(({ columns }) => columns.flatMap(({ term }) => term ?? [])),
    );
    expect([...new Set(used)].filter((term) => !defined.has(term))).toEqual([]);
  });
});

describe("CSV and Markdown", () => {
  const table: ReportTable = {
    name: "t",
    title: "A | title",
    caption: "",
    columns: [
      { title: "Method", csv: ["method"] },
      { title: "x", csv: ["x", "y"], isNumeric: true },
    ],
    rows: [[textCell('say "a", b'), { text: "1.0 %", detail: "0–2", values: [1, null] }]],
  };

  test("CSV has a header line, quotes what needs it, and puts the tables of all runs together", () => {
    const other = {
      ...table,
      columns: [at(table.columns, 0), { title: "z", csv: ["z"] }],
      rows: [[textCell("b"), { text: "2", values: [2] }]],
    };
    const both = csvFiles([
      { run: { run: "one" }, heading: "", tables: [table] },
      { run: { run: "two" }, heading: "", tables: [other] },
    ]);
    expect(Object.fromEntries(both)).toEqual({ t: 'run,method,x,y,z\r\none,"say ""a"", b",1,,\r\ntwo,b,,,2\r\n' });
  });

  test("CSV gives a spreadsheet no formula", () => {
    const rows = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "a=1"].map((text) => [
      textCell(text),
      emptyCell(at(table.columns, 1)),
    ]);
    const negative = [textCell("a"), { text: "−1", values: [-1, null] }];
    const written = csvFiles([{ run: undefined, heading: "", tables: [{ ...table, rows: [...rows, negative] }] }]).get(
      "t",
    );
    const fields = written?.split("\r\n").slice(1, -1);
    expect(fields).toEqual(["'=1+1,,", "'+1,,", "'-1,,", "'@SUM(A1),,", "'\t=1,,", "a=1,,", "a,-1,"]);
  });

  test("every row of the real tables has its numbers", () => {
    const accuracy = String(csvFiles(groups).get("accuracy")).trimEnd().split("\r\n");
    expect(accuracy[0]).toMatch(
      /^run,data_set,model,split,method,paper_percent,paper_lower,paper_upper,paper_n,exactlyOne_percent,/,
    );
    expect(accuracy).toHaveLength(1 + 6 + 3); // five methods and two, and the majority answer of each
    expect(accuracy[1]).toMatch(/^Controlled_A · llava-1\.5-7b-hf,Controlled_A,llava-1\.5-7b-hf,test,Greedy,50\.30/);
  });

  test("Markdown escapes what would format", () => {
    const text = markdownText([{ run: undefined, heading: "a_b", tables: [table] }], {
      title: "T",
      lead: [],
      definitions: [["k", "v"]],
    });
    expect(text).toContain(
      '## a\\_b\n\n### A \\| title\n\n| Method | x |\n| --- | --: |\n| say "a", b | 1.0 % (0–2) |',
    );
    expect(text).toContain("- **k**: v");
  });
});

test("layers: means, and the AUROC of share and entropy; boxes where an analysis has them", () => {
  const run = at(runs, 0);
  const [greedy] = run.methods;
  if (greedy === undefined) throw new Error("no method");
  const layers = layersOf(run, greedy);
  expect(layers).toHaveLength(6);
  // 0.1 + layer · 0.05 + (id mod 9) / 100 over the ids of the test half.
  const shares = [...greedy.lines.values()].map(({ imageShare }) => Number(imageShare?.[2]));
  expect(layers[2]?.imageShare.mean).toBeCloseTo(shares.reduce((sum, value) => sum + value, 0) / shares.length, 12);
  expect(layers[2]?.imageShare.auroc).toBeGreaterThan(0.4);
  expect(layers.map(({ overlap }) => overlap)).toEqual(layers.map(() => null));
  const overlap = { mass: { auroc: 0.9 }, cosine: { auroc: null } };
  const analysis = { methods: [{ method: "greedy", layers: [{ layer: 2, overlap }] }] };
  expect(layersOf(run, greedy, analysis)[2]?.overlap).toEqual({ mass: 0.9, cosine: null });
  const titles = (with_?: typeof analysis) => plotsOf(run, with_).map(({ title }) => title);
  expect(titles()).not.toContain("AUROC of mass in the boxes");
  expect(titles(analysis)).toContain("AUROC of mass in the boxes");
});

test("runs of one data set and model are told apart", () => {
  const first = at(files, 1);
  const { identity } = first.manifest;
  const other = { ...first, folder: "b", manifest: { ...first.manifest, identity: { ...identity, dtype: "q8" } } };
  const labels = (...of: readonly RunFiles[]) => readReportRuns(of).map(({ label }) => label);
  expect(labels(first, other)).toEqual(["VSR · other-model · f16", "VSR · other-model · q8"]);
  expect(labels(first, { ...first, folder: "b" })).toEqual([
    `VSR · other-model · ${made.vsr}`,
    "VSR · other-model · b",
  ]);
});

test("sentences and the command that repeats a run", () => {
  expect(findingsOf(at(runs, 0))).toEqual([
    expect.stringMatching(
      /^Controlled_A · llava-1\.5-7b-hf: AdaptVis answers 92\.4 % of 330 questions right, greedy 50\.3 %: \+42\.1 points, .* more than chance explains/,
    ),
  ]);
  const run = at(runs, 0);
  const unchanged = run.methods.map((method) => {
    const paper = method.paired?.paper;
    return paper ? { ...method, paired: { ...method.paired, paper: { ...paper, onlyA: 0, onlyB: 0 } } } : method;
  });
  expect(findingsOf({ ...run, methods: unchanged } as ReportRun)).toEqual([
    expect.stringMatching(
      /: AdaptVis changes no verdict beside greedy; 92\.4 % of 330 questions are answered right\.$/,
    ),
  ]);
  const { command } = evalCommand(run);
  expect(command.replaceAll(" \\\n ", "")).toBe(
    "adaptvis eval --dataset Controlled_A --data-dir DATA --model MODELS/llava-1.5-7b-hf --dtype f16 --split test --prompts authors --max-new-tokens 100 --no-boxes --method greedy --method scaling:factor=0.5 --method scaling:factor=0.8 --method scaling:factor=1.2 --method adaptvis --out RUN",
  );
});

describe("the page", () => {
  let html: string;
  let gallery: Awaited<ReturnType<typeof makeGallery>>;

  beforeAll(async () => {
    gallery = await makeGallery(runs, { limit: 30, folders: () => [folder] });
    html = await evaluationHtml({ runs, groups, gallery, analyses: new Map(), version: "1.2.3", date: "2026-01-31" });
  });

  test("the gallery shows changed answers first, and counts what it leaves out and what is missing", () => {
    expect(gallery.entries).toHaveLength(30);
    expect(gallery.entries.map(({ change }) => change)).not.toContain("unchanged");
    for (const change of ["fixed", "broken", "formatOnly"] as const) {
      expect(
        gallery.entries.some((entry) => entry.change === change),
        change,
      ).toBe(true);
    }
    const methods = new Set(gallery.entries.map(({ method }) => method.label));
    expect(methods.size).toBe(5); // every method but greedy
    // Pictures of VSR with odd numbers are missing.
    const odd = gallery.entries.filter(({ run, question }) => run.dataSet.name === "VSR" && question.id % 2 === 1);
    expect(odd.length).toBeGreaterThan(0);
    expect(odd.every(({ picture }) => picture === null)).toBe(true);
    expect(gallery.missing).toContain(`val2017/${String(odd[0]?.question.id).padStart(12, "0")}.png`);
    expect(html).toContain(`only the text is shown: ${gallery.missing.length}, such as`);
  });

  test("a map lies over the picture where the run says what part of it the model saw", () => {
    for (const { run, maps, picture } of gallery.entries) {
      expect(maps.after?.isOverlay).toBe(run.dataSet.name === "Controlled_A" && picture !== null);
      expect(maps.before).not.toBeNull();
    }
    const [entry] = gallery.entries;
    expect(entry?.maps.after).toMatchObject({ layer: 3, peak: expect.closeTo(0.05, 12) });
  });

  test("needs no network, and shows texts as texts", () => {
    expect(html).not.toMatch(/(?:src|href)="(?!data:|#)/);
    expect(html).not.toContain("<script>alert");
    expect(html).toContain("&lt;script&gt;alert(1)");
    expect(html.match(/<script/g)).toHaveLength(1); // the filters
    expect(html).toContain("by adaptvis 1.2.3");
  });

  test("every link within it leads somewhere", () => {
    const targets = new Set([...html.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id));
    const links = [...html.matchAll(/href="#([^"]+)"/g)].map(([, id]) => id);
    expect(links.filter((id) => !targets.has(id))).toEqual([]);
    expect(links.length).toBeGreaterThan(20);
  });
});
