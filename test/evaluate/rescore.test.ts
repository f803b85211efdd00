// Recorded answers rescored: every file form, compared with an independent implementation (tools/goldens/evaluate_rescore.py).
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { readResultName, verdictNames } from "../../src/evaluate/answers/file-names.ts";
import { readIds } from "../../src/evaluate/answers/npy.ts";
import { DATA_SETS, dataSetNamed } from "../../src/evaluate/datasets/registry.ts";
import { exactMcNemar } from "../../src/evaluate/metrics/mcnemar.ts";
import { type FileReport, type RescoreReport, rescore, type SplitName } from "../../src/evaluate/rescore.ts";
import { DEFAULT_ADAPTVIS } from "../../src/interventions/adaptvis.ts";
import { expectClose } from "./close.ts";

const FOLDER = new URL("../golden/evaluate/rescore/", import.meta.url);

interface Case {
  readonly name: string;
  readonly dataset: string;
  readonly split: SplitName;
  readonly questions: string;
  readonly answers: string;
  readonly settings?: { readonly alpha1?: number; readonly alpha2?: number; readonly beta?: number };
  readonly prompts?: FileReport["prompts"];
  readonly form: string;
  readonly n: number;
  readonly expected: number;
  readonly gate: string | null;
  readonly belowBeta: unknown;
  readonly equalToRecorded?: unknown;
  readonly refused?: readonly string[];
  readonly failed?: unknown;
  readonly recorded?: string;
  readonly runs: Readonly<Record<string, unknown>>;
  readonly metrics: Readonly<Record<string, unknown>>;
  readonly mcNemar: readonly Readonly<Record<string, unknown>>[];
}

const golden = JSON.parse(read("expected.json")) as {
  readonly python: string;
  readonly numpy: string;
  readonly cases: readonly Case[];
  readonly mcNemar: readonly { readonly onlyA: number; readonly onlyB: number; readonly p: number }[];
};

describe(`as Python ${golden.python} and numpy ${golden.numpy}`, () => {
  test.each(golden.cases)("$name", (wanted) => {
    const { report, file } = rescoreCase(wanted);
    const runs = Object.fromEntries(
      file.runs.map(({ run, meaning: _, factor: __, metrics: ___, ...scores }) => [run, scores]),
    );
    expectClose(runs, wanted.runs, "runs");
    const metrics = Object.fromEntries(file.runs.map(({ run, metrics: own }) => [run, own]));
    expectClose(metrics, wanted.metrics, "metrics");
    expectClose(file.confidence.belowBeta, wanted.belowBeta, "below beta");
    const tests = report.mcNemar.map(({ a, b, ...cells }) => ({ a: a.run, b: b.run, ...cells }));
    expectClose(tests, wanted.mcNemar, "McNemar");
    expect(file).toMatchObject({ form: wanted.form, n: wanted.n, expected: wanted.expected });
    expect(file.isComplete).toBe(wanted.n === wanted.expected);
    expect(file.gate.run).toBe(wanted.gate);
    expect(file.gate.equalToRecorded).toEqual(wanted.equalToRecorded ?? null);
    expect(file.refused.map(({ run }) => run)).toEqual(wanted.refused ?? []);
    expect(file.failed).toEqual(wanted.failed ?? {});
    expect(file.recordedScores?.status).toBe(wanted.recorded);
    if (wanted.prompts !== undefined) expect(file.prompts).toEqual(wanted.prompts);
  });

  test.each(golden.mcNemar)("McNemar's test: only A $onlyA, only B $onlyB", ({ onlyA, onlyB, p }) => {
    const found = exactMcNemar(onlyA, onlyB);
    expect(Math.abs(found - p)).toBeLessThanOrEqual(1e-12 * p);
    expect(exactMcNemar(onlyB, onlyA)).toBe(found);
  });
});

test("McNemar's test refuses negative and fractional counts", () => {
  expect(() => exactMcNemar(-1, 2)).toThrow(/onlyA: expected a whole number of at least 0, got -1/);
  expect(() => exactMcNemar(1, 0.5)).toThrow(/onlyB: .*got 0.5/);
});

