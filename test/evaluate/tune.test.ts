// Tuning over stored sweeps: the exact search against a naive one, examples that can be derived by hand, recorded file forms, and
// what cannot be tuned.
import { describe, expect, test } from "vitest";
import { InputError } from "../../src/errors.ts";
import { readQuestions } from "../../src/evaluate/datasets/question-files.ts";
import { dataSetNamed } from "../../src/evaluate/datasets/registry.ts";
import { halfOf, type SplitName } from "../../src/evaluate/rescore.ts";
import { type TuneRequest, tuneSweep } from "../../src/evaluate/tune.ts";
import { crossValidate, spreadOf } from "../../src/evaluate/tuning/cross-validation.ts";
import { formatGains } from "../../src/evaluate/tuning/format-gain.ts";
import { chooseAdaptVis, chooseScaling, type FactorPair, pairsOf } from "../../src/evaluate/tuning/search.ts";
import { partOf, readSweepRows, type SweepRows } from "../../src/evaluate/tuning/sweep-rows.ts";
import type { Answer } from "../../src/evaluate/verdicts.ts";
import { chooseFactor } from "../../src/interventions/adaptvis.ts";

const dataSet = dataSetNamed("Controlled_A");
const FACTORS = [0.5, 0.8, 1, 1.2, 1.5, 2];

/** Park and Miller's generator: the tests' own random numbers, 0 to 1. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

/** Every pair with every threshold: 0, 1, every confidence, and values just above and between. */
function naiveSearch(
  verdicts: ReadonlyMap<number, readonly boolean[]>,
  confidences: readonly number[],
  pairs: readonly FactorPair[],
) {
  const values = [0, 1, ...confidences];
  const betas = new Set(values.flatMap((a) => [a, a + 1e-9, ...values.map((b) => (a + b) / 2)]).filter((b) => b <= 1));
  const results = pairs.flatMap(([alpha1, alpha2]) =>
    [...betas].map((beta) => {
      const settings = { alpha1, alpha2, beta };
      const count = confidences.filter((confidence, row) => verdicts.get(chooseFactor(confidence, settings))?.[row]);
      return { ...settings, count: count.length };
    }),
  );
  const most = Math.max(...results.map(({ count }) => count));
  return { most, results };
}

