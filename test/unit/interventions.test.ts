// Interventions without a GPU: settings, gates, rows and columns, and the edits that come out.
import { describe, expect, test } from "vitest";
import { adaptvis, chooseFactor, DEFAULT_ADAPTVIS } from "../../src/interventions/adaptvis.ts";
import { confidenceOf, optionConfidence, roundConfidence } from "../../src/interventions/confidence.ts";
import { constantAdd } from "../../src/interventions/constant-add.ts";
import {
  columnsOf,
  type EditContext,
  packedEdit,
  readConfidence,
  rowsOf,
} from "../../src/interventions/intervention.ts";
import { knockOut } from "../../src/interventions/knock-out.ts";
import { pai } from "../../src/interventions/pai.ts";
import { settingsFrom } from "../../src/interventions/parameters.ts";
import { INTERVENTIONS, interventionNamed, titleOf } from "../../src/interventions/registry.ts";
import { scaling } from "../../src/interventions/scaling.ts";

const CONTEXT: EditContext = {
  numLayers: 2,
  numHeads: 3,
  promptLength: 12,
  imageRuns: [
    [2, 5],
    [7, 9],
  ],
};
const MODEL = { ...CONTEXT, method: "test" };

describe("confidence", () => {
  // numpy 2.4.6: [float(np.round(x, 2)) for x in these]
  test.each([
    [0.005, 0.0],
    [0.015, 0.02],
    [0.025, 0.02],
    [0.035, 0.04],
    [0.125, 0.12],
    [0.135, 0.14],
    [0.375, 0.38],
    [0.4, 0.4],
    [0.404999, 0.4],
    [0.395001, 0.4],
    [0.99999, 1.0],
    [1, 1],
    [0, 0],
  ])("%d is rounded to %d", (value, expected) => {
    expect(roundConfidence(value)).toBe(expected);
  });

  const logits = [Math.log(5), Math.log(3), Math.log(2)]; // probabilities 0.5, 0.3, 0.2

  test("largest probability, margin, and entropy as a share of the largest", () => {
    expect(confidenceOf(logits, "probability")).toBeCloseTo(0.5, 12);
    expect(confidenceOf(logits, "margin")).toBeCloseTo(0.2, 12);
    const entropy = -(0.5 * Math.log(0.5) + 0.3 * Math.log(0.3) + 0.2 * Math.log(0.2)) / Math.log(3);
    expect(confidenceOf(logits, "entropy")).toBeCloseTo(entropy, 12);
  });

  test("extremes", () => {
    expect(confidenceOf([4, 4, 4, 4], "entropy")).toBeCloseTo(1, 12);
    expect(confidenceOf([4, 4], "margin")).toBeCloseTo(0, 12);
    expect(confidenceOf([4], "margin")).toBe(1);
    expect(confidenceOf([4], "entropy")).toBe(0);
    expect(confidenceOf([1000, 0, Number.NEGATIVE_INFINITY], "entropy")).toBeCloseTo(0, 12);
  });

  test("among options only their logits count", () => {
    expect(optionConfidence([9, ...logits], [1, 2])).toBeCloseTo(5 / 8, 12);
    expect(optionConfidence(logits, [2])).toBe(1);
    expect(optionConfidence([1e4, -1e4], [0, 1])).toBe(1);
  });
});