describe("what a report says besides numbers", () => {
  test("meanings of the confidence fields", () => {
    const kinds = (name: string) =>
      Object.fromEntries(rescoreCase(caseOf(name)).file.confidence.fields.map(({ field, kind }) => [field, kind]));
    expect(kinds("plain array, raw")).toEqual({ uncertainty: "logit" });
    expect(kinds("six-factor sweep of objects")).toEqual({
      Uncertainty: "rounded",
      "Uncertainties.confidence": "unrounded",
      "Uncertainties.kld": "other",
      "Uncertainties.jsd": "other",
      "Uncertainties.entropy": "other",
    });
    expect(kinds("prefix")).toEqual({ uncertainty: "other-gate" });
    expect(kinds("three-factor")).toEqual({
      uncertainty_prob: "untrusted",
      uncertainty_jsd: "other",
      uncertainty_entropy: "empty",
      uncertainty_margin: "other",
    });
  });

  test("why a gate was not applied", () => {
    const reason = (name: string) => rescoreCase(caseOf(name)).file.gate.reason;
    expect(reason("plain array, raw")).toBe("the file is not a sweep over factors");
    expect(reason("three-factor")).toBe("the sweep has no factor 1.5, only 1.0, 0.5, 1.2");
    expect(reason("sweep of six")).toBe("4 of 33 rows have no confidence of the first token");
    const withAlpha2 = (alpha2: number) =>
      rescoreCase({ ...caseOf("three-factor"), settings: { alpha2 } }).file.gate.reason;
    expect(withAlpha2(1.2)).toBe("every answer of factor 1.2 is empty");
    expect(withAlpha2(1)).toBe("the file has no confidence of the first token");
  });

  test("stale verdicts are not reported", () => {
    const { file } = rescoreCase(caseOf("prefix"));
    expect(file.recordedScores).toEqual({
      file: expect.stringMatching(/scores\.json$/),
      status: "stale",
      reason: expect.stringMatching(/^it counts (row \d+|29 rows), but the answers are 22 of 29$/),
    });
    expect(file.notes).toContain("Answered questions: 22 of 29.");
  });

  test("verdicts that differ, with the rows", () => {
    const wanted = caseOf("plain array, raw");
    const scores = JSON.parse(read(verdictNames(wanted.answers)[0] ?? "")) as { correct_id: number[] };
    const [first, ...others] = scores.correct_id;
    const changed = { acc: others.length / 37, correct_id: others };
    const { file } = rescoreCase(wanted, JSON.stringify(changed));
    expect(file.recordedScores).toMatchObject({
      status: "differs",
      agreeingRuns: [],
      runs: [{ run: "answer", agrees: false, onlyRecorded: [], onlyRecomputed: [first] }],
    });
  });

  test("res.json: other data sets and other runs do not agree, broken lines are skipped with their numbers", () => {
    const { file } = rescoreCase(caseOf("plain array, raw"), read("res.json"));
    expect(file.recordedScores).toMatchObject({
      status: "lines",
      skippedLines: [2, 4],
      numOtherDataSets: 1,
      lines: [
        { lineNumber: 1, numRight: 0, agreeingRuns: [] },
        { lineNumber: 5, method: "base", weight: 1, agreeingRuns: ["answer"] },
      ],
    });
  });

  test("the notes of sample lines and of prompts", () => {
    expect(rescoreCase(caseOf("lmms-eval")).file.notes).toEqual([
      "Answered questions: 35 of 37.",
      "Failed requests: 2, counted but not scored.",
      "Line 41 is cut off, as after an interrupted run, and left out.",
      "Lines about questions outside the test half of Controlled_A, left out: 3.",
    ]);
    const { file } = rescoreCase(caseOf("plain array, raw"));
    const { containsClause, other } = file.prompts;
    expect(file.notes).toEqual([
      `Prompts that differ from the question: ${containsClause + other}, of which ${containsClause} reword it and ${other} do not contain it.`,
    ]);
  });

  test("a question file of another length than the data set's", () => {
    const { report } = rescoreCase(caseOf("plain array, raw"));
    expect(report.notes).toEqual([
      "controlled_a.jsonl has 46 rows where Controlled_A has 412: the halves are those of 46 rows.",
    ]);
    expect(report.split).toEqual({
      name: "test",
      numQuestions: 46,
      numValidation: 9,
      numTest: 37,
      numExpected: 37,
      isPapers: true,
    });
  });

  test("questions that do not name two objects are in no pair, and odd right answers are reported", () => {
    const rows = ["Left", "Right", "Above"].map((gold, id) => ({
      id,
      question: `Where is it? (${id})`,
      answer: [gold],
    }));
    const report = rescoreTexts(
      "Controlled_A",
      "all",
      lines(rows),
      JSON.stringify(rows.map(() => ({ Generation: "Left" }))),
    );
    expect(report.notes.slice(1)).toEqual([
      'Right answers that are not options of Controlled_A: 1, such as "Above".',
      "Questions that do not name two objects, and so belong to no pair or set: 3.",
    ]);
    expect(report.files[0]?.runs[0]?.rules.paper?.pairs?.completeOfStarted).toMatchObject({
      count: 0,
      of: 0,
      fraction: null,
    });
    expect(report.files[0]?.notes).toContain('Rows without a "Golden" that confirms their question: 3.');
  });
});

