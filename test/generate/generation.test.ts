// Generation options on a real model: streaming, log-probabilities, sampling, the repetition penalty, ends.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { AnswerOptions } from "../../src/answer.ts";
import type { GeneratedToken } from "../../src/generate/generate.ts";
import { optionConfidence, roundConfidence } from "../../src/interventions/confidence.ts";
import type { Llava } from "../../src/llava.ts";
import type { ModelInputs } from "../../src/models/inputs.ts";
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

/** The logits after a prompt that some tokens were added to: what a decode step must give, computed as one prefill. */
async function logitsAfter(tokenIds: readonly number[], options: AnswerOptions = {}): Promise<Float32Array> {
  const longer = { ...inputs, inputIds: Int32Array.from([...inputs.inputIds, ...tokenIds]) };
  const trace = await model.trace(longer, { maxNewTokens: 1, ignoreEos: true, ...options });
  return Float32Array.from(trace.tensors.find(({ name }) => name === "logits")?.data ?? []);
}

/** Log-probabilities of a decode step against those of one prefill: other kernels, so other rounding. */
const STEP_BOUND = 1e-4;

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

describe.each([
  { topLogProbs: 0, path: "chosen ahead on the GPU" },
  { topLogProbs: 1, path: "one at a time" },
])("tokens $path", ({ topLogProbs }) => {
  const scaled = { method: "scaling", factor: 4, maxNewTokens: 4, topLogProbs } as const;

  test("rows: generated scales generated rows as a prefill of the same rows would; last does not", async () => {
    const { tokens } = await answer({ ...scaled, rows: "generated" });
    const ids = idsOf(tokens);
    for (const [index, { logProb, tokenId }] of tokens.entries()) {
      const expected = await logitsAfter(ids.slice(0, index), { ...scaled, rows: { last: index + 1 } });
      expect(Math.abs(logProb - (logSoftmax(expected)[tokenId] ?? 0))).toBeLessThan(STEP_BOUND);
    }
    const { tokens: unscaled } = await answer({ ...scaled, rows: "last" });
    expect(unscaled[0]).toEqual(tokens[0]);
    expect(Math.abs((unscaled[1]?.logProb ?? 0) - (tokens[1]?.logProb ?? 0))).toBeGreaterThan(100 * STEP_BOUND);
  });
});

