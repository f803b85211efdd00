// A batched sweep against one answer a factor, and against the authors' outputs.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Llava } from "../../src/llava.ts";
import type { ModelInputs } from "../../src/models/inputs.ts";
import { goldenInputs, readTensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";

const FACTORS = [1, 0.5, 0.8, 1.2, 1.5, 2];

describe.each(["tiny-llava", "llava-mqa-full", "llava-odd-widths-bf16"])("%s", (name) => {
  let model: Llava;
  let inputs: ModelInputs;
  beforeAll(async () => {
    model = await loadGoldenModel(name);
    inputs = goldenInputs(model, await readTensorFile(`${name}/expected.safetensors`));
  });
  afterAll(() => model.dispose());

  test("each row of a sweep is the answer under its factor alone", async () => {
    const options = { maxNewTokens: 7, ignoreEos: true, roundConfidence: false };
    const swept = await model.sweep(inputs, FACTORS, options);
    expect(swept.map(({ factor }) => factor)).toEqual(FACTORS);
    for (const { factor, tokenIds, confidence } of swept) {
      const alone = await model.answer(inputs, { ...options, method: "scaling", factor });
      expect(tokenIds, `factor ${factor}`).toEqual(alone.tokens.map(({ tokenId }) => tokenId));
      expect(Math.abs(confidence - alone.confidence), `factor ${factor}`).toBeLessThan(1e-5);
    }
    const distinct = new Set(swept.map(({ confidence }) => confidence));
    expect(distinct.size).toBeGreaterThan(1);
  });

  test("one factor, 32 factors, layers and heads; then a plain question as before", async () => {
    const options = { maxNewTokens: 3, ignoreEos: true };
    const before = await model.answer(inputs, options);
    const many = Array.from({ length: 32 }, (_, i) => i / 16);
    const swept = await model.sweep(inputs, many, options);
    expect(swept).toHaveLength(32);
    const [alone] = await model.sweep(inputs, [many[9] ?? 0], options);
    expect(alone?.tokenIds).toEqual(swept[9]?.tokenIds);
    const where = { layers: [1], heads: [0] };
    const [chosen] = await model.sweep(inputs, [0.5], { ...options, ...where, roundConfidence: false });
    const expected = await model.answer(inputs, {
      ...options,
      ...where,
      method: "scaling",
      factor: 0.5,
      roundConfidence: false,
    });
    expect(Math.abs((chosen?.confidence ?? 0) - expected.confidence)).toBeLessThan(1e-5);
    const after = await model.answer(inputs, options);
    expect(after.tokens).toEqual(before.tokens);
  });

  test("factors that cannot be swept are refused", async () => {
    await expect(model.sweep(inputs, [])).rejects.toThrow("factors must be 1 to 32 numbers, got 0");
    await expect(
      model.sweep(
        inputs,
        Array.from({ length: 33 }, () => 1),
      ),
    ).rejects.toThrow("got 33");
    await expect(model.sweep(inputs, [1, Number.NaN])).rejects.toThrow(
      "factors[1] must be a number from 0 to 10000, got NaN.",
    );
  });
});

test("rows end on their own: an end token in one row leaves the others going", async () => {
  const model = await loadGoldenModel("tiny-llava");
  const inputs = goldenInputs(model, await readTensorFile("tiny-llava/expected.safetensors"));
  const free = await model.sweep(inputs, FACTORS, { maxNewTokens: 6, ignoreEos: true });
  const end = free[0]?.tokenIds[2] ?? 0;
  const processor: unknown = Object.create(model.processor, { eosTokenIds: { value: [end] } });
  const ending = Object.create(model, { processor: { value: processor } }) as Llava; // the same model with another end token
  const swept = await ending.sweep(inputs, FACTORS, { maxNewTokens: 6 });
  for (const [index, row] of swept.entries()) {
    const ids = free[index]?.tokenIds ?? [];
    const at = ids.indexOf(end);
    expect(row.tokenIds).toEqual(at < 0 ? ids : ids.slice(0, at + 1));
    expect(row.finishReason).toBe(at < 0 ? "length" : "eos");
  }
  expect(swept[0]?.finishReason).toBe("eos");
  model.dispose();
});
