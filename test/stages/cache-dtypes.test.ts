// Keys and values in f16 and q8: how far logits are from f32's, and that nothing depends on how a prompt is run, as in f32.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Answer, AnswerOptions, Trace } from "../../src/answer.ts";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import { CACHE_DTYPES, type CacheDtype } from "../../src/gpu/cache-format.ts";
import { Llava } from "../../src/llava.ts";
import { imageSpan, type ModelInputs } from "../../src/models/inputs.ts";
import { keyValueBytes } from "../../src/models/layers/decoder-state.ts";
import { readImageFile } from "../../src/preprocess/decode-image.node.ts";
import { openTestDevice } from "../setup/device.ts";
import { goldenInputs, largestError, logitsOf, readTensorFile, relativeRms } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";
import { PARITY } from "../setup/parity-bounds.ts";

const PACKED = ["f16", "q8"] as const;

function idsOf(tokens: readonly { readonly tokenId: number }[]): number[] {
  return tokens.map(({ tokenId }) => tokenId);
}

// headDim 10 in 12, a head with two words of scales and a last group of 8, 709 positions in three chunks.
describe.each([
  ["llava-odd-widths-bf16", "gpu"],
  ["llava-wide-head", "cpu"],
  ["llava-long-prompt", "cpu"],
] as const)("%s with the kernels for a %s", (name, adapterClass) => {
  test("logits are near f32's, and are not f32's", async () => {
    const golden = await readTensorFile(`${name}/expected.safetensors`);
    const traces = new Map<CacheDtype, Trace>();
    for (const kvDtype of CACHE_DTYPES) {
      using model = await loadGoldenModel(name, { kvDtype, adapterClass });
      expect(model.kvDtype).toBe(kvDtype);
      const options = { maxNewTokens: 2, ignoreEos: true };
      traces.set(kvDtype, await model.trace(goldenInputs(model, golden), options));
    }
    const [f32, f16, q8] = [...traces.values()].map(logitsOf);
    if (f32 === undefined || f16 === undefined || q8 === undefined) throw new Error("three models were loaded");
    expect(relativeRms(f16, f32)).toBeLessThan(PARITY.kv.f16);
    expect(relativeRms(q8, f32)).toBeLessThan(PARITY.kv.q8);
    expect(relativeRms(f16, f32)).toBeGreaterThan(1e-5);
    expect(relativeRms(q8, f32)).toBeGreaterThan(PARITY.kv.f16);
  });
});

describe.each(PACKED)("tiny-llava-gqa with keys and values in %s", (kvDtype) => {
  let model: Llava;
  let inputs: ModelInputs;
  beforeAll(async () => {
    model = await loadGoldenModel("tiny-llava-gqa", { kvDtype });
    inputs = goldenInputs(model, await readTensorFile("tiny-llava-gqa/expected.safetensors"));
  });
  afterAll(() => model.dispose());

  test.each([0.5, 1.5])("AdaptVis' one extra step is near a second prefill, factor %f", async (factor) => {
    const adaptvis = { alpha1: factor, alpha2: factor, beta: 0.5 };
    const options = { maxNewTokens: 5, ignoreEos: true } as const;
    const oneStep = await model.trace(inputs, { method: "adaptvis", ...adaptvis, ...options });
    const oracle = await model.trace(inputs, { method: "scaling", factor, ...options });
    expect(largestError(logitsOf(oneStep), logitsOf(oracle))).toBeLessThan(PARITY.kvOracle[kvDtype]);
    const greedy = await model.trace(inputs, options);
    expect(largestError(logitsOf(greedy), logitsOf(oracle))).toBeGreaterThan(PARITY.kvOracle[kvDtype]);
  });

  test("each row of a sweep is near the answer under its factor alone", async () => {
    const options = { maxNewTokens: 5, ignoreEos: true, roundConfidence: false };
    const swept = await model.sweep(inputs, [1, 0.5, 1.5, 2], options);
    for (const { factor, tokenIds, confidence } of swept) {
      const alone = await model.answer(inputs, { ...options, method: "scaling", factor });
      expect(tokenIds, `factor ${factor}`).toEqual(idsOf(alone.tokens));
      expect(Math.abs(confidence - alone.confidence)).toBeLessThan(PARITY.kvOracle[kvDtype]);
    }
    expect(new Set(swept.map(({ confidence }) => confidence)).size).toBe(4);
  });

  test("chunks of a prompt give the same bits as the whole", async () => {
    using chunked = await loadGoldenModel("tiny-llava-gqa", { kvDtype, chunkRows: 5 });
    const options = { maxNewTokens: 1 } as const;
    expect(logitsOf(await chunked.trace(inputs, options))).toEqual(logitsOf(await model.trace(inputs, options)));
  });

  test("two sessions that take tokens in turn give what each gives alone", async () => {
    const options = { maxNewTokens: 5, ignoreEos: true };
    const alone = await model.answer(inputs, options);
    using first = model.session();
    using second = model.session();
    const streams = [first.answer(inputs, options), second.answer(inputs, options)].map((stream) =>
      stream[Symbol.asyncIterator](),
    );
    const ids: number[][] = [[], []];
    for (let step = 0; step < 5; step++) {
      for (const [index, stream] of streams.entries()) {
        const next = await stream.next();
        if (next.done !== true) ids[index]?.push(next.value.tokenId);
      }
    }
    expect(ids).toEqual([idsOf(alone.tokens), idsOf(alone.tokens)]);
  });
});

