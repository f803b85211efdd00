// Interventions without a GPU: settings, gates, rows and columns, and the edits that come out.
import { describe, expect, test } from "vitest";
import { InputError } from "../../src/errors.ts";
import { adaptvis, chooseFactor, DEFAULT_ADAPTVIS } from "../../src/interventions/adaptvis.ts";
import { confidenceOf, optionConfidence, roundConfidence } from "../../src/interventions/confidence.ts";
import { constantAdd } from "../../src/interventions/constant-add.ts";
import { dola } from "../../src/interventions/dola.ts";
import { greedy } from "../../src/interventions/greedy.ts";
import { imageColumns } from "../../src/interventions/image-columns.ts";
import {
  columnsOf,
  type EditContext,
  type EditedImage,
  packedEdit,
  readConfidence,
  rowsOf,
} from "../../src/interventions/intervention.ts";
import { knockOut } from "../../src/interventions/knock-out.ts";
import { m3id } from "../../src/interventions/m3id.ts";
import { pai } from "../../src/interventions/pai.ts";
import {
  COLUMN_PARAMETERS,
  checkValue,
  type PictureBox,
  PLACE_PARAMETERS,
  settingsFrom,
} from "../../src/interventions/parameters.ts";
import { placed } from "../../src/interventions/placement.ts";
import { INTERVENTIONS, interventionNamed, titleOf } from "../../src/interventions/registry.ts";
import { scaling } from "../../src/interventions/scaling.ts";
import { vaf } from "../../src/interventions/vaf.ts";
import { vcd } from "../../src/interventions/vcd.ts";
import { visualSinks } from "../../src/interventions/visual-sinks.ts";

const CONTEXT: EditContext = {
  numLayers: 2,
  numHeads: 3,
  numKeyValueHeads: 3,
  hiddenSize: 8,
  intermediateSize: 16,
  promptLength: 12,
  tieWordEmbeddings: false,
  images: [],
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
    [0.134, 0.13],
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
    expect(confidenceOf([-3, 24.5, 7], "logit")).toBe(24.5);
  });

  test("extremes", () => {
    expect(confidenceOf([4, 4, 4, 4], "entropy")).toBeCloseTo(1, 12);
    expect(confidenceOf([4, 4], "margin")).toBeCloseTo(0, 12);
    expect(confidenceOf([4], "margin")).toBe(1);
    expect(confidenceOf([4], "entropy")).toBe(0);
    expect(confidenceOf([4, 4], "entropy")).toBeCloseTo(1, 12);
    expect(confidenceOf([1000, 0, Number.NEGATIVE_INFINITY], "entropy")).toBeCloseTo(0, 12);
  });

  test("among options only their logits count", () => {
    expect(optionConfidence([9, ...logits], [1, 2])).toBeCloseTo(5 / 8, 12);
    expect(optionConfidence(logits, [2])).toBe(1);
    expect(optionConfidence([1e4, -1e4], [0, 1])).toBe(1);
    expect(optionConfidence([-5, -5], [0, 1])).toBe(0.5);
    expect(optionConfidence(logits, [0, 3])).toBe(1); // the vocabulary has no token 3
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

  test("with a width, the factor goes from alpha1 to alpha2 in proportion", () => {
    const factors = (gate: "margin" | "entropy") =>
      [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7].map((confidence) =>
        Number(chooseFactor(confidence, { ...settings, gateWidth: 0.4 }, gate).toFixed(12)),
      );
    expect(factors("margin")).toEqual([0.5, 0.5, 0.75, 1, 1.25, 1.5, 1.5]);
    expect(factors("entropy")).toEqual([1.5, 1.5, 1.25, 1, 0.75, 0.5, 0.5]);
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
    const unread = () => adaptvis.edits(values, CONTEXT, { confidence: undefined });
    expect(unread).toThrow(RangeError);
    expect(unread).toThrow("readings: expected a confidence, but `reads` names no measure");
    expect(readConfidence({ confidence: 0 })).toBe(0);
  });
});

