// Metrics of made-up results against NumPy, scipy, scikit-learn and pandas, and what they refuse.
import { describe, expect, test } from "vitest";
import {
  accuracyByConfidence,
  quantileEdges,
  selectiveAccuracy,
} from "../../src/evaluate/metrics/accuracy-by-confidence.ts";
import { auroc } from "../../src/evaluate/metrics/auroc.ts";
import { type BootstrapOptions, clusteredBootstrap, RandomIndices } from "../../src/evaluate/metrics/bootstrap.ts";
import { calibration } from "../../src/evaluate/metrics/calibration.ts";
import {
  accuracyByClass,
  binaryRates,
  confusionMatrix,
  majorityBaseline,
} from "../../src/evaluate/metrics/confusion.ts";
import { compareFamiliarity, familiarityOf, parseCorpusCounts } from "../../src/evaluate/metrics/familiarity.ts";
import { mcNemarTable } from "../../src/evaluate/metrics/mcnemar-table.ts";
import { quantile } from "../../src/evaluate/metrics/quantile.ts";
import { expectMetric, messageOf, readEvaluateGolden, versionsOf } from "./metrics-golden.ts";

interface Curve {
  readonly confidences: readonly number[];
  readonly verdicts: readonly boolean[];
}

interface Golden {
  readonly bootstrap: {
    readonly generator: readonly { readonly seed: number; readonly numbers: readonly number[] }[];
    readonly quantiles: readonly {
      readonly values: readonly number[];
      readonly share: number;
      readonly expected: number;
    }[];
    readonly cases: readonly {
      readonly values: readonly number[];
      readonly clusters: readonly (string | number)[];
      readonly options: BootstrapOptions;
      readonly expected: unknown;
    }[];
  };
  readonly mcnemar: readonly {
    readonly a: readonly boolean[];
    readonly b: readonly boolean[];
    readonly expected: unknown;
  }[];
  readonly auroc: readonly {
    readonly scores: readonly number[];
    readonly labels: readonly boolean[];
    readonly expected: unknown;
  }[];
  readonly calibration: readonly (Curve & { readonly numBins: number; readonly expected: unknown })[];
  readonly confidence: {
    readonly bins: readonly (Curve & { readonly edges: readonly number[]; readonly expected: unknown })[];
    readonly quantileBins: readonly (Curve & {
      readonly numBins: number;
      readonly edges: readonly number[];
      readonly counts: readonly number[];
    })[];
    readonly selective: readonly (Curve & { readonly expected: unknown })[];
  };
  readonly confusion: readonly {
    readonly golds: readonly string[];
    readonly answers: readonly (string | null)[];
    readonly options: readonly string[];
    readonly expected: {
      readonly counts: unknown;
      readonly accuracy: unknown;
      readonly classAccuracy: unknown;
      readonly majority: unknown;
    };
  }[];
  readonly rates: readonly {
    readonly golds: readonly boolean[];
    readonly answers: readonly (boolean | null)[];
    readonly expected: unknown;
  }[];
}

const golden = readEvaluateGolden<Golden>("metrics.json");