describe("AdaptVis' gate", () => {
  const settings = { alpha1: 0.5, alpha2: 1.5, beta: 0.4 };

  test("below beta the model is unsure, from beta on it is sure; entropy is the other way round", () => {
    expect(DEFAULT_ADAPTVIS).toEqual(settings);
    expect([0.39, 0.4, 1].map((confidence) => chooseFactor(confidence, settings))).toEqual([0.5, 1.5, 1.5]);
    expect([0.39, 0.4].map((confidence) => chooseFactor(confidence, settings, "margin"))).toEqual([0.5, 1.5]);
    expect([0.39, 0.4, 0.41].map((confidence) => chooseFactor(confidence, settings, "entropy"))).toEqual([
      1.5, 1.5, 0.5,
    ]);
  });

  test("reads the measure that it compares, and edits with the factor that comes out", () => {
    const values = settingsFrom(adaptvis.parameters, { gate: "entropy", alpha1: 0.25, layers: [1] }, MODEL);
    expect(adaptvis.reads?.(values)).toBe("entropy");
    const edits = adaptvis.edits(values, CONTEXT, { confidence: 0.9 });
    expect(edits.factor).toBe(0.25);
    expect(edits.scores).toEqual([
      {
        operation: "multiply",
        strength: 0.25,
        layers: [1],
        heads: undefined,
        columns: CONTEXT.imageRuns,
        rows: [11, 12],
      },
    ]);
    expect(() => adaptvis.edits(values, CONTEXT, { confidence: undefined })).toThrow(RangeError);
    expect(readConfidence({ confidence: 0 })).toBe(0);
  });
});

describe("settings", () => {
  test("defaults are filled in", () => {
    expect(settingsFrom(scaling.parameters, {}, MODEL)).toEqual({
      factor: 0.8,
      layers: undefined,
      heads: undefined,
      rows: "last",
    });
    expect(settingsFrom(scaling.parameters, { factor: 0, rows: { last: 12 } }, MODEL)).toMatchObject({ factor: 0 });
  });

  test.each([
    [{ factor: -1 }, "factor must be a number from 0 to 10000, got -1."],
    [{ factor: Number.NaN }, "factor must be a number from 0 to 10000, got NaN."],
    [{ factor: "2" }, 'factor must be a number from 0 to 10000, got "2".'],
    [{ factor: 10_001 }, "factor must be a number from 0 to 10000, got 10001."],
    [{ layers: [2] }, "layers must be whole numbers from 0 to 1, got 2."],
    [{ layers: [-1] }, "layers must be whole numbers from 0 to 1, got -1."],
    [{ layers: [0.5] }, "layers must be whole numbers from 0 to 1, got 0.5."],
    [{ layers: 1 }, "layers must be a list of whole numbers, got a number."],
    [{ heads: [3] }, "heads must be whole numbers from 0 to 2, got 3."],
    [{ rows: "first" }, 'rows must be last, generated, after-image or { last: number }, got "first".'],
    [{ rows: { last: 13 } }, "rows: last must be a whole number from 1 to the prompt's 12, got 13."],
    [{ rows: { last: 0 } }, "rows: last must be a whole number from 1 to the prompt's 12, got 0."],
    [{ beta: 1 }, "beta is not a setting of method test: it has factor, layers, heads, rows."],
  ])("%j is refused", (given, message) => {
    expect(() => settingsFrom(scaling.parameters, given, MODEL)).toThrow(message);
  });

  test.each([
    [adaptvis.parameters, { beta: 1.1 }, "beta must be a number from 0 to 1, got 1.1."],
    [adaptvis.parameters, { gate: "logit" }, 'gate must be probability or margin or entropy, got "logit".'],
    [constantAdd.parameters, { columns: [12] }, "columns must be whole numbers from 0 to 11, got 12."],
    [constantAdd.parameters, { columns: "text" }, "columns must be a list of whole numbers, got a string."],
  ])("a setting of another kind is refused", (parameters, given, message) => {
    expect(() => settingsFrom(parameters, given, MODEL)).toThrow(message);
  });
});

