// VCD and DoLa without a GPU, against tools/goldens/contrast_methods.py: the noise, the layers, and what becomes of logits.
import { describe, expect, test } from "vitest";
import { InputError } from "../../src/errors.ts";
import { secondPrompt } from "../../src/generate/second-stream.ts";
import { candidateLayers, dola } from "../../src/interventions/dola.ts";
import {
  type Contrast,
  defineIntervention,
  type EditContext,
  NO_EDITS,
  RULED_OUT,
} from "../../src/interventions/intervention.ts";
import { noised, normals, remainingVariance } from "../../src/interventions/noise.ts";
import { settingsFrom, whole } from "../../src/interventions/parameters.ts";
import { contrastPlausible } from "../../src/interventions/plausibility.ts";
import { interventionNamed } from "../../src/interventions/registry.ts";
import type { ModelInputs } from "../../src/models/inputs.ts";
import { CONTRAST_CASES, CONTRAST_FOLDER, type ContrastCase } from "../setup/contrast-cases.ts";
import { largestError, readTensorFile } from "../setup/golden.ts";

const VOCABULARY = 160;
const golden = await readTensorFile(`${CONTRAST_FOLDER}/expected.safetensors`);
const context: EditContext = {
  numLayers: 4,
  numHeads: 4,
  numKeyValueHeads: 4,
  hiddenSize: 8,
  intermediateSize: 16,
  promptLength: golden.get("expanded_ids").data.length,
  tieWordEmbeddings: false,
  images: [],
  imageRuns: [[4, 13]],
};

function contrastOf({ method, settings }: Pick<ContrastCase, "method" | "settings">): Contrast {
  const intervention = interventionNamed(method);
  const values = settingsFrom(intervention.parameters, { ...settings }, { ...context, method });
  const contrast = intervention.contrast?.(values, context);
  if (contrast === undefined) throw new Error(`${method} has no contrast`);
  return contrast;
}

/** Rows of a tensor [steps, …, V], one list of V numbers after the other. */
function rowsOf(name: string): Float32Array<ArrayBuffer>[] {
  const { data } = golden.get(name);
  return Array.from({ length: data.length / VOCABULARY }, (_, row) =>
    data.slice(row * VOCABULARY, (row + 1) * VOCABULARY),
  );
}

describe("noise", () => {
  test.each([0, 1, 7, 4294967295])("the first numbers of seed %i", (seed) => {
    const expected = golden.get(`noise.${seed}`).data;
    expect(largestError(normals(expected.length, seed), expected)).toBeLessThan(2e-7); // the golden is f32
    // An odd count ends within a pair.
    expect([...normals(9, seed)]).toEqual([...normals(10, seed).subarray(0, 9)]);
  });

  test("seeds count modulo 2³²", () => {
    expect(normals(4, 2 ** 32 + 7)).toEqual(normals(4, 7));
    expect(normals(4, 8)).not.toEqual(normals(4, 7));
  });

  test("is standard normal and uncorrelated", () => {
    const count = 1 << 17; // so that the mean's standard error is 0.0028
    const numbers = normals(count, 42);
    const moment = (power: number) => numbers.reduce((sum, value) => sum + value ** power, 0) / count;
    expect(Math.abs(moment(1))).toBeLessThan(0.01);
    expect(Math.abs(moment(2) - 1)).toBeLessThan(0.015);
    expect(Math.abs(moment(3))).toBeLessThan(0.03);
    expect(Math.abs(moment(4) - 3)).toBeLessThan(0.1);
    for (const distance of [1, 2, 3, 336]) {
      const products = numbers
        .subarray(distance)
        .reduce((sum, value, index) => sum + value * Number(numbers[index]), 0);
      expect(Math.abs(products / count), `distance ${distance}`).toBeLessThan(0.01);
    }
  });

  test("what is left of the picture after each step", () => {
    const expected = golden.get("remaining_variance").data;
    const steps = [0, 1, 200, 499, 500, 998, 999];
    const picked = steps.map((step) => Number(expected[step]));
    expect(largestError(steps.map(remainingVariance), picked)).toBeLessThan(1e-7);
  });

  test.each(CONTRAST_CASES.filter(({ method }) => method === "vcd"))("the picture of $name", ({ name, ...given }) => {
    const contrast = contrastOf(given);
    if (contrast.against !== "changed-picture") throw new Error(contrast.against);
    const pixels = golden.get("pixel_values").data;
    const before = pixels.slice();
    const changed = contrast.changed(pixels, 0);
    expect(largestError(changed, golden.get(`${name}.noised`).data)).toBeLessThan(1e-6);
    expect(pixels).toEqual(before);
    const next = contrast.changed(pixels, 1); // the next seed, modulo 2³²
    const seed = (Number(given.settings.noiseSeed ?? 0) + 1) % 2 ** 32;
    expect(next).toEqual(noised(pixels, { step: given.settings.noiseStep ?? 500, seed }));
  });
});