describe("metrics", () => {
  const ask = (first: string, second: string) =>
    `Where is the ${first} in relation to the ${second}? Answer with left, right, on or under.`;
  const rows = [
    { id: 0, question: ask("cup", "box"), answer: ["Left"] },
    { id: 1, question: ask("cup", "box"), answer: ["Right"] },
    { id: 2, question: ask("box", "cup"), answer: ["On"] },
    { id: 3, question: "Where is the cup in the photo?", answer: ["Above"] },
    { id: 4, question: "Where is the cup in the photo?", answer: ["On"] },
  ];
  const sample = (id: number, text: string, more: object) => ({
    doc_id: id,
    target: rows[id]?.answer[0],
    filtered_resps: text,
    ...more,
  });

  test("clusters are ordered pairs of objects, and questions without a pair stand alone", () => {
    const answers = JSON.stringify(rows.map(() => ({ Generation: "Left or right" })));
    const report = rescoreTexts("Controlled_A", "all", lines(rows), answers);
    expect(report.files[0]?.runs[0]?.metrics.rules.paper?.individual).toMatchObject({ numRows: 5, numClusters: 4 });
    expect(report.bootstrap).toEqual({
      numResamples: 2000,
      level: 0.95,
      seed: 0,
      clusters: expect.stringMatching(
        /^A cluster .* pair of objects; a question that does not name two .* own cluster\./,
      ),
    });
    const vsr = lines([{ caption: "The cat is on the mat.", label: 1 }]);
    const { bootstrap, files } = rescoreTexts("VSR", "all", vsr, '[{"Generation": "Yes"}]');
    expect(bootstrap.clusters).toMatch(/^Each question of VSR is a cluster of its own/);
    // Its caption says no relation, and its answer has no confidence.
    expect(files[0]?.runs[0]?.metrics.rules.paper).toMatchObject({ familiarity: null, confidence: null });
  });

  test("a right answer that is no option has a row of its own, and several options are no answer", () => {
    const answers = JSON.stringify(
      ["Left", "left right", "On", "Above", "beside"].map((Generation) => ({ Generation })),
    );
    const { confusion } = rescoreTexts("Controlled_A", "all", lines(rows), answers).files[0]?.runs[0]?.metrics ?? {};
    expect(confusion?.options).toEqual(["left", "right", "on", "under", "above"]);
    expect(confusion?.counts).toEqual([
      [1, 0, 0, 0, 0, 0],
      [0, 0, 0, 0, 0, 1],
      [0, 0, 1, 0, 0, 1],
      [0, 0, 0, 0, 0, 0],
      [0, 0, 0, 0, 0, 1],
    ]);
    expect(confusion?.byClass.map(({ accuracy }) => accuracy)).toEqual([1, 0, 0.5, null, 0]);
  });

  test("the confidence of a question is found in whichever method's line has it", () => {
    const text = lines([
      sample(0, "Left", { method: "pai", confidence: null }),
      sample(0, "Left", { method: "greedy", confidence: 0.75 }),
      sample(1, "Left", { method: "greedy", confidence: 0.25 }),
      sample(1, "Left", { method: "pai", confidence: null }),
    ]);
    const [file] = rescoreTexts("Controlled_A", "all", lines(rows), text).files;
    expect(file?.confidence).toMatchObject({ metricsField: "confidence", belowBeta: { rounded: { count: 1, of: 2 } } });
    for (const run of file?.runs ?? []) {
      // (0.75 − 1)² and (0.25 − 0)², and bins that hold one answer each.
      expect(run.metrics.rules.paper?.confidence).toMatchObject({
        count: 2,
        auroc: 1,
        brierScore: 0.0625,
        expectedCalibrationError: 0.25,
      });
    }
    expect(file?.runs).toHaveLength(2);
  });

  test("equal confidences form no bins of equal counts, and right answers alone no curve", () => {
    const text = lines([0, 1].map((id) => sample(id, rows[id]?.answer[0] ?? "", { confidence: 0.5 })));
    const [run] = rescoreTexts("Controlled_A", "all", lines(rows), text).files[0]?.runs ?? [];
    expect(run?.metrics.rules.exactlyOne?.confidence).toMatchObject({ count: 2, byConfidence: [], auroc: null });
    expect(run?.metrics.rules.exactlyOne?.familiarity?.familiar).toEqual({
      relations: ["left", "right"],
      count: 2,
      numRight: 2,
      accuracy: 1,
      meanConfidence: 0.5,
    });
  });
});

describe("two files", () => {
  test("are compared run by run over the questions that both answer", () => {
    const [first, second] = [caseOf("plain array, raw"), caseOf("lmms-eval")];
    const input = (wanted: Case) => ({ name: wanted.answers, text: read(wanted.answers), named: null, gate: GATE });
    const report = rescore({
      dataSet: dataSetNamed("Controlled_A"),
      split: "test",
      questions: { name: "q", text: read("controlled_a.jsonl") },
      answers: [input(first), input(second)],
    });
    const [paper] = report.mcNemar;
    expect(paper).toMatchObject({
      a: { file: first.answers, run: "answer" },
      b: { file: "samples.jsonl" },
      rule: "paper",
      n: 35,
    });
    expect((paper?.both ?? 0) + (paper?.onlyA ?? 0) + (paper?.onlyB ?? 0) + (paper?.neither ?? 0)).toBe(35);
  });
});

