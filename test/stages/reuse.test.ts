// What is kept between questions (keys and values of a common beginning, features of pictures) changes no answer.
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { AnswerOptions } from "../../src/answer.ts";
import type { Llava } from "../../src/llava.ts";
import { type ImageInput, imageSpan, type ModelInputs } from "../../src/models/inputs.ts";
import { PictureEncoder } from "../../src/models/layers/picture-encoder.ts";
import { goldenInputs, readTensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";

/** The same pictures with other pixel values. */
function changed(inputs: ModelInputs, change: (value: number) => number): ImageInput[] {
  return inputs.images.map((image) => ({ ...image, pixelValues: image.pixelValues.map(change) }));
}

describe.each(["tiny-llava-gqa", "llava-mqa-full", "llava-odd-widths-bf16"])("%s", (name) => {
  let model: Llava;
  let inputs: ModelInputs;
  beforeAll(async () => {
    model = await loadGoldenModel(name);
    inputs = goldenInputs(model, await readTensorFile(`${name}/expected.safetensors`));
  });
  afterAll(() => model.dispose());

  test("a question after others on the same or another picture is answered to the bit as on its own", async () => {
    const images = changed(inputs, (value) => -value);
    const text = (ids: readonly number[]) =>
      Int32Array.from([...inputs.inputIds.slice(0, imageSpan(inputs)[1]), ...ids]);
    const questions: ModelInputs[] = [
      inputs,
      { ...inputs, inputIds: text([5, 9]) },
      { ...inputs, inputIds: text([5, 9, 11, 12, 3, 17, 20]) },
      { ...inputs, images },
      inputs,
    ];
    const methods: AnswerOptions[] = [
      {},
      { method: "adaptvis" },
      { method: "scaling", factor: 0.5 },
      { method: "scaling", factor: 2, rows: { last: 4 } },
      { method: "adaptvis", rows: "generated" },
    ];
    const options = { maxNewTokens: 4, ignoreEos: true, topLogProbs: 20, roundConfidence: false } as const;
    for (const [index, method] of [...methods, ...methods.slice(0, 2)].entries()) {
      for (const question of questions) {
        const { reusedTokens: _, ...reused } = await model.answer(question, { ...options, ...method });
        const { reusedTokens: none, ...alone } = await model.answer(question, {
          ...options,
          ...method,
          reusePrefix: false,
        });
        expect(none).toBe(0);
        expect(reused, `method ${index}`).toEqual(alone);
        await model.answer(question, { ...options, ...method }); // and what the next question finds is this one's
      }
      await model.sweep(inputs, [0.5, 2], { maxNewTokens: 3, ignoreEos: true });
    }
  });

  test("a second question about the same picture does not encode it again", async () => {
    const encode = vi.spyOn(PictureEncoder.prototype, "encode");
    try {
      const options = { maxNewTokens: 2, ignoreEos: true };
      await model.answer(inputs, { ...options, reusePrefix: false });
      expect(encode).toHaveBeenCalledTimes(1);
      await model.answer({ ...inputs, inputIds: inputs.inputIds.slice(0, -1) }, options);
      await model.answer(inputs, { ...options, method: "adaptvis" });
      expect(encode).toHaveBeenCalledTimes(1);
      await model.answer({ ...inputs, images: changed(inputs, (value) => value + 1) }, options);
      expect(encode).toHaveBeenCalledTimes(2);
    } finally {
      encode.mockRestore();
    }
  });
});
