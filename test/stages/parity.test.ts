// Every stage against Hugging Face transformers on tiny checkpoints (tools/goldens/checkpoints.py and test/golden/README.md).
import { afterAll, describe, expect, test } from "vitest";
import type { Trace } from "../../src/answer.ts";
import type { Llava } from "../../src/llava.ts";
import { goldenInputs, largestError, loadGoldenModel, readTensorFile, type TensorFile } from "../setup/golden.ts";
import { PARITY } from "../setup/parity-bounds.ts";

const CASES: readonly (readonly [name: string, expected: string])[] = [
  ["llava-mqa-full", "expected"],
  ["llava-odd-widths-bf16", "expected"],
  ["llava-qwen2-f16-sharded", "expected"],
  ["llava-long-prompt", "expected"],
  ["llava-biases", "expected"],
  ["llava-wide-head", "expected"],
  ["llama-text-tied", "expected"],
  ["llava-next", "expected-0"],
  ["llava-next", "expected-1"],
  ["llava-next", "expected-2"],
  ["llava-next", "expected-3"],
];

const FACTORS = ["1.0", "0.5", "0.8", "1.2", "1.5", "2.0"];

function tensorOf(trace: Trace, name: string): ArrayLike<number> {
  const tensor = trace.tensors.find((entry) => entry.name === name);
  if (tensor === undefined) throw new Error(`The trace has no ${name}.`);
  return tensor.data;
}

function checkStages(trace: Trace, golden: TensorFile): void {
  for (const name of golden.tensors.keys()) {
    const layer = /^vision_hidden\.(\d+)$/.exec(name)?.[1];
    const traceName = layer === undefined ? name : `vision.hidden_states.${layer}`;
    if (name !== "image_features" && layer === undefined) continue;
    if (!trace.tensors.some((tensor) => tensor.name === traceName)) continue; // layers above the feature layer do not run
    const error = largestError(tensorOf(trace, traceName), golden.get(name).data);
    expect(error, `${traceName}: largest error`).toBeLessThan(PARITY.hiddenStates);
  }
}

describe.each(CASES)("%s/%s", (name, file) => {
  let model: Llava | undefined;
  afterAll(() => model?.dispose());

  test("vision tower, projector, attention, logits and greedy ids equal transformers'", async () => {
    model = await loadGoldenModel(name);
    const golden = await readTensorFile(`${name}/${file}.safetensors`);
    const inputs = goldenInputs(model, golden);
    for (const factor of FACTORS.filter((value) => golden.has(`f${value}.logits`))) {
      const trace = await model.trace(inputs, {
        method: factor === "1.0" ? "greedy" : "scaling",
        factor: Number(factor),
        maxNewTokens: golden.ids(`f${factor}.generated`).length,
        ignoreEos: true,
      });
      if (factor === "1.0") checkStages(trace, golden);
      for (let layer = 0; golden.has(`f${factor}.probs.${layer}`); layer++) {
        const error = largestError(
          tensorOf(trace, `layers.${layer}.attention_probs`),
          golden.get(`f${factor}.probs.${layer}`).data,
        );
        expect(error, `factor ${factor}, layer ${layer} attention`).toBeLessThan(PARITY.attentionProbs);
      }
      const logits = largestError(tensorOf(trace, "logits"), golden.get(`f${factor}.logits`).data);
      expect(logits, `factor ${factor} logits`).toBeLessThan(PARITY.logits);
      expect(Array.from(tensorOf(trace, "generated_ids")), `factor ${factor} ids`).toEqual(
        golden.ids(`f${factor}.generated`),
      );
    }
  });
});
