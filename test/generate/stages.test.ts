// An answer tells which part of it begins, and a model how many of its kernels are compiled.
import { expect, test } from "vitest";
import type { AnswerOptions, AnswerStage } from "../../src/answer.ts";
import { goldenInputs, readTensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";

test("stages come in order; what is held from the last question is left out", async () => {
  const model = await loadGoldenModel("tiny-llava");
  const inputs = goldenInputs(model, await readTensorFile("tiny-llava/expected.safetensors"));
  const stagesOf = async (options: AnswerOptions) => {
    const stages: AnswerStage[] = [];
    await model.answer(inputs, { ...options, maxNewTokens: 1, onStage: (stage) => stages.push(stage) });
    return stages;
  };
  expect(await stagesOf({ method: "greedy" })).toEqual(["vision", "prefill", "generate"]);
  expect(await stagesOf({ method: "scaling" })).toEqual(["prefill", "generate"]);
  expect(await stagesOf({ method: "adaptvis" })).toEqual(["prefill", "factor", "generate"]);
  expect(await stagesOf({ method: "adaptvis", reusePrefix: false })).toEqual([
    "vision",
    "prefill",
    "factor",
    "generate",
  ]);
  model.dispose();
});

test("compiled kernels are counted up to all of them", async () => {
  const model = await loadGoldenModel("tiny-llava");
  const counts: (readonly [numCompiled: number, numKernels: number])[] = [];
  await model.compiled((...count) => counts.push(count));
  const totals = new Set(counts.map(([, numKernels]) => numKernels));
  expect([...totals]).toEqual([model.gpu.pipelines.size]);
  const compiled = counts.map(([numCompiled]) => numCompiled);
  expect(compiled).toEqual(compiled.toSorted((a, b) => a - b));
  expect(compiled.at(-1)).toBe(model.gpu.pipelines.size);
  await model.compiled();
  model.dispose();
});
