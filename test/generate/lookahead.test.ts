// Tokens on their way at once: answers do not depend on how many, nor on what an earlier answer left on its way.
import { expect, test } from "vitest";
import { AbortError, InputError } from "../../src/errors.ts";
import { Program } from "../../src/gpu/program.ts";
import { padTo4 } from "../../src/gpu/tensor.ts";
import type { Llava } from "../../src/llava.ts";
import { decoderLayers } from "../../src/models/layers/decoder.ts";
import { createLlamaState } from "../../src/models/layers/decoder-state.ts";
import type { LlamaLayerWeights } from "../../src/models/weights.ts";
import { goldenInputs, readTensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";
import { openTestGpu } from "../setup/run-kernel.ts";

async function withModel<T>(lookahead: number | undefined, use: (model: Llava) => Promise<T>): Promise<T> {
  const model = await loadGoldenModel("tiny-llava", { lookahead });
  try {
    return await use(model);
  } finally {
    model.dispose();
  }
}

const inputsOf = async (model: Llava) => goldenInputs(model, await readTensorFile("tiny-llava/expected.safetensors"));

test.each([1, 2, 3, 4])("%i tokens on their way: the same tokens, log-probabilities and texts", async (lookahead) => {
  const answerOf = (model: Llava, maxNewTokens: number) =>
    inputsOf(model).then((inputs) => model.answer(inputs, { maxNewTokens, ignoreEos: true }));
  // Alternatives are reported token by token, without any lookahead.
  const expected = await withModel(undefined, async (model) =>
    model.answer(await inputsOf(model), { maxNewTokens: 9, ignoreEos: true, topLogProbs: 1 }),
  );
  await withModel(lookahead, async (model) => {
    for (const maxNewTokens of [9, 1, 3]) {
      const { tokens } = await answerOf(model, maxNewTokens);
      expect(tokens.map(({ tokenId, logProb }) => ({ tokenId, logProb }))).toEqual(
        expected.tokens.slice(0, maxNewTokens).map(({ tokenId, logProb }) => ({ tokenId, logProb })),
      );
    }
  });
});

test("what is still on its way when an answer ends, is stopped or fails, does not disturb the next", async () => {
  await withModel(4, async (model) => {
    const inputs = await inputsOf(model);
    const options = { maxNewTokens: 8, ignoreEos: true };
    const free = (await model.answer(inputs, options)).tokens.map(({ tokenId }) => tokenId);
    const stop = new AbortController();
    const aborted = model.answer(inputs, { ...options, signal: stop.signal, onToken: () => stop.abort() });
    await expect(aborted).rejects.toThrow(AbortError);
    const failed = model.answer(inputs, {
      ...options,
      onToken: () => {
        throw new RangeError("the caller's own");
      },
    });
    await expect(failed).rejects.toThrow("the caller's own");
    for (let round = 0; round < 2; round++) {
      const { tokens } = await model.answer(inputs, { ...options, method: "greedy" });
      expect(tokens.map(({ tokenId }) => tokenId)).toEqual(free);
    }
  });
});

test.each([0, 5, 1.5])("a lookahead of %d is refused", async (lookahead) => {
  await expect(loadGoldenModel("tiny-llava", { lookahead })).rejects.toThrow(InputError);
});

test("a decode step is eight dispatches a layer at most, on either class of adapter", async () => {
  const gpu = await openTestGpu();
  const [hidden, inner, heads] = [64, 96, 4];
  const matrix = (rows: number, columns: number) => ({
    weight: {
      name: "test",
      dtype: "f32" as const,
      rows: padTo4(rows),
      columns,
      pieces: [{ buffer: gpu.unused, rowStart: 0, numRows: rows }],
    },
    bias: undefined,
  });
  const layer: LlamaLayerWeights = {
    inputLayernorm: gpu.unused,
    selfAttn: { qkvProj: matrix(3 * hidden, hidden), oProj: matrix(hidden, hidden) },
    postAttentionLayernorm: gpu.unused,
    mlp: { gateUpProj: matrix(2 * inner, hidden), downProj: matrix(hidden, inner) },
  };
  const model = await loadGoldenModel("tiny-llava");
  const text = { ...model.config.text, hiddenSize: hidden, intermediateSize: inner, numAttentionHeads: heads };
  model.dispose();
  const oneLayer = { ...text, numKeyValueHeads: heads, headDim: hidden / heads, numHiddenLayers: 1 };
  for (const isSoftware of [true, false]) {
    const classed = Object.create(gpu, { isSoftware: { value: isSoftware } }) as typeof gpu;
    const buffers = { createBuffer: () => gpu.unused, createBufferWith: () => gpu.unused };
    const state = createLlamaState(buffers, oneLayer, { capacity: 256, numRows: 1, promptRows: 1, batchRows: 1 });
    const weights = {
      embedTokens: matrix(8, hidden).weight,
      layers: [layer],
      norm: gpu.unused,
      lmHead: matrix(8, hidden),
    };
    const program = new Program("count");
    decoderLayers(program, classed, {
      decoder: { text: oneLayer, weights, state },
      numRows: 1,
      isDecode: true,
      scaledLayers: undefined,
      capture: undefined,
    });
    expect(program.numDispatches).toBeLessThanOrEqual(8);
  }
});
