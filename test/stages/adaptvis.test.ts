// ScalingVis and AdaptVis against the outputs of the authors' code (test/golden/README.md says how they were made).
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Llava } from "../../src/llava.ts";
import {
  GOLDEN,
  goldenInputs,
  largestError,
  loadGoldenModel,
  readTensorFile,
  type TensorFile,
} from "../setup/golden.ts";
import { PARITY } from "../setup/parity-bounds.ts";

interface FlipCase {
  readonly case: number;
  readonly input_ids: readonly number[];
  readonly runs: Readonly<Record<string, { readonly tokens: readonly number[]; readonly confidence_2dp: number }>>;
  readonly adaptvis: {
    readonly threshold: number;
    readonly weight1: number;
    readonly weight2: number;
    readonly chosen: number;
    readonly tokens: readonly number[];
  };
}

/** The last query row of attention [1, H, T, T], as [H, T]. */
function lastRows(attention: { readonly shape: readonly number[]; readonly data: Float32Array }): Float32Array {
  const [, numHeads = 0, , numKeys = 0] = attention.shape;
  return Float32Array.from({ length: numHeads * numKeys }, (_, i) => {
    const head = Math.floor(i / numKeys);
    return attention.data[(head + 1) * numKeys * numKeys - numKeys + (i % numKeys)] ?? 0;
  });
}

const VARIANTS = ["tiny-llava", "tiny-llava-gqa", "tiny-llava-bf16", "tiny-llava-f16-sharded"];

describe.each(VARIANTS)("%s (transformers 4.44.2)", (name) => {
  test("stages, logits of the last row and greedy ids", async () => {
    const model = await loadGoldenModel(name);
    const golden = await readTensorFile(`${name}/expected.safetensors`);
    const inputs = goldenInputs(model, golden);
    // The bf16 and f16 folders hold no generated ids: their logits' argmax is the first.
    const generated = golden.has("generated")
      ? golden.ids("generated").slice(golden.ids("input_ids").length)
      : undefined;
    const trace = await model.trace(inputs, { maxNewTokens: generated?.length ?? 1, ignoreEos: true });
    const vocabSize = golden.get("logits").shape[2] ?? 0;
    const logits = golden.get("logits").data.slice(-vocabSize);
    const named = new Map(trace.tensors.map((tensor) => [tensor.name, tensor.data]));
    expect(largestError(named.get("logits") ?? [], logits)).toBeLessThan(PARITY.logits);
    const argmax = logits.indexOf(Math.max(...logits));
    expect(Array.from(named.get("generated_ids") ?? [])).toEqual(generated ?? [argmax]);
    const attention = lastRows(golden.get("text_attn.0"));
    expect(largestError(named.get("layers.0.attention_probs") ?? [], attention)).toBeLessThan(PARITY.attentionProbs);
    if (golden.has("image_features")) {
      const features = named.get("image_features") ?? [];
      expect(largestError(features, golden.get("image_features").data)).toBeLessThan(PARITY.hiddenStates);
    }
    if (golden.has("text_hidden.0")) {
      const embeds = named.get("inputs_embeds") ?? [];
      expect(largestError(embeds, golden.get("text_hidden.0").data)).toBeLessThan(PARITY.hiddenStates);
    }
    model.dispose();
  });
});

describe("the authors' code on tiny-llava", () => {
  let model: Llava;
  let golden: TensorFile;
  let plain: TensorFile;
  beforeAll(async () => {
    model = await loadGoldenModel("tiny-llava");
    golden = await readTensorFile("adaptvis_expected.safetensors");
    plain = await readTensorFile("tiny-llava/expected.safetensors");
  });
  afterAll(() => model.dispose());

  test.each(["1.0", "0.5", "0.8", "1.2", "1.5", "2.0"])(
    "factor %s: ids, first logits, attention as used",
    async (factor) => {
      const generated = golden.ids(`w${factor}.generated`).slice(plain.ids("input_ids").length);
      const trace = await model.trace(goldenInputs(model, plain), {
        method: "scaling",
        factor: Number(factor),
        maxNewTokens: generated.length,
        ignoreEos: true,
      });
      const named = new Map(trace.tensors.map((tensor) => [tensor.name, tensor.data]));
      expect(Array.from(named.get("generated_ids") ?? [])).toEqual(generated);
      const scores = golden.get(`w${factor}.scores`);
      const first = scores.data.slice(0, scores.shape[2]);
      expect(largestError(named.get("logits") ?? [], first)).toBeLessThan(PARITY.logits);
      for (const layer of [0, 1]) {
        const expected = lastRows(golden.get(`w${factor}.attn_used.${layer}`));
        const probs = named.get(`layers.${layer}.attention_probs`) ?? [];
        expect(largestError(probs, expected), `layer ${layer}`).toBeLessThan(PARITY.attentionProbs);
      }
    },
  );

  test.each(["1.0", "0.5", "1.5"])(
    "factor %s on a prompt that the authors pad on the left: padding changes nothing",
    async (factor) => {
      const mask = golden.ids("pad.attention_mask");
      const padded = golden.ids("pad.input_ids");
      const inputIds = padded.filter((_, i) => mask[i] === 1);
      expect(inputIds.length).toBeLessThan(padded.length);
      const generated = golden.ids(`pad_w${factor}.generated`).slice(padded.length);
      const inputs = model.processor.fromTensors({ inputIds, pixelValues: plain.get("pixel_values").data });
      const trace = await model.trace(inputs, {
        method: "scaling",
        factor: Number(factor),
        maxNewTokens: generated.length,
        ignoreEos: true,
      });
      const named = new Map(trace.tensors.map((tensor) => [tensor.name, tensor.data]));
      expect(Array.from(named.get("generated_ids") ?? [])).toEqual(generated);
      const scores = golden.get(`pad_w${factor}.scores`);
      expect(largestError(named.get("logits") ?? [], scores.data.slice(0, scores.shape[2]))).toBeLessThan(
        PARITY.logits,
      );
    },
  );
});

describe("AdaptVis' choice on ten prompts whose first token depends on the factor", async () => {
  const cases = JSON.parse(readFileSync(`${GOLDEN}/adaptvis_flips.json`, "utf8")) as readonly FlipCase[]; // our golden
  let model: Llava;
  beforeAll(async () => {
    model = await loadGoldenModel("tiny-llava");
  });
  afterAll(() => model.dispose());

  test.each(cases)("case $case", async (flip) => {
    const pixels = (await readTensorFile("adaptvis_flips.safetensors")).get(`case${flip.case}.pixel_values`).data;
    const inputs = model.processor.fromTensors({ inputIds: flip.input_ids, pixelValues: pixels });
    for (const [factor, run] of Object.entries(flip.runs)) {
      const answer = await model.answer(inputs, {
        method: "scaling",
        factor: Number(factor),
        maxNewTokens: run.tokens.length,
        ignoreEos: true,
      });
      expect(
        answer.tokens.map(({ tokenId }) => tokenId),
        `factor ${factor}`,
      ).toEqual(run.tokens);
      expect(answer.confidence, `factor ${factor}`).toBe(run.confidence_2dp);
    }
    const { threshold, weight1, weight2, chosen, tokens } = flip.adaptvis;
    const answer = await model.answer(inputs, {
      method: "adaptvis",
      adaptvis: { alpha1: weight1, alpha2: weight2, beta: threshold },
      maxNewTokens: tokens.length,
      ignoreEos: true,
    });
    expect(answer.factor).toBe(chosen);
    expect(answer.tokens.map(({ tokenId }) => tokenId)).toEqual(tokens);
  });
});