describe("the exact search", () => {
  const forms: readonly (readonly [string, (random: () => number) => number])[] = [
    ["rounded confidences with ties", (random) => Math.round(random() * 20) / 20],
    ["exact confidences", (random) => random()],
    ["equal confidences", () => 0.7],
    ["confidences of 1 and a little above", (random) => (random() < 0.5 ? 1 : 1 + 1e-7)],
    ["confidences of 0 and 1", (random) => Math.round(random())],
  ];
  test.each(forms)("finds what a naive one finds: %s", (_, draw) => {
    for (let seed = 1; seed <= 12; seed++) {
      const random = randomFrom(seed * 7919);
      const n = 1 + Math.floor(random() * 25);
      const confidences = Array.from({ length: n }, () => draw(random));
      const verdicts = new Map(FACTORS.map((factor) => [factor, confidences.map(() => random() < 0.6)]));
      const pairs = pairsOf(FACTORS, seed % 2 === 0);
      const found = chooseAdaptVis(verdicts, confidences, { pairs });
      const { most, results } = naiveSearch(verdicts, confidences, pairs);
      expect(found.right).toMatchObject({ count: most, of: n });
      // The ranges hold exactly the settings that are as good.
      for (const { alpha1, alpha2, beta, count } of results) {
        const isInside = found.ties.some(
          (tie) =>
            tie.alpha1 === alpha1 &&
            tie.alpha2 === alpha2 &&
            (tie.above === null || beta > tie.above) &&
            beta <= tie.upTo,
        );
        expect({ alpha1, alpha2, beta, isBest: count === most }).toEqual({ alpha1, alpha2, beta, isBest: isInside });
      }
      // The choice is in the widest of them, and none of its neighbours is nearer the middle.
      const { beta, plateau, below } = found;
      const widthOf = (tie: typeof plateau) => tie.upTo - (tie.above ?? 0);
      expect(Math.max(...found.ties.map(widthOf)) - widthOf(plateau)).toBeLessThan(1e-9);
      expect(found.ties).toContain(plateau);
      expect(beta).toBeLessThanOrEqual(plateau.upTo);
      expect(below.count).toBe(confidences.filter((confidence) => confidence < beta).length);
    }
  });

  // Right at 0.5: a, b. Right at 1.5: c, d. Right at 2: b, c, d. Confidences: a 0.2, b 0.4, c 0.6, d 0.6.
  const verdicts = new Map([
    [0.5, [true, true, false, false]],
    [1, [false, true, true, false]],
    [1.5, [false, false, true, true]],
    [2, [false, true, true, true]],
  ]);
  const confidences = [0.2, 0.4, 0.6, 0.6];

  test("takes the widest range, and in it the beta nearest its middle", () => {
    const found = chooseAdaptVis(verdicts, confidences, { pairs: pairsOf([0.5, 1, 1.5, 2]) });
    // With 0.5/1.5, beta must pass b and not c; with 0.5/2, it need only pass a, which leaves (0.2, 0.6].
    expect(found).toEqual({
      alpha1: 0.5,
      alpha2: 2,
      beta: 0.3,
      right: { count: 4, of: 4, fraction: 1, percent: 100 },
      below: { count: 1, of: 4, fraction: 0.25, percent: 25 },
      plateau: { alpha1: 0.5, alpha2: 2, above: 0.2, upTo: 0.6, numBetas: 2 },
      ties: [
        { alpha1: 0.5, alpha2: 1.5, above: 0.4, upTo: 0.6, numBetas: 1 },
        { alpha1: 0.5, alpha2: 2, above: 0.2, upTo: 0.6, numBetas: 2 },
      ],
      numPairs: 2,
      numBetas: 4, // 0.1, 0.3, 0.5 and 0.8
    });
  });

  test("of equally wide ranges takes the factors nearest 1, whatever their order", () => {
    const same = [true, false];
    const all = new Map([0.5, 2, 0.8, 1.25].map((factor) => [factor, same]));
    const pairs: readonly FactorPair[] = [
      [0.5, 2],
      [0.8, 2],
      [0.5, 1.25],
      [0.8, 1.25],
    ];
    for (const order of [pairs, [...pairs].reverse()]) {
      const { alpha1, alpha2, beta, ties } = chooseAdaptVis(all, [0.3, 0.5], { pairs: order });
      expect({ alpha1, alpha2, beta }).toEqual({ alpha1: 0.8, alpha2: 1.25, beta: 0.4 });
      expect(ties.map((tie) => `${tie.alpha1}/${tie.alpha2}`)).toEqual(["0.8/1.25", "0.5/1.25", "0.8/2", "0.5/2"]);
    }
  });

  test("separates confidences between which there is no f64", () => {
    const lower = 0.5;
    const upper = 0.5 + 2 ** -53;
    const found = chooseAdaptVis(
      new Map([
        [0.5, [true, false]],
        [2, [false, true]],
      ]),
      [lower, upper],
      { pairs: [[0.5, 2]] },
    );
    expect(found).toMatchObject({ beta: upper, right: { count: 2 }, below: { count: 1 } });
  });

  test("of ScalingVis takes the factor nearest 1, which may be 1", () => {
    expect(chooseScaling(verdicts)).toMatchObject({ factor: 2, right: { count: 3, of: 4 }, ties: [2] });
    const tie = (factors: readonly number[]) => chooseScaling(new Map(factors.map((factor) => [factor, [true]])));
    expect(tie([2, 0.5, 1.2])).toMatchObject({ factor: 1.2, ties: [0.5, 1.2, 2] });
    expect(tie([2, 0.5]).factor).toBe(0.5);
    expect(tie([0.8, 1, 1.2]).factor).toBe(1);
    expect(tie([0, 2]).factor).toBe(2);
    expect(() => tie([])).toThrow(InputError);
  });

  test("searches factors below and above 1, and 1 only on request", () => {
    expect(pairsOf([0.5, 1, 1.5])).toEqual([[0.5, 1.5]]);
    expect(pairsOf([0.5, 1, 1.5], true)).toEqual([
      [0.5, 1],
      [0.5, 1.5],
      [1, 1.5],
    ]);
    expect(() => chooseAdaptVis(verdicts, confidences, { pairs: [] })).toThrow(/nothing to search/);
    expect(() => chooseAdaptVis(verdicts, confidences, { pairs: [[0.1, 2]] })).toThrow(/no factor 0\.1/);
  });
});

