// Decode steps that multiply integers: how far their logits are from those over f32 activations, and that only they change.
import { describe, expect, test } from "vitest";
import type { AnswerOptions } from "../../src/answer.ts";
import type { ActivationDtype } from "../../src/gpu/tensor.ts";
import type { Llava } from "../../src/llava.ts";
import { goldenInputs, logitsOf, readTensorFile, relativeRms } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";
import { PARITY } from "../setup/parity-bounds.ts";

/** A neutral factor: the last prompt row runs again, as a decode step. */
const ONE_STEP: AnswerOptions = { method: "adaptvis", alpha1: 1, alpha2: 1, maxNewTokens: 1 };

// Widths of a part of a group, and heads of 10 in 12; a bias, and shapes that the fused kernels take.
describe.each([
  ["llava-odd-widths-bf16", "gpu", "q8"],
  ["llava-odd-widths-bf16", "cpu", "q4"],
  ["llava-biases", "cpu", "q8"],
] as const)("%s with the kernels for a %s and weights in %s", (name, adapterClass, dtype) => {
  async function run<T>(activationDtype: ActivationDtype, work: (model: Llava) => Promise<T>): Promise<T> {
    using model = await loadGoldenModel(name, { adapterClass, dtype, activationDtype });
    expect(model.activationDtype).toBe(activationDtype);
    return await work(model);
  }

  test("a step's logits are near those over f32 activations; a prompt's are the same", async () => {
    const golden = await readTensorFile(`${name}/expected.safetensors`);
    const traces = async (model: Llava) => {
      const inputs = goldenInputs(model, golden);
      const prompt = await model.trace(inputs, { maxNewTokens: 1 });
      const step = await model.trace(inputs, ONE_STEP);
      const rows = await model.sweep(inputs, [1, 1, 1], { maxNewTokens: 4, ignoreEos: true });
      return { prompt: logitsOf(prompt), step: logitsOf(step), rows };
    };
    const f32 = await run("f32", traces);
    const q8 = await run("q8", traces);
    expect(q8.prompt).toEqual(f32.prompt);
    const error = relativeRms(q8.step, f32.step);
    expect(error).toBeLessThan(PARITY.activations);
    expect(error).toBeGreaterThan(1e-3);
    // A batch's rows are quantised each for itself.
    const [first, ...others] = q8.rows.map(({ tokenIds }) => tokenIds.join());
    expect(others).toEqual([first, first]);
  });
});