describe("clustered bootstrap", () => {
  test("draws the same clusters again for the same seed, and as many at once as the table holds", () => {
    const values = Array.from({ length: 40 }, (_, row) => Number(row % 3 === 0));
    const clusters = values.map((_, row) => row >> (row % 2));
    const intervalOf = (seed: number, maxTable?: number) =>
      clusteredBootstrap(values, clusters, { seed, numResamples: 99, ...(maxTable !== undefined && { maxTable }) });
    const [first, other] = [intervalOf(1), intervalOf(2)];
    expect(other).not.toEqual(first);
    expect(intervalOf(1)).toEqual(first);
    expect(intervalOf(1, 1)).toEqual(first); // one resample at once
    expect(intervalOf(2, 1000)).toEqual(other);
    expect(intervalOf(2)).toEqual(other);
  });

  test("random numbers are those of xoshiro128** seeded by SplitMix64", () => {
    // The sequence of the state 1, 2, 3, 4 is that of rand_xoshiro's tests, computed with the authors' C code.
    const random = new RandomIndices([1, 2, 3, 4]);
    const published = [11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849];
    expect(published.map(() => random.next())).toEqual(published);

    // SplitMix64's first two outputs for the seed 1234567, as published by Rosetta Code.
    const words = [6457827717110365317n, 3203168211198807973n].flatMap((word) => [word & 0xffffffffn, word >> 32n]);
    const [a = 0n, b = 0n, c = 0n, d = 0n] = words;
    const [seeded, stated] = [
      new RandomIndices(1234567),
      new RandomIndices([Number(a), Number(b), Number(c), Number(d)]),
    ];
    expect([seeded.next(), seeded.next(), seeded.next()]).toEqual([stated.next(), stated.next(), stated.next()]);

    for (const { seed, numbers } of golden.bootstrap.generator) {
      const generator = new RandomIndices(seed);
      expect(numbers.map(() => generator.next())).toEqual(numbers);
    }
  });

  test("indices are below their count", () => {
    const random = new RandomIndices(5);
    const drawn = Array.from({ length: 300 }, () => random.below(3));
    expect([...new Set(drawn)].sort()).toEqual([0, 1, 2]);
    expect(new RandomIndices(9).below(1)).toBe(0);
  });

  test(`quantiles equal numpy.quantile (${versionsOf(golden, "numpy")})`, () => {
    for (const { values, share, expected } of golden.bootstrap.quantiles) {
      expectMetric(quantile(values, share), expected, `${values} at ${share}`);
    }
  });

  test(`intervals equal those of the same resamples in Python (${versionsOf(golden, "numpy")})`, () => {
    for (const [index, { values, clusters, options, expected }] of golden.bootstrap.cases.entries()) {
      expectMetric(clusteredBootstrap(values, clusters, options), expected, `case ${index}`);
    }
  });

  test("one cluster has no spread, and no rows have no mean", () => {
    expect(clusteredBootstrap([1, 0], ["a", "a"])).toMatchObject({ mean: 0.5, lower: 0.5, upper: 0.5 });
    expect(clusteredBootstrap([], [])).toBeNull();
  });

  test("refuses lists of different lengths and options out of range", async () => {
    expect(await messageOf(() => clusteredBootstrap([1, 0], ["a"]))).toBe(
      "InputError: clusters: expected one for each of the 2 values, got 1.",
    );
    expect(await messageOf(() => clusteredBootstrap([1, Number.NaN], ["a", "b"]))).toBe(
      "InputError: values[1]: expected a finite number, got NaN.",
    );
    expect(await messageOf(() => clusteredBootstrap([Infinity], ["a"]))).toMatch(/^InputError: values\[0\]/);
    expect(clusteredBootstrap([0.5], ["a"], { numResamples: 1 })).toMatchObject({ lower: 0.5, upper: 0.5 });
    for (const options of [{ numResamples: 0 }, { numResamples: 1.5 }, { level: 1 }, { level: 0 }, { seed: -1 }]) {
      expect(await messageOf(() => clusteredBootstrap([1], ["a"], options))).toMatch(
        /^InputError: (numResamples|level|seed) must be .*, got /,
      );
    }
  });
});

test(`McNemar's cells (${versionsOf(golden, "scikit-learn")})`, async () => {
  for (const { a, b, expected } of golden.mcnemar) expect(mcNemarTable(a, b)).toEqual(expected);
  expect(await messageOf(() => mcNemarTable([true], []))).toBe(
    "InputError: The verdicts to compare: expected as many in both lists, got 1 and 0; compare the questions that both runs answered.",
  );
});

test(`AUROC equals roc_auc_score (${versionsOf(golden, "scikit-learn")})`, async () => {
  for (const { scores, labels, expected } of golden.auroc) expectMetric(auroc(scores, labels), expected, `${scores}`);
  expect(await messageOf(() => auroc([1], []))).toMatch(/^InputError: labels: expected one for each of the 1 scores/);
  expect(await messageOf(() => auroc([Infinity, 1], [true, false]))).toMatch(/^InputError: scores\[0\]: expected/);
  expect(await messageOf(() => auroc([1, Number.NaN], [true, false]))).toMatch(/^InputError: scores\[1\]: expected/);
});

