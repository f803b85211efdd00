// Every stage against Hugging Face transformers on tiny checkpoints (test/golden/README.md), in any host.
import type { Llava } from "../../src/llava.ts";
import { goldenInputs, type TensorFile } from "./golden.ts";
import { PARITY } from "./parity-bounds.ts";
import { type ParityCheck, same, within } from "./parity-check.ts";

/** Checkpoints that differ in what can go wrong, and their expected*.safetensors. */
export const TRANSFORMERS_CASES: readonly (readonly [name: string, expected: string])[] = [
  ["llava-mqa-full", "expected"],
  ["llava-odd-widths-bf16", "expected"],
  ["llava-qwen2-f16-sharded", "expected"],
  ["llava-long-prompt", "expected"],
  ["llava-biases", "expected"],
  ["llava-wide-head", "expected"],
  ["llava-deep", "expected"],
  ["llava-siglip", "expected"],
  ["llama-text-tied", "expected"],
  ["llava-next", "expected-0"],
  ["llava-next", "expected-1"],
  ["llava-next", "expected-2"],
  ["llava-next", "expected-3"],
];

const FACTORS = ["1.0", "0.5", "0.8", "1.2", "1.5", "2.0"];

/** Vision tower, projector, attention, logits and greedy ids, under each factor that the golden has. */
export async function transformersChecks(model: Llava, golden: TensorFile): Promise<readonly ParityCheck[]> {
  const inputs = goldenInputs(model, golden);
  const checks: ParityCheck[] = [];
  for (const factor of FACTORS.filter((value) => golden.has(`f${value}.logits`))) {
    const expectedIds = golden.ids(`f${factor}.generated`);
    const trace = await model.trace(inputs, {
      method: factor === "1.0" ? "greedy" : "scaling",
      ...(factor !== "1.0" && { factor: Number(factor) }),
      maxNewTokens: expectedIds.length,
      ignoreEos: true,
    });
    const traced = new Map(trace.tensors.map((tensor) => [tensor.name, tensor.data]));
    if (factor === "1.0") checks.push(...stageChecks(traced, golden));
    for (let layer = 0; golden.has(`f${factor}.probs.${layer}`); layer++) {
      const probs = traced.get(`layers.${layer}.attention_probs`) ?? [];
      const expected = golden.get(`f${factor}.probs.${layer}`).data;
      checks.push(within(`factor ${factor}, layer ${layer} attention`, PARITY.attentionProbs, [probs, expected]));
    }
    const logits = [traced.get("logits") ?? [], golden.get(`f${factor}.logits`).data] as const;
    checks.push(within(`factor ${factor} logits`, PARITY.logits, logits));
    checks.push(same(`factor ${factor} ids`, Array.from(traced.get("generated_ids") ?? []), expectedIds));
  }
  return checks;
}

function stageChecks(traced: ReadonlyMap<string, ArrayLike<number>>, golden: TensorFile): readonly ParityCheck[] {
  return [...golden.tensors].flatMap(([name, { data }]) => {
    const layer = /^vision_hidden\.(\d+)$/.exec(name)?.[1];
    if (name !== "image_features" && layer === undefined) return [];
    const traceName = layer === undefined ? name : `vision.hidden_states.${layer}`;
    const actual = traced.get(traceName);
    // Layers above the feature layer do not run.
    return actual === undefined ? [] : [within(traceName, PARITY.hiddenStates, [actual, data])];
  });
}