describe("the gain's format", () => {
  const questions = questionsOf(["On", "On", "Left", "Left", "Under", "Right"]);
  const answer = (text: string, best: string): Answer => ({
    text,
    firstToken: null,
    wholeString: new Map(["left", "right", "on", "under"].map((option) => [option, option === best ? -1 : -2])),
  });
  const gains = formatGains(
    [
      answer("Left", "left"), // 0
      answer("Under", "under"), // 1
      answer("Left", "left"), // 2
      answer("Left", "left"), // 3
      answer("Mug", "under"), // 4
      answer("Right", "left"), // 5
    ],
    [
      answer("The mug is on the table", "on"), // fixed
      answer("Under, or on", "under"), // format fixed: names a second option
      answer("Right", "right"), // broken
      answer("Left or right", "left"), // counts in both: unseen by the only option
      answer("It is under the table", "under"), // fixed in the text, format fixed by the whole option
      answer("Right", "right"), // unseen, fixed by the whole option
    ],
    { questions, dataSet },
  );
  const none = { broken: 1, formatBroken: 0, unseenFixed: 0, unseenBroken: 0 };

  test.each([
    ["onlyOption", { ...none, fixed: 2, formatFixed: 1, unseenBroken: 1 }],
    ["firstOption", { ...none, fixed: 2, formatFixed: 1 }],
    ["wholeString", { ...none, fixed: 1, formatFixed: 2, unseenFixed: 1 }],
  ])("by %s", (reading, counts) => {
    expect(gains.find((each) => each.reading === reading)).toEqual({ reading, n: 6, gain: 2, ...counts });
  });

  test("is read as far as the answers allow", () => {
    const bare = { text: "On", firstToken: null, wholeString: null };
    const readings = formatGains([bare, null], [bare, bare], { questions: questions.slice(0, 2), dataSet });
    expect(readings.map(({ reading, n, gain }) => [reading, n, gain])).toEqual([
      ["onlyOption", 1, 0],
      ["firstOption", 1, 0],
    ]);
    expect(formatGains([{ ...bare, text: null }], [bare], { questions: questions.slice(0, 1), dataSet })).toEqual([]);
  });
});