describe("calibration", () => {
  test(`bins, error and Brier score (${versionsOf(golden, "scikit-learn", "pandas", "numpy")})`, () => {
    for (const { confidences, verdicts, numBins, expected } of golden.calibration) {
      expectMetric(calibration(confidences, verdicts, { numBins }), expected, `${numBins} bins`);
    }
  });

  test("a confidence on an edge lies in the bin that ends there, 0 in the first", () => {
    const { bins } = calibration([0, 0.1, 0.3, 1], [true, true, true, true]);
    expect(bins.map(({ count }) => count)).toEqual([2, 0, 1, 0, 0, 0, 0, 0, 0, 1]);
  });

  test("refuses logits, other lengths and other numbers of bins", async () => {
    expect(await messageOf(() => calibration([0.5, 24.1], [true, false]))).toBe(
      "InputError: confidences[1]: expected a probability from 0 to 1, got 24.1; calibration is undefined for logits and entropies.",
    );
    expect(await messageOf(() => calibration([-0.5], [true]))).toMatch(
      /^InputError: confidences\[0\]: expected a prob/,
    );
    expect(await messageOf(() => calibration([0.5], []))).toMatch(/^InputError: verdicts: expected one for each/);
    expect(await messageOf(() => calibration([], [], { numBins: 0 }))).toMatch(/^InputError: numBins must be/);
  });
});

describe("accuracy by confidence", () => {
  test(`bins of any scale (${versionsOf(golden, "pandas")})`, () => {
    for (const { confidences, verdicts, edges, expected } of golden.confidence.bins) {
      expectMetric(accuracyByConfidence(confidences, verdicts, { edges }), expected);
    }
  });

  test(`quantile bins equal pandas.qcut (${versionsOf(golden, "pandas")})`, () => {
    for (const { confidences, verdicts, numBins, edges, counts } of golden.confidence.quantileBins) {
      const actual = quantileEdges(confidences, numBins);
      expectMetric(actual, edges);
      const bins = accuracyByConfidence(confidences, verdicts, { edges: actual });
      expect(bins.map(({ count }) => count)).toEqual(counts);
    }
    expect(quantileEdges([], 4)).toEqual([]);
    expect(quantileEdges([0.5, 0.5], 4)).toEqual([]);
  });

  test("selective accuracy at every distinct confidence", () => {
    for (const { confidences, verdicts, expected } of golden.confidence.selective) {
      expectMetric(selectiveAccuracy(confidences, verdicts), expected);
    }
    expect(selectiveAccuracy([], [])).toEqual([]);
  });

  test("refuses edges that do not ascend and confidences outside of them", async () => {
    const bins = (edges: readonly number[]) => () => accuracyByConfidence([0.5], [true], { edges });
    for (const edges of [[0], [0, 0], [1, 0], [0, Number.NaN]]) {
      expect(await messageOf(bins(edges))).toMatch(/^InputError: edges: expected at least two ascending numbers/);
    }
    expect(await messageOf(bins([1, 1, 0]))).toMatch(/got 1, 1, 0\.$/);
    expect(await messageOf(bins([0, 0.4]))).toMatch(/expected a number from 0 to 0\.4, got 0\.5\.$/);
    expect(await messageOf(bins([0.6, 1]))).toBe(
      "InputError: confidences[0]: expected a number from 0.6 to 1, got 0.5.",
    );
    expect(await messageOf(() => quantileEdges([1], 0.5))).toMatch(/^InputError: numBins must be/);
    expect(await messageOf(() => selectiveAccuracy([Number.NaN], [true]))).toMatch(/^InputError: confidences\[0\]/);
    expect(await messageOf(() => selectiveAccuracy([1], []))).toMatch(/^InputError: verdicts/);
  });
});