test.each(CONTRAST_CASES)("$name changes logits as the reference does", ({ name, ...given }) => {
  const contrast = contrastOf(given);
  const other = rowsOf(`${name}.other`);
  const expected = rowsOf(`${name}.step_logits`);
  for (const [step, logits] of rowsOf(`${name}.last`).entries()) {
    if (contrast.against === "early-layers") {
      expect(contrast.layers).toEqual(golden.ids(`${name}.layers`));
      expect(contrast.isNormalised).toBe(given.settings.variant !== "code");
      const count = contrast.layers.length;
      contrast.combine(logits, other.slice(step * count, (step + 1) * count));
    } else {
      contrast.combine(logits, other[step] ?? new Float32Array(), step);
    }
    expect(largestError(logits, expected[step] ?? []), `step ${step}`).toBeLessThan(2e-5); // of f32 logits up to 15
    expect(logits.includes(RULED_OUT)).toBe(
      (given.settings.plausibility ?? 0.1) > 0 && expected[step]?.includes(RULED_OUT),
    );
  }
});

describe("plausible tokens", () => {
  const logits = Float32Array.of(0, Math.log(0.1) + 1e-6, Math.log(0.1) - 1e-6, -50);

  test("have at least the share of the largest probability", () => {
    const changed = logits.slice();
    contrastPlausible(changed, 0.1, (logit, id) => 10 * id + Math.round(logit));
    expect([...changed]).toEqual([0, 8, RULED_OUT, RULED_OUT]);
  });

  test.each(["vcd", "dola"] as const)("stay in %s, and others are ruled out", (method) => {
    const ruledOut = (plausibility: number) => {
      const contrast = contrastOf({ method, settings: { plausibility } });
      const changed = logits.slice();
      const other = Float32Array.of(1, 2, 3, 4);
      if (contrast.against === "early-layers") contrast.combine(changed, [other]);
      else contrast.combine(changed, other, 0);
      return [...changed].map((value) => value === RULED_OUT);
    };
    expect(ruledOut(0.1)).toEqual([false, false, true, true]);
    expect(ruledOut(1)).toEqual([false, true, true, true]);
    expect(ruledOut(0)).toEqual([false, false, false, false]);
  });
});