const BOX = "box must be four numbers left, top, right, bottom of at least 0, with left < right and top < bottom";
const STRENGTHS = "strengths must be a list of numbers for each layer, 2 layers × 3 heads";

describe("settings", () => {
  const where = { layers: undefined, heads: undefined, rows: "last", patches: undefined, box: undefined };
  const drawn = { randomHeads: undefined, headSeed: undefined };
  const place = { ...where, strengths: undefined, ...drawn };

  test.each([
    [greedy, {}],
    [scaling, { factor: 0.8, ...place }],
    [adaptvis, { alpha1: 0.5, alpha2: 1.5, beta: 0.4, gate: "probability", gateWidth: 0, ...place }],
    [constantAdd, { constant: 1, columns: "image", ...place }],
    [pai, { alpha: 0.2, gamma: 1.1, plausibility: 0.1, ...place, rows: "generated" }],
    [vaf, { enhancement: 1.15, suppression: 0.95, ...place, rows: "after-image" }],
    [knockOut, { columns: "image", ...where, ...drawn }],
    [m3id, { forgetting: 0.02, certainty: 0.3 }],
    [vcd, { amplification: 1, plausibility: 0.1, noiseStep: 500, noiseSeed: 0 }],
    [dola, { candidates: "high", earlyLayers: undefined, plausibility: 0.1, variant: "paper" }],
  ])("the defaults of $name", ({ parameters }, expected) => {
    expect(settingsFrom(parameters, {}, MODEL)).toStrictEqual(expected);
  });

  test("what is undefined counts as not given, and null does not", () => {
    const given = { factor: undefined, rows: undefined, beta: undefined };
    expect(settingsFrom(scaling.parameters, given, MODEL)).toEqual({ factor: 0.8, ...place });
    expect(() => settingsFrom(scaling.parameters, { factor: null }, MODEL)).toThrow("10000, got null.");
  });

  test.each([
    [scaling.parameters, { factor: 0, layers: [0, 1], heads: [0, 2], rows: { last: 1 } }],
    [scaling.parameters, { factor: 10_000, layers: [], heads: [], rows: { last: 12 } }],
    [scaling.parameters, { rows: "last" }],
    [scaling.parameters, { rows: "generated" }],
    [scaling.parameters, { rows: "after-image" }],
    [adaptvis.parameters, { alpha1: 0, alpha2: 0, beta: 0, gate: "margin" }],
    [adaptvis.parameters, { alpha1: 10_000, alpha2: 10_000, beta: 1, gate: "entropy" }],
    [constantAdd.parameters, { constant: -1000, columns: [0, 11] }],
    [constantAdd.parameters, { constant: 1000, columns: "image" }],
    [pai.parameters, { alpha: 0, gamma: 0 }],
    [pai.parameters, { alpha: 100, gamma: 100 }],
    [m3id.parameters, { forgetting: 0, certainty: 0 }],
    [m3id.parameters, { forgetting: 10, certainty: 1 }],
    [adaptvis.parameters, { gateWidth: 100, randomHeads: 1, headSeed: 4294967295 }],
    [scaling.parameters, { box: [0, 0, 0.5, 1], patches: [] }],
    [
      scaling.parameters,
      {
        strengths: [
          [-10_000, 0, 1],
          [1, 1, 10_000],
        ],
      },
    ],
  ])("what is at the limits is taken (%#)", (parameters, given) => {
    expect(settingsFrom(parameters, given, MODEL)).toMatchObject(given);
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
    [{ heads: [1, undefined] }, "heads must be whole numbers from 0 to 2, got undefined."],
    [{ heads: ["1"] }, 'heads must be whole numbers from 0 to 2, got "1".'],
    [{ rows: 3 }, "rows must be last, generated, after-image or { last: number }, got 3."],
    [{ rows: {} }, "rows must be last, generated, after-image or { last: number }, got Object."],
    [{ rows: { last: "3" } }, `rows: last must be a whole number from 1 to the prompt's 12, got "3".`],
    [{ rows: { last: 1.5 } }, "rows: last must be a whole number from 1 to the prompt's 12, got 1.5."],
    [{ rows: "first" }, 'rows must be last, generated, after-image or { last: number }, got "first".'],
    [{ rows: { last: 13 } }, "rows: last must be a whole number from 1 to the prompt's 12, got 13."],
    [{ rows: { last: 0 } }, "rows: last must be a whole number from 1 to the prompt's 12, got 0."],
    [
      { beta: 1 },
      "beta is not a setting of method test: it has factor, layers, heads, rows, strengths, randomHeads, headSeed, patches, box.",
    ],
    [{ patches: [-1] }, "patches must be whole numbers of at least 0, got -1."],
    [{ patches: 3 }, "patches must be a list of whole numbers, got a number."],
    [{ box: [0, 0, 0, 9] }, `${BOX}, got [0,0,0,9].`],
    [{ box: [0, 5, 9, 4] }, `${BOX}, got [0,5,9,4].`],
    [{ box: [-1, 0, 9, 9] }, `${BOX}, got [-1,0,9,9].`],
    [{ box: [0, 0, 9] }, `${BOX}, got [0,0,9].`],
    [{ box: ["0", 0, 9, 9] }, `${BOX}, got ["0",0,9,9].`],
    [{ box: "all" }, `${BOX}, got "all".`],
    [{ strengths: 2 }, `${STRENGTHS}, got 2.`],
    [{ strengths: [[1, 1, 1]] }, `${STRENGTHS}, got 1 lists.`],
    [{ strengths: [[1, 1, 1], [1]] }, `${STRENGTHS}, got 1 numbers for layer 1.`],
    [{ strengths: [[1, null, 1], []] }, `${STRENGTHS}, got [1,null,1] for layer 0.`],
    [{ strengths: [[1, 10_001, 1], []] }, `${STRENGTHS}, got 10001, beyond 10000.`],
    [{ strengths: new Float32Array(5) }, `${STRENGTHS}, got 5 numbers.`],
    [{ randomHeads: 0 }, "randomHeads must be a whole number from 1 to 1048576, got 0."],
  ])("%j is refused", (given, message) => {
    expect(() => settingsFrom(scaling.parameters, given, MODEL)).toThrow(message);
  });

  test.each([
    [adaptvis.parameters, { beta: 1.1 }, "beta must be a number from 0 to 1, got 1.1."],
    [adaptvis.parameters, { gate: "odds" }, 'gate must be probability or margin or entropy or logit, got "odds".'],
    [constantAdd.parameters, { columns: [12] }, "columns must be whole numbers from 0 to 11, got 12."],
    [constantAdd.parameters, { columns: "text" }, "columns must be a list of whole numbers, got a string."],
    [adaptvis.parameters, { beta: -0.1 }, "beta must be a number from 0 to 1, got -0.1."],
    [adaptvis.parameters, { gate: 0 }, "gate must be probability or margin or entropy or logit, got 0."],
    [adaptvis.parameters, { gate: ["margin"] }, "gate must be probability or margin or entropy or logit, got Array."],
    [constantAdd.parameters, { constant: -1001 }, "constant must be a number from -1000 to 1000, got -1001."],
    [constantAdd.parameters, { constant: 1001 }, "constant must be a number from -1000 to 1000, got 1001."],
    [pai.parameters, { alpha: -0.1 }, "alpha must be a number from 0 to 100, got -0.1."],
    [vcd.parameters, { noiseStep: 1000 }, "noiseStep must be a whole number from 0 to 999, got 1000."],
    [vcd.parameters, { noiseSeed: 0.5 }, "noiseSeed must be a whole number from 0 to 4294967295, got 0.5."],
    [vcd.parameters, { plausibility: 1.1 }, "plausibility must be a number from 0 to 1, got 1.1."],
    [dola.parameters, { candidates: "middle" }, 'candidates must be high or low, got "middle".'],
    [pai.parameters, { alpha: 101 }, "alpha must be a number from 0 to 100, got 101."],
    [greedy.parameters, { factor: 1 }, "factor is not a setting of method test: it has none."],
  ])("a setting of another kind is refused (%#)", (parameters, given, message) => {
    expect(() => settingsFrom(parameters, given, MODEL)).toThrow(InputError);
    expect(() => settingsFrom(parameters, given, MODEL)).toThrow(message);
  });

  test("without a model, values are checked against their kind alone", () => {
    const { layers, heads, rows } = PLACE_PARAMETERS;
    const { columns } = COLUMN_PARAMETERS;
    checkValue("layers", [0, 999], layers);
    checkValue("heads", [0, 999], heads);
    checkValue("columns", [999], columns);
    checkValue("rows", { last: 999 }, rows);
    expect(() => checkValue("layers", [-1], layers)).toThrow("layers must be whole numbers of at least 0, got -1.");
    expect(() => checkValue("columns", [0.5], columns)).toThrow(
      "columns must be whole numbers of at least 0, got 0.5.",
    );
    expect(() => checkValue("rows", { last: 0 }, rows)).toThrow(
      "rows: last must be a whole number of at least 1, got 0.",
    );
    expect(() => checkValue("rows", null, rows)).toThrow(
      "rows must be last, generated, after-image or { last: number }, got null.",
    );
  });
});

