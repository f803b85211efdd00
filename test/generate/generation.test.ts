// Generation options on a real model: streaming, log-probabilities, sampling, the repetition penalty, ends.
import { afterAll, beforeAll, expect, test } from "vitest";
import type { AnswerOptions } from "../../src/answer.ts";
import type { GeneratedToken } from "../../src/generate/generate.ts";
import type { Llava } from "../../src/llava.ts";
import type { ModelInputs } from "../../src/preprocess/processor.ts";
import { goldenInputs, largestError, readTensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";

let model: Llava;
let inputs: ModelInputs;
let logits: Float32Array;

beforeAll(async () => {
  model = await loadGoldenModel("tiny-llava");
  inputs = goldenInputs(model, await readTensorFile("tiny-llava/expected.safetensors"));
  const trace = await model.trace(inputs, { maxNewTokens: 1, ignoreEos: true });
  logits = Float32Array.from(trace.tensors.find(({ name }) => name === "logits")?.data ?? []);
});
afterAll(() => model.dispose());

const answer = (options: AnswerOptions) => model.answer(inputs, { ignoreEos: true, ...options });
const idsOf = (tokens: readonly GeneratedToken[]) => tokens.map(({ tokenId }) => tokenId);

function logSoftmax(values: ArrayLike<number>): number[] {
  const list = Array.from(values);
  const largest = Math.max(...list);
  const logSum = largest + Math.log(list.reduce((sum, value) => sum + Math.exp(value - largest), 0));
  return list.map((value) => value - logSum);
}

test("log-probabilities of the choice and of the top k are log softmax of the logits", async () => {
  const { tokens, confidence } = await answer({ maxNewTokens: 1, topLogProbs: 7, roundConfidence: false });
  const expected = logSoftmax(logits);
  const order = [...expected.keys()].sort((a, b) => (expected[b] ?? 0) - (expected[a] ?? 0)).slice(0, 7);
  const [token] = tokens;
  expect(token?.top.map(({ tokenId }) => tokenId)).toEqual(order);
  const probabilities = order.map((id) => expected[id] ?? 0);
  expect(largestError(token?.top.map(({ logProb }) => logProb) ?? [], probabilities)).toBeLessThan(1e-5);
  expect(token?.logProb).toBe(token?.top[0]?.logProb);
  expect(confidence).toBeCloseTo(Math.exp(probabilities[0] ?? 0), 6);
});

test("confidence over options needs a tokenizer, and says so", async () => {
  await expect(answer({ method: "adaptvis", confidence: ["Left", "Right"] })).rejects.toThrow("no tokenizer.json");
});

test("tokens stream in order, one call each", async () => {
  const streamed: GeneratedToken[] = [];
  const { tokens } = await answer({ maxNewTokens: 5, onToken: (token) => streamed.push(token) });
  expect(streamed).toEqual(tokens);
  expect(tokens).toHaveLength(5);
});

test("generation ends at any id of the list of end tokens", async () => {
  const free = idsOf((await answer({ maxNewTokens: 6 })).tokens);
  const end = free[2] ?? 0;
  const processor = Object.create(model.processor, { eosTokenIds: { value: [9999, end] } }) as typeof model.processor;
  const ended = await withProcessor(processor).answer(inputs, { maxNewTokens: 6 });
  expect(ended.finishReason).toBe("eos");
  expect(idsOf(ended.tokens)).toEqual(free.slice(0, free.indexOf(end) + 1));
});

/** The same model with another processor. */
function withProcessor(processor: Llava["processor"]): Llava {
  return Object.create(model, { processor: { value: processor } }) as Llava;
}

test("sampling: the same seed gives the same ids, top-k 1 is greedy", async () => {
  const greedy = idsOf((await answer({ maxNewTokens: 6 })).tokens);
  const sample = async (seed: number, topK = 0) =>
    idsOf((await answer({ maxNewTokens: 6, sampling: { temperature: 2, topK, seed } })).tokens);
  expect(await sample(5)).toEqual(await sample(5));
  expect(await sample(1, 1)).toEqual(greedy);
  const others = await Promise.all([1, 2, 3, 4].map((seed) => sample(seed)));
  expect(others.some((ids) => ids.join() !== greedy.join())).toBe(true);
});

test("the repetition penalty is transformers': positive logits of seen tokens are divided, negative multiplied", async () => {
  const repetitionPenalty = 1.7;
  const { tokens } = await answer({ maxNewTokens: 1, sampling: { repetitionPenalty }, topLogProbs: 100 });
  const penalised = Float64Array.from(logits);
  for (const id of new Set(inputs.inputIds)) {
    const logit = penalised[id] ?? 0;
    penalised[id] = logit > 0 ? logit / repetitionPenalty : logit * repetitionPenalty;
  }
  const expected = logSoftmax(penalised);
  for (const { tokenId, logProb } of tokens[0]?.top ?? []) {
    expect(Math.abs(logProb - (expected[tokenId] ?? 0))).toBeLessThan(1e-5);
  }
  expect(tokens[0]?.tokenId).toBe(expected.indexOf(Math.max(...expected)));
});

test("a penalty near infinity never repeats a token", async () => {
  const { tokens } = await answer({ maxNewTokens: 12, sampling: { repetitionPenalty: 1e6 } });
  const ids = [...new Set(inputs.inputIds), ...idsOf(tokens)];
  expect(new Set(ids).size).toBe(ids.length);
});

test.each(["llava-qwen2-f16-sharded", "llama-text-tied", "llava-next"])(
  "%s: loading compiles every pipeline that a question needs",
  async (name) => {
    const loaded = await loadGoldenModel(name);
    const { size } = loaded.gpu.pipelines;
    expect(size).toBeGreaterThan(10);
    const file = name === "llava-next" ? "expected-0" : "expected";
    const asked = goldenInputs(loaded, await readTensorFile(`${name}/${file}.safetensors`));
    await loaded.answer(asked, { method: "adaptvis", maxNewTokens: 3, ignoreEos: true });
    expect(loaded.gpu.pipelines.size).toBe(size);
    loaded.dispose();
  },
);