describe("files that cannot be scored", () => {
  const questions = lines([
    {
      id: 0,
      question: "Where is the cup in relation to the box? Answer with left, right, on or under.",
      answer: ["Left"],
    },
    {
      id: 1,
      question: "Where is the cup in relation to the box? Answer with left, right, on or under.",
      answer: ["On"],
    },
  ]);
  const row = { Prompt: "p", Generation: "Left", Golden: "Left" };
  const on = { ...row, Golden: "On" };
  const sample = { doc_id: 0, target: "Left", filtered_resps: "Left" };

  test.each([
    ["nothing", "", /a\.json is empty: expected recorded answers/],
    ["a cut array", JSON.stringify([row]).slice(0, -3), /a\.json is not JSON/],
    ["an object", "{}", /expected a JSON array of answers or JSON lines with "doc_id"/],
    ["an empty array", "[]", /a\.json has no answers: its array is empty/],
    [
      "too many rows",
      [row, on, row],
      /has 3 rows, but the whole of Controlled_A has 2 questions: check --dataset and --split/,
    ],
    ["a row that is not an object", [row, 5], /a\.json, row 1: expected an object, got a number/],
    ["another right answer", [on], /row 0 \("Golden"\): expected the right answer of question 0, "Left", got "On"/],
    ["a text that is a number", [{ ...row, Generation: 3 }], /row 0: expected "Generation" to be text, got a number/],
    [
      "only empty answers",
      [
        { ...row, Generation: " " },
        { ...on, Generation: "" },
      ],
      /a\.json: every answer is empty/,
    ],
    [
      "a sweep of one row only",
      [{ ...row, Generation: { "1.0": "Left" } }, on],
      /row 1: expected "Generation" to be a map of factors/,
    ],
    ["no factors", [{ ...row, Generation: {} }], /row 0: the map of factors in "Generation" is empty/],
    [
      "a factor that is not a number",
      [{ ...row, Generation: { x: "Left" } }],
      /row 0: expected factors as keys of "Generation", got "x"/,
    ],
    [
      "other factors in the second row",
      [
        { ...row, Generation: { "1.0": "Left" } },
        { ...on, Generation: { "0.5": "Left" } },
      ],
      /row 1: expected the factors of the first row, 1\.0, got 0\.5/,
    ],
    [
      "probabilities above 1",
      [{ ...row, Distribution: { Left: 2 } }],
      /row 0: expected "Distribution" to map options to probabilities/,
    ],
    ["text of no known form", "Left\nRight\n", /a\.json is not JSON/],
    ["a malformed first line", `{"doc\n${JSON.stringify(sample)}\n`, /line 1: expected a JSON object/],
    [
      "a malformed line in the middle",
      `${JSON.stringify(sample)}\n{"doc\n${JSON.stringify(sample)}\n`,
      /line 2: expected a JSON object/,
    ],
    ["a fractional id", lines([{ ...sample, doc_id: 0.5 }]), /line 1: expected "doc_id" to be a row number, got 0\.5/],
    ["a negative id", lines([{ ...sample, doc_id: -1 }]), /line 1: expected "doc_id" to be a row number, got -1/],
    ["a repeated id", lines([sample, sample]), /lines 1 and 2: "doc_id" 0 occurs twice/],
    [
      "an id that is not a number",
      lines([sample, { ...sample, doc_id: "x" }]),
      /line 2: expected "doc_id" to be a row number, got "x"/,
    ],
    [
      "an id beyond the questions",
      lines([{ ...sample, doc_id: 7 }]),
      /line 1: "doc_id" 7 is not in the question file, whose last row is 1/,
    ],
    ["another target", lines([{ ...sample, target: "Under" }]), /doc_id 0 \("target"\): expected .* got "Under"/],
    [
      "several responses",
      lines([{ ...sample, filtered_resps: ["a", "b"] }]),
      /line 1: expected "filtered_resps" to hold one text, got 2 responses/,
    ],
    [
      "positive log-probabilities",
      lines([{ ...sample, option_logprobs: { Left: 1 } }]),
      /"option_logprobs" to map options to log-probabilities/,
    ],
    [
      "only failed requests",
      lines([{ ...sample, filtered_resps: "[LMMS_EVAL_BUDGET_EXCEEDED]" }]),
      /every request failed/,
    ],
  ])("%s", (_, answers, message) => {
    const text = typeof answers === "string" ? answers : JSON.stringify(answers);
    expect(() => rescoreTexts("Controlled_A", "all", questions, text)).toThrow(message);
  });

  test("a whole last line counts without its line break", () => {
    const text = lines([sample, { ...sample, doc_id: 1, target: "On" }]).trimEnd();
    expect(rescoreTexts("Controlled_A", "all", questions, text).files[0]).toMatchObject({ n: 2, notes: [] });
  });

  test("examples before a bare question, and before a whole prompt", () => {
    const text = "Where is the cup in relation to the box? Answer with left, right, on or under.";
    const Prompt = `Where is the cat? On the mat.\n${text}`;
    const whole = `USER: Where is the cat?\nASSISTANT: On.\n<image>\nUSER: ${text}\nASSISTANT:`;
    const answers = JSON.stringify([
      { ...row, Prompt },
      { ...on, Prompt: whole },
    ]);
    expect(rescoreTexts("Controlled_A", "all", questions, answers).files[0]?.prompts.endsWithQuestion).toBe(2);
  });

  test("the same rows are read where they are right", () => {
    expect(rescoreTexts("Controlled_A", "all", questions, `\uFEFF${lines([sample])}`).files[0]).toMatchObject({
      n: 1,
      prompts: { absent: 1 },
    });
    expect(rescoreTexts("Controlled_A", "all", questions, lines([{ ...sample, target: 5 }])).files[0]?.notes).toEqual([
      "Answered questions: 1 of 2.",
    ]);
    expect(
      rescoreTexts("Controlled_A", "all", questions, JSON.stringify([{ ...row, Golden: " left " }])).files[0]?.n,
    ).toBe(1);
    expect(rescoreTexts("Controlled_A", "all", questions, JSON.stringify([row, on])).files[0]?.n).toBe(2);
    expect(rescoreTexts("Controlled_A", "all", questions, lines([sample])).files[0]?.n).toBe(1);
  });

  test("probabilities from 0 to 1 are read, others refused", () => {
    const withScores = (Distribution: object) =>
      rescoreTexts("Controlled_A", "all", questions, JSON.stringify([{ ...row, Distribution }])).files[0]?.runs[0]
        ?.rules.firstToken;
    expect(withScores({ Left: 1, Right: 0 })?.individual.count).toBe(1);
    expect(withScores({ Left: 0, Right: 1 })?.individual.count).toBe(0);
    for (const wrong of [{ Left: -0.1, On: 1 }, { Left: "1" }, ["Left"]])
      expect(() => withScores(wrong)).toThrow(/to probabilities/);
  });

  test("sweeps: a gated answer missing in a row is empty, and what belongs to no known factor is said", () => {
    const Generation_map = { "1.0": "Left", "0.5": "On" };
    const { runs, notes } = rescoreTexts(
      "Controlled_A",
      "all",
      questions,
      JSON.stringify([
        { Golden: "Left", Generation_map, Generation: "Left", Distribution: { Left: 1 } },
        { Golden: "On", Generation_map },
      ]),
    ).files[0] ?? { runs: [], notes: [] };
    expect(runs.map(({ run, meaning, text }) => [run, meaning, text?.empty.count])).toEqual([
      ["1.0", "greedy: factor 1", 0],
      ["0.5", "factor 0.5", 0],
      ["gated", "the gated answer that the file holds beside the map", 1],
    ]);
    expect(notes).toEqual([
      '"Distribution" beside a map of factors does not say which factor it belongs to: not used.',
    ]);
    const plain = JSON.stringify([{ ...row, Distribution_map: { Left: 1 } }, on]);
    expect(rescoreTexts("Controlled_A", "all", questions, plain).files[0]?.notes[0]).toMatch(
      /^"Distribution_map" belongs to the last factor/,
    );
    const bad = JSON.stringify([{ Golden: "Left", Generation_map: { "1.0": 5 } }]);
    expect(() => rescoreTexts("Controlled_A", "all", questions, bad)).toThrow(
      'row 0: expected "Generation_map"["1.0"] to be text, got a number',
    );
  });

  test.each([
    ["no question", "\n", /q\.jsonl has no questions/],
    [
      "a malformed line",
      `${questions}{"id": 2,\n`,
      /q\.jsonl, line 3: expected a JSON object, got text that is not JSON/,
    ],
    [
      "ids out of order",
      lines([{ id: 1, question: "q", answer: ["Left"] }]),
      /line 1: expected "id" to be the row number 0, got 1/,
    ],
    [
      "empty question text",
      lines([{ id: 0, question: "", answer: ["Left"] }]),
      /expected "question" to be text, got empty text/,
    ],
    ["no question text", lines([{ id: 0, answer: ["Left"] }]), /line 1: expected "question" to be text, got undefined/],
    ["no answer", lines([{ id: 0, question: "q", answer: [] }]), /line 1: expected "answer" to be text or a list/],
    ["an unknown relation", lines([{ id: 0, question: "q", answer: ["Beside"] }]), /line 1: unknown relation "Beside"/],
  ])("questions: %s", (_, text, message) => {
    expect(() => rescoreTexts("Controlled_A", "all", text, "[{}]")).toThrow(message);
  });

  test("labels and answers of VSR", () => {
    const caption = { caption: "The cat is on the mat.", label: 1 };
    const answers = JSON.stringify([{ Generation: "Yes" }]);
    expect(rescoreTexts("VSR", "all", lines([caption]), answers).files[0]?.runs[0]?.rules.paper?.individual.count).toBe(
      1,
    );
    const asked = lines([{ question: "Is it so?", answer: "No" }]);
    expect(rescoreTexts("VSR", "all", asked, answers).files[0]?.runs[0]?.rules.paper?.individual.count).toBe(0);
    expect(() => rescoreTexts("VSR", "all", lines([{ ...caption, label: 2 }]), answers)).toThrow(
      /"label" to be 0 or 1, got 2/,
    );
    expect(() => rescoreTexts("VSR", "all", lines([{ question: "q", answer: "left" }]), answers)).toThrow(
      /line 1: expected "answer" to be Yes or No, got "left"/,
    );
  });

  test.each([
    ["a list", "[1]", /s\.json: expected \{"acc", "correct_id"\} or the lines of res\.json, got Array/],
    ["no verdict", "{}", /s\.json has no verdicts/],
    ["a percentage", '{"acc": 84, "correct_id": [0]}', /s\.json: expected "acc" to be a fraction, got 84/],
    ["the same row twice", '{"acc": 1, "correct_id": [0, 0]}', /"correct_id" to be a list of different row positions/],
    ["rates that are missing", '{"acc": 1}', /expected "precision" to be a fraction, got undefined/],
  ])("verdicts: %s", (_, scores, message) => {
    expect(() => rescoreTexts("Controlled_A", "all", questions, JSON.stringify([row, on]), scores)).toThrow(message);
  });
});

