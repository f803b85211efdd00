// The oddities of the AdaptVis authors' code: which arms they change, and how.
import { describe, expect, test } from "vitest";
import { armsOf, parseArms } from "../../src/cli/arms.ts";
import { dataSetNamed } from "../../src/evaluate/datasets/registry.ts";
import { quirkyArms, quirkyPicture } from "../../src/evaluate/run/reference-quirks.ts";

async function armsFor(name: string, options: { readonly methods: readonly string[]; readonly numLayers: number }) {
  const dataSet = dataSetNamed(name);
  const arms = armsOf(await parseArms(options.methods), { defaults: {}, published: dataSet.published });
  return quirkyArms(arms, { dataSet, numLayers: options.numLayers });
}

const METHODS = ["greedy", "scaling", "adaptvis", "pai"];

describe("the arms as the authors' code runs them", () => {
  test("on What'sUp, 32 layers: the epsilon alone", async () => {
    expect(await armsFor("Controlled_A", { methods: METHODS, numLayers: 32 })).toEqual([
      { name: "greedy", options: { method: "greedy" }, rmsNormEps: undefined },
      { name: "scaling", options: { method: "scaling", factor: 0.8 }, rmsNormEps: 1e-6 },
      {
        name: "adaptvis",
        options: { method: "adaptvis", alpha1: 0.5, alpha2: 1.5, beta: 0.4 },
        rmsNormEps: 1e-6,
      },
      { name: "pai", options: { method: "pai" }, rmsNormEps: 1e-6 },
      { name: "greedy:rmsNormEps=0.000001", options: { method: "greedy" }, rmsNormEps: 1e-6 },
    ]);
  });

  test("of 40 layers, the authors' own methods act in the first 32, unless layers are given", async () => {
    const arms = await armsFor("Controlled_A", {
      methods: ["scaling", "scaling:layers=3", "pai"],
      numLayers: 40,
    });
    const layers = Array.from({ length: 32 }, (_, layer) => layer);
    expect(arms.map(({ options }) => options.layers)).toEqual([layers, [3], undefined, undefined]);
  });

  test("on VSR, AdaptVis compares the largest logit, unless a gate is given", async () => {
    const methods = ["scaling", "adaptvis", "adaptvis:gate=margin"];
    const arms = await armsFor("VSR", { methods, numLayers: 32 });
    expect(arms.map(({ options }) => options.gate)).toEqual([undefined, "logit", "margin", undefined]);
  });

  test("an arm of the epsilon that was asked for is not doubled, and an epsilon that was written stays", async () => {
    const arms = await armsFor("Controlled_A", {
      methods: ["greedy:rmsNormEps=1e-6", "scaling:rmsNormEps=1e-5"],
      numLayers: 32,
    });
    expect(arms.map(({ name, rmsNormEps }) => [name, rmsNormEps])).toEqual([
      ["greedy:rmsNormEps=1e-6", 1e-6],
      ["scaling:rmsNormEps=1e-5", 1e-5],
    ]);
  });

  test.each(["0", "-1", "much"])("an epsilon of %s is refused", async (eps) => {
    await expect(parseArms([`greedy:rmsNormEps=${eps}`])).rejects.toThrow(/rmsNormEps must be a number above 0/);
  });
});

test("pictures of VSR are resized to 2300 × 4096, those of the others stay", () => {
  const image = { width: 3, height: 2, data: Uint8Array.from({ length: 18 }, (_, index) => index * 10) };
  const { width, height, data } = quirkyPicture(image, dataSetNamed("VSR"));
  expect([width, height, data.length]).toEqual([2300, 4096, 2300 * 4096 * 3]);
  expect(quirkyPicture(image, dataSetNamed("COCO_one"))).toBe(image);
});
