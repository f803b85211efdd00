// Answers under several methods in one batch, against each method's answer alone.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Answer, MethodOptions } from "../../src/answer.ts";
import { at } from "../../src/errors.ts";
import type { Llava } from "../../src/llava.ts";
import type { ModelInputs } from "../../src/models/inputs.ts";
import { goldenInputs, readTensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";

/** Differences by rounding: a batch adds up in another order than a single row. */
const CLOSE = 2e-5;

const METHODS: readonly MethodOptions[] = [
  { method: "greedy" },
  { method: "scaling", factor: 0.5 },
  { method: "scaling", factor: 2, layers: [1] },
  { method: "scaling", factor: 2, rows: "generated" },
  { method: "scaling", factor: 0.5, rows: "after-image" },
  { method: "adaptvis", alpha1: 0.5, alpha2: 2, beta: 0.999 },
  { method: "adaptvis", alpha1: 0.5, alpha2: 2, beta: 0.5, gate: "entropy" },
  { method: "constant-add", constant: 1 },
  { method: "pai", alpha: 0.5, gamma: 1 },
  { method: "vcd" },
];

describe("tiny-llava", () => {
  const options = { maxNewTokens: 5, ignoreEos: true, attention: true, continuations: [" a b", " right"] };
  let loaded: Llava;
  let model: Llava;
  let inputs: ModelInputs;
  const alone: Answer[] = [];
  beforeAll(async () => {
    loaded = await loadGoldenModel("tiny-llava");
    // The golden checkpoints have no tokenizer: these ids stand for two texts.
    const continuationTokens = (text: string) => (text === " right" ? [7] : [3, 11, 5]);
    const processor: unknown = Object.create(loaded.processor, { continuationTokens: { value: continuationTokens } });
    model = Object.create(loaded, { processor: { value: processor } }) as Llava; // the same model with those ids
    inputs = goldenInputs(model, await readTensorFile("tiny-llava/expected.safetensors"));
    using session = model.session();
    for (const method of METHODS) alone.push(await session.answer(inputs, { ...options, ...method }).answer);
  });
  afterAll(() => loaded.dispose());

  test.each([8, 2])("each answer is that of its method alone, in batches of at most %i rows", async (maxRows) => {
    using session = model.session();
    const { answers, unmodifiedConfidence } = await session.answerEach(inputs, METHODS, { ...options, maxRows });
    expect(answers).toHaveLength(METHODS.length);
    expect(unmodifiedConfidence).toBeCloseTo(at(alone, 0).exactConfidence, 5);
    for (const [index, expected] of alone.entries()) {
      const found = at(answers, index);
      const which = `${index}: ${JSON.stringify(METHODS[index])}`;
      const { text, finishReason, method, settings, factor, promptTokens, imageSpan } = expected;
      expect(found, which).toMatchObject({ text, finishReason, method, settings, factor, promptTokens, imageSpan });
      expect(Math.abs(found.exactConfidence - expected.exactConfidence), which).toBeLessThan(CLOSE);
      for (const [place, token] of expected.tokens.entries()) {
        expect(at(found.tokens, place), which).toMatchObject({ tokenId: token.tokenId, text: token.text, top: [] });
        expect(Math.abs(at(found.tokens, place).logProb - token.logProb), which).toBeLessThan(CLOSE);
      }
      for (const [place, { tokenIds, firstLogProb, logProb }] of expected.continuations.entries()) {
        const own = at(found.continuations, place);
        expect(own.tokenIds, which).toEqual(tokenIds);
        expect(Math.abs(own.firstLogProb - firstLogProb), which).toBeLessThan(CLOSE);
        expect(Math.abs(own.logProb - logProb), which).toBeLessThan(2 * CLOSE);
      }
      for (let layer = 0; layer < model.config.text.numHiddenLayers; layer++) {
        for (const head of [undefined, 1]) {
          expectSameMap(found.attention?.used({ layer, head }), expected.attention?.used({ layer, head }));
          // Alone, a method that reads nothing has no unmodified pass; the batch has one for all.
          const unmodified = expected.attention?.unmodified({ layer, head });
          if (method === "vcd" || settings.rows === "after-image") continue;
          expectSameMap(
            found.attention?.unmodified({ layer, head }),
            unmodified ?? at(alone, 0).attention?.used({ layer, head }),
          );
        }
      }
    }
  });

  test("without an unmodified method among them, the unmodified maps are those of the unmodified pass", async () => {
    using session = model.session();
    const methods = METHODS.slice(1, 3);
    const { answers } = await session.answerEach(inputs, methods, options);
    for (const { attention } of answers) {
      expectSameMap(attention?.unmodified({ layer: 1 }), at(alone, 0).attention?.used({ layer: 1 }));
    }
    const [, scaled] = alone;
    expectSameMap(at(answers, 0).attention?.used({ layer: 1 }), scaled?.attention?.used({ layer: 1 }));
  });

  test("methods that share no pass have no unmodified confidence, and a conversation goes on afterwards", async () => {
    using session = model.session();
    const { answers, unmodifiedConfidence } = await session.answerEach(inputs, METHODS.slice(9), options);
    expect(unmodifiedConfidence).toBeUndefined();
    expect(answers.map(({ text }) => text)).toEqual([at(alone, 9).text]);
    await session.answerEach(inputs, METHODS.slice(0, 2), { maxNewTokens: 2, ignoreEos: true });
    const again = await session.answer(inputs, { ...options, ...at(METHODS, 0) }).answer;
    expect(again.text).toBe(at(alone, 0).text);
  });

  test("what cannot be answered is refused", async () => {
    using session = model.session();
    await expect(session.answerEach(inputs, METHODS, { maxRows: 33 })).rejects.toThrow(
      "maxRows must be a whole number from 1 to 32, got 33.",
    );
    await expect(session.answerEach(inputs, [{ method: "scaling", alpha1: 1 }])).rejects.toThrow("alpha1");
    expect(await session.answerEach(inputs, [])).toEqual({ answers: [], unmodifiedConfidence: undefined });
  });
});

/** Maps of the same attention, up to rounding. */
function expectSameMap(
  found: { readonly share: number; readonly values: Float64Array } | undefined,
  expected: { readonly share: number; readonly values: Float64Array } | undefined,
): void {
  if (found === undefined || expected === undefined) throw new Error("a map is missing");
  expect(Math.abs(found.share - expected.share)).toBeLessThan(CLOSE);
  expect(found.values.length).toBe(expected.values.length);
  for (const [index, value] of expected.values.entries()) {
    expect(Math.abs(at([...found.values], index) - value)).toBeLessThan(CLOSE);
  }
}