test("verdict files that fit by their counts alone are judged by their rows", () => {
  const questions = lines(
    [0, 1, 2].map((id) => ({ id, question: `Where is the a in relation to the b${id}?`, answer: ["Left"] })),
  );
  const answers = JSON.stringify([{ Generation: "Left" }, { Generation: "Right" }]);
  const statusOf = (scores: object) =>
    rescoreTexts("Controlled_A", "all", questions, answers, JSON.stringify(scores)).files[0]?.recordedScores?.status;
  expect(statusOf({ acc: 0.5, correct_id: [0] })).toBe("agrees");
  expect(statusOf({ acc: 0.5, correct_id: [1] })).toBe("differs");
  expect(statusOf({ acc: 1 / 3, correct_id: [0] })).toBe("stale");
  expect(statusOf({ acc: 1 / 3, correct_id: [2] })).toBe("stale");
  expect(statusOf({ acc: 0, correct_id: [] })).toBe("stale");
});

describe("names of result files", () => {
  const nothing = { threshold: null, alpha1: null, alpha2: null, beta: null };
  test.each([
    [
      "out/results1.5_Controlled_Images_A_adapt_vis_1.0_fouroption_True.json",
      { dataSet: "Controlled_A", method: "adapt_vis", weight: 1, split: "test", ...nothing },
    ],
    [
      "results1.5_VG_QA_two_obj_adapt_vis_5_1.0_0.25_sixoption_False.json",
      { dataSet: "VG_two", method: "adapt_vis_5", weight: 1, split: "validation", ...nothing, threshold: 0.25 },
    ],
    [
      "results_COCO_QA_one_obj_adapt_vis_var_weights_1.0_0.5_1.2_0.3_False.json",
      {
        dataSet: "COCO_one",
        method: "adapt_vis_var_weights",
        weight: 1,
        split: "validation",
        threshold: null,
        alpha1: 0.5,
        alpha2: 1.2,
        beta: 0.3,
      },
    ],
    [
      "results_VSR_scaling_vis_0.5.json",
      { dataSet: "VSR", method: "scaling_vis", weight: 0.5, split: null, ...nothing },
    ],
    [
      "results1.5_Controlled_Images_B_base_1.0_fouroption_Truescores.json",
      { dataSet: "Controlled_B", method: "base", weight: 1, split: "test", ...nothing },
    ],
    ["results1.5_Unknown_base_1.0_fouroption_True.json", null],
    [
      "results1.5_Controlled_Images_A_adapt_vis_2_1.0_fouroption_threshold_00045_00055_True.json",
      { dataSet: "Controlled_A", method: "adapt_vis_2", weight: 1, split: "test", ...nothing },
    ],
    ["results1.5_Controlled_Images_A_base_1.0_fouroption_True.json.bak", null],
    ["results1.5_Controlled_Images_A_base_fouroption_True.json", null],
    ["answers.json", null],
  ])("%s", (name, wanted) => {
    expect(readResultName(name, DATA_SETS)).toEqual(wanted);
  });

  test("the verdicts beside them", () => {
    expect(verdictNames("a/b.json")).toEqual(["a/bscores.json", "a/b_scores.json"]);
    expect(verdictNames("a/b.jsonl")).toEqual([]);
  });
});