describe("the confidence", () => {
  const OPTIONS = ["Left", "Right", "On"];
  const withOptions = (tokenIds: readonly number[]) =>
    withProcessor({ firstTokenOf: (option) => tokenIds[OPTIONS.indexOf(option)] ?? 0 });
  const mostProbable = () => logSoftmax(logits).reduce((most, value) => Math.max(most, value));

  test("over options is taken from their first tokens alone", async () => {
    const expected = optionConfidence(logits, [3, 8, 15]);
    for (const method of ["greedy", "adaptvis"] as const) {
      const asked = { method, confidence: OPTIONS, maxNewTokens: 1, ignoreEos: true } as const;
      const model = withOptions([3, 8, 15]);
      expect((await model.answer(inputs, { ...asked, roundConfidence: false })).confidence).toBeCloseTo(expected, 6);
      expect((await model.answer(inputs, asked)).confidence).toBe(roundConfidence(expected));
      expect(roundConfidence(expected)).not.toBeCloseTo(expected, 4);
    }
  });

  test.each([{ confidence: "vocabulary" }, { confidence: OPTIONS }] as const)(
    "over $confidence is rounded before it meets beta",
    async ({ confidence }) => {
      const exact = confidence === "vocabulary" ? Math.exp(mostProbable()) : optionConfidence(logits, [3, 8, 15]);
      const rounded = roundConfidence(exact);
      // Between the two, so that rounding decides which factor is taken.
      const adaptvis = { alpha1: 0.25, alpha2: 4, beta: (exact + rounded) / 2 };
      const factorOf = async (options: AnswerOptions) => {
        const asked = { method: "adaptvis", ...adaptvis, confidence, maxNewTokens: 1, ignoreEos: true } as const;
        return (await withOptions([3, 8, 15]).answer(inputs, { ...asked, ...options })).factor;
      };
      const [below, above] = [adaptvis.alpha1, adaptvis.alpha2];
      expect(await factorOf({})).toBe(rounded > exact ? above : below);
      expect(await factorOf({ roundConfidence: false })).toBe(rounded > exact ? below : above);
    },
  );

  test("over the vocabulary is rounded in every answer, unless asked for as it is", async () => {
    const exact = Math.exp(mostProbable());
    for (const method of ["greedy", "adaptvis"] as const) {
      const { confidence } = await answer({ method, maxNewTokens: 3 }); // of the first token, not of a later one
      expect(confidence).toBe(roundConfidence(exact));
      expect((await answer({ method, maxNewTokens: 1, roundConfidence: false })).confidence).toBeCloseTo(exact, 6);
    }
    const [swept] = await model.sweep(inputs, [1], { maxNewTokens: 1 });
    expect(swept?.confidence).toBe(roundConfidence(exact));
    const [unrounded] = await model.sweep(inputs, [1], { maxNewTokens: 1, roundConfidence: false });
    expect(unrounded?.confidence).toBeCloseTo(exact, 6);
  });
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

/** The same model with parts of its processor replaced. */
function withProcessor(changes: Partial<Llava["processor"]>): Llava {
  const properties = Object.entries(changes).map(([name, value]) => [name, { value }] as const);
  const processor = Object.create(model.processor, Object.fromEntries(properties)) as Llava["processor"];
  return Object.create(model, { processor: { value: processor } }) as Llava;
}

describe("an answer ends", () => {
  let free: readonly number[];
  beforeAll(async () => {
    free = idsOf((await answer({ maxNewTokens: 6 })).tokens);
  });

  /** Answers with a tokenizer that gives out `pieces` in turn, then `rest`. */
  const speak = (
    pieces: readonly string[],
    options: AnswerOptions & { readonly rest?: string; readonly eosTokenIds?: readonly number[] } = {},
  ) => {
    const { rest = "", eosTokenIds = [], ...asked } = options;
    const left = [...pieces];
    const textStream = () => ({ push: () => left.shift() ?? "", flush: () => rest });
    return withProcessor({ textStream, eosTokenIds }).answer(inputs, { maxNewTokens: 6, ...asked });
  };
  const PATHS = [{}, { topLogProbs: 1 }] as const;

  test.each(PATHS)("at any id of the list of end tokens (%j)", async (path) => {
    const end = free[2] ?? 0;
    const ended = await speak(["a", "b", "c"], { eosTokenIds: [9999, end], ...path });
    const length = free.indexOf(end) + 1;
    expect(ended.finishReason).toBe("eos");
    expect(idsOf(ended.tokens)).toEqual(free.slice(0, length));
    expect(ended.text).toBe("abc".slice(0, length - 1));
    const last = await speak(["a", "b", "c"], { eosTokenIds: [end], maxNewTokens: length, ...path });
    expect(last.finishReason).toBe("eos");
  });

  test.each(PATHS)("at an end token that comes first: without text, with its confidence (%j)", async (path) => {
    const options = { ...path, roundConfidence: false };
    const ended = await speak(["a"], { eosTokenIds: free.slice(0, 1), stop: ["a"], ...options });
    expect(ended).toMatchObject({ text: "", finishReason: "eos" });
    expect(ended.tokens).toMatchObject([{ tokenId: free[0], text: "" }]);
    expect(ended.confidence).toBe((await answer({ maxNewTokens: 1, ...options })).confidence);
    expect(ended.confidence).toBeGreaterThan(0);
  });

  test("at the length, with the text that was held back for a stop string and by the tokenizer", async () => {
    const ended = await speak(["a", "b S", "TO"], { stop: ["STOP"], rest: "!", maxNewTokens: 3 });
    expect(ended).toMatchObject({ text: "ab STO!", finishReason: "length" });
    expect(ended.tokens.map(({ text }) => text)).toEqual(["a", "b ", "STO!"]);
  });

  test("at an end token, with the text held back", async () => {
    const ended = await speak(["x ST"], { stop: ["STOP"], eosTokenIds: free.slice(1, 2), rest: "O" });
    expect(free.indexOf(free[1] ?? 0)).toBe(1);
    expect(ended).toMatchObject({ text: "x STO", finishReason: "eos" });
  });

  test.each(PATHS)("at a stop string of several tokens, of which nothing is shown (%j)", async (path) => {
    const ended = await speak(["x S", "TO", "P y", "z"], { stop: ["STOP"], rest: "never", ...path });
    expect(ended).toMatchObject({ text: "x ", finishReason: "stop" });
    expect(ended.tokens.map(({ text }) => text)).toEqual(["x ", "", ""]);
    const last = await speak(["x ", "STOP"], { stop: ["STOP"], maxNewTokens: 2, ...path });
    expect(last).toMatchObject({ text: "x ", finishReason: "stop" });
  });

  test("at a stop string that the tokenizer's last characters complete", async () => {
    const ended = await speak(["x ST"], { stop: ["STOP"], rest: "OP y", maxNewTokens: 1 });
    expect(ended).toMatchObject({ text: "x ", finishReason: "stop" });
    const whole = await speak(["x "], { stop: ["STOP"], rest: "y STOP", maxNewTokens: 1 });
    expect(whole).toMatchObject({ text: "x y ", finishReason: "stop" });
  });
});

test("sampling: the same seed gives the same ids, top-k 1 is greedy", async () => {
  const greedy = idsOf((await answer({ maxNewTokens: 6 })).tokens);
  const sample = async (seed: number, topK = 0) =>
    idsOf((await answer({ maxNewTokens: 6, sampling: { temperature: 2, topK, seed } })).tokens);
  expect(await sample(5)).toEqual(await sample(5));
  expect(await sample(1, 1)).toEqual(greedy);
  const others = await Promise.all([1, 2, 3, 4].map((seed) => sample(seed)));
  expect(others.some((ids) => ids.join() !== greedy.join())).toBe(true);
});

test("the repetition penalty divides positive logits of the prompt's and the answer's tokens, and multiplies negative ones", async () => {
  const repetitionPenalty = 1.7;
  const { tokens } = await answer({ maxNewTokens: 4, sampling: { repetitionPenalty }, topLogProbs: 100 });
  const ids = idsOf(tokens);
  for (const [index, { tokenId, top }] of tokens.entries()) {
    const penalised = Float64Array.from(await logitsAfter(ids.slice(0, index)));
    for (const id of new Set([...inputs.inputIds, ...ids.slice(0, index)])) {
      const logit = penalised[id] ?? 0;
      penalised[id] = logit > 0 ? logit / repetitionPenalty : logit * repetitionPenalty;
    }
    const expected = logSoftmax(penalised);
    expect(tokenId).toBe(expected.indexOf(Math.max(...expected)));
    expect(top).toHaveLength(100);
    for (const { tokenId: id, logProb } of top) {
      expect(Math.abs(logProb - (expected[id] ?? 0))).toBeLessThan(STEP_BOUND);
    }
  }
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