describe("cross-validation", () => {
  // Clusters of 1, 2, 4, 8 and 16 questions in 5 folds: the size of a fold says which cluster it is.
  const sizes = [1, 2, 4, 8, 16];
  const clusters = sizes.flatMap((size) => Array.from({ length: size }, () => `cluster of ${size}`));
  const random = randomFrom(5);
  const verdicts = new Map(FACTORS.map((factor) => [factor, clusters.map(() => random() < 0.5 + factor / 10)]));
  const confidences = clusters.map(() => Math.round(random() * 10) / 10);
  const rows = { verdicts, confidences, pairs: pairsOf(FACTORS), clusters };
  const result = crossValidate(rows, { numFolds: 5, numRepeats: 3, seed: 4 });

  test("holds out whole clusters, each once per division, and tunes on the others", () => {
    expect(result).toMatchObject({ numQuestions: 31, numClusters: 5 });
    for (const seed of [4, 5, 6]) {
      const own = result.folds.filter((fold) => fold.seed === seed);
      expect(own.map(({ n }) => n).sort((a, b) => a - b)).toEqual(sizes);
    }
    for (const { n, greedy, scaling, adaptvis, factor, settings } of result.folds) {
      const isHeldOut = clusters.map((cluster) => cluster === `cluster of ${n}`);
      const others = <T>(values: readonly T[]) => values.filter((_, row) => isHeldOut[row] === false);
      const tuning = new Map([...verdicts].map(([own, rights]) => [own, others(rights)]));
      expect(factor).toBe(chooseScaling(tuning).factor);
      const { alpha1, alpha2, beta } = chooseAdaptVis(tuning, others(confidences), { pairs: rows.pairs });
      expect(settings).toEqual({ alpha1, alpha2, beta });
      const rightAt = (own: number) => verdicts.get(own)?.filter((isRight, row) => isRight && isHeldOut[row]).length;
      expect([greedy, scaling]).toEqual([rightAt(1), rightAt(factor)]);
      const gated = confidences.filter(
        (confidence, row) => isHeldOut[row] && verdicts.get(confidence < beta ? alpha1 : alpha2)?.[row],
      );
      expect(adaptvis).toBe(gated.length);
    }
  });

  test("sums the folds up", () => {
    const { folds, scaling, greedy, adaptvis } = result;
    expect(greedy.accuracy).toEqual(spreadOf(folds.map((fold) => fold.greedy / fold.n)));
    expect(scaling.gain).toEqual(spreadOf(folds.map((fold) => (fold.scaling - fold.greedy) / fold.n)));
    const pooled = [4, 5, 6].map((seed) =>
      folds.filter((fold) => fold.seed === seed).reduce((sum, fold) => sum + fold.scaling / 31, 0),
    );
    expect(scaling.pooled.mean).toBeCloseTo(spreadOf(pooled).mean, 12);
    for (const { chosen } of [scaling, adaptvis ?? scaling]) {
      expect(chosen.reduce((sum, { count }) => sum + count, 0)).toBe(15);
    }
    expect(spreadOf([1, 2, 6])).toEqual({ mean: 3, deviation: Math.sqrt(7) });
    expect(spreadOf([1])).toEqual({ mean: 1, deviation: null });
  });

  test("has the same folds for the same seed, and other ones for another", () => {
    const again = (seed: number) => crossValidate(rows, { numFolds: 5, numRepeats: 1, seed }).folds.map(({ n }) => n);
    expect(again(4)).toEqual(again(4));
    expect(new Set([4, 5, 6, 7].map((seed) => again(seed).join())).size).toBeGreaterThan(1);
  });

  test("without confidences tunes ScalingVis alone", () => {
    expect(crossValidate({ ...rows, confidences: null }, { numFolds: 2, numRepeats: 1, seed: 0 }).adaptvis).toBeNull();
  });

  test.each([
    [{ numFolds: 6 }, /as many clusters of questions as folds, got 5 and 6/],
    [{ numFolds: 1 }, /numFolds must be a whole number of at least 2, got 1/],
    [{ numRepeats: 0 }, /numRepeats must be/],
    [{ seed: 0.5 }, /seed must be/],
  ])("%j is refused", (options, message) => {
    expect(() => crossValidate(rows, { numFolds: 5, numRepeats: 1, seed: 0, ...options })).toThrow(message);
  });
});

/** Ten questions; CPython's random.sample(range(10), 2) with seed 1 gives 1 and 2: the validation half. */
const GOLDS = ["Left", "On", "Under", "Right", "Left", "On", "Under", "Right", "Left", "On"];
const QUESTIONS = questionsOf(GOLDS);
/** By question: texts of factors 1, 0.5 and 2, and the confidence. */
const ROWS: readonly (readonly [string, string, string, number])[] = [
  ["Left", "Left", "Left", 0.9],
  ["Left", "On", "Right", 0.32], // validation: right at 0.5
  ["Left", "Right", "Under", 0.6], // validation: right at 2
  ["Right", "On", "Right", 0.8],
  ["Left", "On", "Left", 0.7],
  ["Left", "The mug is on the left", "Under", 0.3], // at 0.5, right by the paper's rule only
  ["Under", "On", "Under", 0.46],
  ["On", "Right", "Right", 0.456], // below a beta of 0.46 only unrounded
  ["Left", "Left", "Left", 0.4],
  ["On", "Left", "Left", 0.2],
];