describe("rows and columns", () => {
  test("rows of every selection", () => {
    expect(rowsOf("last", CONTEXT)).toEqual([11, 12]);
    expect(rowsOf("generated", CONTEXT)).toEqual([11, Number.POSITIVE_INFINITY]);
    expect(rowsOf("after-image", CONTEXT)).toEqual([9, Number.POSITIVE_INFINITY]);
    expect(rowsOf("after-image", { ...CONTEXT, imageRuns: [[1, 2], ...CONTEXT.imageRuns] })).toEqual([
      9,
      Number.POSITIVE_INFINITY,
    ]);
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
    expect(strengths({ strength: own })).toEqual([...own]);
    expect(strengths({ operation: "add-magnitude", heads: [] })).toEqual([0, 0, 0, 0, 0, 0]);
    const short = () => strengths({ strength: own.subarray(0, 5) });
    expect(short).toThrow(InputError);
    expect(short).toThrow("strengths must be 2 × 3 numbers, got 5.");
  });

  test("an edit of all later rows reaches the largest slot", () => {
    const edit = { operation: "add", strength: 2, columns: [[2, 5]], rows: [11, Number.POSITIVE_INFINITY] } as const;
    expect(packedEdit(edit, CONTEXT)).toMatchObject({ operation: "add", columns: [[2, 5]], rows: [11, 0xffffffff] });
    expect(packedEdit({ ...edit, rows: [3, 12] }, CONTEXT).rows).toEqual([3, 12]);
  });
});