describe("confusion", () => {
  test(`matrix, accuracy per class and majority (${versionsOf(golden, "scikit-learn")})`, () => {
    for (const { golds, answers, options, expected } of golden.confusion) {
      const matrix = confusionMatrix(golds, answers, { options });
      expect(matrix.counts).toEqual(expected.counts);
      expectMetric(matrix.accuracy, expected.accuracy);
      expect(matrix.numOther).toBe(answers.filter((answer) => answer === null || !options.includes(answer)).length);
      expectMetric(
        accuracyByClass(matrix).map(({ accuracy }) => accuracy),
        expected.classAccuracy,
      );
      expectMetric(majorityBaseline(matrix), expected.majority);
    }
  });

  test("refuses a gold answer that is not an option, options twice, other lengths", async () => {
    const matrix = (golds: readonly string[], options: readonly string[]) => () =>
      confusionMatrix(golds, [null], { options });
    expect(await messageOf(matrix(["up"], ["left", "right"]))).toBe(
      "InputError: golds[0]: expected one of left, right, got up.",
    );
    expect(await messageOf(matrix(["left"], ["left", "left"]))).toBe(
      "InputError: options: expected distinct options, got left, left.",
    );
    expect(await messageOf(matrix([], ["left"]))).toMatch(/^InputError: answers: expected one for each of the 0/);
  });

  test(`rates of yes/no questions (${versionsOf(golden, "scikit-learn", "scipy")})`, async () => {
    for (const [index, { golds, answers, expected }] of golden.rates.entries()) {
      expectMetric(binaryRates(golds, answers), expected, `case ${index}`);
    }
    expect(binaryRates([true, false], [true, false])).toMatchObject({ tpr: 1, tnr: 1, harmonicMean: 1 });
    expect(await messageOf(() => binaryRates([true], []))).toMatch(/^InputError: answers: expected one for each/);
  });
});

describe("familiarity", () => {
  test("left and right are familiar, in any wording", () => {
    const relations = ["left", "Right", "to the left of", "at the right side of"];
    expect(relations.map((relation) => familiarityOf(relation))).toEqual(relations.map(() => "familiar"));
    const others = ["on", "under", "in front of", "behind", "above", "top", "upright beside", "leftover of"];
    expect(others.map((relation) => familiarityOf(relation))).toEqual(others.map(() => "unfamiliar"));
  });

  test("corpus counts decide where they are given", async () => {
    const corpus = parseCorpusCounts('{"left": 10, "on": 500, "under": 20}', { file: "counts.json" });
    expect(corpus.minCount).toBe(500);
    expect(["left", "on", "under"].map((relation) => familiarityOf(relation, corpus))).toEqual([
      "unfamiliar",
      "familiar",
      "unfamiliar",
    ]);
    expect(familiarityOf("under", parseCorpusCounts('{"under": 20}', { file: "counts.json", minCount: 20 }))).toBe(
      "familiar",
    );
    expect(parseCorpusCounts('{"a": 1, "b": 2, "c": 3, "d": 4}', { file: "c" }).minCount).toBe(3);
    expect(parseCorpusCounts('{"a": 7}', { file: "c" }).minCount).toBe(7);
    expect(parseCorpusCounts('{"a": 0}', { file: "c" }).minCount).toBe(0);
    expect(await messageOf(() => familiarityOf("behind", corpus))).toBe(
      'InputError: The corpus counts lack the relation "behind", they have left, on, under: add its count.',
    );
  });

  test("refuses counts that are no counts", async () => {
    const message = (text: string) => messageOf(() => parseCorpusCounts(text, { file: "counts.json" }));
    expect(await message("left 10")).toMatch(/^InputError: counts.json: expected a JSON object .* not JSON\.$/);
    expect(await message("[1]")).toMatch(/got other JSON\.$/);
    expect(await message("{}")).toMatch(/got an empty one\.$/);
    expect(await message('{"on": -1}')).toBe("InputError: counts.json: on must be a number of at least 0, got -1.");
    expect(await message('{"on": "9"}')).toMatch(/on must be a number of at least 0, got "9"\.$/);
  });

  test("accuracy and confidence of both classes", () => {
    const groups = compareFamiliarity([
      { relation: "left", isRight: true, confidence: 0.9 },
      { relation: "right", isRight: false, confidence: null },
      { relation: "left", isRight: true, confidence: 0.7 },
      { relation: "under", isRight: false, confidence: null },
    ]);
    expectMetric(groups.familiar, {
      relations: ["left", "right"],
      count: 3,
      numRight: 2,
      accuracy: 2 / 3,
      meanConfidence: 0.8,
    });
    expectMetric(groups.unfamiliar, { relations: ["under"], count: 1, numRight: 0, accuracy: 0, meanConfidence: null });
    expect(compareFamiliarity([]).familiar.accuracy).toBeNull();
  });
});