describe("a sweep", () => {
  const halves = { validation: recorded("validation"), test: recorded("test") };
  const folds = { numFolds: 2, numRepeats: 1 };
  const report = tune({});

  test("is tuned on the validation half", () => {
    expect(report).toMatchObject({
      dataSet: "Controlled_A",
      factors: [0.5, 1, 2],
      pairs: [[0.5, 2]],
      settings: null,
      validation: { n: 2, numQuestions: 2 },
      test: { n: 8, numQuestions: 8 },
      scaling: { factor: 0.5, right: { count: 1, of: 2 }, ties: [0.5, 2] },
      adaptvis: {
        ...{ alpha1: 0.5, alpha2: 2, beta: 0.46 },
        right: { count: 2, of: 2 },
        plateau: { above: 0.32, upTo: 0.6, numBetas: 1 },
      },
      adaptvisReason: null,
      testReason: null,
    });
  });

  test("is reported on the test half, beside the published settings and the oracle", () => {
    const found = report.onTest.map(({ method, origin, settings, rules, reason }) => [
      ...[method, origin, settings && Object.values(settings).join("/")],
      ...[rules.paper?.right.count ?? null, rules.exactlyOne?.right.count ?? null, reason],
    ]);
    // Below 0.46 after rounding: questions 5 (0.3), 8 (0.4) and 9 (0.2), which take 0.5.
    expect(found).toEqual([
      ["greedy", "unmodified", null, 6, 6, null],
      ["scaling", "tuned", "0.5", 4, 3, null],
      ["adaptvis", "tuned", "0.5/2/0.46", 7, 6, null],
      ["scaling", "published", "0.8", null, null, "the sweep has no factor 0.8"],
      ["adaptvis", "published", "0.5/1.5/0.4", null, null, "the sweep has no factor 1.5"],
      ["scaling", "oracle", "1", 6, 6, null],
      ["adaptvis", "oracle", "0.5/2/0.35", 7, 6, null],
    ]);
    const [greedy, , gated, published] = report.onTest;
    expect(gated).toMatchObject({
      below: { count: 3, of: 8 },
      bareOption: { count: 7, of: 8 },
      rules: {
        paper: {
          interval: { mean: 7 / 8, numRows: 8, numClusters: 8 },
          againstGreedy: { n: 8, both: 5, onlyA: 1, onlyB: 2, neither: 0, p: 1, difference: { mean: 1 / 8 } },
        },
        firstToken: null,
        wholeString: null,
      },
    });
    // 5: a sentence that names two options. 7: another option. 9: the right option is lost.
    const counts = { n: 8, gain: 1, broken: 1, formatBroken: 0, unseenFixed: 0, unseenBroken: 0 };
    expect(gated?.format).toEqual([
      { reading: "onlyOption", ...counts, fixed: 1, formatFixed: 1 },
      { reading: "firstOption", ...counts, fixed: 2, formatFixed: 0 },
    ]);
    expect(greedy).toMatchObject({ below: null, format: [], rules: { paper: { againstGreedy: null } } });
    expect(published).toMatchObject({ format: [], bareOption: null });
    expect(report.onValidation.map(({ origin }) => origin)).not.toContain("oracle");
  });

  test("has the accuracy of every factor on both halves", () => {
    const right = report.curve.map(({ factor, validation, test: ofTest }) => [
      factor,
      validation?.paper?.count,
      ofTest?.paper?.count,
      ofTest?.exactlyOne?.count,
      ofTest?.wholeString,
    ]);
    expect(right).toEqual([
      [0.5, 1, 4, 3, null],
      [1, 0, 6, 6, null],
      [2, 1, 6, 6, null],
    ]);
    expect(report.crossValidation).toMatchObject({ numFolds: 2, numRepeats: 1, numQuestions: 10, numClusters: 10 });
    expect(Object.keys(report.definitions)).toContain("oracle");
  });

  test("under another rule, unrounded, and with the unmodified answer as a side", () => {
    expect(tune({ rule: "exactlyOne" }).adaptvis).toMatchObject({ right: { count: 2 } });
    expect(tune({ withOne: true }).pairs).toEqual([
      [0.5, 1],
      [0.5, 2],
      [1, 2],
    ]);
    expect(() => tune({ rule: "wholeString" })).toThrow(
      /sweep_False\.json has nothing to tune on: of 2 questions, 0 lack .* 2 cannot be judged by the rule wholeString/,
    );
    const only = tune({ confidence: "unrounded" });
    expect(only).toMatchObject({ adaptvis: null, adaptvisReason: "sweep_False.json has only rounded confidences" });
    expect(only.onTest.find(({ method }) => method === "adaptvis")).toMatchObject({
      reason: "sweep_False.json has only rounded confidences",
    });
    const exact = { validation: samples("validation"), test: samples("test") };
    expect(tune({ ...exact, confidence: "unrounded" }).onTest[2]).toMatchObject({ below: { count: 4 } });
    expect(tune(exact).onTest).toEqual(report.onTest);
  });

  test.each(["Generation", "Generation_map", "entries"] as const)("is read from %s", (form) => {
    const own = { validation: recorded("validation", form), test: recorded("test", form) };
    const { notes, ...found } = tune(own);
    const { notes: _, ...wanted } = report;
    expect(found).toEqual(wanted);
    expect(notes).toEqual(
      form === "Generation_map"
        ? ["sweep_False.json", "sweep_True.json"].map(
            (file) => `${file}: Answers that are not part of the sweep, left out: gated.`,
          )
        : [],
    );
  });

  test("without confidences is searched for ScalingVis alone, and rows without one are left out and counted", () => {
    const without = (rows: SweepRows, ids: readonly number[]): SweepRows => ({
      ...rows,
      rounded: rows.rounded.map((value, place) => (ids.includes(rows.questions[place]?.id ?? -1) ? null : value)),
    });
    const none = tune({ validation: without(halves.validation, [1, 2]) });
    expect(none).toMatchObject({
      scaling: { right: { of: 2 } },
      adaptvis: null,
      adaptvisReason: "sweep_False.json has no confidence of the first token in the unmodified pass",
      crossValidation: { adaptvis: null },
    });
    const some = tune({ test: without(halves.test, [5, 9]) });
    expect(some.test).toMatchObject({ n: 6, leftOut: { unanswered: [], withoutConfidence: [5, 9] } });
    expect(some.onTest[0]?.rules.paper?.right).toMatchObject({ count: 5, of: 6 });
    expect(some.notes).toEqual(["sweep_True.json, test half: Questions without a confidence, left out: 2."]);
  });

  test("leaves out questions that were not asked under every factor, and factors of one half only", () => {
    const short = samples("test", { isLeftOut: (id, method) => id === 3 && method !== "greedy" });
    const other = samples("validation", { factors: [0.5, 1, 2, 3] });
    const found = tune({ test: short, validation: other });
    expect(found.test).toMatchObject({ n: 7, leftOut: { unanswered: [3] } });
    expect(found.factors).toEqual([0.5, 1, 2]);
    expect(found.notes).toContain("validation.jsonl: Factors that the other half lacks, left out: 3.");
    expect(found.notes).toContain(
      "test.jsonl, test half: Questions without an answer under every factor, left out: 1.",
    );
  });

  test("with one half is only tuned, or only divided into folds", () => {
    expect(tune({ test: null })).toMatchObject({
      test: null,
      testReason: expect.stringMatching(/Only the validation half is there/),
      scaling: { factor: 0.5 },
      onTest: [],
      crossValidation: { numQuestions: 2 },
    });
    expect(tune({ validation: null })).toMatchObject({
      testReason: expect.stringMatching(/Only the test half is there/),
      scaling: null,
      adaptvis: null,
      onTest: [],
      crossValidation: { numQuestions: 8 },
    });
    expect(() => tune({ validation: null, test: null })).toThrow(/Nothing to tune/);
  });

  test("of other settings than the other half is refused", () => {
    const layers = samples("test", { settings: ":layers=0-3" });
    expect(() => tune({ validation: samples("validation"), test: layers })).toThrow(
      /validation\.jsonl and test\.jsonl were answered with different settings, \{\} and \{"layers":"0-3"\}/,
    );
  });

  test("that is none is refused with what is missing", () => {
    const read = (rows: readonly object[]) => rowsOf("x.jsonl", { text: lines(rows), split: "all" });
    const sample = (method: string, text = "Left") => ({ doc_id: 0, method, filtered_resps: [text] });
    expect(() => read([sample("greedy"), sample("pai")])).toThrow(
      /x\.jsonl is not a sweep over factors, it has greedy, pai: give a run of "adaptvis eval --method greedy --factors/,
    );
    expect(() => read([sample("scaling:factor=0.5"), sample("scaling:factor=2")])).toThrow(
      /x\.jsonl has no answers of the unmodified pass \(greedy, factor 1\), only factors 0\.5, 2: .* add --method greedy/,
    );
    expect(() => read([sample("greedy", ""), sample("scaling:factor=2")])).toThrow(
      /has only empty answers of the unmod/,
    );
    expect(() => read([sample("greedy"), sample("scaling:factor=2"), sample("scaling:factor=0.5:layers=0-3")])).toThrow(
      /scaling:factor=2 and scaling:factor=0\.5:layers=0-3 differ in more than the factor/,
    );
    const plain = JSON.stringify([{ Generation: "Left" }]);
    expect(() => rowsOf("x.json", { text: plain, split: "all" })).toThrow(
      /x\.json is not a sweep over factors, it has answer/,
    );
    const kept = read([
      sample("greedy"),
      sample("scaling:factor=1"),
      sample("scaling"),
      sample("scaling:factor=2", " "),
    ]);
    expect(kept.arms.map(({ name }) => name)).toEqual(["greedy"]);
    expect(kept.notes).toEqual([
      "Answers that are not part of the sweep, left out: scaling, scaling:factor=1.",
      "Factors whose answers are all empty, left out: 2.",
    ]);
    expect(() => tune({ validation: kept })).toThrow(/expected answers under factors besides 1 in both halves, got 1/);
  });

  test("has its settings from the run's manifest where it is given", () => {
    const text = lines([
      ...["a", "b", "c"].map((method) => ({ doc_id: 0, method, filtered_resps: ["Left"], confidence: 0.5 })),
    ]);
    const methods = {
      a: { method: "greedy" },
      b: { method: "scaling", factor: 0.5, rows: "last" },
      c: { method: "adaptvis", alpha1: 0.5 },
    };
    const { arms, settings } = rowsOf("run", { text, split: "all", methods });
    expect(arms.map(({ name, factor }) => [name, factor])).toEqual([
      ["b", 0.5],
      ["a", 1],
    ]);
    expect(settings).toEqual({ rows: "last" });
  });

  function tune(request: Partial<TuneRequest>) {
    return tuneSweep({ dataSet, ...halves, crossValidation: folds, ...request });
  }
});