test.each(PACKED)(
  "keys and values in %s that are used again, copied and moved to a larger cache give the same bits as new ones",
  async (kvDtype) => {
    using model = await loadGoldenModel("llava-long-prompt", { kvDtype });
    const inputs = goldenInputs(model, await readTensorFile("llava-long-prompt/expected.safetensors"));
    const [, end] = imageSpan(inputs);
    const short = (ids: readonly number[]) => ({
      ...inputs,
      inputIds: Int32Array.from([...inputs.inputIds.slice(0, end + 20), ...ids]),
    });
    const options = { maxNewTokens: 3, ignoreEos: true, topLogProbs: 20, roundConfidence: false } as const;
    const expectSame = async (
      question: ModelInputs,
      method: AnswerOptions,
      ask: (options: AnswerOptions) => Promise<Answer>,
    ) => {
      const { reusedTokens, ...reused } = await ask({ ...options, ...method });
      using fresh = await loadGoldenModel("llava-long-prompt", { kvDtype });
      const { reusedTokens: none, ...alone } = await fresh.answer(question, { ...options, ...method });
      expect(none).toBe(0);
      expect(reused).toEqual(alone);
      return reusedTokens;
    };
    expect(end + 30).toBeLessThan(256); // fits the smallest cache, and the whole prompt of 709 positions does not
    using open = model.session();
    await open.answer(short([5, 9]), options).answer;
    const copied = short([7, 7, 7]);
    // Another session copies the beginning; then the first one grows, and keeps its own.
    const ask = (given: AnswerOptions) => model.answer(copied, given);
    expect(await expectSame(copied, { method: "adaptvis" }, ask)).toBe(end + 20);
    const grow = (given: AnswerOptions) => open.answer(inputs, given).answer;
    expect(await expectSame(inputs, {}, grow)).toBe(end + 20);
  },
);

const MODEL = fileURLToPath(new URL("../../weights/tiny-spatial", import.meta.url));

/** Every 20th question of tiny-spatial's test split; all 300 are compared by `adaptvis compare` (tools/bench/RESULTS.md). */
function someQuestions(): readonly { readonly image: string; readonly question: string }[] {
  const folder = `${MODEL}/benchmark/test`;
  return ["Controlled_A", "Controlled_B"].flatMap((name) => {
    const annotations = JSON.parse(readFileSync(`${folder}/${name}_annotations.json`, "utf8")) as {
      readonly image_path: string;
    }[];
    const lines = readFileSync(`${folder}/${name}_questions.jsonl`, "utf8").trim().split("\n");
    return lines.flatMap((line, index) => {
      const { question } = JSON.parse(line) as { readonly question: string };
      return index % 20 === 0 ? [{ image: `${folder}/${annotations[index]?.image_path}`, question }] : [];
    });
  });
}

test("tiny-spatial's greedy answers and AdaptVis' are f32's", async () => {
  const { device } = await openTestDevice();
  const answers = new Map<CacheDtype, (readonly [ids: readonly number[], factor: number])[]>();
  const questions = someQuestions();
  expect(questions.length).toBeGreaterThanOrEqual(10);
  for (const kvDtype of CACHE_DTYPES) {
    using model = await Llava.load(fileSource(MODEL), { device, kvDtype });
    const given: (readonly [readonly number[], number])[] = [];
    for (const { image, question } of questions) {
      const picture = await readImageFile(image);
      for (const method of ["greedy", "adaptvis"] as const) {
        const { tokens, factor } = await model.ask({ image: picture, question, method, maxNewTokens: 8 });
        given.push([idsOf(tokens), factor]);
      }
    }
    answers.set(kvDtype, given);
  }
  for (const kvDtype of PACKED) expect(answers.get(kvDtype), kvDtype).toEqual(answers.get("f32"));
});

test("memory: 1 MiB per token of LLaMA-7B becomes 0.5 and 0.27", async () => {
  using model = await loadGoldenModel("tiny-llava");
  const text = { ...model.config.text, numHiddenLayers: 32, numKeyValueHeads: 32, headDim: 128 };
  const bytes = CACHE_DTYPES.map((dtype) => keyValueBytes(text, { capacity: 1, dtype }));
  expect(bytes).toEqual([2 ** 20, 2 ** 19, 32 * 2 * 32 * (128 + 8)]);
  const others: number[] = [];
  for (const kvDtype of CACHE_DTYPES) {
    using stored = await loadGoldenModel("tiny-llava", { kvDtype });
    const inputs = goldenInputs(stored, await readTensorFile("tiny-llava/expected.safetensors"));
    await stored.answer(inputs, { maxNewTokens: 1 });
    others.push(stored.gpu.allocatedBytes - keyValueBytes(stored.config.text, { capacity: 256, dtype: kvDtype }));
  }
  expect(new Set(others).size).toBe(1);
});
