// What must not depend on how a prompt is run: chunks, steps, the factor 1, AdaptVis' one step against two prefills.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Trace } from "../../src/answer.ts";
import type { Llava } from "../../src/llava.ts";
import type { ModelInputs } from "../../src/models/inputs.ts";
import { isBrief } from "../setup/device.ts";
import { goldenInputs, largestError, readTensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";
import { PARITY } from "../setup/parity-bounds.ts";

function named(trace: Trace, name: string): ArrayLike<number> {
  return trace.tensors.find((tensor) => tensor.name === name)?.data ?? [];
}

describe.each(["tiny-llava-gqa", "llava-mqa-full", "llava-odd-widths-bf16"])("%s", (name) => {
  let model: Llava;
  let inputs: ModelInputs;
  beforeAll(async () => {
    model = await loadGoldenModel(name);
    inputs = goldenInputs(model, await readTensorFile(`${name}/expected.safetensors`));
  });
  afterAll(() => model.dispose());

  test("factor 1 gives bit-equal logits to no factor", async () => {
    const greedy = await model.trace(inputs, { maxNewTokens: 1 });
    const scaled = await model.trace(inputs, { method: "scaling", factor: 1, maxNewTokens: 1 });
    expect(named(scaled, "logits")).toEqual(named(greedy, "logits"));
  });

  test("the same question twice gives the same bytes", async () => {
    const first = await model.trace(inputs, { method: "adaptvis", maxNewTokens: 6, ignoreEos: true });
    const second = await model.trace(inputs, { method: "adaptvis", maxNewTokens: 6, ignoreEos: true });
    expect(second.tensors).toEqual(first.tensors);
  });

  test.each([0.5, 1.5])("AdaptVis' one extra step equals a second prefill, factor %f", async (factor) => {
    const adaptvis = { alpha1: factor, alpha2: factor, beta: 0.5 };
    const oneStep = await model.trace(inputs, { method: "adaptvis", ...adaptvis, maxNewTokens: 5, ignoreEos: true });
    const oracle = await model.trace(inputs, { method: "scaling", factor, maxNewTokens: 5, ignoreEos: true });
    expect(largestError(named(oneStep, "logits"), named(oracle, "logits"))).toBeLessThan(PARITY.oracle);
    for (const tensor of oracle.tensors.filter(({ name: point }) => point.startsWith("layers."))) {
      expect(largestError(named(oneStep, tensor.name), tensor.data), tensor.name).toBeLessThan(PARITY.oracle);
    }
    expect(named(oneStep, "generated_ids")).toEqual(named(oracle, "generated_ids"));
  });

  test("AdaptVis over the last three rows equals a second prefill", async () => {
    const adaptvis = { alpha1: 0.5, alpha2: 0.5, beta: 0.5 };
    const rows = { last: 3 };
    const oneStep = await model.trace(inputs, {
      method: "adaptvis",
      ...adaptvis,
      rows,
      maxNewTokens: 5,
      ignoreEos: true,
    });
    const oracle = await model.trace(inputs, {
      method: "scaling",
      factor: 0.5,
      rows,
      maxNewTokens: 5,
      ignoreEos: true,
    });
    expect(largestError(named(oneStep, "logits"), named(oracle, "logits"))).toBeLessThan(PARITY.oracle);
    const lastRowOnly = await model.trace(inputs, { method: "scaling", factor: 0.5, maxNewTokens: 1 });
    expect(largestError(named(oracle, "logits"), named(lastRowOnly, "logits"))).toBeGreaterThan(PARITY.logits);
  });

  test("layers and heads choose where the factor acts", async () => {
    const scores = (trace: Trace, layer: number) => named(trace, `layers.${layer}.attention_probs`);
    const all = await model.trace(inputs, { method: "scaling", factor: 0.5, maxNewTokens: 1 });
    const greedy = await model.trace(inputs, { maxNewTokens: 1 });
    const numHeads = model.config.text.numAttentionHeads;
    const firstLayer = await model.trace(inputs, { method: "scaling", factor: 0.5, layers: [0], maxNewTokens: 1 });
    expect(scores(firstLayer, 0)).toEqual(scores(all, 0));
    expect(largestError(scores(firstLayer, 1), scores(all, 1))).toBeGreaterThan(0);
    const oneHead = await model.trace(inputs, {
      method: "scaling",
      factor: 0.5,
      heads: [numHeads - 1],
      maxNewTokens: 1,
    });
    const numKeys = scores(all, 0).length / numHeads;
    const head = (values: ArrayLike<number>, index: number) =>
      Array.from(values).slice(index * numKeys, (index + 1) * numKeys);
    expect(head(scores(oneHead, 0), 0)).toEqual(head(scores(greedy, 0), 0));
    expect(head(scores(oneHead, 0), numHeads - 1)).toEqual(head(scores(all, 0), numHeads - 1));
  });

  test("a chunked prefill equals the whole one, and steps equal a longer prefill", async () => {
    const chunked = await loadGoldenModel(name, { chunkRows: 5 });
    try {
      const whole = await model.trace(inputs, { method: "scaling", factor: 0.8, maxNewTokens: 6, ignoreEos: true });
      const inChunks = await chunked.trace(inputs, {
        method: "scaling",
        factor: 0.8,
        maxNewTokens: 6,
        ignoreEos: true,
      });
      expect(largestError(named(inChunks, "logits"), named(whole, "logits"))).toBeLessThan(PARITY.oracle);
      expect(named(inChunks, "generated_ids")).toEqual(named(whole, "generated_ids"));

      const greedy = await model.trace(inputs, { maxNewTokens: 4, ignoreEos: true, topLogProbs: 5 });
      const longer = {
        ...inputs,
        inputIds: Int32Array.from([...inputs.inputIds, ...Array.from(named(greedy, "generated_ids")).slice(0, 3)]),
      };
      const prefilled = await model.answer(longer, { maxNewTokens: 1, ignoreEos: true, topLogProbs: 5 });
      const stepped = greedy.answer.tokens[3];
      expect(prefilled.tokens[0]?.tokenId).toBe(stepped?.tokenId);
      const logProbs = (top: readonly { readonly logProb: number }[] = []) => top.map(({ logProb }) => logProb);
      expect(largestError(logProbs(prefilled.tokens[0]?.top), logProbs(stepped?.top))).toBeLessThan(PARITY.oracle);
    } finally {
      chunked.dispose();
    }
  });

  if (isBrief) return; // each kernel's own tests run it here
  test("the kernels for CPU adapters and those for GPUs give the same answer", async () => {
    const options = { method: "adaptvis", maxNewTokens: 5, ignoreEos: true } as const;
    const traces: Trace[] = [];
    for (const adapterClass of ["cpu", "gpu"] as const) {
      const loaded = await loadGoldenModel(name, { adapterClass });
      traces.push(await loaded.trace(inputs, options));
      loaded.dispose();
    }
    const [cpu, gpu] = traces;
    if (cpu === undefined || gpu === undefined) throw new Error("two traces were made");
    expect(largestError(named(gpu, "logits"), named(cpu, "logits"))).toBeLessThan(PARITY.oracle);
    expect(named(gpu, "logits")).not.toEqual(named(cpu, "logits")); // summed in another order: other kernels did run
    expect(named(gpu, "generated_ids")).toEqual(named(cpu, "generated_ids"));
  });
});