function questionsOf(golds: readonly string[]) {
  const rows = golds.map((gold, id) => ({
    id,
    question: `Where is the cup in relation to box ${id}? Answer with left, right, on or under.`,
    answer: [gold],
  }));
  return readQuestions(lines(rows), "q", dataSet);
}

/** A half of ROWS as the authors' code and its forks write sweeps: confidences are rounded. */
function recorded(
  split: "validation" | "test",
  form: "Generation" | "Generation_map" | "entries" = "Generation",
): SweepRows {
  const { ids } = halfOf({ dataSet, questions: QUESTIONS, split });
  const entry = (text: string | undefined) => (form === "entries" ? { Generation: text } : text);
  const rows = ids.map((id) => {
    const [greedy, wide, sharp, confidence = 0] = ROWS[id] ?? [];
    const map = { "1.0": entry(greedy), "0.5": entry(wide), "2.0": entry(sharp) };
    const rest = { Golden: GOLDS[id], uncertainty: Math.round(confidence * 100) / 100 };
    return form === "Generation_map"
      ? { ...rest, Generation: wide, Generation_map: map }
      : { ...rest, Generation: map };
  });
  return rowsOf(`sweep_${split === "test" ? "True" : "False"}.json`, { text: JSON.stringify(rows), split });
}

