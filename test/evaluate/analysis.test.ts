// The analysis of a run against scikit-learn's areas under the ROC curve and NumPy's means, and the lines that it reads.
import { expect, test } from "vitest";
import { analyzeRun, type RunAnalysis } from "../../src/evaluate/analysis.ts";
import { dataSetNamed } from "../../src/evaluate/datasets/registry.ts";
import { parseCorpusCounts } from "../../src/evaluate/metrics/familiarity.ts";
import type { BoxIdentity } from "../../src/evaluate/metrics/question-boxes.ts";
import { expectMetric, messageOf, readEvaluateGolden, versionsOf } from "./metrics-golden.ts";

interface Golden {
  readonly questions: readonly object[];
  readonly lines: readonly Readonly<Record<string, unknown>>[];
  readonly expected: object;
  readonly counts: object;
  readonly expectedFromCounts: readonly object[];
}

const golden = readEvaluateGolden<Golden>("analysis.json");
const boxes: BoxIdentity = { source: "0", scale: 1, maxBoxes: null, objects: "named" };

const textOf = (lines: readonly object[]) => lines.map((line) => `${JSON.stringify(line)}\n`).join("");

function analyze(lines: readonly object[], more: Partial<Parameters<typeof analyzeRun>[0]> = {}): RunAnalysis {
  return analyzeRun({
    dataSet: dataSetNamed("Controlled_A"),
    results: { name: "results.jsonl", text: textOf(lines) },
    questions: { name: "questions.jsonl", text: textOf(golden.questions) },
    rule: "paper",
    ...more,
  });
}

test(`means and areas of every layer and head (${versionsOf(golden, "numpy", "scikit-learn")})`, () => {
  const analysis = analyze(golden.lines, { boxes });
  expectMetric(analysis, golden.expected);
  expect(analysis).toMatchObject({ file: "results.jsonl", dataSet: "Controlled_A", boxes: { settings: boxes } });
});

test("corpus counts decide what is familiar", () => {
  const corpus = parseCorpusCounts(JSON.stringify(golden.counts), { file: "counts.json" });
  const { methods, definitions } = analyze(golden.lines, { corpus });
  expectMetric(
    methods.map(({ familiarity }) => familiarity),
    golden.expectedFromCounts,
  );
  expect(definitions.familiarity).toContain("at least 700 times");
  const one = parseCorpusCounts('{"left": 1}', { file: "counts.json" });
  expect(() => analyze(golden.lines, { corpus: one })).toThrow(/lack the relation "right"/);
});

test("lines of an earlier version have share and entropy, but no overlap; a cut last line is left out", () => {
  const old = golden.lines.filter(({ method }) => method === "greedy").map(({ box_overlap: _, ...line }) => line);
  const text = `${textOf(old)}{"doc_id":3,"met`;
  const { boxes: found, methods } = analyze([], { results: { name: "results.jsonl", text } });
  expect(found).toBeNull();
  expect(methods).toHaveLength(1);
  expect(methods[0]).toMatchObject({ method: "greedy", coverage: null, numWithoutAttention: 1 });
  expect(methods[0]?.layers.map(({ overlap }) => overlap)).toEqual([null, null, null]);
  expect(methods[0]?.layers[0]?.imageShare).toEqual(analyze(golden.lines).methods[0]?.layers[0]?.imageShare);
});

test("answers that the rule cannot judge are counted and left out", () => {
  const { methods } = analyze(golden.lines, { rule: "firstToken" });
  expect(methods[0]).toEqual({
    method: "greedy",
    numRight: 0,
    numWrong: 0,
    numUnjudged: 40,
    numWithoutAttention: 0,
    coverage: null,
    layers: [],
    familiarity: [],
  });
});

test("malformed attention is refused with its line", async () => {
  const [first = {}, second = {}] = golden.lines.filter(({ method }) => method === "greedy");
  const message = (change: object) => messageOf(() => analyze([first, { ...second, ...change }]));
  const overlap = first.box_overlap as Readonly<Record<string, unknown>>; // as the generator writes it
  expect(await message({ image_share: [0.5, "1", 0] })).toBe(
    'InputError: results.jsonl, line 2: expected "image_share" to be a list of numbers, one per layer, or null.',
  );
  expect(await message({ image_entropy: 3 })).toMatch(/expected "image_entropy" to be a list/);
  expect(await message({ image_share: [1, 1] })).toBe(
    'InputError: results.jsonl, line 2: "image_share" has 2 layers, but earlier lines of greedy have 3 layers: the lines belong to different models.',
  );
  for (const wrong of [
    7,
    { ...overlap, coverage: null },
    { ...overlap, mass: [[1, 1]] },
    { ...overlap, cosine: [[1, 1], [1, 1], [1]] },
    { ...overlap, layer_mass: undefined },
    { ...overlap, layer_cosine: ["1", 1, 1] },
  ]) {
    expect(await message({ box_overlap: wrong })).toMatch(
      /line 2: expected "box_overlap" to be an object with coverage/,
    );
  }
  const one = [[1], [1], [1]];
  expect(await message({ box_overlap: { ...overlap, mass: one, cosine: one } })).toMatch(
    /"box_overlap" has 1 heads, but earlier lines of greedy have 2 heads/,
  );
  expect(await messageOf(() => analyze([], { results: { name: "a.json", text: "[]" } }))).toBe(
    'InputError: a.json: expected lines that "adaptvis eval" wrote, since other results hold no attention.',
  );
});