describe("edits", () => {
  const unread = { confidence: undefined };
  const where = { columns: CONTEXT.imageRuns, rows: [11, 12], layers: undefined, heads: undefined };

  test("greedy edits nothing", () => {
    expect(greedy.edits({}, CONTEXT, unread)).toEqual({ scores: [], factor: 1 });
  });

  test("scaling multiplies the image scores", () => {
    const values = settingsFrom(scaling.parameters, { factor: 2, layers: [1], heads: [0] }, MODEL);
    expect(scaling.edits(values, CONTEXT, unread)).toEqual({
      scores: [{ ...where, operation: "multiply", strength: 2, layers: [1], heads: [0] }],
      factor: 2,
    });
  });

  test("constant add adds to the scores of its columns", () => {
    const values = settingsFrom(constantAdd.parameters, { constant: -3, columns: [4], rows: { last: 2 } }, MODEL);
    expect(constantAdd.edits(values, CONTEXT, unread)).toEqual({
      scores: [{ ...where, operation: "add", strength: -3, columns: [[4, 5]], rows: [10, 12] }],
      factor: 1,
    });
  });

  test("knock-out cuts its columns", () => {
    const values = settingsFrom(knockOut.parameters, { heads: [2] }, MODEL);
    expect(knockOut.edits(values, CONTEXT, unread)).toEqual({
      scores: [{ ...where, operation: "knock-out", strength: 1, heads: [2] }],
      factor: 1,
    });
  });
});