/** A half of ROWS as `adaptvis eval` writes them: confidences are exact. */
function samples(
  split: "validation" | "test",
  of: {
    readonly factors?: readonly number[];
    readonly settings?: string;
    readonly isLeftOut?: (id: number, method: string) => boolean;
  } = {},
): SweepRows {
  const { factors = [0.5, 1, 2], settings = "", isLeftOut = () => false } = of;
  const { ids } = halfOf({ dataSet, questions: QUESTIONS, split });
  const rows = ids.flatMap((id) =>
    factors.flatMap((factor) => {
      const [greedy = "", wide = "", sharp = "", confidence] = ROWS[id] ?? [];
      const method = factor === 1 ? "greedy" : `scaling:factor=${factor}${settings}`;
      const text = factor === 1 ? greedy : factor < 1 ? wide : sharp;
      return isLeftOut(id, method)
        ? []
        : [{ doc_id: id, method, target: GOLDS[id], filtered_resps: [text], confidence }];
    }),
  );
  const read = rowsOf(`${split}.jsonl`, { text: lines(rows), split: "all" });
  return partOf(read, ({ id }) => ids.includes(id));
}

function rowsOf(
  name: string,
  of: {
    readonly text: string;
    readonly split: SplitName;
    readonly methods?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  },
): SweepRows {
  const { text, split, ...methods } = of;
  const half = halfOf({ dataSet, questions: QUESTIONS, split });
  return readSweepRows({ name, text }, { dataSet, questions: QUESTIONS, half, ...methods });
}

function lines(rows: readonly object[]): string {
  return rows.map((row) => `${JSON.stringify(row)}\n`).join("");
}