describe("rows and columns", () => {
  test("rows of every selection", () => {
    expect(rowsOf("last", CONTEXT)).toEqual([11, 12]);
    expect(rowsOf("generated", CONTEXT)).toEqual([11, Number.POSITIVE_INFINITY]);
    expect(rowsOf("after-image", CONTEXT)).toEqual([9, Number.POSITIVE_INFINITY]);
    expect(rowsOf("after-image", { ...CONTEXT, imageRuns: [] })).toEqual([0, Number.POSITIVE_INFINITY]);
    expect(rowsOf({ last: 3 }, CONTEXT)).toEqual([9, 12]);
  });

  test("columns as ascending runs", () => {
    expect(columnsOf("image", CONTEXT)).toEqual([
      [2, 5],
      [7, 9],
    ]);
    expect(columnsOf([7, 3, 4, 3, 0], CONTEXT)).toEqual([
      [0, 1],
      [3, 5],
      [7, 8],
    ]);
    expect(columnsOf([], CONTEXT)).toEqual([]);
  });

  test("strengths are neutral where an edit does not act", () => {
    const edit = { operation: "multiply", strength: 2, columns: [[2, 5]], rows: [11, 12] } as const;
    const strengths = (changes: object) => [...packedEdit({ ...edit, ...changes }, CONTEXT).strengths];
    expect(strengths({})).toEqual([2, 2, 2, 2, 2, 2]);
    expect(strengths({ layers: [1] })).toEqual([1, 1, 1, 2, 2, 2]);
    expect(strengths({ heads: [0, 2] })).toEqual([2, 1, 2, 2, 1, 2]);
    expect(strengths({ operation: "add", layers: [0], heads: [1] })).toEqual([0, 2, 0, 0, 0, 0]);
    const own = Float32Array.from([1, 2, 3, 4, 5, 6]);
    expect(strengths({ strength: own, layers: [1], operation: "knock-out" })).toEqual([0, 0, 0, 4, 5, 6]);
    expect(() => strengths({ strength: own.subarray(0, 5) })).toThrow("2 × 3 numbers, got 5");
  });
});

describe("registry", () => {
  test("names are unique, in kebab-case, and found", () => {
    const names = INTERVENTIONS.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const { name, title, summary } of INTERVENTIONS) {
      expect(name).toMatch(/^[a-z][a-z-]*$/);
      expect(interventionNamed(name).name).toBe(name);
      expect([titleOf(name), summary.length > 0]).toEqual([title, true]);
    }
    expect(() => interventionNamed("sharpen")).toThrow(`method must be one of ${names.join(", ")}, got sharpen.`);
    expect(titleOf("mine")).toBe("mine");
  });

  test("the same setting has the same type in every method, so that one flag serves all", () => {
    const types = new Map<string, string>();
    for (const { parameters } of INTERVENTIONS) {
      for (const [name, { type }] of Object.entries(parameters)) {
        const known = types.get(name);
        if (known !== undefined) expect(JSON.stringify(type), name).toBe(known);
        types.set(name, JSON.stringify(type));
      }
    }
  });
});

test("PAI acts on layers 2 and above, from the last prompt row on, unless told otherwise", () => {
  const context = { ...CONTEXT, numLayers: 5 };
  const [edit] = pai.edits(settingsFrom(pai.parameters, {}, { ...MODEL, numLayers: 5 }), context, {
    confidence: undefined,
  }).scores;
  expect(edit).toMatchObject({
    operation: "add-magnitude",
    strength: 0.2,
    layers: [2, 3, 4],
    columns: CONTEXT.imageRuns,
  });
  expect(edit?.rows).toEqual([CONTEXT.promptLength - 1, Number.POSITIVE_INFINITY]);
});

test("knock-out refuses to cut everything that a row sees", () => {
  const editsOf = (settings: Readonly<Record<string, unknown>>) =>
    knockOut.edits(settingsFrom(knockOut.parameters, settings, MODEL), CONTEXT, { confidence: undefined });
  const all = Array.from({ length: CONTEXT.promptLength }, (_, position) => position);
  expect(() => editsOf({ columns: all })).toThrow(
    "columns: all 12 positions that row 11 sees are cut: leave one of them.",
  );
  expect(editsOf({ columns: all.slice(1) }).scores).toMatchObject([{ operation: "knock-out", columns: [[1, 12]] }]);
  expect(() => editsOf({ columns: [0, 1], rows: { last: 11 } })).toThrow("all 2 positions that row 1 sees");
});