test("visual-sinks acts on all layers but the first two and the last, in the dimensions that are known for the model", () => {
  const llama = { ...CONTEXT, numLayers: 32, hiddenSize: 4096, intermediateSize: 11_008, numKeyValueHeads: 32 };
  const values = { tau: 20, rho: 0.5, moved: 0.6, minimumImageShare: 0.2, rows: "after-image" } as const;
  const unset = {
    dimensions: undefined,
    layers: undefined,
    heads: undefined,
    strengths: undefined,
    randomHeads: undefined,
    headSeed: undefined,
  };
  const [edit] = visualSinks.edits({ ...values, ...unset }, llama, { confidence: undefined }).scores;
  expect(edit?.layers).toEqual(Array.from({ length: 29 }, (_, index) => index + 2));
  expect(edit?.sinks).toEqual({ dimensions: [1415, 2533], tau: 20, rho: 0.5, minimumShare: 0.2 });
  const grouped = { ...llama, numKeyValueHeads: 8 };
  expect(() => visualSinks.edits({ ...values, ...unset }, grouped, { confidence: undefined })).toThrow(InputError);
});

describe("registry", () => {
  test("the methods, in the order of help texts", () => {
    expect(INTERVENTIONS.map(({ name, title }) => [name, title])).toEqual([
      ["greedy", "Greedy"],
      ["scaling", "ScalingVis"],
      ["adaptvis", "AdaptVis"],
      ["constant-add", "Constant add"],
      ["temperature", "Temperature"],
      ["pai", "PAI"],
      ["vaf", "VAF"],
      ["visual-sinks", "Visual Attention Redistribution"],
      ["knock-out", "Knock-out"],
      ["vcd", "VCD"],
      ["m3id", "M3ID"],
      ["dola", "DoLa"],
    ]);
  });

  test("every method but greedy and a control of this project names its paper", () => {
    for (const { name, source } of INTERVENTIONS) {
      if (name === "greedy") expect(source).toBe("");
      else if (name === "temperature") expect(source).toMatch(/^negative control; ./);
      else expect(source, name).toMatch(/^arXiv \d{4}\.\d{5}, ./);
    }
  });

  test("summaries and meanings are phrases that help texts can join", () => {
    for (const { name, summary, parameters } of INTERVENTIONS) {
      const meanings = Object.values(parameters).map(({ meaning }) => meaning);
      for (const phrase of [summary, ...meanings]) expect(phrase, name).toMatch(/^[a-z].*[^.;]$/);
    }
  });

  test("names are unique, in kebab-case, and found", () => {
    const names = INTERVENTIONS.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const { name, title } of INTERVENTIONS) {
      expect(name).toMatch(/^[a-z][a-z0-9-]*$/);
      expect(interventionNamed(name).name).toBe(name);
      expect(titleOf(name)).toBe(title);
    }
    expect(() => interventionNamed("sharpen")).toThrow(InputError);
    expect(() => interventionNamed("sharpen")).toThrow(`method must be one of ${names.join(", ")}, got "sharpen".`);
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

test("PAI acts on layers 2 and above, from the last prompt row on, by default", () => {
  const context = { ...CONTEXT, numLayers: 5 };
  const editsOf = (settings: Readonly<Record<string, unknown>>) =>
    pai.edits(settingsFrom(pai.parameters, settings, { ...MODEL, numLayers: 5 }), context, { confidence: undefined });
  const edit = {
    operation: "add-magnitude",
    strength: 0.2,
    layers: [2, 3, 4],
    heads: undefined,
    columns: CONTEXT.imageRuns,
    rows: [CONTEXT.promptLength - 1, Number.POSITIVE_INFINITY],
  };
  expect(editsOf({})).toEqual({ scores: [edit], factor: 1 });
  const { scores } = editsOf({ alpha: 0.5, layers: [0], heads: [1], rows: "last" });
  expect(scores).toEqual([{ ...edit, strength: 0.5, layers: [0], heads: [1], rows: [11, 12] }]);
});

test("PAI has a contrast unless gamma is 1, and M3ID unless nothing is forgotten", () => {
  const contrastOf = (settings: object) =>
    pai.contrast?.(settingsFrom(pai.parameters, { ...settings }, MODEL), CONTEXT);
  expect(contrastOf({ gamma: 1 })).toBeUndefined();
  expect(contrastOf({})?.against).toBe("no-picture");
  const never = settingsFrom(m3id.parameters, { forgetting: 0 }, MODEL);
  expect(m3id.contrast?.(never, CONTEXT)).toBeUndefined();
});

test("VAF acts on layers 9 to 14 behind the picture, as far as the model has them", () => {
  const editsOf = (numLayers: number) =>
    vaf.edits(
      settingsFrom(vaf.parameters, {}, { ...MODEL, numLayers }),
      { ...CONTEXT, numLayers },
      { confidence: undefined },
    );
  const edit = { operation: "multiply", heads: undefined, rows: [9, Number.POSITIVE_INFINITY] };
  const [enhanced, suppressed] = editsOf(32).scores;
  const layers = [9, 10, 11, 12, 13, 14];
  expect(enhanced).toEqual({ ...edit, strength: 1.15, layers, columns: CONTEXT.imageRuns });
  expect(suppressed).toEqual({ ...edit, strength: 0.95, layers, columns: [[0, 2]] });
  expect(editsOf(11).scores.map((score) => score.layers)).toEqual([
    [9, 10],
    [9, 10],
  ]);
  expect(() => editsOf(9)).toThrow("this model has only layers 0 to 8: give its middle layers.");
  const blind = { ...CONTEXT, imageRuns: [] };
  expect(vaf.edits(settingsFrom(vaf.parameters, {}, MODEL), blind, { confidence: undefined }).scores).toEqual([]);
});

describe("image tokens by box", () => {
  /** A picture of 200 × 100 pixels whose middle 100 × 100 a grid of 4 × 4 patches of 25 pixels shows. */
  const cropped = {
    rowIndex: Int32Array.from({ length: 16 }, (_, row) => row),
    grid: { width: 4, height: 4 },
    view: { imageSize: [100, 200] as const, part: { left: 0.25, top: 0, right: 0.75, bottom: 1 } },
  };
  const columnsIn = (image: EditedImage, box: PictureBox) =>
    imageColumns({ box }, { ...CONTEXT, imageRuns: [[2, 2 + image.rowIndex.length]], images: [image] });

  test("true to a crop: every patch that the box overlaps", () => {
    expect(columnsIn(cropped, [50, 0, 75, 25])).toEqual([[2, 3]]);
    expect(columnsIn(cropped, [74, 24, 76, 26])).toEqual([
      [2, 4],
      [6, 8],
    ]);
    expect(columnsIn(cropped, [0, 0, 200, 100])).toEqual([[2, 18]]);
    expect(() => columnsIn(cropped, [0, 0, 50, 100])).toThrow(
      "box 0, 0, 50, 100 lies in a part of the picture that the model does not see, as pictures are cropped for it: choose another.",
    );
    expect(() => columnsIn(cropped, [0, 0, 201, 100])).toThrow(
      "box must lie within the picture's 200 × 100 pixels, got 0, 0, 201, 100.",
    );
  });

  test("true to padding, and behind a class token", () => {
    // A picture of 100 × 50 pixels in the middle of a square of 100 × 100.
    const part = { left: 0, top: -0.5, right: 1, bottom: 1.5 };
    const padded = { ...cropped, view: { imageSize: [50, 100] as const, part } };
    expect(columnsIn(padded, [0, 0, 100, 25])).toEqual([[6, 10]]);
    expect(columnsIn(padded, [80, 30, 90, 40])).toEqual([[13, 14]]);
    const classed = { ...padded, rowIndex: Int32Array.from({ length: 17 }, (_, row) => row) };
    expect(columnsIn(classed, [80, 30, 90, 40])).toEqual([[14, 15]]);
  });

  test("true to tiles: the base tile's patches and the grid's", () => {
    const whole = { left: 0, top: 0, right: 1, bottom: 1 };
    const left = { ...whole, right: 0.5 };
    const right = { ...whole, left: 0.5 };
    const tiles = { imageSize: [100, 200] as const, patchGrid: 2, views: [whole, left, right] };
    const rowIndex = Int32Array.of(0, 1, 2, 3, 4, 5, 8, 9, -1, 6, 7, 10, 11, -1);
    expect(columnsIn({ rowIndex, grid: undefined, tiles }, [0, 0, 10, 10])).toEqual([
      [2, 3],
      [6, 7],
    ]);
    expect(columnsIn({ rowIndex, grid: undefined, tiles }, [120, 60, 130, 70])).toEqual([
      [5, 6],
      [13, 14],
    ]);
  });

  test("needs one picture", () => {
    const none = () => imageColumns({ box: [0, 0, 1, 1] }, { ...CONTEXT, images: [] });
    expect(none).toThrow("box needs a prompt with one picture, got 0: give a picture.");
    const two = () => imageColumns({ box: [0, 0, 1, 1] }, { ...CONTEXT, images: [cropped, cropped] });
    expect(two).toThrow("box needs a prompt with one picture, got 2: give patches instead.");
  });

  test("patches by number, over all runs", () => {
    expect(imageColumns({ patches: [4, 0, 2, 0] }, CONTEXT)).toEqual([
      [2, 3],
      [4, 5],
      [8, 9],
    ]);
    expect(imageColumns({ patches: [] }, CONTEXT)).toEqual([]);
    expect(() => imageColumns({ patches: [5] }, CONTEXT)).toThrow("image tokens (0 to 4), got 5.");
    expect(() => imageColumns({ patches: [0] }, { ...CONTEXT, imageRuns: [] })).toThrow("image tokens (none), got 0.");
  });
});

test("strengths are shares of the effect, and random heads are drawn from those that the method acts on", () => {
  const edit = { operation: "multiply", strength: 3, columns: [[2, 5]] } as const;
  const { strength } = placed(edit, { rows: "last", strengths: Float32Array.of(0, 1, 0.5, -1, 2, 0) }, CONTEXT);
  expect(strength).toEqual(Float32Array.of(1, 3, 2, -1, 5, 1));
  const place = { rows: "last", layers: [1], heads: [0, 2] } as const;
  for (const headSeed of [0, 1, 2, 3]) {
    const random = placed({ ...edit, operation: "add" }, { ...place, randomHeads: 1, headSeed }, CONTEXT).strength;
    const table = Array.from(random as Float32Array); // a table where heads are drawn
    expect([table.indexOf(3), table.filter((value) => value !== 0).length]).toEqual([expect.toBeOneOf([3, 5]), 1]);
  }
  const both = placed(edit, { ...place, randomHeads: 2 }, CONTEXT).strength;
  expect(both).toEqual(Float32Array.of(1, 1, 1, 3, 1, 3));
});

test("knock-out refuses to cut everything that a row sees", () => {
  const editsOf = (settings: Readonly<Record<string, unknown>>) =>
    knockOut.edits(settingsFrom(knockOut.parameters, settings, MODEL), CONTEXT, { confidence: undefined });
  const all = Array.from({ length: CONTEXT.promptLength }, (_, position) => position);
  expect(() => editsOf({ columns: all })).toThrow(
    "columns: all 12 positions that row 11 sees are cut: leave one of them.",
  );
  expect(editsOf({ columns: all.slice(1) }).scores).toMatchObject([{ operation: "knock-out", columns: [[1, 12]] }]);
  const cutRow1 = (columns: readonly number[]) => () => editsOf({ columns, rows: { last: 11 } });
  expect(cutRow1([0, 1])).toThrow(InputError);
  expect(cutRow1([0, 1])).toThrow("all 2 positions that row 1 sees");
  // Columns behind the row are none that it sees.
  expect(cutRow1([0, 1, 8])).toThrow("all 2 positions that row 1 sees");
  expect(cutRow1([0, 2, 3])().scores).toMatchObject([{ rows: [1, 12] }]);
});