describe("candidate layers", () => {
  // transformers 4.52.4, GenerationMixin._dola_decoding, by hand; two of its cases are in the golden of dola_transformers.py.
  test.each([
    ["high", 32, false, [16, 18, 20, 22, 24, 26, 28, 30]],
    ["low", 32, false, [0, 2, 4, 6, 8, 10, 12, 14]],
    ["low", 32, true, [2, 4, 6, 8, 10, 12, 14]],
    ["high", 40, false, [20, 22, 24, 26, 28, 30, 32, 34, 36, 38]],
    ["low", 40, false, [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]],
    ["low", 80, false, [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]],
    ["high", 80, true, [60, 62, 64, 66, 68, 70, 72, 74, 76, 78]],
    ["high", 41, false, [21, 23, 25, 27, 29, 31, 33, 35, 37, 39]],
    ["high", 5, true, [2, 4]],
    ["low", 5, true, [2]],
    ["low", 4, false, [0]],
    ["low", 3, true, [2]],
    ["low", 2, true, [1]],
    ["low", 2, false, [0]],
    ["high", 1, false, [0]],
    ["low", 1, true, [0]],
  ] as const)("%s of %i layers, tied: %s", (half, numLayers, tieWordEmbeddings, expected) => {
    expect(candidateLayers(half, { numLayers, tieWordEmbeddings })).toEqual(expected);
  });

  test("given ones are taken once each, below the number of layers", () => {
    expect(contrastOf({ method: "dola", settings: { earlyLayers: [3, 1, 3] } })).toMatchObject({ layers: [3, 1] });
    expect(() => settingsFrom(dola.parameters, { earlyLayers: [4] }, { ...context, method: "dola" })).toThrow(
      "earlyLayers must be whole numbers from 0 to 3, got 4.",
    );
    expect(() => settingsFrom(dola.parameters, { layers: [1] }, { ...context, method: "dola" })).toThrow(
      "layers is not a setting of method dola: it has candidates, earlyLayers, plausibility, variant.",
    );
  });
});

test("a setting that is a whole number takes no other", () => {
  const step = whole({ default: 2, minimum: 0, maximum: 999, meaning: "a step" });
  const read = (value: unknown) => settingsFrom({ step }, { step: value }, { ...context, method: "test" }).step;
  expect([read(0), read(999), read(undefined)]).toEqual([0, 999, 2]);
  for (const bad of [1.5, -1, 1000, Number.NaN]) {
    expect(() => read(bad)).toThrow(new InputError(`step must be a whole number from 0 to 999, got ${bad}.`));
  }
});

describe("the second prompt", () => {
  const picture = (start: number, value: number) => ({
    pixelValues: Float32Array.of(value, value),
    runs: [[start, start + 2]] as const,
    rowIndex: Int32Array.of(0, 1),
    grid: { width: 2, height: 1 },
  });
  const inputs: ModelInputs = {
    inputIds: Int32Array.of(1, 9, 9, 5, 9, 9, 6),
    images: [picture(1, 10), picture(4, 20)],
    positions: Int32Array.of(0, 1, 2, 3, 4, 5, 6),
  };

  test("without pictures keeps the text", () => {
    const { inputIds, images, positions } = secondPrompt(inputs, undefined);
    expect([[...inputIds], images, positions]).toEqual([[1, 5, 6], [], undefined]);
  });

  test("with changed pictures keeps everything but their pixel values", () => {
    const prompt = secondPrompt(inputs, (values, index) => values.map((value) => value + index + 1));
    expect(prompt.images.map(({ pixelValues }) => [...pixelValues])).toEqual([
      [11, 11],
      [22, 22],
    ]);
    const restored = prompt.images.map((image, index) => ({
      ...image,
      pixelValues: inputs.images[index]?.pixelValues,
    }));
    expect({ ...prompt, images: restored }).toEqual(inputs);
  });

  test("refuses another number of pixel values", () => {
    expect(() => secondPrompt(inputs, () => new Float32Array(1))).toThrow(
      new InputError("contrast: changed must return 2 pixel values for picture 0, got 1."),
    );
  });
});

test("methods of the caller's own type-check with each kind of contrast", () => {
  const described = { title: "Own", summary: "nothing", source: "this test", parameters: {}, edits: () => NO_EDITS };
  const early = defineIntervention({
    ...described,
    name: "own",
    contrast: (_, { numLayers }) => ({
      against: "early-layers",
      layers: [numLayers - 1],
      isNormalised: true,
      combine: (logits, [first]) => logits.set(first ?? []),
    }),
  });
  expect(early.contrast?.({}, context)).toMatchObject({ layers: [3] });
});
