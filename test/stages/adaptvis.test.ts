// ScalingVis and AdaptVis against the outputs of the authors' code (test/golden/README.md says how they were made).
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Llava } from "../../src/llava.ts";
import {
  AUTHORS_CHECKPOINTS,
  AUTHORS_FACTORS,
  type FlipCase,
  factorChecks,
  flipChecks,
  PADDED_FACTORS,
  paddedChecks,
  plainChecks,
} from "../setup/authors-parity.ts";
import { GOLDEN, readTensorFile, type TensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";
import { parityProblems } from "../setup/parity-check.ts";

describe.each(AUTHORS_CHECKPOINTS)("%s (transformers 4.44.2)", (name) => {
  test("stages, logits of the last row and greedy ids", async () => {
    const model = await loadGoldenModel(name);
    const checks = await plainChecks(model, await readTensorFile(`${name}/expected.safetensors`));
    expect(checks.length).toBeGreaterThanOrEqual(3);
    expect(parityProblems(checks)).toEqual([]);
    model.dispose();
  });
});

describe("the authors' code on tiny-llava", () => {
  let model: Llava;
  let goldens: { readonly golden: TensorFile; readonly plain: TensorFile };
  beforeAll(async () => {
    model = await loadGoldenModel("tiny-llava");
    goldens = {
      golden: await readTensorFile("adaptvis_expected.safetensors"),
      plain: await readTensorFile("tiny-llava/expected.safetensors"),
    };
  });
  afterAll(() => model.dispose());

  test.each(AUTHORS_FACTORS)("factor %s: ids, first logits, attention as used", async (factor) => {
    expect(parityProblems(await factorChecks(model, factor, goldens))).toEqual([]);
  });

  test.each(PADDED_FACTORS)(
    "factor %s on a prompt that the authors pad on the left: padding changes nothing",
    async (factor) => {
      expect(parityProblems(await paddedChecks(model, factor, goldens))).toEqual([]);
    },
  );
});

describe("AdaptVis' choice on ten prompts whose first token depends on the factor", async () => {
  const cases = JSON.parse(readFileSync(`${GOLDEN}/adaptvis_flips.json`, "utf8")) as readonly FlipCase[]; // our golden
  let model: Llava;
  let pictures: TensorFile;
  beforeAll(async () => {
    model = await loadGoldenModel("tiny-llava");
    pictures = await readTensorFile("adaptvis_flips.safetensors");
  });
  afterAll(() => model.dispose());

  test.each(cases)("case $case", async (flip) => {
    expect(parityProblems(await flipChecks(model, flip, pictures))).toEqual([]);
  });
});