describe("a validation half in NumPy's format", () => {
  const bytes = new Uint8Array(readFileSync(new URL("sampled_idx_a.npy", FOLDER)));
  const wanted = caseOf("chain of thought");

  test("is the rule's, and another one is used and reported", () => {
    const validationIds = readIds(bytes, "ids.npy");
    const request = {
      dataSet: dataSetNamed(wanted.dataset),
      split: wanted.split,
      questions: { name: wanted.questions, text: read(wanted.questions) },
      answers: [{ name: "a", text: read(wanted.answers), named: null, gate: GATE }],
    };
    const report = rescore({ ...request, validationIds });
    expect(report).toEqual(rescore(request));
    expect(report.split.isPapers).toBe(true);
    const more = {
      ...request,
      split: "test",
      answers: [{ ...request.answers[0], name: "a", text: '[{"Generation":"x"}]', named: null, gate: GATE }],
    } as const;
    expect(rescore({ ...more, validationIds: [0, 1] }).split).toMatchObject({
      isPapers: false,
      numTest: 44,
      numExpected: 44,
    });
    expect(() => rescore({ ...request, validationIds: [0, 46] })).toThrow(
      /go up to 46, but the question file has 46 rows/,
    );
  });

  test.each([
    ["another file", new Uint8Array(20), /ids\.npy is not a NumPy file/],
    ["a cut file", bytes.subarray(0, -8), /expected 9 ids of 8 bytes, got 64 bytes/],
    ["two axes", replaced(bytes, "(9,), ", "(3,3),"), /expected one axis of int64 \('<i8'\), got \{'descr'/],
    ["another type", replaced(bytes, "<i8", "<f8"), /expected one axis of int64/],
    [
      "an id twice",
      withLast(bytes, readIds(bytes, "ids.npy").at(-2) ?? 0),
      /ids that ascend from 0, got \d+ at position 8/,
    ],
    ["ids that do not ascend", withLast(bytes, 0), /expected ids that ascend from 0, got 0 at position 8/],
  ])("refused: %s", (_, data, message) => {
    expect(() => readIds(data, "ids.npy")).toThrow(message);
  });
});

describe("data sets", () => {
  test("the paper's, with the settings of its final run", () => {
    const papers = DATA_SETS.filter(({ published }) => published !== null);
    const rows = papers.map(({ name, numRows, options, published }) => {
      const { alpha1, alpha2, beta } = published?.adaptvis ?? {};
      return [name, numRows, options.join(" "), published?.factor, alpha1, alpha2, beta].join(" | ");
    });
    expect(rows).toEqual([
      "Controlled_A | 412 | left right on under | 0.8 | 0.5 | 1.5 | 0.4",
      "Controlled_B | 408 | left right front behind | 0.8 | 0.5 | 1.5 | 0.35",
      "COCO_one | 2247 | left right top bottom | 1.2 | 0.5 | 1.2 | 0.3",
      "COCO_two | 440 | left right above below | 1.2 | 0.5 | 1.2 | 0.3",
      "VG_one | 1160 | left right front behind top bottom | 2 | 0.5 | 2 | 0.2",
      "VG_two | 291 | left right front behind above below | 2 | 0.5 | 2 | 0.2",
      "VSR | 1222 | yes no | 0.5 | 0.5 | 1.2 | 0.64",
    ]);
    expect(papers.every(({ maxNewTokens, summary }) => maxNewTokens === 100 && summary.length > 10)).toBe(true);
  });

  test("by name and by the names of the authors' code, without regard to case", () => {
    const names = [
      "controlled_images_a",
      "Controlled_Images_B",
      "COCO_QA_one_obj",
      "COCO_QA_two_obj",
      "VG_QA_one_obj",
      "VG_QA_two_obj",
      "vsr",
    ];
    expect(names.map((name) => dataSetNamed(name))).toEqual(DATA_SETS.slice(0, names.length));
    const others = ["pope", "MME", "cv-bench-2d", "CV-Bench-3D", "SpatialEval", "3DSRBench", "EmbSpatial"];
    expect([...others, "tsv", "llava", "CHAIR"].map((name) => dataSetNamed(name))).toEqual(
      DATA_SETS.slice(names.length),
    );
    expect(() => dataSetNamed("GQA")).toThrow(/unknown data set "GQA": expected one of Controlled_A,/);
  });

  test("prompts around bare questions and around whole ones", () => {
    const promptOf = (name: string, text: string) => {
      const dataSet = dataSetNamed(name);
      return dataSet.prompt({ id: 0, text, gold: "", options: [], relation: null, objects: null });
    };
    expect(promptOf("Controlled_A", "Where?")).toBe("<image>\nUSER: Where?\nASSISTANT:");
    expect(promptOf("Controlled_A", "<image>\nUSER: Where?\n\nASSISTANT:")).toBe("<image>\nUSER: Where?\n\nASSISTANT:");
    expect(promptOf("VSR", "The cat is on the mat.")).toMatch(
      /^User: <image>\n Determine .* yes or no: The cat is on the mat\. Assistant:$/,
    );
  });

  test("every rule and every name of a report is defined", () => {
    const keysOf = (name: string, split: SplitName) => {
      const questions = lines([
        { question: "Where is the a in relation to the b?", caption: "c", label: 1, answer: "Left" },
      ]);
      const { definitions } = rescoreTexts(name, split, questions, '[{"Generation": "Yes"}]');
      expect(Object.values(definitions).every((sentence) => sentence.length > 20 && sentence.endsWith("."))).toBe(true);
      return Object.keys(definitions).filter((key) => !key.startsWith("rule "));
    };
    const metrics = ["interval", "confusion", "confidence", "calibration", "byConfidence", "auroc", "familiarity"];
    const all = ["share", "individual", "majority", "bareOption", "belowBeta", "mcNemar", "difference", ...metrics];
    const groups = ["pairs", "sets", "ceiling", "rightOfComplete", "completeOfStarted"];
    expect(keysOf("COCO_two", "all").sort()).toEqual([...all].sort());
    expect(keysOf("Controlled_B", "all").sort()).toEqual([...all, ...groups].sort());
    expect(keysOf("VSR", "all").sort()).toEqual([...all, "yesNo"].sort());
    const questions = lines([{ question: "Where is the a in relation to the b?", answer: "Left" }]);
    expect(rescoreTexts("Controlled_B", "all", questions, '[{"Generation": "Yes"}]').definitions.pairs).toContain(
      "100 · (number of object pairs whose left and right questions are all right + number of object pairs whose front and behind questions are all right) / (n/2)",
    );
  });
});

describe("degenerate scores", () => {
  const scoresOf = (name: string, rows: readonly object[], texts: readonly string[]) => {
    const answers = JSON.stringify(texts.map((Generation) => ({ Generation })));
    return rescoreTexts(name, "all", lines(rows), answers).files[0]?.runs[0];
  };

  test("of equally frequent right answers the first option is the majority", () => {
    const rows = ["Under", "On", "On", "Under"].map((answer) => ({
      question: "Where is the a in relation to the b?",
      answer,
    }));
    expect(scoresOf("Controlled_A", rows, ["On", "x", "x", "x"])?.majority).toMatchObject({
      answer: "on",
      share: { count: 2, of: 4 },
    });
  });

  test("rates of yes and no without one of them, and with both 0", () => {
    const captions = (...labels: readonly number[]) => labels.map((label) => ({ caption: "c", label }));
    const yesNo = (...args: Parameters<typeof scoresOf>) => scoresOf(...args)?.rules.paper?.yesNo;
    expect(yesNo("VSR", captions(1, 1), ["Yes", "No"])).toMatchObject({
      balancedAccuracy: null,
      harmonicMeanOfRates: null,
      f1: 2 / 3,
    });
    expect(yesNo("VSR", captions(1, 0), ["No", "Yes"])).toMatchObject({
      balancedAccuracy: 0,
      harmonicMeanOfRates: null,
      f1: 0,
    });
    expect(yesNo("VSR", captions(0), ["No"])).toMatchObject({
      precision: null,
      f1: null,
      truePositiveRate: { fraction: null },
    });
  });

  test("questions asked twice about a pair of objects are right together", () => {
    const about = (answer: string, id: number) => ({
      id,
      question: "Where is the a in relation to the b?",
      answer: [answer],
    });
    const rows = ["Left", "Left", "Right", "On"].map(about);
    const pairs = (...texts: readonly string[]) => scoresOf("Controlled_A", rows, texts)?.rules.paper?.pairs;
    expect(pairs("Left", "Left", "Right", "On")).toMatchObject({
      right: { count: 1, of: 2 },
      ceiling: { count: 1, of: 2 },
      completeOfStarted: { count: 1, of: 2 },
    });
    expect(pairs("Left", "On", "Right", "On")?.right).toMatchObject({ count: 0, of: 2 });
  });

  test("objects alone in a picture form no pair", () => {
    const rows = ["Left", "Right"].map((answer) => ({ question: "Where is the dog in the photo?", answer }));
    expect(scoresOf("Controlled_A", rows, ["Left", "Right"])?.rules.paper?.pairs?.ceiling).toMatchObject({
      count: 0,
      of: 1,
    });
  });
});

const GATE = { alpha1: 0.5, alpha2: 1.5, beta: 0.4 };

function caseOf(start: string): Case {
  const found = golden.cases.find(({ name }) => name.startsWith(start));
  if (found === undefined) throw new Error(`no case ${start}`);
  return found;
}

function rescoreCase(wanted: Case, scores?: string): { readonly report: RescoreReport; readonly file: FileReport } {
  const dataSet = dataSetNamed(wanted.dataset);
  const kept = wanted.recorded === undefined ? undefined : verdictNames(wanted.answers).find(exists);
  const text = scores ?? (kept === undefined ? undefined : read(kept));
  const report = rescore({
    dataSet,
    split: wanted.split,
    questions: { name: wanted.questions, text: read(wanted.questions) },
    answers: [
      {
        name: wanted.answers,
        text: read(wanted.answers),
        ...(text !== undefined && { scores: { name: kept ?? "scores.json", text } }),
        named: null,
        gate: { ...(dataSet.published?.adaptvis ?? DEFAULT_ADAPTVIS), ...wanted.settings },
      },
    ],
  });
  const [file] = report.files;
  if (file === undefined) throw new Error("no file");
  return { report, file };
}

function rescoreTexts(
  dataset: string,
  split: SplitName,
  questions: string,
  answers: string,
  scores?: string,
): RescoreReport {
  return rescore({
    dataSet: dataSetNamed(dataset),
    split,
    questions: { name: "q.jsonl", text: questions },
    answers: [
      {
        name: "a.json",
        text: answers,
        ...(scores !== undefined && { scores: { name: "s.json", text: scores } }),
        named: null,
        gate: GATE,
      },
    ],
  });
}

function lines(rows: readonly object[]): string {
  return rows.map((row) => `${JSON.stringify(row)}\n`).join("");
}

function read(name: string): string {
  return readFileSync(new URL(name, FOLDER), "utf8");
}

function exists(name: string): boolean {
  try {
    read(name);
    return true;
  } catch {
    return false;
  }
}

function replaced(bytes: Uint8Array, from: string, to: string): Uint8Array {
  return new Uint8Array(Buffer.from(Buffer.from(bytes).toString("latin1").replace(from, to), "latin1"));
}

function withLast(bytes: Uint8Array, id: number): Uint8Array {
  const copy = bytes.slice();
  new DataView(copy.buffer).setBigInt64(copy.length - 8, BigInt(id), true);
  return copy;
}
